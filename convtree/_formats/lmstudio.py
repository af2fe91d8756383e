"""Chats of LM Studio: `~/.lmstudio/conversations/<id>.conversation.json`, one document for each.

LM Studio's own code is not public. The parts of a message and the counts are those of lmstudio-ai/lmstudio-js,
`packages/lms-shared-types/src` (`ChatHistoryData.ts`, `llm/LLMPredictionStats.ts`); versions and steps are as public
tools read and write them that were tested on files of LM Studio. Mapping:

- `versions` of a message: siblings. The conversation goes on below the one that `currentlySelected` names. Other
  fields beside them are dropped (reported).
- The steps of a version: a message for each generation, and one for the results between two of them. Texts, reasoning
  (`style`), calls and results are blocks as Anthropic has them; other parts, other steps, such as `toolStatus`, and all
  further fields are kept in the message under `lmstudio`.
- `genInfo`: model and usage of a generation. Steps with the same one are one generation.
- `shouldIncludeInContext` is false, which can be set by hand: for the user only. It is always false for reasoning.
- `stepIdentifier`: begins with the time. What a user says has none.
- `name`: the name. Other fields: metadata of the session under `lmstudio`, the system prompt among them, because it is
  a setting that changes at any time.

The document is written anew each time: ids are derived from the content, and an edit is a branch. The id of the session
is the name of the file, as it is for LM Studio.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import call_block, make_messages, result_block, text_block
from convtree._formats.common.content_ids import node_by_content
from convtree._formats.common.headers import leaf_mark, list_array, make_header, metadata_mark, name_mark, read_item
from convtree._formats.common.ids import Ids, session_id
from convtree._formats.common.json_arrays import has_key, item_keys
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.values import as_object, count, key, misfits, moment, objects, text, without
from convtree._model.entries import Entry, Header, LeafMark, Record, VisibilityMark

NAME = "lmstudio"
_SEEN = ("name", "createdAt", "messages")
_SHOWN = "shouldIncludeInContext"
_COUNTS = "TokensCount"
_OF_MESSAGE = {"versions": list, "currentlySelected": int}
_KINDS = {"type": str, "steps": list}  # of a version
_CALL = ("type", "toolCallRequestId", "callId", "name", "parameters", "toolCallRequest")
_RESULT = ("type", "toolCallRequestId", "callId", "toolCallId", "content")


def recognises(source: Source) -> bool:
    """Recognises a chat by the versions of a message."""
    beginning = source.beginning
    if not any("messages" in keys for keys in item_keys(beginning)):
        return False
    return has_key(beginning, "versions", r"\[") and has_key(beginning, "type", '"(single|multi)Step"')


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session."""
    name = source.path.name.partition(".conversation.json")[0].removesuffix(".json")
    for ref in list_array(source, NAME, _is_chat, (), lambda it: it["messages"]):
        yield ref if ref.is_leftover else ref._replace(id=session_id(NAME, name), source_id=name)


def read(source: Source, ref: SessionRef) -> SourceSession:  # noqa: ARG001 - the reference carries its document
    """Reads the session."""
    return read_item(ref, NAME, _header, _records)


def _header(id: str, fields: dict[str, Any]) -> Header:
    return make_header(NAME, id, time=fields.get("createdAt"))


def _records(found: Object, ids: Ids, findings: Findings) -> Iterator[Record]:
    chat = _Chat(ids, findings, found.span)
    yield from make_records(chat.nodes(found.fields["messages"]), _make, ids, findings)
    yield from chat.marks()
    yield from name_mark(ids, found.fields.get("name"), found.span, findings)
    yield from metadata_mark(ids, NAME, without(found.fields, *_SEEN), found.span, findings)


class _Chat:
    """Reads the messages of a chat in order."""

    def __init__(self, ids: Ids, findings: Findings, span: SourceSpan) -> None:
        self._ids = ids
        self._findings = findings
        self._span = span
        self._tip: str | None = None
        self._last: str | None = None
        self._hidden: list[str] = []

    def nodes(self, messages: list[Any]) -> Iterator[Node]:
        """Yields a node for each turn of each version."""
        for number, message in enumerate(messages):
            fields = as_object(message)
            versions = objects(fields.get("versions"))
            left = without(fields, *_OF_MESSAGE) | misfits(fields, _OF_MESSAGE)
            if versions and len(versions) < len(fields["versions"]):
                left["versions"] = fields["versions"]
            for name in left if versions else ():  # without any, all of it is kept
                self._findings.add_once(name, "source_field_dropped", self._span)
            if not versions:
                self._findings.add("source_bad_record", self._span)
                versions = [{"value": message}]
            selected = count(fields.get("currentlySelected")) or 0
            above = self._tip
            for place, version in enumerate(versions):
                end = above
                for turn in _turns(version):
                    said = {name: value for name, value in turn.items() if name != "hidden"}
                    node = node_by_content(self._ids, said, self._span, end, str(number))
                    self._last = end = node.id
                    if turn["hidden"]:
                        self._hidden.append(node.id)
                    yield node
                if place == selected or self._tip == above:  # the first one if none is selected
                    self._tip = end

    def marks(self) -> Iterator[VisibilityMark | LeafMark]:
        """Yields what is hidden from the model, and the leaf."""
        for id in self._hidden:
            yield VisibilityMark(id=self._ids.derive("hidden", id), target_id=id, visible_to="user")
        yield from leaf_mark(self._ids, self._tip, self._last)


