"""Runs a harness as a user would, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
LIMIT_S = 110  # less than the timeout of a test, so that a harness that hangs shows what it has printed


class Run(NamedTuple):
    """The exit code, the result line, and all that was printed."""

    code: int
    result: dict[str, Any]
    output: str


def run(harness: str, *sizes: object, place: Path | None = None, limit_s: float = LIMIT_S) -> Run:
    """Runs a harness with seed 7. Its temporary files are in `place`. Fails if it ends without a verdict."""
    command = [sys.executable, "-m", f"tests.harness.{harness}", "--seed", "7", *map(str, sizes)]
    ended = finished(command, place, limit_s)
    if "crashed" in ended.result:
        pytest.fail(f"exit code {ended.code}, crashed:\n{ended.output}")
    return ended


def finished(command: list[str], place: Path | None = None, limit_s: float = LIMIT_S) -> Run:
    """Runs a command that prints a seed and ends with a result line. Fails with the whole output otherwise."""
    env = os.environ | ({"TMPDIR": str(place)} if place else {})
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        printed = [part.decode(errors="replace") for part in (error.stdout, error.stderr) if isinstance(part, bytes)]
        pytest.fail("\n".join([str(error), *printed]))
    output = done.stdout + done.stderr
    lines = done.stdout.splitlines()
    if not lines or not lines[0].startswith("seed ") or not lines[-1].startswith("{"):
        pytest.fail(f"exit code {done.returncode}, and no result line:\n{output}")
    return Run(done.returncode, json.loads(lines[-1]), output)
