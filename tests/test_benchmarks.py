"""The benchmarks run and print what their README says they print; never how fast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

ROWS = [
    ("append, synced", ""),
    ("· raw: os.write + os.fdatasync", ""),
    ("append, not synced", ""),
    ("· raw: os.write", ""),
    ("· by hand: open, json.dumps, write", ""),
    ("append to a log of this length, not synced", "60"),
    ("append to a log of this length, not synced", "1,000"),
    ("cold open", "60"),
    ("· then a context of 51 messages", "60"),
    ("· then a context of all messages", "60"),
    ("· by hand: json.loads of every line", "60"),
    ("cold open", "1,000"),
    ("· then a context of 51 messages", "1,000"),
    ("· then a context of all messages", "1,000"),
    ("· by hand: json.loads of every line", "1,000"),
]


def run_basics(directory: Path) -> list[list[str]]:
    """Runs the script on small logs; returns the cells of its table."""
    command = [sys.executable, str(BENCHMARKS / "basics.py"), "--quick", "--sizes", "1000", "60", "--dir"]
    done = subprocess.run([*command, str(directory)], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_basics_prints_every_row_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The quick run of the basic figures prints one row for each figure, in order, each with a time."""
    heads, _, *rows = run_basics(tmp_path)
    assert heads == ["figure", "entries", "p50", "cpu", "peak memory", "beside", "target"]
    assert [(row[0], row[1]) for row in rows] == ROWS
    assert [row for row in rows if not row[2].endswith((" s", " ms", " µs"))] == []
    assert list(tmp_path.iterdir()) == []
