"""Programs that the tests of the adapters run: the command line, and the examples."""

import subprocess
import sys
from pathlib import Path

_EXAMPLES = Path(__file__).parents[2] / "examples"


def printed(*command: str) -> str:
    """Returns what a command of convtree prints. It must succeed."""
    return _finished([sys.executable, "-m", "convtree", *command]).stdout


def example(name: str) -> "subprocess.CompletedProcess[str]":
    """Runs an example. It has assertions, and must succeed."""
    return _finished([sys.executable, str(_EXAMPLES / name)])


def _finished(command: list[str]) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return done
