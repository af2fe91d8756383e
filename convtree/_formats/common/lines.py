"""The lines of a JSONL file; a record that is printed over several lines becomes one text.

A line that opens brackets and does not close them may be the first of such a record, or a damaged line. It is joined
with those that follow until its brackets are closed. It was damaged if a complete record follows, or one begins at the
margin behind lines that are indented. Lines that were joined in vain are yielded as they are and not looked at again,
so the time is in proportion to the size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import orjson

from convtree._engine.codec import BYTE_ORDER_MARK
from convtree._formats.common.base import SourceSpan
from convtree._formats.common.comments import without_comments

_CHUNK = 2**18
_LOOK = 64  # bytes in which a comment begins
_OPEN_ENDS = (b"{", b"[", b",", b":")  # of a line, behind which a record goes on
_TOKEN = re.compile(rb'"(?:[^"\\\r\n]++|\\.)*+("?)|//[^\n]*+|(/\*)|[{}\[\]]')
_BLOCK_END = re.compile(rb"\*/")
_COMMENTS = re.compile(rb"(?:\s++|//[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)*+", re.DOTALL)


class Line(NamedTuple):
    """A line, or a record over several lines, and its position; `data` is None if it is too long."""

    data: bytes | None
    span: SourceSpan


def record_lines(file: BinaryIO, limit: int) -> Iterator[Line]:
    """Yields the lines of a file; the lines of a record as one. Comments between records are left out.

    A line, or a record, has at most `limit` bytes.
    """
    held: list[Line] = []
    scan, size, is_block = _Brackets(), 0, False
    for raw in _lines(file, limit):
        line = raw
        if not held and line.data is not None and (is_block or line.data[:_LOOK].lstrip().startswith(b"/")):
            line, is_block = _without_comments(line, is_block)
        if held and (line.data is None or _begins_anew(line.data, held)):
            yield from held
            held = []
        if line.data is None or (not held and not _may_open(line.data)):
            yield line
            continue
        if not held:
            scan, size = _Brackets(), 0
        held.append(line)
        size += line.span.length
        scan.feed(line.data)
        if not scan.is_open or size > limit:
            yield from held if scan.is_broken or size > limit else [_joined(held)]
            held = []
    if held:  # the file ends inside of it
        last = _joined(held)
        yield last if len(held) == 1 or last.data is None else last._replace(data=last.data.rstrip(b"\r\n"))


def _lines(file: BinaryIO, limit: int) -> Iterator[Line]:
    offset = number = 0
    while data := file.readline(limit):
        number += 1
        length = len(data)
        if length < limit or data.endswith(b"\n"):
            text = data.removeprefix(BYTE_ORDER_MARK) if number == 1 else data
            yield Line(text, SourceSpan(number, offset, length))
        else:
            while data and not data.endswith(b"\n"):
                data = file.readline(_CHUNK)
                length += len(data)
            yield Line(None, SourceSpan(number, offset, length))
        offset += length


def _without_comments(line: Line, is_block: bool) -> tuple[Line, bool]:
    """Returns a line without the comments at its beginning, and whether one goes on behind it.

    `is_block` says whether one goes on into it.
    """
    data = line.data or b""
    if is_block:
        end = data.find(b"*/")
        if end < 0:
            return line._replace(data=b""), True
        data = data[end + 2 :]
    found = _COMMENTS.match(data)
    data = data[found.end() if found else 0 :]
    is_block = data.startswith(b"/*")
    return line._replace(data=b"" if is_block else data), is_block


def _may_open(data: bytes) -> bool:
    """Returns whether a line may be the first of a record over several lines: what follows it must be the next one.

    Nearly every line ends with a brace.
    """
    if data.endswith((b"}\n", b"}")) or not data.lstrip().startswith(b"{"):
        return False
    return without_comments(data).rstrip().endswith(_OPEN_ENDS)


def _begins_anew(data: bytes, held: list[Line]) -> bool:
    """Returns whether a line begins another record, so that the lines before it were damaged."""
    if not data.startswith(b"{"):
        return False
    if len(held) == 1 or (held[1].data or b"").startswith((b" ", b"\t")):
        return True
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and bool(found)


def _joined(lines: Iterable[Line]) -> Line:
    data, spans = list[bytes](), list[SourceSpan]()
    for line in lines:
        data.append(line.data or b"")
        spans.append(line.span)
    first, last = spans[0], spans[-1]
    return Line(b"".join(data), first._replace(length=last.offset + last.length - first.offset))


class _Brackets:
    """Which brackets are open behind the lines of a record."""

    def __init__(self) -> None:
        self._depth = 0
        self._is_block = False  # a comment over several lines
        self.is_broken = False  # a string is not closed on its line, or a bracket is closed that was not open

    @property
    def is_open(self) -> bool:
        """Whether the record goes on."""
        return not self.is_broken and (self._depth > 0 or self._is_block)

    def feed(self, line: bytes) -> None:
        """Takes the next line."""
        at = 0
        while at < len(line):
            found = (_BLOCK_END if self._is_block else _TOKEN).search(line, at)
            if found is None:
                return
            at = found.end()
            token = found[0]
            if self._is_block:
                self._is_block = False
            elif token == b"/*":
                self._is_block = True
            elif token.startswith(b'"'):
                self.is_broken |= not found[1]
            elif token in (b"{", b"["):
                self._depth += 1
            elif token in (b"}", b"]"):
                self._depth -= 1
                self.is_broken |= self._depth < 0
