"""Removes the signatures of content that was changed. Pure.

A signature is a member that only its provider can check or read: a signature in the narrow sense, encrypted reasoning,
or the id of a reasoning item, by which its provider finds the original. It covers the object that holds it; in
metadata, it covers the part that the metadata belongs to. When anything else there differs from before, the provider
would refuse the signature, or read the old text through it. Then it is removed, and so is one that was changed itself.

Data of the user, such as the arguments of a call, has no signatures, whatever its members are named.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from convtree._engine import json_values
from convtree._messages.dialects import REASONING_SIGNATURE_KEYS, SIGNATURE_KEYS
from convtree._model.errors import InvalidMessage

#: ids by which a provider finds the original
_REFERENCES = frozenset({"id", "itemId", "item_id", "reasoning_id"})
#: signatures in the metadata of a part
_IN_METADATA = frozenset({"signature"}) | (_REFERENCES - {"id"})

#: the names of all signatures that are no ids
NAMES = SIGNATURE_KEYS | REASONING_SIGNATURE_KEYS

#: members that say what an object is
_KINDS = ("type", "part_kind", "block_type")
#: members that hold reasoning
_REASONING = frozenset(
    {"thinking", "thinking_blocks", "reasoning", "reasoning_content", "reasoning_details", "reasoning_text"}
    | {"reasoningContent", "reasoningText"}
)
_REASONING_KINDS = ("thinking", "reasoning", "redacted_thinking", "redacted-reasoning", "redactedThinking")
#: kinds whose `data` only the provider can read
_ENCRYPTED_KINDS = frozenset({"redacted_thinking", "redactedThinking", "redacted-reasoning", "reasoning.encrypted"})
#: members by which a reasoning item of OpenAI Responses differs from the parts of other tools, which number theirs
_ITEM_MEMBERS = frozenset({"summary", "content"})
_ITEM_ID = "rs_"
#: kinds whose encrypted content is what they are, and not about what is beside it; without it they are refused
_PAYLOADS = frozenset({"web_search_result"})

#: members that hold metadata of the part they stand in
_METADATA = frozenset(
    {"providerMetadata", "provider_metadata", "providerOptions", "provider_options", "callProviderMetadata"}
    | {"resultProviderMetadata", "provider_details", "provider_specific_fields", "extra_content", "extras"}
    | {"additional_kwargs", "additional_properties", "additional_information", "responses_data"}
)
#: members that hold metadata, or data of the user
_NOTES = frozenset({"metadata", "extra"})
#: members that hold data of the user if they are objects
_DATA = frozenset(
    {"input", "args", "arguments", "parameters", "structuredContent", "toolUseResult"}
    | {"functionResponse", "function_response"}
)

_MISSING: Any = object()
_NO_NAMES: frozenset[str] = frozenset()


class _Place(msgspec.Struct, eq=False):
    """An object or a list, and what stood at its place before.

    `part` is what its signatures cover. `is_changed` does not count signatures; `has_changed_signature` does.
    """

    value: Any
    before: Any
    above: _Place | None = None
    part: _Place | None = None
    names: frozenset[str] = _NO_NAMES
    is_signature: bool = False
    in_reasoning: bool = False
    in_metadata: bool = False
    in_notes: bool = False
    in_data: bool = False
    is_changed: bool = False
    has_changed_signature: bool = False


def encoded(value: Any) -> bytes | None:
    """Returns a value as JSON text, to compare it later; None if it is not one that a log can hold."""
    try:
        return json_values.dump(value)
    except InvalidMessage:
        return None


def without_broken(before: bytes | None, after: Any) -> Any:
    """Returns a value without the signatures of what differs from `before`; the value itself if there are none.

    `before` is what `encoded` returned; None: nothing is known of it, so every signature goes.
    """
    text = encoded(after)
    if text is None or text == before:
        return after
    value = orjson.loads(text)
    return value if drop_broken(before and orjson.loads(before), value) else after


def drop_broken(before: Any, after: Any) -> bool:
    """Removes from `after`, in place, the signatures of what differs from `before`. Returns whether there were any.

    Both are JSON values. The elements of a list are compared by their place. No recursion.
    """
    places = _places(before, after)
    for place in reversed(places):  # what is inside comes before what it is in
        if place.is_changed and place.above is not None:
            if place.is_signature:
                place.above.has_changed_signature = True
            else:
                place.above.is_changed = True
    signed = [place for place in places if place.names]
    broken = [place for place in signed if place.has_changed_signature or _part(place).is_changed]
    gone = {id for place in broken for id in _references(place)}
    if gone:  # one piece of reasoning may be several parts, which have its id in common
        broken += [place for place in signed if not gone.isdisjoint(_references(place))]
    found = [(place.value, name) for place in broken for name in place.names if name in place.value]
    for value, name in found:
        value.pop(name, None)
    return bool(found)


def _places(before: Any, after: Any) -> list[_Place]:
    """Returns all objects and lists; what is inside comes behind what it is in."""
    places = []
    stack = [_Place(after, before)] if isinstance(after, dict | list) else []
    while stack:
        place = stack.pop()
        places.append(place)
        was = place.before
        if isinstance(place.value, dict):
            was = was if isinstance(was, dict) else {}
            place.is_changed |= was is not place.before
            _classify(place, was)
            place.is_changed |= any(name not in place.value and name not in place.names for name in was)
            pairs = [(name, item, was.get(name, _MISSING)) for name, item in place.value.items()]
        else:
            was = was if isinstance(was, list) else []
            place.is_changed |= len(was) != len(place.value)
            earlier = was + [_MISSING] * (len(place.value) - len(was))
            pairs = [(None, item, old) for item, old in zip(place.value, earlier, strict=False)]
        for name, item, old in pairs:
            if isinstance(item, dict | list):
                stack.append(_below(place, name, item, old))
            elif type(item) is not type(old) or item != old:
                place.has_changed_signature |= name in place.names
                place.is_changed |= name not in place.names
    return places


def _below(above: _Place, name: str | None, value: Any, before: Any) -> _Place:
    """Makes the place of a member or an element."""
    place = _Place(value, before, above=above, is_signature=name in above.names)
    place.in_data = above.in_data or (name in _DATA and isinstance(value, dict))
    if place.in_data:
        return place
    is_reasoning = name in _REASONING
    place.in_reasoning = above.in_reasoning or is_reasoning
    place.in_metadata = name in _METADATA or (above.in_metadata and not is_reasoning)
    place.in_notes = name in _NOTES or (above.in_notes and not is_reasoning)
    if place.in_metadata or place.in_notes:
        place.part = _part(above)
    if name == "reasoning_details":  # the text of all of them may be beside them
        texts = ("reasoning", "reasoning_content")
        place.is_changed = any(_text(above.value, text) != _text(above.before, text) for text in texts)
    return place


def _text(fields: Any, name: str) -> str | None:
    said = fields.get(name) if isinstance(fields, dict) else None
    return said if isinstance(said, str) else None


def _classify(place: _Place, was: dict[str, Any]) -> None:
    """Finds the names of an object's signatures, and what they cover, from what it is and what it was."""
    if place.in_data:
        return
    now = place.value
    kinds = [kind for fields in (now, was) for name in _KINDS if isinstance(kind := fields.get(name), str)]
    if kinds and (place.in_metadata or place.in_notes):  # a part of its own, such as a message of a framework
        place.in_metadata = place.in_notes = False
        place.part = None
    place.in_reasoning |= any(kind.startswith(_REASONING_KINDS) or kind == "text_reasoning" for kind in kinds)
    names = now.keys() | was.keys()
    found = names & SIGNATURE_KEYS
    if place.in_reasoning or names & _REASONING:
        found |= names & REASONING_SIGNATURE_KEYS
    if place.in_metadata:
        found |= names & _IN_METADATA
    if any(kind in _ENCRYPTED_KINDS for kind in kinds):
        found |= names & {"data"}
    if _is_item(place, kinds, names, was):
        found |= names & {"id"}
    if found and not any(kind in _PAYLOADS for kind in kinds):
        place.names = frozenset(found)
        if place.above is not None and isinstance(place.above.value, list) and _is_about_others(now, kinds):
            place.part = place.above


def _is_item(place: _Place, kinds: list[str], names: set[str], was: dict[str, Any]) -> bool:
    """Returns whether an object is an item that OpenAI finds by its id."""
    if (kinds and "encrypted_content" in names) or ("reasoning" in kinds and not names.isdisjoint(_ITEM_MEMBERS)):
        return True
    return place.in_reasoning and any(str(fields.get("id")).startswith(_ITEM_ID) for fields in (place.value, was))


def _is_about_others(fields: dict[str, Any], kinds: list[str]) -> bool:
    """Returns whether a signature is about what stands beside its object: that has no text of its own.

    Gemini sends the signature of a streamed text in an empty one.
    """
    is_gemini = "thoughtSignature" in fields or "thought_signature" in fields
    return "reasoning.encrypted" in kinds or (is_gemini and not kinds and fields.get("text") == "")


def _part(place: _Place) -> _Place:
    return place if place.part is None else place.part


def _references(place: _Place) -> list[str]:
    found = [place.value.get(name) for name in place.names & _REFERENCES]
    return [id for id in found if isinstance(id, str)]
