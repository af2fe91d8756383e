"""JSON as people edit it: with comments, and with commas behind the last item. Pure.

Comments become spaces, so every other byte stays at its place. Each function looks at every byte once.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_LOOK = 2**16  # bytes in which the first comment must be

_STRING = rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'  # also one that is cut off
_LINE = rb"//[^\n]*+"
_BLOCK = rb"/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z)"
_COMMENT = re.compile(_STRING + rb"|(" + _LINE + rb"|" + _BLOCK + rb")", re.DOTALL)
_EXTRA = re.compile(
    _STRING + rb"|(" + _LINE + rb"|" + _BLOCK + rb"|,(?=(?:\s++|" + _LINE + rb"|" + _BLOCK + rb")*+[}\]]))", re.DOTALL
)
_MAY_HAVE_EXTRA = re.compile(rb"/[/*]|,\s*[}\]/]")
_NO_NEWLINE = re.compile(rb"[^\r\n]")
#: what ends plain text, a string, a comment of one line, and a block
_UNTIL = tuple(re.compile(end, re.DOTALL) for end in (rb'["/]', rb'["\\]', rb"\n", rb"\*"))
_PLAIN, _IN_STRING, _IN_LINE, _IN_BLOCK = range(4)


def has_comment(beginning: bytes) -> bool:
    """Returns whether there is a comment outside of strings in the first bytes of a JSON text."""
    start = beginning[:_LOOK]
    return (b"//" in start or b"/*" in start) and any(found[1] is not None for found in _COMMENT.finditer(start))


def without_extras(text: bytes) -> bytes | None:
    """Returns a JSON text without comments and without commas behind the last item; None if it has neither."""
    if _MAY_HAVE_EXTRA.search(text) is None:
        return None
    cleaned = _EXTRA.sub(_blank, text)
    return None if cleaned == text else cleaned


def without_comments(text: bytes) -> bytes:
    """Returns a JSON text without comments."""
    return _COMMENT.sub(_blank, text)


def _blank(found: re.Match[bytes]) -> bytes:
    return found[0] if found[1] is None else _NO_NEWLINE.sub(b" ", found[0])


class Uncommented:
    """What a function reads from a file, without its comments. `first` was read already."""

    def __init__(self, read: Callable[[int], bytes], first: bytes) -> None:
        self._read = read
        self._first: bytes | None = first
        self._state = _PLAIN
        self._held = b""  # a character whose meaning the next one decides

    def read(self, size: int) -> bytes:
        """Returns the next bytes, about as many; b"" at the end."""
        while True:
            chunk, self._first = self._read(size) if self._first is None else self._first, None
            if not chunk:
                held, self._held = self._held, b""
                return held
            if done := self._feed(self._held + chunk):
                return done

    def _feed(self, data: bytes) -> bytes:
        pieces, at, self._held = list[bytes](), 0, b""
        while at < len(data):
            found = _UNTIL[self._state].search(data, at)
            end = len(data) if found is None else found.start()
            pieces.append(self._shown(data[at:end]))
            at = end
            if found is None:
                break
            if self._state != _IN_LINE and data[at : at + 1] != b'"' and at + 1 == len(data):
                self._held = data[at:]
                break
            at = self._step(data, at, pieces)
        return b"".join(pieces)

    def _step(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Takes one or two characters that may change the state; returns the place behind them."""
        pair = data[at : at + 2]
        size = 1
        if self._state == _IN_STRING:
            size = 2 if pair[:1] == b"\\" else 1
            self._state = _IN_STRING if size == 2 else _PLAIN
        elif self._state == _IN_LINE:
            self._state = _PLAIN
        elif self._state == _IN_BLOCK:
            if pair == b"*/":
                pieces.append(b"  ")
                self._state = _PLAIN
                return at + 2
            pieces.append(b" ")
            return at + 1
        elif pair[:1] == b'"':
            self._state = _IN_STRING
        elif pair in (b"//", b"/*"):
            pieces.append(b"  ")
            self._state = _IN_LINE if pair == b"//" else _IN_BLOCK
            return at + 2
        pieces.append(data[at : at + size])
        return at + size

    def _shown(self, data: bytes) -> bytes:
        return _NO_NEWLINE.sub(b" ", data) if self._state in (_IN_LINE, _IN_BLOCK) else data
