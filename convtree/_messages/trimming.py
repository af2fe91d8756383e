"""Turns a part of a provider's answer into what may be sent back to it. Pure.

An SDK's object, its `model_dump()` and the JSON text of the answer differ in keys that say nothing: null for what was
not there, Python's spelling of a name, another alphabet of base64. After trimming they are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from convtree._messages.base64_data import standard
from convtree._messages.dialects import GEMINI_UNSIGNED

_LEVELS = 8  # no answer of a provider has more, arguments of tools apart; deeper values are kept as they are


class Rule(NamedTuple):
    """What is trimmed from the answers of one provider.

    Attributes:
        opaque: keys whose values belong to a tool or its caller; kept as they are.
        nullable: keys that are kept where they are null, because the provider requires them.
        dropped: keys that an SDK adds.
        spell: spells a key as the provider does.
        binary: keys of base64 texts, which Google's SDK writes in the URL-safe alphabet.
    """

    opaque: frozenset[str] = frozenset()
    nullable: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    spell: Callable[[str], str] = str
    binary: frozenset[str] = frozenset()


def camel_case(key: str) -> str:
    """Returns a key in Google's spelling: `mime_type` is `mimeType`."""
    first, *rest = key.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


#: keys that OpenAI's and Anthropic's SDKs add
SDK_KEYS = frozenset({"parsed", "parsed_arguments", "parsed_output"})
#: one for answers of OpenAI Responses, and for items taken out of them. Python has a keyword `async`, so the SDK calls
#: that field `async_`. A tool must say that it has no parameters and is not strict.
RESPONSES_RULE = Rule(
    opaque=frozenset({"arguments", "input", "schema", "input_schema", "parameters"}),
    nullable=frozenset({"parameters", "strict"}),
    dropped=SDK_KEYS,
    spell=lambda key: key.removesuffix("_"),
)
#: one for answers of Gemini, and for messages taken out of them
GEMINI_RULE = Rule(
    opaque=frozenset({"args", "response", "partMetadata"}),
    spell=camel_case,
    binary=frozenset({"data", "thoughtSignature"}),
)


def trimmed(value: Any, rule: Rule, levels: int = _LEVELS) -> Any:
    """Returns a copy of a JSON value without what says nothing. Bytes become base64 text."""
    if isinstance(value, bytes | bytearray):
        from base64 import b64encode  # not needed by most programs

        return b64encode(value).decode()
    if levels == 0:
        return value
    if isinstance(value, list | tuple):
        return [trimmed(each, rule, levels - 1) for each in value]
    if not isinstance(value, Mapping):
        return value
    kept: dict[str, Any] = {}
    for key, member in value.items():
        name = rule.spell(key) if isinstance(key, str) else key
        if name in rule.dropped or (member is None and name not in rule.nullable):
            continue
        if name in rule.binary and isinstance(member, str) and member not in GEMINI_UNSIGNED:
            kept[name] = standard(member)
        else:
            kept[name] = member if name in rule.opaque else trimmed(member, rule, levels - 1)
    return kept
