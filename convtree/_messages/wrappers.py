"""Answers of providers, whose message is inside: where it is, and which provider, model and usage they state. Pure.

One table for the objects of SDKs, their dumps, and JSON that was parsed again: all of them are dicts here. A wrapper is
recognised by its own keys. It never has the key `role` beside them, except for Anthropic's, which is also a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from convtree._messages.blocks import listed, members, text_or_none
from convtree._messages.dialects import ANTHROPIC, CHAT, GEMINI, RESPONSES
from convtree._messages.parts import Part, ReadInner, Source, Unknown, placed
from convtree._messages.trimming import GEMINI_RULE, RESPONSES_RULE, SDK_KEYS, Rule, trimmed

BEDROCK, OLLAMA, COHERE = "bedrock", "ollama", "cohere"


class Wrapped(NamedTuple):
    """What a wrapper holds.

    Attributes:
        message: the message alone, as it may be sent back.
        shape: its format; None if the wrapper does not tell.
        facts: those of `provider`, `model` and `usage` that the wrapper states.
        alternatives: how many messages the wrapper has to choose from, and the key that holds them.
    """

    message: dict[str, Any]
    shape: str | None
    facts: dict[str, Any]
    alternatives: tuple[str, int] = ("", 1)


#: keys of a whole answer beside its `message`
_END_KEYS = ("finish_reason", "finishReason", "stop_reason", "stopReason", "done")
_OLLAMA_USAGE = (
    *("prompt_eval_count", "eval_count"),
    *("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"),
)
_COHERE_USAGE_KEYS = frozenset({"billed_units", "tokens"})

_RULES = {
    CHAT: Rule(opaque=frozenset({"arguments", "input"}), nullable=frozenset({"content"}), dropped=SDK_KEYS),
    RESPONSES: RESPONSES_RULE,
    # a citation must have its title, even if that is null
    ANTHROPIC: Rule(opaque=frozenset({"input"}), nullable=frozenset({"title", "document_title"}), dropped=SDK_KEYS),
    GEMINI: GEMINI_RULE,
    BEDROCK: Rule(opaque=frozenset({"input", "json"})),
    OLLAMA: Rule(opaque=frozenset({"arguments"})),
    COHERE: Rule(opaque=frozenset({"arguments", "parameters", "document", "tool_output"})),
}
_USAGE = Rule()

#: models that only their maker calls by these names; those of open weights have the same name at every host
_MAKERS = (
    (re.compile(r"(ft:)?(gpt-(?!oss)|chatgpt-|o[1-9](-|$)|codex-|computer-use-)"), "openai"),
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"(models/)?gemini-"), "google"),
    (re.compile(r"deepseek-(chat|reasoner)"), "deepseek"),
    (re.compile(r"grok-"), "xai"),
)


def unwrap(value: Mapping[str, Any]) -> Wrapped | None:
    """Returns what a wrapper holds, or None for anything else. The message of a wrapper is not unwrapped again.

    The provider is the maker of the model where the model's name tells it, because many servers speak the language of
    OpenAI, and some that of Anthropic. Otherwise an answer in the shape of Responses, Anthropic, Gemini, Bedrock,
    Ollama or Cohere is from that provider. A chat completion of another model is from an unknown one.
    """
    if "role" in value and value.get("type") != "message":
        return None
    for key, read in _WRAPPERS.items():
        if key in value and (found := read(value)) is not None:
            return found
    return None


def read_wrapper(source: Source, read_inner: ReadInner) -> list[Part]:
    """Reads a wrapper that was stored as it is, and the items of a response, as messages of their own."""
    wrapped = unwrap(source.message)
    assert wrapped is not None  # the row of wrappers asked `is_wrapper`
    key, count = wrapped.alternatives
    if count > 1:
        why = f"{count} {key}, of which a conversation has one"
        source.role = "assistant"
        return [Unknown(role="assistant", source=source, value=source.message, why=why)]
    items = wrapped.message.get("output") if _is_response(wrapped.message) else None
    if items is None:
        return _read_message(source, wrapped.message, read_inner)
    parts: list[Part] = []
    for number, item in enumerate(items):
        if isinstance(item, Mapping):
            parts += _read_message(source, item, read_inner, "output", number)
        else:
            unknown = Unknown(role="assistant", source=source, value=item, why="an item that is not an object")
            parts.append(placed(unknown, "output", number))
    source.role = "assistant"
    return parts


def is_wrapper(value: Mapping[str, Any]) -> bool:
    """Returns whether `unwrap` finds a message."""
    return unwrap(value) is not None


def _read_message(source: Source, message: Mapping[str, Any], read_inner: ReadInner, *place: str | int) -> list[Part]:
    """Reads a message of a wrapper. One that is a wrapper itself is not opened, so hostile data cannot nest them."""
    if is_wrapper(message):
        source.role = "assistant"
        return [placed(Unknown(role="assistant", source=source, value=message, why="an answer in an answer"), *place)]
    return read_inner(source, message, *place)


# --- the wrappers ---


def _choices(value: Mapping[str, Any]) -> Wrapped | None:
    """A ChatCompletion, and what imitates it."""
    choices = _objects(value["choices"])
    if not choices or not all(_is_message(each.get("message")) for each in choices):
        return None
    message = _chat_message(choices[0]["message"])
    return Wrapped(message, CHAT, _facts(value, value.get("model"), None), ("choices", len(choices)))


def _chat_message(message: Mapping[str, Any]) -> dict[str, Any]:
    found = _reply(message, CHAT)
    found.setdefault("content", None)  # OpenAI requires it, even if there are calls only
    return found


def _is_message(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping) and ("role" in value or "content" in value)


def _reply(message: Mapping[str, Any], shape: str) -> dict[str, Any]:
    """Returns the message of an answer, which is the assistant's if it does not say whose it is."""
    found: dict[str, Any] = trimmed(message, _RULES[shape])
    is_answer = any(key in found for key in _WRAPPERS if key != "content")
    return found if is_answer else {"role": "assistant", **found}


