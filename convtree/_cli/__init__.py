"""The command line. It needs the extra `cli`; without it, `main` prints how to install that."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from convtree._cli.output import guard, write_stderr

_INSTALL = "the command line needs click, platformdirs, rich and wcwidth: pip install 'convtree[cli]'"


def main() -> None:
    """Runs the command line and exits."""
    guard()
    try:
        for name in ("platformdirs", "rich", "wcwidth"):  # loaded later; a missing package is reported here
            if find_spec(name) is None:
                raise ModuleNotFoundError(name=name)

        from convtree._cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("click", "platformdirs", "rich", "wcwidth"):
            raise
        write_stderr(_INSTALL)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    app.main(prog_name="convtree")
