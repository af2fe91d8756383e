"""JSON inside of a script element. Pure.

A browser ends a script element at its end tag, whatever JSON says around it, and a comment or a line separator can
confuse it. So no such character is left: all of them are escapes of JSON, with the same value.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

_ESCAPES = {
    b"<": b"\\u003c",
    b">": b"\\u003e",
    b"&": b"\\u0026",
    "\u2028".encode(): b"\\u2028",
    "\u2029".encode(): b"\\u2029",
}


def script_data(value: Any) -> bytes:
    """Returns a value as JSON that may stand in a script element."""
    try:
        written = orjson.dumps(value)
    except TypeError:  # an integer of more than 64 bits
        written = msgspec.json.encode(value)
    for character, escaped in _ESCAPES.items():
        written = written.replace(character, escaped)
    return written
