"""The command line: one module per command. It needs the extra `cli`, and says so when that is missing."""

from __future__ import annotations

import sys

_INSTALL = "the command line needs click and rich: pip install 'convtree[cli]'"


def main() -> None:
    """Runs the command that the program was called with, and exits."""
    try:
        import rich  # noqa: F401  # used where things are drawn, but missing is said here

        from convtree._cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        print(_INSTALL, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    app.main(prog_name="convtree")
