"""Foreign JSONL, and single JSON documents: objects one after the other, whatever a crash has left of them.

Lines end at a newline byte and nowhere else, and only one of them is in memory at a time.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSpan
from convtree._formats.common.ids import make_ref
from convtree._formats.common.parsing import Object, parse

LINE_LIMIT = 64 * 2**20  # bytes of a line that are still taken

_CHUNK = 2**18


def read_objects(file: BinaryIO, findings: Findings, is_record: Callable[[dict[str, Any]], bool]) -> Iterator[Object]:
    """Yields the objects of a file in order, with every value that no log can hold replaced, and reported.

    `is_record` knows a whole record of the format from a fragment of one: when a line begins with the stub of a torn
    write, what follows is taken only if it is a record.
    """
    offset = line = 0
    for line, (data, length) in enumerate(_lines(file), 1):
        span = SourceSpan(line, offset, length)
        offset += length
        if data is None:
            findings.add("source_line_too_long", span)
            continue
        text = data.removeprefix(b"\xef\xbb\xbf") if line == 1 else data
        for fields in parse(text, span, findings, is_record):
            yield Object(fields, span)
    if getattr(file, "is_cut", False):
        findings.add("source_torn_tail", SourceSpan(line + 1, offset, 0))


def read_document(file: BinaryIO, findings: Findings) -> Object | None:
    """Returns a file that is one JSON object, on however many lines; None when it is none that can be read."""
    data = file.read(LINE_LIMIT + 1)
    span = SourceSpan(1, 0, len(data))
    if len(data) > LINE_LIMIT:
        findings.add("source_line_too_long", span)
        return None
    objects = parse(data.removeprefix(b"\xef\xbb\xbf"), span, findings)
    return Object(objects[0], span) if objects else None


def single_session(source: Source, name: str) -> Iterator[SessionRef]:
    """Yields the session of a file whose first line is a header with its id. Reads only the beginning."""
    header = next(read_objects(io.BytesIO(source.beginning), Findings(), is_record))
    yield make_ref(name, str(header.fields["id"]))


def _lines(file: BinaryIO) -> Iterator[tuple[bytes | None, int]]:
    """Yields lines with their lengths; None stands for one that is too long."""
    while data := file.readline(LINE_LIMIT):
        length = len(data)
        if length < LINE_LIMIT or data.endswith(b"\n"):
            yield data, length
            continue
        while data and not data.endswith(b"\n"):
            data = file.readline(_CHUNK)
            length += len(data)
        yield None, length


def is_header(fields: dict[str, Any]) -> bool:
    """Tells the header of pi and its relatives, other than our own."""
    return fields.get("type") == "session" and "format" not in fields and isinstance(fields.get("id"), str)


def is_record(fields: dict[str, Any]) -> bool:
    """Tells a whole record of pi and its relatives from a fragment of one."""
    return isinstance(fields.get("type"), str) and isinstance(fields.get("timestamp"), str)
