"""Reader of JSONL files and single JSON documents of other tools. Damaged lines are reported and searched for records.

Lines end at a newline byte and nowhere else; only one of them is in memory, or the lines of one record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from convtree._engine.codec import BYTE_ORDER_MARK
from convtree._formats.common.base import Findings, SessionRef, Source, SourceSpan
from convtree._formats.common.files import SourceFile
from convtree._formats.common.ids import make_ref
from convtree._formats.common.lines import record_lines
from convtree._formats.common.parsing import Object, parse
from convtree._model.errors import NotALog

LINE_LIMIT = 64 * 2**20  # bytes of a line, or of a record over several lines, that are still taken


def read_objects(
    file: BinaryIO,
    findings: Findings,
    is_record: Callable[[dict[str, Any]], bool],
    list_key: str | None = None,
) -> Iterator[Object]:
    """Yields the objects of a file in order, each on one line or on several.

    Values that a log cannot hold are replaced and reported.

    `is_record` tells a complete record from a fragment: in a line that begins with an incomplete record, another one
    is used only if it is complete. With `list_key`, a line that is a list is an object with the list under this key.
    """
    span = SourceSpan(0, 0, 0)
    for data, span in record_lines(file, LINE_LIMIT):
        if data is None:
            findings.add("source_line_too_long", span)
            continue
        for fields in parse(data, span, findings, is_record, list_key=list_key):
            yield Object(fields, span)
    if getattr(file, "is_cut", False):
        findings.add("source_torn_tail", SourceSpan(span.line + 1, span.offset + span.length, 0))


def has_known_line(source: Source, is_known: Callable[[dict[str, Any]], bool], look: int) -> bool | None:
    """Returns whether a file has a line that a format knows among the first `look` ones that can be read.

    None if none can be read because the first line is an object longer than the beginning.
    """
    known, number, findings = False, 0, Findings()
    objects = read_objects(source.open_beginning(), findings, is_record)
    for number, (fields, _) in enumerate(islice(objects, look), 1):
        known = known or is_known(fields)
        if known and number >= findings.count("source_bad_line"):  # else it may be a text that shows such lines
            return True
    is_object = source.beginning.removeprefix(BYTE_ORDER_MARK).lstrip(b"\0 \t\r\n").startswith(b"{")
    return None if is_object and number == 0 else False


def read_document(file: BinaryIO, findings: Findings) -> Object | None:
    """Returns the JSON object that a file is, on any number of lines; None if it cannot be read."""
    data = file.read(LINE_LIMIT + 1)
    span = SourceSpan(1, 0, len(data))
    if len(data) > LINE_LIMIT:
        findings.add("source_line_too_long", span)
        return None
    objects = parse(data.removeprefix(BYTE_ORDER_MARK), span, findings)
    return Object(objects[0], span) if objects else None


def object_in(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file beside a source; an empty one if there is none that can be read."""
    with suppress(NotALog, OSError, ImportError), SourceFile(path) as file:
        found = read_document(file, Findings())
        return {} if found is None else found.fields
    return {}


def single_session(source: Source, name: str) -> Iterator[SessionRef]:
    """Yields the session of a file whose first line is a header with its id. Reads only the beginning."""
    header = next(read_objects(source.open_beginning(), Findings(), is_record))
    yield make_ref(name, str(header.fields["id"]))


def first_object(objects: Iterator[Object], source: Source) -> Object:
    """Returns the first object of a file that was recognised by it.

    Raises:
        NotALog: there is none any more.
    """
    first = next(objects, None)
    if first is None:
        raise NotALog(f"{source.path}: was replaced while it was read: there is no record in it")
    return first


def is_header(fields: dict[str, Any]) -> bool:
    """Returns whether an object is a header of pi or kit, and not of convtree."""
    return fields.get("type") == "session" and "format" not in fields and isinstance(fields.get("id"), str)


def is_record(fields: dict[str, Any]) -> bool:
    """Returns whether an object is a complete record of pi or a similar tool."""
    return isinstance(fields.get("type"), str) and isinstance(fields.get("timestamp"), str)
