"""What a task's `ui_messages.json` adds to its history: what requests cost, what was cut from them, what was typed.

The file holds what the screen shows: `ts`, `type` (`ask` or `say`), `ask` or `say` with the kind, and a `text`. The
texts of the kinds in `_COUNTED` are JSON with counts. (cline/cline, shared/ExtensionMessage.ts, getApiMetrics.ts;
RooCodeInc/Roo-Code, packages/types/src/message.ts, packages/core/src/message-utils/consolidateTokenUsage.ts.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from convtree._formats.common.base import NO_PLACE, Findings, SourceSpan
from convtree._formats.common.json_arrays import item_keys, read_items
from convtree._formats.common.parsing import parse
from convtree._formats.common.values import NUMBER, Kinds, as_object, count, misfits, text, without

_COUNTED = {"api_req_started", "deleted_api_reqs", "subagent_usage"}
#: fields that are read, or repeat the history
_READ: Kinds = {
    **dict.fromkeys(("type", "ask", "say", "text"), str),
    "ts": NUMBER,
    "partial": bool,
    "conversationHistoryIndex": int,
    "conversationHistoryDeletedRange": list,
}
_COUNTS = ("tokensIn", "tokensOut", "cacheWrites", "cacheReads", "cost", "apiProtocol")


class Request(NamedTuple):
    """A request to a model: when it began, the last message of the history at that time, its facts, its usage.

    `is_apart`: it is not one that a message of the history answers. `is_over`: no more is added to it.
    """

    kind: str
    time: float | None
    place: int | None
    facts: dict[str, Any]
    usage: dict[str, Any]
    span: SourceSpan
    is_apart: bool
    is_over: bool


class Screen(NamedTuple):
    """What is read of the file. `hidden` are the first and the last message that the model is not sent any more."""

    requests: tuple[Request, ...] = ()
    hidden: tuple[int, int] | None = None
    task: str | None = None
    time: Any = None


def is_screen(beginning: bytes) -> bool:
    """Returns whether a file is such a list, judged by its first bytes."""
    return any({"ts", "type"} <= keys and not keys.isdisjoint({"ask", "say"}) for keys in item_keys(beginning))


def read_screen(file: BinaryIO, findings: Findings) -> Screen:
    """Reads the file."""
    requests: list[Request] = []
    hidden, task, time = None, None, None
    for fields, span in read_items(file, findings, _is_message):
        if time is None:
            time, task = fields.get("ts"), text(fields.get("text"))
        hidden = _range(fields.get("conversationHistoryDeletedRange")) or hidden
        found = list(_requests(fields, span))
        requests += found
        for name in _unread(fields, *(("modelInfo", "contextCondense") if found else ())):
            findings.add_once(name, "source_field_dropped", span)
    return Screen(tuple(requests), hidden, task, time)


def _unread(fields: dict[str, Any], *read: str) -> list[str]:
    """Returns the fields that are not read, and do not repeat the history."""
    unread = without(fields, *_READ, *read) | misfits(fields, _READ)
    is_counted = text(fields.get("say")) in _COUNTED and bool(text(fields.get("text")))
    return [*unread, *(["text"] if is_counted and not _reported(fields) else [])]


def _reported(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the object in the text of a message; an empty one if it is none."""
    return next(iter(parse((text(fields.get("text")) or "").encode(), NO_PLACE, Findings())), {})


def _requests(fields: dict[str, Any], span: SourceSpan) -> Iterator[Request]:
    """Yields the request that a message reports, if it has counts."""
    kind = text(fields.get("say")) or ""
    if kind in _COUNTED:
        reported = _reported(fields)
    elif kind == "condense_context":
        reported = as_object(fields.get("contextCondense"))
    else:
        return
    usage = {name: reported[name] for name in _COUNTS if reported.get(name) is not None}
    if usage.keys() <= {"apiProtocol"}:
        return
    facts = without(reported, "request", "summary", *_COUNTS) | without({"modelInfo": fields.get("modelInfo")})
    facts |= misfits(reported, {"request": str, "summary": str})
    time = fields.get("ts")
    yield Request(
        kind=kind,
        time=time if isinstance(time, int | float) else None,
        place=count(fields.get("conversationHistoryIndex")),
        facts=facts,
        usage=usage,
        span=span,
        is_apart=kind != "api_req_started",
        is_over="cancelReason" in facts,
    )


def _range(value: Any) -> tuple[int, int] | None:
    found = [count(each) for each in value] if isinstance(value, list) and len(value) == 2 else []
    first, last = found or (None, None)
    return None if first is None or last is None else (first, last)


def _is_message(fields: dict[str, Any]) -> bool:
    return "ts" in fields and isinstance(fields.get("type"), str)
