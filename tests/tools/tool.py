"""The interface of a tool on the bench, and what it is given.

A tool is a module with one class below `Tool`, named in `bench.MODULES`. It says what its package is (`package`,
`command`), where it keeps its sessions (`folder`) and which shape its requests have (`shape`), and has two methods:
`configure` points it at the loopback server, `converse` holds a conversation with it. What it sends but does not write,
and what it asks for but does not count, are named rules: `rules` and `uncounted`. A rule looks at one part of a
message, so nothing larger can be explained away.

`converse` returns the conversations that it left, each with a way to say one more thing in it. The bench imports the
folder, says something new in each, and compares what was imported with what the tool then sends.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from convtree import BranchSummaryEntry, CompactionEntry

from .comparing import Rule, Shape, Uncounted
from .loopback import Loopback

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""A PNG of one pixel in Base64, for tools that take pictures."""

_TIMEOUT_S = 120  # of one command of a tool
_START_S, _QUIET_S = 8, 2.5  # without output, after which a terminal is taken to wait for a key
_SIZE = 40, 120  # lines and columns of a terminal


class NotToBeHad(Exception):
    """A tool that cannot be installed here."""


class Conversation(NamedTuple):
    """A conversation that a tool has on its disk.

    Attributes:
        about: What is special about it, in a word or two.
        source_id: The id of its session in the tool.
        say: Goes on with it: sends a prompt, and returns when it was answered. None for the session of a sub-agent
            that cannot be continued: its entries are only counted.
        rules: Differences that only this conversation has, beside those of the tool.
    """

    about: str
    source_id: str
    say: Callable[[str], None] | None
    rules: Sequence[Rule] = ()


class Failed(Exception):
    """A command of a tool that did not end well."""


class Run:
    """One tool at work: its home, which is also where it works, its program, and the server that it asks.

    A context manager: what a tool leaves running until the end is entered into `kept`.
    """

    def __init__(self, program: Path, home: Path, server: Loopback) -> None:
        self.program = program
        self.home = home
        self.work = home / "work"
        self.work.mkdir(parents=True)
        self.server = server
        self.kept = ExitStack()
        inherited = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        self.environment = inherited | {
            "HOME": str(home),
            "XDG_DATA_HOME": str(home / ".local/share"),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "TERM": "xterm-256color",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kept.close()

    def __call__(self, *arguments: str, timeout_s: float = _TIMEOUT_S) -> str:
        """Runs the program in the working directory; returns what it printed.

        Raises:
            Failed: it ended with an error, or not in time.
        """
        command = [str(self.program), *arguments]
        try:
            ended = subprocess.run(
                command,
                cwd=self.work,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{' '.join(arguments)}: no end after {timeout_s} s") from error
        if ended.returncode:
            raise Failed(
                f"{' '.join(arguments)}: status {ended.returncode}: {ended.stderr[-500:] or ended.stdout[-500:]}"
            )
        return ended.stdout

    def type(self, arguments: Sequence[str], keys: Sequence[str], *, timeout_s: float = _TIMEOUT_S) -> str:
        """Runs the program in a terminal and types each text when it has gone quiet; returns what it showed.

        What is still running after the last text is ended.
        """
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.work)
            os.execve(self.program, [str(self.program), *arguments], self.environment)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *_SIZE, 0, 0))
        shown, until = b"", time.monotonic() + timeout_s
        try:
            shown += _output(terminal, _START_S, until)
            for text in keys:
                os.write(terminal, text.encode())
                shown += _output(terminal, _QUIET_S, until)
        except OSError:
            pass  # it has closed the terminal
        finally:
            os.killpg(pid, signal.SIGKILL)  # with its children; some ignore a request to end
            os.waitpid(pid, 0)
            os.close(terminal)
        return shown.decode(errors="replace")


def _output(terminal: int, quiet_s: float, until: float) -> bytes:
    """Returns what a terminal shows until it goes quiet."""
    shown = b""
    while (left := until - time.monotonic()) > 0 and select.select([terminal], [], [], min(quiet_s, left))[0]:
        shown += os.read(terminal, 2**16)
    return shown


class Tool(ABC):
    """A tool on the bench.

    Attributes:
        name: Its name, that of its module.
        package: Its package on npm.
        needs: Other packages that it runs with, with their versions.
        command: The name of its program.
        folder: Where it keeps its sessions, below its home. All of it is imported.
        shape: The shape of its requests.
        rules: The parts of its requests that are not on its disk, or are there in other words.
        uncounted: The requests whose tokens it does not write down.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    needs: ClassVar[Sequence[str]] = ()
    command: ClassVar[str]
    folder: ClassVar[str]
    shape: ClassVar[Shape]
    rules: ClassVar[Sequence[Rule]] = ()
    uncounted: ClassVar[Sequence[Uncounted]] = ()

    @abstractmethod
    def configure(self, run: Run) -> None:
        """Writes settings below `run.home` and adds to `run.environment`, so that the tool asks `run.server`."""

    @abstractmethod
    def converse(self, run: Run) -> list[Conversation]:
        """Holds a conversation: several turns and a call, and what else the tool can do without a person."""

    def render(self, entry: CompactionEntry | BranchSummaryEntry) -> str | Sequence[Mapping[str, Any]]:
        """Returns a summary as the tool shows it to its model: as the user, in its own words."""
        return entry.summary

    def install(self, place: Path) -> Path:
        """Installs the newest version below `place`, or keeps it if it is there; returns the program.

        Raises:
            NotToBeHad: it cannot be installed here.
        """
        npm = shutil.which("npm")
        if npm is None:
            raise NotToBeHad("npm is not installed")
        place.mkdir(parents=True, exist_ok=True)
        command = [
            npm,
            "install",
            "--prefix",
            str(place),
            "--no-audit",
            "--no-fund",
            f"{self.package}@latest",
            *self.needs,
        ]
        ended = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=900, check=False)
        program = self.program(place)
        if ended.returncode or not program.exists():
            raise NotToBeHad(f"npm install {self.package}: {ended.stderr.strip()[-300:] or 'no program in it'}")
        return program

    def program(self, place: Path) -> Path:
        """Returns where the program is, below the place of an installation."""
        return place / "node_modules" / ".bin" / self.command

    def version(self, place: Path) -> str:
        """Returns the version that is installed below `place`."""
        about = json.loads((place / "node_modules" / self.package / "package.json").read_text())
        return str(about["version"])