def _output(value: Mapping[str, Any]) -> Wrapped | None:
    """A Response of OpenAI, or an answer of Bedrock Converse."""
    output = value["output"]
    if isinstance(output, Mapping):
        inner = output.get("message")
        if not _is_message(inner):
            return None
        return Wrapped(_reply(inner, BEDROCK), BEDROCK, _facts(value, None, "amazon-bedrock"))
    if not _is_response(value):
        return None
    items = trimmed(output, _RULES[RESPONSES])
    alone = len(items) == 1 and isinstance(items[0], Mapping) and bool(items[0])
    message = items[0] if alone else {"object": "response", "output": items}
    return Wrapped(message, RESPONSES, _facts(value, value.get("model"), "openai"))


def _is_response(value: Mapping[str, Any]) -> bool:
    output = value.get("output")
    if not isinstance(output, list | tuple) or "type" in value:
        return False
    return value.get("object") == "response" or any(_is_item(each) for each in output)


def _is_item(value: Any) -> bool:
    kind = members(value).get("type")
    return isinstance(kind, str) and (kind in ("message", "reasoning") or kind.endswith("_call"))


def _candidates(value: Mapping[str, Any]) -> Wrapped | None:
    """A GenerateContentResponse of Gemini. A candidate without content was stopped before it said anything."""
    candidates = _objects(value["candidates"])
    first = _gemini_message(candidates[0]) if candidates else None
    if first is None:
        return None
    return Wrapped(first, GEMINI, {"provider": "google"} | _gemini_facts(value), ("candidates", len(candidates)))


def _gemini_facts(value: Mapping[str, Any]) -> dict[str, Any]:
    model = value.get("modelVersion", value.get("model_version"))
    usage = value.get("usageMetadata", value.get("usage_metadata"))
    return _facts({"usage": usage}, model, None, _RULES[GEMINI])


def _candidate(value: Mapping[str, Any]) -> Wrapped | None:
    """One candidate of Gemini, or an answer as Google's ADK keeps it. An event of the ADK is none."""
    ended = "finishReason" in value or "finish_reason" in value
    if not ended or "author" in value or "parts" not in members(value["content"]):
        return None
    return Wrapped({"role": "model", **trimmed(value["content"], _RULES[GEMINI])}, GEMINI, _gemini_facts(value))


