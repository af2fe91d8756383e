"""Reads messages of Microsoft Agent Framework: a role, and contents that say their kind in `type`. Pure.

Its .NET sibling writes the same with `$type`, and in camel case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from convtree._messages.blocks import Where, listed, members, text_or_none
from convtree._messages.frameworks.making import (
    at,
    called,
    hosted,
    kind_of_part,
    media,
    numbered,
    returned,
    role_of_speaker,
    said,
    speaker_of,
    structured,
    thought,
    unknown,
)
from convtree._messages.parts import Call, Part, ReadInner, Source

_CAPITAL = re.compile(r"(?<=[a-z])[A-Z]")
_ASKING = "function_approval_request"  # holds the call that waits for a person
#: kinds that say nothing to a model
_SILENT = frozenset({"usage", "function_approval_response", "oauth_consent_request"})
_FILES = ("data", "uri")
_IN_RESULTS = ("text", *_FILES)
_NO_RESULT = "The tool failed."


def fits(message: Mapping[str, Any]) -> bool:
    """Returns whether a message is a `Message`."""
    role = message.get("role")
    named = isinstance(role, str) or isinstance(members(role).get("value"), str)
    return named and isinstance(message.get("contents"), list | tuple)


def read(source: Source, inner: ReadInner) -> list[Part]:  # noqa: ARG001  # a content never holds a provider's message
    """Reads a message."""
    role = source.message["role"]
    source.role = speaker_of(members(role).get("value", role))
    return list(_contents(source.message["contents"], (role_of_speaker(source.role), source)))


def facts(message: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001  # the response states them, not the message
    """Returns nothing: a message states no model and no usage."""
    return {}


def _contents(contents: Any, where: Where) -> Iterator[Part]:
    calls: set[Any] = set()
    for place, each in numbered("contents", contents):
        if isinstance(each, str):
            yield from at(place, said(each, where))
            continue
        content = _as_python(members(each))
        kind = kind_of_part(content, "type")
        if kind == _ASKING:
            content, kind = _as_python(members(content.get("function_call"))), "function_call"
            if text_or_none(content.get("call_id")) in calls:  # the framework keeps the call beside the question
                continue
        elif kind in _SILENT:
            continue
        part = _content(content, kind, where) if content else unknown(each, None, where)
        if isinstance(part, Call):
            calls.add(part.id)
        yield from at(place, part)


def _as_python(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a content with the names of the Python framework."""
    if not isinstance(kind := content.get("$type"), str):
        return content
    named = {_snake(key): value for key, value in content.items()}
    return named | {"type": "text_reasoning" if kind == "reasoning" else _snake(kind)}


def _snake(name: str) -> str:
    return _CAPITAL.sub(lambda found: "_" + found[0].lower(), name)


def _content(content: Mapping[str, Any], kind: str | None, where: Where) -> Part | None:
    if kind in _READERS:
        return _READERS[kind](content, where)
    if kind is not None and (kind.endswith(("_tool_call", "_tool_result")) or kind == "shell_command_output"):
        label = content.get("tool_name") or kind
        keys = ("arguments", "inputs", "commands", "actions", "output", "outputs", "result", "items", "stdout")
        return hosted(label, next((content[key] for key in keys if content.get(key)), None), where)
    return unknown(content, kind, where)


def _text(content: Mapping[str, Any], where: Where) -> Part | None:
    return structured(content.get("text"), where)


def _thinking(content: Mapping[str, Any], where: Where) -> Part | None:
    """Reads reasoning. Whose `protected_data` it has is not stated, so it seals nothing."""
    return thought(content.get("text"), where)


def _media(content: Mapping[str, Any], where: Where) -> Part | None:
    name = content.get("name") or content.get("file_id") or content.get("vector_store_id")
    mime, data = content.get("media_type"), content.get("data")
    return media(where, mime=mime, data=data, url=content.get("uri"), name=name) or unknown(
        content, content["type"], where
    )


def _call(content: Mapping[str, Any], where: Where) -> Part:
    if content.get("hosted") is True:
        return hosted(content.get("name"), content.get("arguments"), where)
    return called(content.get("call_id"), content.get("name"), content.get("arguments"), where)


def _result(content: Mapping[str, Any], where: Where) -> Part:
    """Reads a result. Its `items` are its texts and files; `exception` marks an error, and says little."""
    failed = bool(content.get("exception"))
    result, items = content.get("result"), content.get("items")
    if not items and all(kind_of_part(each, "type") in _IN_RESULTS for each in listed(result)):  # of an older version
        items = result
    files = [_media(item, where) for each in listed(items) if (item := members(each)).get("type") in _FILES]
    found: list[Part | None] = [_results_text(result, items, where), *files]
    if failed and not any(found):
        found = [said(text_or_none(content.get("exception")) or _NO_RESULT, where)]
    return returned(content.get("call_id"), content.get("name"), found, where, failed)


def _results_text(result: Any, items: Any, where: Where) -> Part | None:
    texts = [members(each).get("text") for each in listed(items)]
    lines = [text for text in texts if isinstance(text, str) and text.strip()]
    return said("\n".join(lines), where) or structured(result, where)


def _error(content: Mapping[str, Any], where: Where) -> Part | None:
    about = [content.get("error_code"), content.get("message"), content.get("error_details", content.get("details"))]
    return said("Error: " + "\n".join(line for line in about if isinstance(line, str) and line), where)


_READERS: dict[str, Callable[[Mapping[str, Any], Where], Part | None]] = {
    "text": _text,
    "text_reasoning": _thinking,
    **dict.fromkeys(("data", "uri", "hosted_file", "hosted_vector_store"), _media),
    "function_call": _call,
    "function_result": _result,
    "error": _error,
}
