"""What a record of the Gemini CLI says, and how two records of one message compare. Pure.

The CLI writes a message again when it has grown: an answer first without its calls, then with them. When it resumes, it
writes the whole conversation again, with other clocks, and with calls as parts of the content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from convtree._formats.common.ids import derive_id
from convtree._formats.common.values import as_object, key, misfits, objects, text, without

#: what the tool says in the role of the user
_BY_THE_TOOL = ("<session_context>", "<hook_context>", "<state_snapshot>", "This is the Gemini CLI. We are setting up")
_PLACED = frozenset({"id", "timestamp", "type", "content", "toolCalls", "thoughts", "tokens", "model"})
_KINDS = {"toolCalls": list, "thoughts": list, "tokens": dict, "model": str}
_CALL = frozenset({"id", "name", "args", "result"})


class Said(NamedTuple):
    """A record as what it adds to the conversation. Parts are of Gemini's shape; results are not among `parts`."""

    thoughts: list[dict[str, Any]]
    parts: list[dict[str, Any]]
    calls: list[dict[str, Any]]
    results: list[dict[str, Any]]
    tokens: dict[str, Any] | None
    extra: dict[str, Any] | None

    @property
    def spoken(self) -> list[dict[str, Any]]:
        """The parts of the message, results apart; empty if it only has thoughts."""
        said = [*self.parts, *self.calls]
        return [*self.thoughts, *said] if said else []

    @property
    def is_nothing(self) -> bool:
        """Whether it adds nothing to a conversation."""
        return not (self.thoughts or self.parts or self.calls or self.results or self.tokens)


class Seen(NamedTuple):
    """Digests of what was seen of a message so far, and the number of its thoughts."""

    parts: tuple[str, ...] = ()
    calls: Mapping[str, str] = {}
    results: Mapping[str, str] = {}
    thoughts: int = 0


def said_in(fields: dict[str, Any]) -> Said:
    """Returns what a record of a message says."""
    parts = parts_of(fields)
    if fields.get("type") != "gemini":
        results = [part for part in parts if "functionResponse" in part]
        return Said([], [part for part in parts if part not in results], [], results, None, _extra(fields, []))
    listed = objects(fields.get("toolCalls"))
    calls = [part for part in parts if "functionCall" in part]
    seen = {call_id(part) for part in calls}
    calls += [part for part in map(_called, listed) if call_id(part) not in seen]
    thoughts = [part for part in parts if part.get("thought")] or list(_thoughts(fields))
    rest = [part for part in parts if "functionCall" not in part and not part.get("thought")]
    tokens = as_object(fields.get("tokens")) or None
    return Said(thoughts, rest, calls, list(_results(listed)), tokens, _extra(fields, listed))


def seen_in(said: Said) -> Seen:
    """Returns what is remembered of a record."""
    return Seen(
        tuple(map(digest_of, said.parts)),
        {call_id(part): digest_of(part) for part in said.calls},
        {result_id(part): digest_of(part) for part in said.results},
        len(said.thoughts),
    )


def added_by(seen: Seen, said: Said) -> Said | None:
    """Returns what a record adds to what was seen before, tokens apart; None if it contradicts it.

    Thoughts and results may be missing where a message is repeated.
    """
    new = seen_in(said)
    if new.parts[: len(seen.parts)] != seen.parts or seen.calls.items() - new.calls.items():
        return None
    if any(new.results[each] != digest for each, digest in seen.results.items() if each in new.results):
        return None
    parts, calls = said.parts[len(seen.parts) :], [part for part in said.calls if call_id(part) not in seen.calls]
    is_first = bool(parts or calls) and not (seen.parts or seen.calls)  # its thoughts were data so far
    return Said(
        said.thoughts if is_first else said.thoughts[seen.thoughts :],
        parts,
        calls,
        [part for part in said.results if result_id(part) not in seen.results],
        said.tokens,
        said.extra,
    )


def joined(seen: Seen, said: Said) -> Seen:
    """Returns what is remembered after a record that adds something."""
    new = seen_in(said)
    return Seen(
        new.parts, {**seen.calls, **new.calls}, {**seen.results, **new.results}, max(seen.thoughts, new.thoughts)
    )


def is_typed(parts: list[dict[str, Any]]) -> bool:
    """Returns whether a person typed a message of the user, not the tool."""
    first = next((part["text"] for part in parts if isinstance(part.get("text"), str)), "")
    return not first.lstrip().startswith(_BY_THE_TOOL)


def parts_of(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the content of a message as parts; a value that is not an object becomes a text part."""
    content = fields.get("content")
    found = content if isinstance(content, list) else [] if content in (None, "") else [content]
    return [
        part if isinstance(part, dict) else {"text": part if isinstance(part, str) else _json(part)} for part in found
    ]


def call_id(part: Mapping[str, Any]) -> str:
    """Returns what a call is known by: its id, else all of it."""
    return key(as_object(part.get("functionCall")).get("id")) or digest_of(part)


def result_id(part: Mapping[str, Any]) -> str:
    """Returns what a result is known by: the id of its call, else all of it."""
    return key(as_object(part.get("functionResponse")).get("id")) or digest_of(part)


def digest_of(part: Mapping[str, Any]) -> str:
    """Returns a digest of a part, without its signature."""
    return derive_id(_json({name: value for name, value in part.items() if name != "thoughtSignature"}))


def _thoughts(fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for each in objects(fields.get("thoughts")):
        said = (text(each.get("subject")), text(each.get("description")))
        yield {"text": "\n".join(part for part in said if part), "thought": True}


def _called(call: Mapping[str, Any]) -> dict[str, Any]:
    return {"functionCall": {name: call[name] for name in ("id", "name", "args") if name in call}}


def _results(calls: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields the results of calls as parts, each once: each call may have those of all."""
    seen: set[str] = set()
    for call in calls:
        for part in _result_parts(call):
            if (name := result_id(part)) not in seen:
                seen.add(name)
                yield part


def _result_parts(call: Mapping[str, Any]) -> list[dict[str, Any]]:
    result = call.get("result")
    if isinstance(result, list) and result and all(isinstance(part, dict) for part in result):
        return result
    if result is None or result == []:
        return []
    named = {name: call[name] for name in ("id", "name") if name in call}
    response = result if isinstance(result, dict) else {"output": result}
    return [response if "functionResponse" in response else {"functionResponse": named | {"response": response}}]


def _extra(fields: Mapping[str, Any], calls: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Returns what has no place in a message: of the record, and of its calls."""
    kept = {name: value for name, value in fields.items() if name not in _PLACED and value not in (None, "", [], {})}
    more = [{name: value for name, value in call.items() if name not in _CALL - {"id"}} for call in calls]
    kept |= misfits(fields, _KINDS)
    listed = fields.get("toolCalls")
    more += [{"value": each} for each in (listed if isinstance(listed, list) else []) if not isinstance(each, dict)]
    if rest := [call for call in more if call.keys() - {"id"}]:
        kept["toolCalls"] = rest
    thoughts = [without(each, "subject", "description") for each in objects(fields.get("thoughts"))]
    if any(thoughts):
        kept["thoughts"] = thoughts
    return kept or None


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
