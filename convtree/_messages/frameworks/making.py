"""What the readers of frameworks' messages share. Pure.

A framework has its own words for text, media, calls and results, and the same few meanings. These helpers make the
parts. Whatever a reader does not know becomes an `Unknown`: nothing that was said is left out in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
import orjson

from convtree._messages.base64_data import standard
from convtree._messages.blocks import Where, kind_of, listed, members, mime_of, text_or_none
from convtree._messages.dialects import ANTHROPIC, RESPONSES, ROLES, SPEAKERS
from convtree._messages.parts import (
    Call,
    Hosted,
    Kind,
    Media,
    Part,
    Result,
    Role,
    Source,
    Text,
    Thinking,
    Unknown,
    as_json,
    placed,
)

P = TypeVar("P", bound=Part)
Place = tuple[str | int, ...]


def speaker_of(said: Any, otherwise: str = "user") -> str:
    """Returns the standard word for a role, such as "assistant" for "AI"."""
    return ROLES.get(said.lower(), otherwise) if isinstance(said, str) else otherwise


def role_of_speaker(speaker: str) -> Role:
    """Returns the role of the parts of a speaker: "user" for a tool."""
    return SPEAKERS.get(speaker, "user")


def kind_of_part(value: Any, key: str) -> str | None:
    """Returns the kind that a part says under a key; None if it says none."""
    kind = members(value).get(key)
    return kind if isinstance(kind, str) else None


def said(text: Any, where: Where) -> Text | None:
    """Makes a text; None if it is blank or no text."""
    role, source = where
    return Text(role=role, source=source, text=text) if isinstance(text, str) and text.strip() else None


def thought(text: Any, where: Where, signature: Any = None) -> Thinking | None:
    """Makes reasoning. A signature that is given is Anthropic's, and seals it; None if there is neither."""
    text, signature = text_or_none(text) or "", text_or_none(signature)
    if not text.strip() and signature is None:
        return None
    if signature is None:
        return Thinking(role=where[0], source=where[1], text=text)
    raw = {"type": "thinking", "thinking": text, "signature": signature}
    return Thinking(role=where[0], source=where[1], raw=raw, shape=ANTHROPIC, text=text, sealed=True)


def redacted_thought(data: Any, where: Where) -> Thinking | None:
    """Makes reasoning that Anthropic encrypted; None without its data."""
    if not isinstance(data, str) or not data:
        return None
    raw = {"type": "redacted_thinking", "data": data}
    return Thinking(role=where[0], source=where[1], raw=raw, shape=ANTHROPIC, text="", sealed=True)


def encrypted_thought(text: Any, content: str, id: Any, where: Where) -> Thinking:
    """Makes reasoning that OpenAI encrypted. Another model gets it without its id, which refers to stored data."""
    text, id = text_or_none(text) or "", text_or_none(id) if where[1].trusted else None
    raw = {
        "type": "reasoning",
        **({"id": id} if id else {}),
        "summary": [{"type": "summary_text", "text": text}] if text else [],
        "encrypted_content": content,
    }
    return Thinking(role=where[0], source=where[1], raw=raw, shape=RESPONSES, text=text, sealed=True)


def called(id: Any, name: Any, arguments: Any, where: Where) -> Call:
    """Makes a tool call."""
    return Call(
        role="assistant",
        source=where[1],
        id=text_or_none(id),
        name=text_or_none(name) or "",
        arguments=arguments,
    )


def chat_calls(message: Mapping[str, Any], where: Where) -> Iterator[Part]:
    """Yields the calls of a message that has them as OpenAI chat does."""
    for place, each in numbered("tool_calls", message.get("tool_calls")):
        function = members(members(each).get("function"))
        if "name" in function:
            yield from at(place, called(each.get("id"), function["name"], function.get("arguments"), where))
        else:
            yield from at(place, unknown(each, "tool_calls", where))


