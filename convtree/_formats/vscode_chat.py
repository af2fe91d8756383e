"""Chats of VS Code (GitHub Copilot Chat): `chatSessions/<id>.json`, or `<id>.jsonl`, a log of changes to that document.

The keys are those of microsoft/vscode, `chatSessionOperationLog.ts` for the document and `objectMutationLog.ts` for the
log (`kind` 0 to 3: the whole, set, push, delete), and of microsoft/vscode-copilot-chat, `conversation.ts` and
`intents.ts`, for `result.metadata`. Mapping:

- A request: `message.text` is a message of the user. Its answer follows: for each of `toolCallRounds` a message of the
  assistant with its calls, and one with their `toolCallResults`; without rounds, the Markdown in `response`.
- `modelId`: provider and model of the answer. `result.usage`, or the tokens in `result.metadata`: the usage of its last
  message. Everything else of a request is `vscode` in the messages; votes and follow-ups change later and are dropped.
- `customTitle`: the name. `creationDate`: the time of the header. Other fields: metadata of the session under `vscode`.

Answers grow, and requests are edited: ids are derived from the content, and what differs is a branch.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import call_block, make_messages, result_block, text_block
from convtree._formats.common.content_ids import node_by_content
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import make_header, metadata_mark, name_mark
from convtree._formats.common.ids import Ids, make_ref
from convtree._formats.common.json_arrays import item_keys
from convtree._formats.common.jsonl import read_document, read_objects
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.unsaid import name_unsaid, unsaid
from convtree._formats.common.values import as_object, as_text, count, key, misfits, objects, text, without
from convtree._model.entries import Entry, Record

NAME = "vscode"
_WHOLE, _SET, _PUSH, _DELETE = range(4)
_SEEN = ("sessionId", "requests", "customTitle", "creationDate", "inputState", "pendingRequests", "hasPendingEdits")
_CHANGING = ("vote", "voteDownReason", "followups", "shouldBeRemovedOnSend", "isHidden", "editedFileEvents")
_SAID = ("message", "response", "result", "timestamp", "modelId")
_IN_RESULT = ("toolCallRounds", "toolCallResults", "promptTokens", "outputTokens")
_START = SourceSpan(1, 0, 0)


def recognises(source: Source) -> bool:
    """Recognises a chat by its requests and its id, in the document or in the first line of the log."""
    start = source.beginning.lstrip()
    if not start.startswith(b"{"):
        return False
    if any({"requests", "version"} <= keys and keys & {"sessionId", "responderUsername"} for keys in item_keys(start)):
        return True
    first = next(read_objects(io.BytesIO(start), Findings(), _is_change), None)
    return first is not None and first.fields.get("kind") == _WHOLE and _is_chat(first.fields.get("v"))


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session."""
    findings = Findings()
    chat = _read(source, findings)
    yield make_ref(NAME, key(chat.get("sessionId")) or source.path.stem, findings, chat)


def read(source: Source, ref: SessionRef) -> SourceSession:  # noqa: ARG001 - the reference carries its document
    """Reads the session."""
    findings = Findings(ref.findings)
    header = make_header(NAME, ref.source_id, time=ref.content.get("creationDate"))
    return SourceSession(header, _records(ref.content, Ids(NAME, ref.source_id), findings), findings.listed)


def _read(source: Source, findings: Findings) -> dict[str, Any]:
    with SourceFile(source.path) as file:
        if not any("kind" in keys and "requests" not in keys for keys in item_keys(source.beginning)[:1]):
            whole = read_document(file, findings)
            return {} if whole is None else whole.fields
        state: dict[str, Any] = {}
        for fields, span in read_objects(file, findings, _is_change):
            if fields.get("kind") == _WHOLE and isinstance(fields.get("v"), dict):
                state = fields["v"]
            elif not _apply(state, fields):
                findings.add("source_bad_record", span)
        return state


def _apply(state: Any, change: dict[str, Any]) -> bool:
    """Applies a change to the document, in place; returns whether its path leads anywhere."""
    path = change.get("k")
    if not isinstance(path, list) or not path:
        return False
    for step in path[:-1]:
        state = _at(state, step)
    last = path[-1]
    if change.get("kind") == _PUSH:
        return _push(state, last, change)
    is_set = change.get("kind") == _SET
    if isinstance(state, dict) and isinstance(last, str):
        state[last] = change.get("v") if is_set else None
        return True
    if isinstance(state, list) and type(last) is int and 0 <= last < len(state):
        state[last] = change.get("v") if is_set else None
        return True
    return False


def _push(state: Any, last: Any, change: dict[str, Any]) -> bool:
    if isinstance(state, dict) and state.get(last) is None and isinstance(last, str):
        state[last] = []
    target, place, more = _at(state, last), count(change.get("i")), change.get("v")
    if not isinstance(target, list):
        return False
    if place is not None and place >= 0:
        del target[place:]
    target.extend(more if isinstance(more, list) else [])
    return True


