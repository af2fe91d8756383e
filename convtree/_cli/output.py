r"""Everything that the command line prints. Nothing else in the package writes to standard output or standard error.

`guarded` puts a `SafeStream` in the place of both. So everything is escaped on its way out, by one function: the lines
of a command, messages of click, prompts, warnings and tracebacks. Commands escape foreign text all the same, before
they measure and cut it; text that was escaped passes unchanged.

Three things pass as they are. Colours do, exactly those of `STYLES`, while colours are on. A document that is exported
to a file or a pipe keeps its bytes. And `progress` draws on a terminal.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from types import TracebackType
from typing import Any, TextIO

from convtree._model.batches import growing
from convtree._model.terminal_text import escape_controls, escape_json_controls

#: The codes of each style, in the terms of ECMA-48.
STYLES = {
    "user": "\x1b[36m",
    "assistant": "\x1b[32m",
    "entry": "\x1b[35m",
    "bad": "\x1b[31m\x1b[1m",
    "warning": "\x1b[33m",
    "note": "\x1b[33m",
    "match": "\x1b[1m\x1b[33m",
    "title": "\x1b[1m",
    "active": "\x1b[1m",
    "dim": "\x1b[2m",
}
#: What is still marked with NO_COLOR: the words that a search has found.
WITHOUT_COLOUR = {"match": STYLES["title"]}
PLAIN = "\x1b[0m"
_CODE = re.compile("(" + "|".join(sorted({re.escape(each) for each in (PLAIN, *STYLES.values())})) + ")")


class SafeStream(io.TextIOBase):
    """A text stream in which controls are shown as escapes. It has no `buffer`, so nothing goes around it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.has_colours = False
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack characters of the log

    @property
    def encoding(self) -> str:  # type: ignore[override]  # cannot be assigned
        """The encoding of the stream below."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # cannot be assigned
        """How the stream below treats characters that it lacks."""
        return self._stream.errors

    def write(self, text: str | bytes, /) -> int:
        """Writes a text. All of its characters count as written. Bytes are UTF-8: click prints completions so."""
        self._stream.write(self.escaped(text.decode(errors="replace") if isinstance(text, bytes) else text))
        return len(text)

    def write_document(self, pieces: Iterable[bytes], *, is_json: bool) -> None:
        """Writes a document: byte for byte into a file or a pipe, with escapes to a terminal. JSON keeps its value."""
        self.flush()
        binary = getattr(self._stream, "buffer", None)
        if binary is not None and not self.isatty():
            for piece in pieces:
                binary.write(piece)
            return
        for piece in pieces:
            self._stream.write(escape_document(piece, is_json=is_json))

    def writable(self) -> bool:
        """Returns True."""
        return True

    def isatty(self) -> bool:
        """Returns whether the stream below is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Returns the descriptor of the stream below."""
        return self._stream.fileno()

    def flush(self) -> None:
        """Flushes the stream below."""
        self._stream.flush()

    def close(self) -> None:
        """Does nothing: the stream below belongs to its opener."""

    def escaped(self, text: str) -> str:
        """Returns a text as the stream below gets it."""
        if not self.has_colours or "\x1b" not in text:
            return escape_controls(text, lines=True)
        pieces = _CODE.split(text)
        pieces[::2] = [escape_controls(piece, lines=True) for piece in pieces[::2]]
        return "".join(pieces)


def escape_document(piece: bytes, *, is_json: bool) -> str:
    """Returns a piece of a document as a terminal may show it. JSON keeps its value."""
    text = piece.decode()
    return escape_json_controls(text) if is_json else escape_controls(text, lines=True)


def guard() -> None:
    """Guards standard output and standard error for the rest of the process, tracebacks included."""
    sys.stdout, sys.stderr = map(_guard, (sys.stdout, sys.stderr))
    sys.excepthook = _print_traceback


@contextmanager
def guarded() -> Iterator[None]:
    """Guards standard output and standard error until the end of the block.

    A stream that the caller has closed is None in Python. It is replaced: input is empty, output is dropped.
    """
    before = sys.stdin, sys.stdout, sys.stderr
    with open(os.devnull, encoding="utf-8") as empty, open(os.devnull, "w", encoding="utf-8") as null:
        sys.stdin = empty if sys.stdin is None else sys.stdin
        sys.stdout, sys.stderr = (_guard(null if stream is None else stream) for stream in before[1:])
        try:
            yield
        finally:
            sys.stdin, sys.stdout, sys.stderr = before


def _guard(stream: Any) -> Any:
    return stream if stream is None or isinstance(stream, SafeStream) else SafeStream(stream)


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints a traceback without colours: those that Python chooses would be escaped."""
    from traceback import format_exception

    sys.stderr.write("".join(format_exception(kind, error, trace)))


def allow_colours() -> None:
    """Lets the colours of `STYLES` pass on standard output from now on."""
    if isinstance(sys.stdout, SafeStream):
        sys.stdout.has_colours = True


def write(lines: Iterable[str]) -> None:
    """Writes lines to standard output."""
    for line in lines:
        sys.stdout.write(line + "\n")


def write_paged(lines: Iterator[str]) -> None:
    """Writes lines to standard output, on a terminal through the pager of the user.

    That is PAGER, else `less`, which ends by itself if all fits on the screen. The first line is made before the pager
    starts, so an error leaves the terminal as it was.
    """
    stream = sys.stdout
    can_page = sys.stdin is not None and sys.stdin.isatty()
    if not can_page or not isinstance(stream, SafeStream) or not stream.isatty():
        write(lines)
        return
    import click

    os.environ.setdefault("LESS", "FRSX")  # as git does; and lines are cut, so that a tree stays whole
    chunks = ("\n".join(map(stream.escaped, chunk)) for chunk in growing(lines))
    first = next(chunks, "")
    following = (f"\n{chunk}" for chunk in chunks)
    stream.flush()
    click.echo_via_pager(chain([first], following), color=stream.has_colours)  # it adds the last newline


def write_document(pieces: Iterable[bytes], *, is_json: bool) -> None:
    """Writes a document to standard output: with its bytes, or to a terminal with escapes."""
    stream = _guard(sys.stdout)
    stream.write_document(pieces, is_json=is_json)
    stream.flush()


def write_stderr(text: str) -> None:
    """Writes a line to standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def confirm(text: str) -> None:
    """Says on standard error what was done, if standard output is a terminal: a script has the exit code."""
    if sys.stdout.isatty():
        write_stderr(escape_controls(text))


def terminal_stderr() -> TextIO | None:
    """Returns standard error without the guard, to draw on; None if it is not a terminal.

    For `progress` only. The caller must escape every text that it draws.
    """
    stream = sys.stderr._stream if isinstance(sys.stderr, SafeStream) else sys.stderr
    return stream if stream is not None and stream.isatty() else None


def has_terminal() -> bool:
    """Returns whether an application can draw: it reads from standard input and draws on standard error."""
    streams = (sys.stdin, sys.stdout, sys.__stdin__, sys.__stderr__)
    can_draw = all(stream is not None and not stream.closed and stream.isatty() for stream in streams)
    return can_draw and os.environ.get("TERM") not in (None, "", "dumb")