def returned(id: Any, name: Any, content: Iterable[Part | None], where: Where, is_error: bool = False) -> Result:
    """Makes the result of a call. Parts of its content that are neither text nor media become JSON text."""
    return Result(
        role="user",
        source=where[1],
        id=text_or_none(id),
        name=text_or_none(name) or "",
        content=tuple(held for part in content if (held := _in_result(part)) is not None),
        is_error=is_error,
    )


def media(
    where: Where,
    *,
    kind: Kind | None = None,
    mime: Any = None,
    data: Any = None,
    url: Any = None,
    name: Any = None,
) -> Media | None:
    """Makes an image or a file; None if it has neither data, nor a link, nor a name.

    Args:
        where: the role and source.
        kind: the kind of media; None: as the MIME type says.
        mime: its MIME type.
        data: base64 text, of the standard or the URL-safe alphabet.
        url: a link, or a `data:` URL.
        name: a file name, or the id under which a provider keeps the file.
    """
    url, data, name, mime = text_or_none(url), text_or_none(data), text_or_none(name), mime_of(mime)
    if url is not None and url.startswith("data:") and ";base64," in url:
        head, data = url.split(";base64,", 1)
        mime, url = mime or mime_of(head[5:]), None
    if data is None and url is None and name is None:
        return None
    return Media(
        role=where[0],
        source=where[1],
        kind=kind_of(mime) if kind is None else kind,
        mime=mime,
        data=None if data is None else standard(data),
        url=url,
        name=name,
    )


def hosted(name: Any, value: Any, where: Where, raw: Mapping[str, Any] | None = None) -> Hosted:
    """Makes a part of a tool that ran at the provider, with a text about it for other models.

    `raw` is the block of Anthropic, if it is one.
    """
    words = value if isinstance(value, str) else "" if value is None else _found_pages(value) or as_json(value)
    label = text_or_none(name) or "tool"
    return Hosted(
        role=where[0],
        source=where[1],
        raw=raw,
        shape=None if raw is None else ANTHROPIC,
        text=f"[{label}] {words}".rstrip(),
    )


def _found_pages(value: Any) -> str:
    """Returns title and link of each page that a search found; empty if a value is no such list."""
    pages = [members(each) for each in listed(value)]
    if not pages or not all(isinstance(page.get("url"), str) for page in pages):
        return ""
    return "\n".join(" ".join(filter(None, (text_or_none(page.get("title")), page["url"]))) for page in pages)


def unknown(value: Any, kind: str | None, where: Where) -> Unknown:
    """Makes a part of a kind that no reader knows."""
    named = "without a kind" if kind is None else f"of kind {kind!r}"
    return Unknown(role=where[0], source=where[1], value=value, why=f"a part {named}")


def structured(value: Any, where: Where) -> Text | None:
    """Makes a text of any value: a text as it is, anything else as JSON text; None for null and for blank texts."""
    if value is None:
        return None
    return said(value if isinstance(value, str) else as_json(value), where)


def as_value(arguments: Any) -> Any:
    """Returns arguments as a JSON value, if they are JSON text."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments


def numbered(key: str, values: Any) -> Iterator[tuple[Place, Any]]:
    """Yields the members of a list, each with its place; of anything else nothing."""
    for index, value in enumerate(listed(values)):
        yield (key, index), value


def at(place: Place, part: P | None) -> Iterator[P]:
    """Yields a part with its place, unless it is None."""
    if part is not None:
        yield placed(part, *place)


def _in_result(part: Part | None) -> Text | Media | None:
    """Returns what a result holds of a part: the part, or its value as JSON text; None if that is blank."""
    if part is None or isinstance(part, Text | Media):
        return part and msgspec.structs.replace(part, role="user")
    value = getattr(part, "value", getattr(part, "text", None))
    if isinstance(part, Call):
        value = {"name": part.name, "arguments": part.arguments}
    text = structured(value, ("user", part.source))
    return text and placed(text, *part.place)


def source_speaks(source: Source, parts: Iterable[Part], otherwise: str) -> None:
    """Sets the role of a message whose parts have roles of their own: that of its parts, if they agree."""
    kinds = {"tool" if isinstance(part, Result) else part.role for part in parts}
    source.role = kinds.pop() if len(kinds) == 1 else otherwise
