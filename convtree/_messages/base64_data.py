"""Data of pictures and files in the standard base64 alphabet, with padding. Pure.

Some SDKs write the URL-safe alphabet, which the strict decoders of other providers refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from convtree._messages.blocks import members
from convtree._messages.parts import Media, Part, Result

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_STANDARD = str.maketrans("-_", "+/")


def standard(data: str) -> str:
    """Returns base64 data in the standard alphabet, with padding. Anything else is returned as it is."""
    if len(data) % 4 == 0 and "-" not in data and "_" not in data and "\n" not in data:
        return data
    joined = "".join(data.split())
    if not _BASE64.fullmatch(joined):
        return data
    bare = joined.rstrip("=")
    return bare.translate(_STANDARD) + "=" * (-len(bare) % 4)


def with_standard_data(part: Part) -> Part:
    """Returns a part whose pictures and files, and those of its `raw`, have standard data; the same part if so."""
    media = part.content if isinstance(part, Result) else (part,)
    data = [text for each in media for text in _data_of(each)]
    changed = {each: new for each in data if (new := standard(each)) != each}
    if not changed:
        return part
    part.source.whole = False
    raw = None if part.raw is None else _replaced(part.raw, changed)
    if isinstance(part, Result):
        content = tuple(with_standard_data(each) for each in part.content)
        return msgspec.structs.replace(part, raw=raw, content=content)
    assert isinstance(part, Media)  # no other part has data
    return msgspec.structs.replace(part, raw=raw, data=changed.get(part.data or "", part.data))


def _data_of(part: Part) -> Iterator[str]:
    """Yields the data of a picture or a file, and of the pictures in a document that is made of blocks."""
    if not isinstance(part, Media):
        return
    if part.data:
        yield part.data
    blocks = members(members(part.raw).get("source")).get("content") if part.text is not None else None
    for block in blocks if isinstance(blocks, list | tuple) else ():
        data = members(members(block).get("source")).get("data")
        if isinstance(data, str):
            yield data


def _replaced(raw: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Returns a copy of a block in which some texts are replaced, alone or at the end of a data URL."""
    top: list[Any] = [raw]
    waiting: list[tuple[Any, Any]] = [(top, 0)]
    while waiting:
        holder, place = waiting.pop()
        value = holder[place]
        if isinstance(value, Mapping):
            holder[place] = copied = dict(value)
            waiting += [(copied, name) for name in copied]
        elif isinstance(value, list | tuple):
            holder[place] = listed = list(value)
            waiting += [(listed, number) for number in range(len(listed))]
        elif isinstance(value, str):
            head, comma, data = value.rpartition(",") if value.startswith("data:") else ("", "", value)
            holder[place] = f"{head}{comma}{texts[data]}" if data in texts else value
    found: dict[str, Any] = top[0]
    return found