def _turns(version: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the turns of a version: its steps that are one message here, and on the first one its other fields."""
    steps = version.get("steps")
    if not isinstance(steps, list):
        steps = [{"type": "contentBlock", "content": version.get("content")}]
    role, about = version.get("role"), without(version, "type", "role", "steps", "content") | misfits(version, _KINDS)
    turn: dict[str, Any] | None = None
    generation: Any = None  # the last one whose usage counts
    for step in steps:
        fields = as_object(step) or {"value": step}
        if turn is None or _is_next(turn, fields):
            if turn is not None:
                yield turn
                about = {}
            turn = {"role": role, "steps": [], "generation": None, "about": about, "hidden": _is_hidden(fields)}
        if "genInfo" in fields and fields["genInfo"] != generation:
            turn["generation"] = generation = fields["genInfo"]
        left = {name: value for name, value in fields.items() if name not in (_SHOWN, "genInfo")}
        turn["steps"].append(left | misfits(fields, {_SHOWN: bool}))
        turn["hidden"] = turn["hidden"] or _is_hidden(fields)
    yield turn or {"role": role, "steps": [], "generation": None, "about": about, "hidden": False}


def _is_next(turn: dict[str, Any], step: dict[str, Any]) -> bool:
    """Returns whether a step begins a new turn."""
    if step.get("type") != "contentBlock":
        return False
    said = [each for each in turn["steps"] if each.get("type") == "contentBlock"]
    if not said:
        return False
    if _has_results(step) != _has_results(said[-1]):
        return True
    is_apart = not _is_thought(step) and not all(map(_is_thought, said)) and _is_hidden(step) != turn["hidden"]
    is_new = turn["generation"] is not None and step.get("genInfo") not in (None, turn["generation"])
    return is_apart or is_new


def _has_results(step: dict[str, Any]) -> bool:
    return any(part.get("type") == "toolCallResult" for part in objects(step.get("content")))


def _is_thought(step: dict[str, Any]) -> bool:
    return as_object(step.get("style")).get("type") == "thinking"


def _is_hidden(step: dict[str, Any]) -> bool:
    return step.get(_SHOWN) is False and not _is_thought(step)


def _make(node: Node) -> list[Entry]:
    fields = node.fields
    blocks: list[dict[str, Any]] = []
    left: list[dict[str, Any]] = []
    for step in fields["steps"]:
        blocks += [block for part in _parts(step) if (block := _block(part, step)) is not None]
        content = [rest for part in _parts(step) if (rest := _rest(part))]
        left.append(without(step, "content") | without({"content": content}))
    generation = as_object(fields["generation"])
    stats = as_object(generation.get("stats"))
    usage = {name: value for name, value in stats.items() if name.endswith(_COUNTS)}
    more = without(generation, "identifier", "stats") | without({"stats": without(stats, *usage)})
    rest = without(fields["about"]) | without({"genInfo": more})
    rest |= without({"steps": [step for step in left if step.keys() - {"type"}]})
    role = "user" if any(map(_has_results, fields["steps"])) else text(fields["role"]) or "user"
    times = (text(step.get("stepIdentifier")) or "" for step in fields["steps"])
    time = next((int(each.split("-")[0]) for each in times if each.split("-")[0].isdecimal()), None)
    model = generation.get("identifier")
    return make_messages(NAME, role, blocks, rest, time=moment(time), model=model, usage=usage or None)


def _parts(step: dict[str, Any]) -> list[dict[str, Any]]:
    content = step.get("content")
    return objects(content) if isinstance(content, list) else [{"type": "text", "text": content}] if content else []


def _block(part: dict[str, Any], step: dict[str, Any]) -> dict[str, Any] | None:
    """Returns a part as a block; None if there is no counterpart."""
    match part.get("type"):
        case "text" if _is_thought(step):
            return {"type": "thinking", "thinking": text(part.get("text")) or ""}
        case "text":
            return text_block(part.get("text"))
        case "toolCallRequest":
            call = as_object(part.get("toolCallRequest")) or part
            id = call.get("id") or _id(part)
            return call_block(id, call.get("name"), call.get("parameters", call.get("arguments")))
        case "toolCallResult":
            return result_block(_id(part), part.get("content"))
    return None


def _id(part: dict[str, Any]) -> str | None:
    return key(part.get("toolCallRequestId")) or key(part.get("toolCallId")) or key(part.get("callId"))


def _rest(part: dict[str, Any]) -> dict[str, Any]:
    """Returns what a block does not have of a part."""
    match part.get("type"):
        case "text":
            return without(part, "type", "text")
        case "toolCallRequest":
            return without(part, *_CALL)
        case "toolCallResult":
            return without(part, *_RESULT)
    return part


def _is_chat(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("messages"), list)