def _at(state: Any, step: Any) -> Any:
    if isinstance(state, dict) and isinstance(step, str):
        return state.get(step)
    return state[step] if isinstance(state, list) and type(step) is int and 0 <= step < len(state) else None


def _records(chat: dict[str, Any], ids: Ids, findings: Findings) -> Iterator[Record]:
    yield from make_records(_nodes(chat.get("requests"), ids, findings), _make, ids, findings)
    yield from name_mark(ids, chat.get("customTitle"), _START, findings)
    rest = without(chat, *_SEEN) | misfits(chat, {"requests": list})
    yield from metadata_mark(ids, NAME, rest, _START, findings)


def _nodes(requests: Any, ids: Ids, findings: Findings) -> Iterator[Node]:
    tip: str | None = None
    for number, request in enumerate(requests if isinstance(requests, list) else ()):
        if not isinstance(request, dict):
            findings.add("source_bad_record", _START)
        fields = request if isinstance(request, dict) else {"message": request}
        for name in sorted(fields.keys() & set(_CHANGING)):
            findings.add_once(name, "source_field_dropped", _START)
        parts = _whole(without(fields, *_CHANGING))
        if len(parts) == 1:  # without an answer, as long as none has come
            name_unsaid(fields, parts, _START, findings, frozenset(_CHANGING))
        for part in parts:
            node = node_by_content(ids, part, _START, tip, str(number))
            tip = node.id
            yield node


def _whole(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the messages of a request; the last answer has what none of them says."""
    parts = list(_parts(request))
    if len(parts) > 1 and (left := unsaid(request, parts)):
        parts[-1] |= {"rest": parts[-1]["rest"] | left}
    return parts


def _parts(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the messages of a request, as the arguments of `make_messages`."""
    message, result = request.get("message"), as_object(request.get("result"))
    about, time = as_object(result.get("metadata")), request.get("timestamp")
    said = message.get("text") if isinstance(message, dict) else message
    rest = without(as_object(message), "text") | without({"requestId": request.get("requestId")})
    yield {"role": "user", "blocks": [text_block(said)], "rest": rest, "time": time}
    answers = list(_rounds(about)) or list(_markdown(request))
    if not answers:
        return
    provider, _, model = (text(request.get("modelId")) or "").rpartition("/")
    named = {"provider": provider or None, "model": text(about.get("resolvedModel")) or model or None}
    rest = without(request, *_SAID, "requestId") | without({"result": without(result, "metadata", "usage")})
    rest |= without({"metadata": without(about, *_IN_RESULT), "response": _unsaid(request)})
    last = max(at for at, each in enumerate(answers) if each["role"] == "assistant")
    answers[last] |= {"rest": answers[last]["rest"] | rest, "usage": _usage(result, about)}
    for answer in answers:
        yield answer | (named if answer["role"] == "assistant" else {}) | {"time": time}


def _rounds(about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    results = as_object(about.get("toolCallResults"))
    for each in objects(about.get("toolCallRounds")):
        calls = objects(each.get("toolCalls"))
        thought = as_object(each.get("thinking")).get("text")
        said = "".join(map(as_text, thought)) if isinstance(thought, list) else as_text(thought)
        blocks = [{"type": "thinking", "thinking": said}] if said else []
        blocks.append(text_block(each.get("response")))
        blocks += [call_block(call.get("id"), call.get("name"), call.get("arguments")) for call in calls]
        yield {"role": "assistant", "blocks": blocks, "rest": without(each, "response", "toolCalls", "thinking")}
        ids = [id for call in calls if (id := key(call.get("id"))) in results and id is not None]
        if ids:
            answers = [result_block(id, _output(as_object(results[id]).get("content"))) for id in ids]
            yield {"role": "user", "blocks": answers, "rest": {}}


def _output(content: Any) -> str:
    parts = content if isinstance(content, list) else [content]
    return "\n".join(as_text(each.get("value", each) if isinstance(each, dict) else each) for each in parts)


def _markdown(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    said = "".join(as_text(part.get("value")) for part in objects(request.get("response")) if _is_markdown(part))
    if said:
        yield {"role": "assistant", "blocks": [text_block(said)], "rest": {}}


def _unsaid(request: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in objects(request.get("response")) if not _is_markdown(part)]


def _is_markdown(part: dict[str, Any]) -> bool:
    return "kind" not in part and isinstance(part.get("value"), str)


def _usage(result: dict[str, Any], about: dict[str, Any]) -> dict[str, Any] | None:
    if isinstance(usage := result.get("usage"), dict):
        return usage
    counts = {"promptTokens": about.get("promptTokens"), "completionTokens": about.get("outputTokens")}
    return {name: value for name, value in counts.items() if value is not None} or None


def _make(node: Node) -> list[Entry]:
    fields = node.fields
    more = {name: value for name, value in fields.items() if name not in ("role", "blocks", "rest")}
    return make_messages(NAME, fields["role"], fields["blocks"], fields["rest"], **more)


def _is_chat(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("requests"), list) and "sessionId" in value


def _is_change(fields: dict[str, Any]) -> bool:
    return count(fields.get("kind")) in range(4)
