"""Cuts records that are too large for a line of a log, at their longest texts. Pure."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import orjson

from convtree._engine import codec
from convtree._engine.signatures import drop_broken
from convtree._formats.common.base import Findings, SourceSpan
from convtree._model.entries import Record
from convtree._model.errors import InvalidMessage

_ROOM = codec.LINE_LIMIT - 2**20  # bytes for the values of a record that was too large
_CUT = "… [cut]"
_SHORT = 1024  # characters of a text that is never cut

R = TypeVar("R", bound=Record)


def truncate_to_limit(record: R, span: SourceSpan, findings: Findings) -> R:
    """Returns a record that fits on a line of a log. The longest texts of a larger one are cut, which is reported.

    What is cut loses its signature. Only a large line of the source can become too large, so the others are not
    measured.
    """
    if span.length < codec.LINE_LIMIT // 4:
        return record
    try:
        codec.encode(record)
    except InvalidMessage:
        findings.add("value_replaced", span, record.id)
        values = {name: getattr(record, name) for name in record.__struct_fields__}
        whole = orjson.dumps({k: v for k, v in values.items() if isinstance(v, str | dict | list)})
        fields = orjson.loads(whole)
        _cut_texts(fields)
        if len(orjson.dumps(fields)) > _ROOM:
            fields = {name: _cut_members(value) for name, value in fields.items()}
        drop_broken(orjson.loads(whole), fields)
        return msgspec.structs.replace(record, **fields)
    return record


def _cut_texts(fields: dict[str, Any]) -> None:
    """Cuts the longest texts in place, until the rest fits on a line."""
    found: list[tuple[int, Any, Any]] = []
    stack: list[Any] = [fields]
    while stack:
        inside = stack.pop()
        for name, value in inside.items() if isinstance(inside, dict) else enumerate(inside):
            if isinstance(value, str) and len(value) > _SHORT:
                found.append((len(value.encode()), inside, name))
            elif isinstance(value, dict | list):
                stack.append(value)
    found.sort(key=lambda each: each[0], reverse=True)
    excess = len(orjson.dumps(fields)) - _ROOM
    for size, inside, name in found:
        if excess <= 0:
            break
        kept = inside[name].encode()[: max(0, size - excess - len(_CUT.encode()))].decode(errors="ignore")
        inside[name] = kept + _CUT
        excess -= size - len(inside[name].encode())


def _cut_members(value: Any) -> Any:
    """Replaces a value that is large because of its many parts."""
    if isinstance(value, str) or len(orjson.dumps(value)) <= _SHORT:
        return value
    if isinstance(value, list):
        return [_CUT]
    return {key: item if len(orjson.dumps(item)) <= _SHORT else _CUT for key, item in list(value.items())[:64]}
