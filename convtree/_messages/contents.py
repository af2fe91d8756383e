"""Reads contents of Gemini into parts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convtree._messages.blocks import kind_of, listed, members, mime_of, text_or_none, unknown_block
from convtree._messages.dialects import (
    GEMINI,
    GEMINI_CALL_KEYS,
    GEMINI_DATA_KEYS,
    GEMINI_FILE_KEYS,
    GEMINI_HOSTED_KEYS,
    GEMINI_RESULT_KEYS,
    GEMINI_SIGNATURE_KEYS,
    GEMINI_UNSIGNED,
)
from convtree._messages.hosted import text_of_hosted
from convtree._messages.parts import (
    Call,
    Hosted,
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
from convtree._messages.trimming import GEMINI_RULE, trimmed

_OBJECT_KEYS = frozenset(
    (*GEMINI_CALL_KEYS, *GEMINI_RESULT_KEYS, *GEMINI_DATA_KEYS, *GEMINI_FILE_KEYS, *GEMINI_HOSTED_KEYS)
)


def read_contents(source: Source, role: Role) -> list[Part]:
    """Reads a message. Empty parts are left out, and the source is then not whole."""
    found: list[Part] = []
    for number, each in enumerate(source.message["parts"]):
        if not isinstance(each, Mapping):
            found.append(placed(unknown_block(each, role, source), "parts", number))
            continue
        for raw in _separated(_as_sent(each, source), source):
            part = _part(raw, role, source)
            if part is None:
                source.whole = False
            else:
                found.append(placed(part, "parts", number))
    return found


def _as_sent(raw: Mapping[str, Any], source: Source) -> Mapping[str, Any]:
    """Returns a part as Google spells it, without the keys that say nothing: a dump of its SDK has all there are."""
    inner = (value for value in raw.values() if isinstance(value, Mapping))
    is_dump = None in raw.values() or any("_" in name for name in raw) or any(None in each.values() for each in inner)
    signature = raw.get(GEMINI_SIGNATURE_KEYS[0])
    is_url_safe = isinstance(signature, str) and ("-" in signature or "_" in signature)
    if not is_dump and (not is_url_safe or signature in GEMINI_UNSIGNED):
        return raw
    sent: Mapping[str, Any] = trimmed(raw, GEMINI_RULE)
    source.whole = source.whole and sent == raw
    return sent


def _separated(raw: Mapping[str, Any], source: Source) -> list[Mapping[str, Any]]:
    """Returns a part, or the two parts of one that has a text beside its object. The signature is the object's."""
    text = raw.get("text")
    if not isinstance(text, str) or not text or raw.keys().isdisjoint(_OBJECT_KEYS):
        return [raw]
    if not any(isinstance(raw.get(name), Mapping) for name in _OBJECT_KEYS):
        return [raw]
    source.whole = False
    return [{"text": text}, {name: value for name, value in raw.items() if name not in ("text", "thought")}]


def _part(raw: Mapping[str, Any], role: Role, source: Source) -> Part | None:
    """Reads a part. The signature of another model is left out."""
    signed = [name for name in GEMINI_SIGNATURE_KEYS if raw.get(name)]
    if signed and not source.trusted:
        source.whole = False
        raw = {name: value for name, value in raw.items() if name not in signed}
    common: dict[str, Any] = {"role": role, "source": source, "raw": raw, "shape": GEMINI}
    if isinstance(text := raw.get("text"), str):
        if raw.get("thought") is True:
            return Thinking(**common, text=text, sealed=True)
        return Text(**common, text=text) if text.strip() or (signed and source.trusted) else None
    if any(name in raw for name in GEMINI_HOSTED_KEYS) or raw.keys() <= set(signed):
        return Hosted(**common, text=text_of_hosted(raw)) if raw else None
    return _structured(raw, common)


def _structured(raw: Mapping[str, Any], common: dict[str, Any]) -> Part | None:
    """Reads a part that holds an object: a call, a result, or media."""
    call = _either(raw, *GEMINI_CALL_KEYS)
    answer = _either(raw, *GEMINI_RESULT_KEYS)
    media = _either(raw, *GEMINI_DATA_KEYS) or _either(raw, *GEMINI_FILE_KEYS)
    if call:
        id, name = text_or_none(call.get("id")), text_or_none(call.get("name")) or ""
        arguments = call.get("args")
        if not name or not isinstance(arguments, Mapping | None) or call.get("id") == "":  # Google refuses it
            common["source"].whole = False
            common |= {"raw": None, "shape": None}
        return Call(**common | {"role": "assistant"}, id=id, name=name, arguments=arguments)
    if answer:
        return _response(answer, common)
    if media:
        mime = mime_of(media.get("mimeType", media.get("mime_type")))
        url = text_or_none(media.get("fileUri", media.get("file_uri")))
        return Media(**common, kind=kind_of(mime), mime=mime, data=text_or_none(media.get("data")), url=url)
    if not raw.keys().isdisjoint(_OBJECT_KEYS):  # Google knows the key, and refuses what is under it
        common["source"].whole = False
        common |= {"raw": None}
    return Unknown(**common, value=raw, why=f"a part with {next(iter(raw))!r}")


def _either(raw: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((value for name in names if isinstance(value := raw.get(name), Mapping)), {})


def _response(answer: Mapping[str, Any], common: dict[str, Any]) -> Result:
    response = answer.get("response")
    if response is not None and not isinstance(response, Mapping):
        response = {"output": response}
    response = members(response)
    given = response.get("error", response.get("output", response.get("result")))
    only = len(response) == 1 and isinstance(given, str)
    text = str(given) if only else as_json(response) if response else ""
    source: Source = common["source"]
    inner = Source(message={"parts": listed(answer.get("parts"))}, shape=GEMINI)
    more = tuple(each for each in read_contents(inner, "user") if isinstance(each, Media | Text))
    return Result(
        **common | {"role": "user"},
        id=text_or_none(answer.get("id")),
        name=text_or_none(answer.get("name")) or "",
        content=((Text(role="user", source=source, text=text),) if text else ()) + more,
        is_error="error" in response,
    )
