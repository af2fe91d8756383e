"""A tool that runs as a server on its standard input and output: a JSON object on each line."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from queue import Empty, Queue
from typing import Any, Self

from .tool import Failed, Run

_TIMEOUT_S = 60  # of one answer


class LineServer:
    """The process of a tool, its lines in both directions; a context manager that ends it."""

    def __init__(self, run: Run, *arguments: str) -> None:
        self._about = " ".join(arguments)
        self._lines: Queue[dict[str, Any]] = Queue()
        self._process = subprocess.Popen(
            [str(run.program), *arguments],
            cwd=run.work,
            env=run.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def send(self, line: dict[str, Any]) -> None:
        """Sends an object."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def wait(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Returns the next object that is wanted; others are passed over.

        Raises:
            Failed: none came in time.
        """
        while True:
            try:
                line = self._lines.get(timeout=_TIMEOUT_S)
            except Empty:
                raise Failed(f"{self._about}: no answer within {_TIMEOUT_S} s") from None
            if is_wanted(line):
                return line

    def check(self, is_good: bool, why: str) -> None:
        """Raises Failed if something is not good."""
        if not is_good:
            raise Failed(f"{self._about}: {why}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.lstrip().startswith("{"):
                self._lines.put(json.loads(line))
