"""Sessions of GitHub Copilot CLI: `~/.copilot/session-state/<session>/events.jsonl`.

The keys are those of npm `@github/copilot` 1.0.102, `schemas/session-events.schema.json`. An event has a `type`, its
`data`, an `id` and a `parentId`, which make the tree. Mapping:

- `user.message`: what was typed, for the user only, and what Copilot makes of it, for the model only. If both are the
  same it is one message. A message with a `source`, or of the autopilot, is for the model only.
- `assistant.message`: reasoning, text and calls. `tool.execution_complete`: the result, as the model is sent it.
- `system.message`: a system message that replaces the one before.
- `session.usage_record`: extension data with the usage. Older versions have the `outputTokens` of a message only, and
  the sums when they end: `session.shutdown` is then extension data with what was not counted yet, for each model.
- `session.compaction_complete`: a compaction that keeps no entry, as Copilot goes on from it: with the messages of the
  user before the summary.
- `session.snapshot_rewind`: what comes next is a branch.
- `session.context_cleared`: what comes next is another root.
- An event whose parent was not written is below the one before it.
- Events with an `agentId` are those of a sub-agent: a branch of its own below the event that it begins at.
- `session.start`: the header. `name` in `workspace.yaml`: the name.

All other fields of a message are kept in it under `copilot-cli`; all other events are extension data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import call_block, make_extension_data, make_messages, result_block, text_block
from convtree._formats.common.files import SourceFile, read_beginning
from convtree._formats.common.headers import make_header, name_mark
from convtree._formats.common.ids import Ids, make_ref
from convtree._formats.common.jsonl import has_known_line, read_objects
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node, link
from convtree._formats.common.values import as_object, as_text, count, key, moment, objects, text, without
from convtree._model.entries import CompactionEntry, Entry, ExtensionDataEntry, MessageEntry, Record

NAME = "copilot-cli"
_LOOK = 20  # lines in which a session is recognised
_WORKSPACE = "workspace.yaml"
_WORKSPACE_LIMIT = 2**16
_COUNTS = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens")
_SAID = ("content", "reasoningText", "reasoningOpaque", "toolRequests", "model")
_SUMMARY = """Some of the conversation history has been summarized to free up context.

You were originally given instructions from a user over one or more turns. Here were the user messages:
{messages}

Here is a summary of the prior context:
<summary>
{summary}
</summary>
"""


def recognises(source: Source) -> bool:
    """Recognises a session by its events."""
    if not source.beginning.lstrip().startswith(b"{"):
        return False
    return bool(has_known_line(source, _is_known, _LOOK))


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, by its first event, or by the folder that it is in."""
    path = source.path.absolute()
    with SourceFile(source.path) as file:
        first = next((fields for fields, _ in read_objects(file, Findings(), _is_event)), {})
    begun = as_object(first.get("data")) if first.get("type") == "session.start" else {}
    place = path.parent.name if path.name.startswith("events.jsonl") else path.stem
    yield make_ref(NAME, key(begun.get("sessionId")) or place, content=begun)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    begun: dict[str, Any] = ref.content
    findings = Findings(ref.findings)
    context = as_object(begun.get("context"))
    header = make_header(
        NAME,
        ref.source_id,
        time=begun.get("startTime"),
        cwd=context.get("cwd"),
        git_root=context.get("gitRoot"),
        parent=key(begun.get("detachedFromSpawningParentSessionId")),
        parent_kind="task",
        version=text(begun.get("copilotVersion")),
    )
    file = source.open_file()
    reader = _Reader(Ids(NAME, ref.source_id), findings, begun)
    return SourceSession(header, reader.records(file, source.path.parent), findings.listed, file.position)


def _name(folder: Path) -> str | None:
    """Returns the name in a session's `workspace.yaml`."""
    for line in read_beginning(folder / _WORKSPACE, _WORKSPACE_LIMIT).decode(errors="replace").splitlines():
        name, _, value = line.partition(": ")
        if name == "name" and not value.startswith(("|", ">")):
            return value.strip().strip("\"'")
    return None


