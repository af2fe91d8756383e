"""The command line. It needs the extra `cli`; without it, `main` prints how to install that."""

from __future__ import annotations

import sys

from convtree._cli.output import guard, write_stderr

_INSTALL = "the command line needs click and rich: pip install 'convtree[cli]'"


def main() -> None:
    """Runs the command line and exits."""
    guard()
    try:
        import rich  # noqa: F401  # loaded later by the drawing; a missing package is reported here

        from convtree._cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        write_stderr(_INSTALL)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    app.main(prog_name="convtree")
