"""Values of LangGraph's `JsonPlusSerializer` as JSON, without importing or calling anything that they name. Pure.

Documented by `langgraph/checkpoint/serde/jsonplus.py` of langgraph-checkpoint 4.3: MessagePack, in which an object is
an extension that holds its module, its class and its arguments. Here it becomes its arguments.
"""

from __future__ import annotations

from typing import Any

import msgspec

from convtree._formats.common.base import Findings, SourceSpan
from convtree._formats.common.parsing import parse

#: how an object was stored: by the only argument, by a list of them, by name, or as the fields of a pydantic model
_OBJECTS = range(6)
_LEVELS = 16  # extensions inside of extensions


def decode(kind: Any, data: Any, span: SourceSpan, findings: Findings) -> dict[str, Any] | None:
    """Returns the object that a cell holds; None if it cannot be read. A pickle never is."""
    if kind == "json":
        text = data if isinstance(data, bytes) else str(data).encode()
    elif kind == "msgpack" and isinstance(data, bytes):
        try:
            text = msgspec.json.encode(_opened(data, 0))
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            return None
    else:
        return None
    found = parse(text + b"\n", span, findings)
    return found[0] if found else None


def _opened(data: bytes | memoryview, level: int) -> Any:
    """Returns a value in which objects are their arguments, and what is nested too deeply is None."""

    def opened(code: int, inside: memoryview) -> Any:
        if level >= _LEVELS:
            return None
        value = _opened(inside, level + 1)
        is_object = code in _OBJECTS and isinstance(value, list) and len(value) > 2
        return value[2] if is_object else value

    return msgspec.msgpack.decode(data, ext_hook=opened)