class _Reader:
    """Reads the events of a session in order."""

    def __init__(self, ids: Ids, findings: Findings, begun: dict[str, Any]) -> None:
        self._ids = ids
        self._findings = findings
        self._begun = begun
        self._tips: dict[str | None, str] = {}  # the last event of each agent, None is the main one
        self._agents: dict[str, str | None] = {}  # by the ids of events
        self._above: dict[str, str | None] = {}  # their parents
        self._asked: list[str] = []  # by the user, since the last compaction
        self._paid: set[str] = set()  # ids of calls to the model
        self._counted: dict[str, dict[str, int]] = {}  # by model
        self._systems: dict[str, str] = {}  # by node: the system message above it, or itself

    def records(self, file: SourceFile, folder: Path) -> Iterator[Record]:
        """Yields the session's records."""
        leaf = self._leaf
        yield from make_records(self._nodes(file), self._make, self._ids, self._findings, leaf=leaf)
        yield from name_mark(self._ids, _name(folder), SourceSpan(1, 0, 0), self._findings)

    def _leaf(self) -> str | None:
        return self._tips.get(None)

    def _nodes(self, file: SourceFile) -> Iterator[Node]:
        last: str | None = None
        for number, (fields, span) in enumerate(read_objects(file, self._findings, _is_event), 1):
            source_id = key(fields.get("id")) or f"line {number}"
            agent = key(fields.get("agentId")) or key(as_object(fields.get("data")).get("parentToolCallId"))
            parent = key(fields.get("parentId")) if "parentId" in fields else last
            if parent is not None and parent not in self._agents:
                parent = last  # Copilot does not write all events
            if parent is not None and self._agents[parent] != agent:
                parent = self._tips.get(agent, self._tips.get(None, parent))
            if fields.get("type") == "session.context_cleared":
                parent = None
            elif fields.get("type") == "session.snapshot_rewind":
                gone = key(as_object(fields.get("data")).get("upToEventId"))
                parent = self._above.get(gone or "", parent)
            above = None if parent is None else self._ids.refer(parent)
            yield link(self._ids, self._findings, fields, span, source_id, number, above)
            last = self._tips[agent] = source_id
            self._agents[source_id], self._above[source_id] = agent, parent

    def _make(self, node: Node) -> list[Entry]:
        fields = node.fields
        system = self._systems.get(node.parent_id or "")
        if system is not None:
            self._systems[node.id] = system
        kind, data, time = text(fields.get("type")) or "unknown", fields.get("data"), moment(fields.get("timestamp"))
        agent = without({"agentId": fields.get("agentId")})
        if not isinstance(data, dict):
            return make_extension_data(NAME, "unknown", without(fields, "id", "parentId", "timestamp"), time)
        match kind:
            case "user.message":
                return self._asked_for(data, agent, time)
            case "assistant.message":
                return self._answer(data, agent, time)
            case "tool.execution_complete":
                return _result(data, agent, time)
            case "system.message" if text(data.get("content")):
                return self._prompt(node, data | agent, time, system)
        return self._other(kind, data, agent, time)

    def _other(self, kind: str, data: dict[str, Any], agent: dict[str, Any], time: str | None) -> list[Entry]:
        match kind:
            case "session.compaction_complete" if data.get("success") is True:
                return [self._compaction(data, agent, time)]
            case "session.context_cleared":
                self._asked = []
            case "session.usage_record":
                usage = as_object(data.get("usage"))
                rest = without(data, "usage") | without(usage, *_COUNTS, "model") | agent
                return [self._spent(kind, rest, usage, usage.get("model"), time)]
            case "session.shutdown":
                return self._sums(data | agent, time)
        return make_extension_data(NAME, kind.lower(), without(data) | agent, time)

    def _asked_for(self, data: dict[str, Any], agent: dict[str, Any], time: str | None) -> list[Entry]:
        typed, sent = as_text(data.get("content")), as_text(data.get("transformedContent"))
        rest = without(data, "content", "transformedContent") | agent
        images = [block for each in objects(data.get("attachments")) if (block := _image(each)) is not None]
        if data.get("source") or data.get("isAutopilotContinuation") is True:
            blocks = [text_block(sent or typed), *images]
            return make_messages(NAME, "user", blocks, rest, time=time, visible_to="model")
        if not agent:
            self._asked.append(typed)
        if not sent or sent == typed:
            return make_messages(NAME, "user", [text_block(typed), *images], rest, time=time)
        seen = make_messages(NAME, "user", [text_block(typed)], rest, time=time, visible_to="user")
        return [*seen, *make_messages(NAME, "user", [text_block(sent), *images], {}, time=time, visible_to="model")]

    def _answer(self, data: dict[str, Any], agent: dict[str, Any], time: str | None) -> list[Entry]:
        blocks = []
        thought, signature = as_text(data.get("reasoningText")), data.get("reasoningOpaque")
        if thought or signature:
            blocks.append({"type": "thinking", "thinking": thought} | without({"signature": signature}))
        blocks.append(text_block(data.get("content")))
        left = []
        for call in objects(data.get("toolRequests")):
            blocks.append(call_block(call.get("toolCallId"), call.get("name"), call.get("arguments")))
            left.append(without(call, "toolCallId", "name", "arguments"))
        rest = (
            without(data, *_SAID, "outputTokens") | without({"toolRequests": [each for each in left if each]}) | agent
        )
        output = count(data.get("outputTokens"))
        usage = None
        if output and key(data.get("apiCallId")) not in self._paid:
            usage = {"inputTokens": 0, "outputTokens": output}
            self._count(text(data.get("model")) or "", usage)
        return make_messages(NAME, "assistant", blocks, rest, time=time, model=data.get("model"), usage=usage)

    def _prompt(self, node: Node, data: dict[str, Any], time: str | None, replaces: str | None) -> list[Entry]:
        message = {"role": "system", "content": data["content"]} | without({NAME: without(data, "role", "content")})
        shape = f"{NAME}.message"
        self._systems[node.id] = node.id
        return [MessageEntry(timestamp=time, message=message, shape=shape, pinned=True, replaces=replaces)]

    def _compaction(self, data: dict[str, Any], agent: dict[str, Any], time: str | None) -> Entry:
        asked, self._asked = self._asked, []
        messages = "\n".join(f"<user_message>\n{each}\n</user_message>" for each in asked)
        summary = as_text(data.get("summaryContent"))
        usage = as_object(data.get("compactionTokensUsed"))
        self._count(text(usage.get("model")) or "", usage)
        return CompactionEntry(
            timestamp=time,
            summary=_SUMMARY.format(messages=messages, summary=summary) if asked else summary,
            first_kept_entry_id=None,
            details=without(data, "compactionTokensUsed", *(() if asked else ("summaryContent",))) | agent,
            usage=usage or None,
            model=text(usage.get("model")),
        )

    # --- counts ---

    def _spent(self, kind: str, data: dict[str, Any], usage: dict[str, Any], model: Any, time: str | None) -> Entry:
        if (call := key(usage.get("apiCallId"))) is not None:
            self._paid.add(call)
        self._count(text(model) or "", usage)
        counts = {name: usage[name] for name in _COUNTS if name in usage}
        ext_type = f"{NAME}.{kind}"
        return ExtensionDataEntry(timestamp=time, ext_type=ext_type, data=data, usage=counts or None, model=text(model))

    def _count(self, model: str, usage: dict[str, Any]) -> None:
        counted = self._counted.setdefault(model, dict.fromkeys(_COUNTS, 0))
        for name in _COUNTS:
            counted[name] += count(usage.get(name)) or 0

    def _sums(self, data: dict[str, Any], time: str | None) -> list[Entry]:
        """Returns the end of a run of Copilot, with what it spent and no event has reported."""
        entries: list[Entry] = []
        for model, metrics in as_object(data.get("modelMetrics")).items():
            usage = as_object(as_object(metrics).get("usage"))
            counted = self._counted.get(model, {})
            left = {name: (count(usage.get(name)) or 0) - counted.get(name, 0) for name in _COUNTS}
            news = {name: number for name, number in left.items() if number > 0}
            if news:
                usage = {"inputTokens": 0, "outputTokens": 0} | news
                entries.append(self._spent("session.shutdown", {"model": model}, usage, model, time))
        return [*make_extension_data(NAME, "session.shutdown", without(data), time), *entries]


def _result(data: dict[str, Any], agent: dict[str, Any], time: str | None) -> list[Entry]:
    result, error = as_object(data.get("result")), as_object(data.get("error"))
    is_error = data.get("success") is False
    content = result.get("content") if result else error.get("message")
    block = result_block(data.get("toolCallId"), content, is_error=is_error)
    rest = without(data, "toolCallId", "success", "result", "error") | without({"result": without(result, "content")})
    rest |= without({"error": without(error, "message") if not result else error}) | agent
    return make_messages(NAME, "user", [block], rest, time=time)


def _image(attachment: dict[str, Any]) -> dict[str, Any] | None:
    kind, data = text(attachment.get("mimeType")) or "", text(attachment.get("data"))
    if attachment.get("type") != "blob" or not kind.startswith("image/") or not data:
        return None
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def _is_event(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("type"), str) and "data" in fields


def _is_known(fields: dict[str, Any]) -> bool:
    if fields.get("type") not in ("session.start", "user.message", "assistant.message"):
        return False
    return isinstance(fields.get("data"), dict) and "id" in fields
