"""Streaming reader of a JSON file that is one array, of any size, or one object.

Brackets outside of strings show where an item ends, so items are found without parsing, and only one is in memory. A
damaged item is searched for complete records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

from convtree._engine.codec import BYTE_ORDER_MARK
from convtree._formats.common.base import Findings, SourceSpan
from convtree._formats.common.comments import Uncommented, has_comment
from convtree._formats.common.jsonl import LINE_LIMIT
from convtree._formats.common.parsing import Object, parse

_CHUNK = 2**18
_PLAIN = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)  # up to a bracket, or a string cut off
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_TOKEN = re.compile(rb'"((?:[^"\\]++|\\.)*+)(?:"(\s*+:)?|\\?\Z)|[{}\[\]]', re.DOTALL)  # a string may be cut off
_OPENING, _CLOSING = b"{[", b"}]"
_BETWEEN = b" \t\r\n,"


def read_items(
    file: BinaryIO,
    findings: Findings,
    is_record: Callable[[dict[str, Any]], bool],
    list_key: str | None = None,
) -> Iterator[Object]:
    """Yields the objects of a file or of the array in it. `is_record` tells a complete record from a fragment.

    With `list_key`, a list in the array is an object with the list under this key.
    """
    splitter = _Splitter(file)
    for data, span, is_whole in splitter.parts():
        if data is None:
            findings.add("source_line_too_long" if span.length > LINE_LIMIT else "source_bad_line", span)
            continue
        text = data + (b"\n" if is_whole else b"")
        for fields in parse(text, span, findings, is_record, several=True, list_key=list_key):
            yield Object(fields, span)
    if getattr(file, "is_cut", False):
        findings.add("source_torn_tail", SourceSpan(splitter.line, splitter.offset, 0))


@lru_cache(maxsize=1)
def item_keys(beginning: bytes) -> tuple[frozenset[str], ...]:
    """Returns the keys of each top-level object, or of each object in the top-level array, in the first bytes."""
    text = beginning.removeprefix(BYTE_ORDER_MARK).lstrip()
    if not text.startswith((b"[", b"{")):
        return ()
    found: list[set[str]] = []
    depth, base = 0, int(text.startswith(b"["))
    for token in _TOKEN.finditer(text):
        if token[1] is not None:
            if token[2] is not None and depth == base + 1 and found:
                found[-1].add(token[1].decode(errors="replace"))
        elif token[0] in (b"{", b"["):
            if depth == base and token[0] == b"{":
                found.append(set())
            depth += 1
        else:
            depth -= 1
    return tuple(frozenset(keys) for keys in found)


def has_key(beginning: bytes, key: str, value: str) -> bool:
    """Returns whether a key occurs anywhere in the first bytes, with a value that starts with a pattern."""
    pattern = rb'"' + re.escape(key.encode()) + rb'"\s*:\s*' + value.encode()
    return re.search(pattern, beginning) is not None  # in a string a backslash stands before the second quote


class _Part(NamedTuple):
    """The bytes of an item; None if it is too long or not an item. `is_whole` is False if the file ends inside it."""

    data: bytes | None
    span: SourceSpan
    is_whole: bool = True


class _Splitter:
    """Splits a file into items. Reads it in chunks and looks at every byte once."""

    def __init__(self, file: BinaryIO) -> None:
        self._read: Callable[[int], bytes] = file.read
        self._is_in_array = False
        self._depth = 0  # of brackets, inside an item
        self._is_in_string = False
        self._is_escaped = False  # the piece ended behind a backslash
        self._pieces: list[bytes] = []
        self.offset = 0  # of the item, or of what lies between two
        self._size = 0
        self.line = 1
        self._newlines = 0  # since the start
        self._is_junk = False  # something between two items that should not be there

    def parts(self) -> Iterator[_Part]:
        """Yields the items in order, and anything else than a comma between them."""
        chunk = self._read(_CHUNK)
        if chunk.startswith(BYTE_ORDER_MARK):
            self.offset, chunk = len(BYTE_ORDER_MARK), chunk[len(BYTE_ORDER_MARK) :]
        if has_comment(chunk):
            self._read = Uncommented(self._read, chunk).read
            chunk = self._read(_CHUNK)
        while chunk:
            begin = 0
            for at in self._brackets(chunk):
                opens = chunk[at] in _OPENING
                if self._depth == 0 and (opens and (self._is_in_array or chunk[at] == _OPENING[0])):
                    yield from self._take(chunk[begin:at])
                    begin, self._depth = at, 1
                elif self._depth == 0:
                    self._is_in_array = opens
                    self._is_junk |= chunk[at] == _CLOSING[0]
                else:
                    self._depth += 1 if opens else -1
                    if self._depth == 0:
                        yield from self._take(chunk[begin : at + 1], is_item=True)
                        begin = at + 1
            self._keep(chunk[begin:])
            chunk = self._read(_CHUNK)
        yield from self._take(b"", is_item=self._depth > 0, is_whole=False)

    def _brackets(self, chunk: bytes) -> Iterator[int]:
        """Yields the positions of brackets outside of strings."""
        at = int(self._is_escaped)
        self._is_escaped = False
        while at < len(chunk):
            if self._is_in_string:
                at = _end(_STRING, chunk, at)
                self._is_escaped = chunk[at : at + 1] == b"\\"
                self._is_in_string = chunk[at : at + 1] != b'"'
            else:
                at = _end(_PLAIN, chunk, at)
                if chunk[at : at + 1] == b'"':
                    self._is_in_string = True
                elif at < len(chunk):
                    yield at
            at += 1

    def _keep(self, data: bytes) -> None:
        """Adds a piece of an item, or of what is between two. Of an item that is too long only the size is counted."""
        self._size += len(data)
        self._newlines += data.count(b"\n")
        if self._depth == 0:
            self._is_junk |= bool(data.strip(_BETWEEN + (b"[]" if not self._is_in_string else b"")))
        elif self._size <= LINE_LIMIT:
            self._pieces.append(data)
        else:
            self._pieces.clear()

    def _take(self, data: bytes, *, is_item: bool = False, is_whole: bool = True) -> Iterator[_Part]:
        """Ends an item, or what is between two."""
        depth, self._depth = self._depth, int(is_item)
        self._keep(data)
        self._depth = depth
        span = SourceSpan(self.line, self.offset, self._size)
        if is_item:
            yield _Part(b"".join(self._pieces) if self._size <= LINE_LIMIT else None, span, is_whole)
        elif self._is_junk:
            yield _Part(None, span._replace(length=min(self._size, LINE_LIMIT)))
        self.offset += self._size
        self.line += self._newlines
        self._pieces, self._size, self._newlines, self._is_junk = [], 0, 0, False


def _end(pattern: re.Pattern[bytes], chunk: bytes, at: int) -> int:
    match = pattern.match(chunk, at)
    return match.end() if match else at
