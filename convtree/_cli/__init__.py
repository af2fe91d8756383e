"""The command line. It needs the extra `cli`; without it, `main` prints how to install that."""

from __future__ import annotations

import sys

from convtree._cli.output import guard, write_stderr

_INSTALL = "the command line needs click, rich and platformdirs: pip install 'convtree[cli]'"


def main() -> None:
    """Runs the command line and exits."""
    guard()
    try:
        import platformdirs  # noqa: F401  # loaded later, as the drawing loads rich; a missing one is reported here
        import rich  # noqa: F401

        from convtree._cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich", "platformdirs"):
            raise
        write_stderr(_INSTALL)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    app.main(prog_name="convtree")
