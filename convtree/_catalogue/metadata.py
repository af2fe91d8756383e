"""Metadata of a session as the tables have it: a digest for each key and for each value. Pure.

Equal JSON values have equal digests, in every database: lists ask for equality, and values have any length and any
character. 1 and 1.0 are equal, 1 and true are not. The order of the keys of an object does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple


class MetadataChange(NamedTuple):
    """How a record changes the metadata of its session.

    Attributes:
        rows: name and value of each key that changes, as digests; a value of None removes the key.
        replaces: whether all other keys are removed.
    """

    rows: tuple[tuple[str, str | None], ...]
    replaces: bool = False


def metadata_rows(metadata: Mapping[str, Any]) -> tuple[tuple[str, str | None], ...]:
    """Returns name and value of each key, as digests. A key that is null is as good as none: its value is None."""
    return tuple((digest(name), None if value is None else digest(value)) for name, value in metadata.items())


def digest(value: Any) -> str:
    """Returns 32 hex digits that stand for a JSON value."""
    hasher = blake2b(digest_size=16)
    waiting = [value]
    while waiting:
        each = waiting.pop()
        hasher.update(_token(each))
        if isinstance(each, Mapping):
            for key in sorted(each, reverse=True):
                waiting += (each[key], key)
        elif isinstance(each, list | tuple):
            waiting.extend(reversed(each))
    return hasher.hexdigest()


def _token(value: Any) -> bytes:
    """Returns a value without what is inside it. No token begins another one."""
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return b"s%d:%b" % (len(text), text)
    if isinstance(value, Mapping):
        return b"{%d:" % len(value)
    if isinstance(value, list | tuple):
        return b"[%d:" % len(value)
    if value is None or isinstance(value, bool):
        return {None: b"n", False: b"f", True: b"t"}[value]
    if isinstance(value, float) and not value.is_integer():
        return b"d%b:" % repr(value).encode()
    return b"i%b:" % hex(int(value)).encode()