def _gemini_message(candidate: Mapping[str, Any]) -> dict[str, Any] | None:
    content = candidate.get("content")
    if content is None and ("finishReason" in candidate or "finish_reason" in candidate):
        content = {}
    if not isinstance(content, Mapping):
        return None
    return {"role": "model", "parts": [], **trimmed(content, _RULES[GEMINI])}


def _answer(value: Mapping[str, Any]) -> Wrapped | None:
    """A Message of Anthropic, which is a message with more fields."""
    if value.get("type") != "message" or not {"role", "content"} <= value.keys():
        return None
    message = trimmed({"role": value["role"], "content": value["content"]}, _RULES[ANTHROPIC])
    return Wrapped(message, ANTHROPIC, _facts(value, value.get("model"), "anthropic"))


def _beside(value: Mapping[str, Any]) -> Wrapped | None:
    """A message beside the reason of its end: a Choice, an answer of Ollama, Cohere, Strands or others."""
    inner = value["message"]
    if not _is_message(inner) or value.get("type") not in (None, "agent_result"):
        return None
    if "redact_message" in value:  # in a session of Strands
        redacted = value["redact_message"]
        return Wrapped(_reply(redacted if _is_message(redacted) else inner, BEDROCK), None, {})
    return _ended(value, inner) if any(key in value for key in _END_KEYS) else None


def _ended(value: Mapping[str, Any], inner: Mapping[str, Any]) -> Wrapped:
    """Tells by the other keys of an answer whose it is."""
    model = value.get("model")
    if "done" in value:
        usage = {name: value[name] for name in _OLLAMA_USAGE if value.get(name) is not None}
        facts = _facts({"usage": usage or None}, model, OLLAMA, by_model=False)
        return Wrapped(_reply(inner, OLLAMA), OLLAMA, facts)
    if "finish_reason" not in value:
        return Wrapped(_reply(inner, BEDROCK), None, _facts(value, model, None))
    if "index" not in value and (_COHERE_USAGE_KEYS & members(value.get("usage")).keys() or _is_upper(value)):
        return Wrapped(_reply(inner, COHERE), COHERE, _facts(value, model, COHERE, by_model=False))
    return Wrapped(_chat_message(inner), CHAT, _facts(value, model, None))


def _first_cohere(value: Mapping[str, Any]) -> Wrapped | None:
    """An answer of the first version of Cohere, whose text is not in a message. Its history has it as one."""
    if not isinstance(value.get("text"), str) or "chat_history" not in value:
        return None
    message = {"role": "CHATBOT", "message": value["text"], "tool_calls": value.get("tool_calls")}
    facts = _facts({"usage": value.get("meta")}, value.get("model"), COHERE, by_model=False)
    return Wrapped(trimmed(message, _RULES[COHERE]), COHERE, facts)


def _is_upper(value: Mapping[str, Any]) -> bool:
    """Returns whether the reason of an answer's end is spelled as Cohere does."""
    reason = value["finish_reason"]
    return isinstance(reason, str) and reason.isupper()


_WRAPPERS: dict[str, Callable[[Mapping[str, Any]], Wrapped | None]] = {
    "choices": _choices,
    "candidates": _candidates,
    "output": _output,
    "message": _beside,
    "stop_reason": _answer,
    "generation_id": _first_cohere,
    "content": _candidate,
}


def _objects(value: Any) -> Sequence[Mapping[str, Any]]:
    """Returns a list of objects; an empty one for anything else."""
    found = listed(value)
    return found if all(isinstance(each, Mapping) for each in found) else ()


def _facts(
    value: Mapping[str, Any], model: Any, provider: str | None, rule: Rule = _USAGE, *, by_model: bool = True
) -> dict[str, Any]:
    """Returns what an answer states. `by_model` lets the model's name say who the provider is."""
    named = text_or_none(model)
    if by_model and named is not None:
        provider = next((maker for pattern, maker in _MAKERS if pattern.match(named)), provider)
    usage = value.get("usage")
    found = {"provider": provider, "model": named}
    found["usage"] = trimmed(usage, rule) if isinstance(usage, Mapping) else None
    return {name: fact for name, fact in found.items() if fact is not None}
