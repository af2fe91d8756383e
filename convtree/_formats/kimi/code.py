"""Sessions of Kimi Code: `~/.kimi-code/sessions/<project>/<session>/agents/<agent>/wire.jsonl`, a file for each agent.

The keys are those of MoonshotAI/kimi-code, wire protocol 1.5: `packages/agent-core-v2/docs/wire-manifest.d.ts`;
`src/agent/contextMemory` (`contextOps.ts`, `loopEventFold.ts`, `compactionHandoff.ts`, `toolResultRender.ts`) says what
a model is sent. Mapping:

- `context.append_message`: a message, with its other fields under `kimi-code`. One in the role of the user whose
  `origin` is not a person is for the model only.
- `context.append_loop_event`: a part or a call is a message of the assistant, a result one of the user, as Kimi Code
  renders it; the end of a step is extension data.
- `profile.bind`, `config.update` with a system prompt: a system message that replaces the one before.
- `usage.record`: extension data with the usage, for the model of the `llm.request` before it.
- `context.apply_compaction`: a compaction, then the messages of the user that it keeps, again, for the model only. One
  of the older kind keeps what follows `compactedCount` messages.
- `context.undo`: what comes next is a branch. `context.clear`: what comes next is another root, with the system prompt
  again, which is none of the context there.
- `state.json` of the session: name, directory, `forkedFrom`, archived; other members are metadata under `kimi-code`.

All other records: extension data `kimi-code.<type>`. The main agent is the session, any other agent a task of it. An id
is derived from the number of its line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import call_block, make_extension_data, make_messages, result_block
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import archived_mark, make_header, metadata_mark, name_mark
from convtree._formats.common.ids import Ids, make_ref
from convtree._formats.common.jsonl import object_in, read_objects
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.unsaid import name_unsaid
from convtree._formats.common.values import (
    NUMBER,
    Kinds,
    as_object,
    as_text,
    count,
    misfits,
    moment,
    objects,
    text,
    without,
)
from convtree._formats.kimi.parts import blocks_of, is_wire, kind_of, texts_of
from convtree._model.entries import CompactionEntry, Entry, ExtensionDataEntry, MessageEntry, Record

NAME = "kimi-code"
_STATE = "state.json"
_AGENTS, _MAIN = "agents", "main"
_START = SourceSpan(1, 0, 0)
_SEEN = ("id", "cwd", "title", "archived", "forkedFrom", "createdAt", "updatedAt", "agents", "version")
_OF_LINE: Kinds = {"type": str, "created_at": NUMBER, "protocol_version": str}  # of the first one
_FORKED = "forked"
_PROMPTING = ("profile.bind", "config.update")  # records that may have a system prompt
_BY_HAND = ("skill_activation", "plugin_command")  # origins of a message that a person may have begun
_EMPTY = "Tool output is empty."
#: tools whose results say to the model how long they took
_TIMED = ("Agent", "AgentSwarm", "Bash", "FetchURL", "Glob", "Grep", "WebSearch")
_MCP = "mcp__"


class _Said(NamedTuple):
    """A message of the context: its entry, what that is below, its fields, and the kind of its origin."""

    id: str
    parent_id: str | None
    message: dict[str, Any]
    kind: str | None

    @property
    def is_by_hand(self) -> bool:
        """Whether a person said it."""
        if self.message.get("role") != "user":
            return False
        origin = as_object(self.message.get("origin"))
        return self.kind in (None, "user") or (self.kind in _BY_HAND and origin.get("trigger") == "user-slash")


def recognises(source: Source) -> bool:
    """Recognises a wire by its records."""
    return is_wire(source, _is_known)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, by the folders that it is in."""
    path = source.path.absolute()
    agent = path.parent
    if agent.parent.name != _AGENTS:
        yield make_ref(NAME, path.parent.name if path.name == "wire.jsonl" else path.stem)
    elif agent.name == _MAIN:
        yield make_ref(NAME, agent.parent.parent.name, content=agent.parent.parent)
    else:
        yield make_ref(NAME, f"{agent.parent.parent.name}.{agent.name}", content=agent.parent.parent)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    findings, ids = Findings(ref.findings), Ids(NAME, ref.source_id)
    folder: Path | None = ref.content
    is_main = folder is None or source.path.absolute().parent.name == _MAIN
    state = {} if folder is None else object_in(folder / _STATE)
    parent = text(state.get("forkedFrom")) if is_main else None if folder is None else folder.name
    first, forked = _scan(source.path, is_fork=is_main and parent is not None)
    file = source.open_file()
    header = make_header(
        NAME,
        ref.source_id,
        time=state.get("createdAt") or first.get("created_at") or first.get("time"),
        cwd=state.get("cwd"),
        parent=parent,
        parent_kind="fork" if is_main else "task",
        copied_to=None if forked is None else Ids(NAME, ref.source_id).derive(forked),
        protocol=first.get("protocol_version"),
    )
    records = _Reader(ids, findings).records(file, state if is_main else {})
    return SourceSession(header, records, findings.listed, file.position)


def _scan(path: Path, *, is_fork: bool) -> tuple[dict[str, Any], int | None]:
    """Returns the first record of a file, and for a fork the number of the one that ends what was copied."""
    first: dict[str, Any] = {}
    with SourceFile(path) as file:
        for number, (fields, _) in enumerate(read_objects(file, Findings(), _is_record)):
            first = first or fields
            if not is_fork or fields.get("type") == _FORKED:
                return first, number if is_fork else None
    return first, None


class _Reader:
    """Reads the records of a wire in order."""

    def __init__(self, ids: Ids, findings: Findings) -> None:
        self._ids = ids
        self._findings = findings
        self._tip: str | None = None
        self._context: list[_Said] = []
        self._prompting: dict[str, Any] = {}  # the record that the system prompt comes from
        self._systems: dict[str, str] = {}  # by node: the system message above it, or itself
        self._request: dict[str, Any] = {}
        self._step: str | None = None
        self._is_paid = False  # this step
        self._tools: dict[str, str] = {}  # by the ids of calls without a result

    def records(self, file: SourceFile, state: dict[str, Any]) -> Iterator[Record]:
        """Yields the session's records."""
        yield from make_records(self._nodes(file), self._make, self._ids, self._findings)
        yield from name_mark(self._ids, state.get("title"), _START, self._findings)
        rest = without(state, *_SEEN) | misfits(state, {"id": str})
        yield from metadata_mark(self._ids, NAME, rest, _START, self._findings)
        if state.get("archived") is True:
            yield archived_mark(self._ids)

    def _nodes(self, file: SourceFile) -> Iterator[Node]:
        for number, (fields, span) in enumerate(read_objects(file, self._findings, _is_record)):
            kind = fields.get("type")
            if kind == "metadata":
                left = without(fields, *_OF_LINE) | misfits(fields, _OF_LINE)
                name_unsaid(left, None, span, self._findings)
                continue
            if kind == "context.clear":
                self._tip, self._context = None, []
            elif kind == "context.undo":
                self._undo(count(fields.get("count")) or 0)
            kept = self._kept(fields) if kind == "context.apply_compaction" else []
            above, id = self._tip, self._ids.derive(number)
            yield Node(id, above, None, span, fields)
            self._tip = id
            if kind in _PROMPTING and text(fields.get("systemPrompt")):
                self._prompting = fields
            elif kind == "context.clear" and self._prompting:
                self._tip = self._ids.derive(id, "prompt")
                yield Node(self._tip, id, None, span, without(self._prompting, "time"))
            self._continue(id, above, fields)
            for place, said in enumerate(kept):
                node = Node(self._ids.derive(id, "kept", place), self._tip, None, span, {"kept": said.message})
                self._tip = node.id
                self._context.insert(place, said._replace(id=node.id, parent_id=node.parent_id))
                yield node

    def _continue(self, id: str, above: str | None, fields: dict[str, Any]) -> None:
        """Adds what a record says to the context."""
        message: dict[str, Any] | None = None
        match fields.get("type"):
            case "context.append_message":
                message = as_object(fields.get("message"))
            case "context.append_loop_event":
                event = as_object(fields.get("event"))
                kind, step = event.get("type"), text(event.get("stepUuid"))
                if kind == "tool.result" or (kind in ("content.part", "tool.call") and step != self._step):
                    message = {"role": "tool" if kind == "tool.result" else "assistant"}
                    self._step = step if kind != "tool.result" else self._step
            case "context.apply_compaction":
                message = {"role": "user", "origin": {"kind": "compaction_summary"}}
                first = self._first_kept(fields)
                tail = [] if first is None else self._context[first:]
                self._context = [_said(id, above, message), *tail]
                return
        if message is not None:
            self._context.append(_said(id, above, message))

    def _undo(self, number: int) -> None:
        """Goes back to before the newest `number` messages that a person said."""
        left, cut = number, len(self._context)
        for place in range(len(self._context) - 1, -1, -1):
            said = self._context[place]
            if left == 0 or said.kind == "compaction_summary":
                break
            if said.is_by_hand:
                left, cut = left - 1, place
        if left == 0 and cut < len(self._context):
            while cut and self._is_owned(self._context[cut - 1], self._context[cut]):
                cut -= 1
            self._tip = self._context[cut].parent_id
            del self._context[cut:]

    @staticmethod
    def _is_owned(said: _Said, prompt: _Said) -> bool:
        owner = as_object(said.message.get("origin")).get("ownerPromptId")
        return said.kind == "injection" and owner is not None and owner == prompt.message.get("id")

    def _first_kept(self, fields: dict[str, Any]) -> int | None:
        """Returns the place of the first message that a compaction of the older kind keeps."""
        is_old = fields.get("legacyTail", "keptUserMessageCount" not in fields)
        before = count(fields.get("compactedCount", fields.get("count")))
        return before if is_old and before is not None and 0 <= before < len(self._context) else None

    def _kept(self, fields: dict[str, Any]) -> list[_Said]:
        """Returns the messages of the user that a compaction repeats."""
        number = count(fields.get("keptUserMessageCount")) or 0
        if number <= 0 or fields.get("legacyTail") is True:
            return []
        said = [each for each in self._context if each.is_by_hand]
        head = min(count(fields.get("keptHeadUserMessageCount")) or 0, number)
        return said if number >= len(said) else said[:head] + said[len(said) - (number - head) :]

    # --- entries ---

    def _make(self, node: Node) -> list[Entry]:
        fields = node.fields
        system = self._systems.get(node.parent_id or "")
        if system is not None:
            self._systems[node.id] = system
        time = moment(fields.get("time"))
        if "kept" in fields:
            return _message(fields["kept"], None, visible_to="model")
        match fields.get("type"):
            case "context.append_message" if isinstance(fields.get("message"), dict):
                said = _said(node.id, None, fields["message"])
                is_injected = said.message.get("role") == "user" and not said.is_by_hand
                return _message(said.message, time, visible_to="model" if is_injected else "all")
            case "context.append_loop_event":
                return self._event(as_object(fields.get("event")), fields, time)
            case "context.apply_compaction":
                return [self._compaction(fields, time)]
            case "profile.bind" | "config.update" if text(fields.get("systemPrompt")):
                return self._prompt(node, time, system)
        return self._other(fields, time)

    def _other(self, fields: dict[str, Any], time: str | None) -> list[Entry]:
        data = without(fields, "type", "time")
        match fields.get("type"):
            case "usage.record":
                self._is_paid = True
                return [self._paid("usage.record", without(data, "usage"), fields.get("usage"), time)]
            case "llm.request":
                self._request = fields
            case "agent.message.appended":
                data |= {"message": without(as_object(fields.get("message")), "message")}  # which has its own record
        return make_extension_data(NAME, kind_of(fields.get("type")), data, time)

    def _paid(self, kind: str, data: dict[str, Any], usage: Any, time: str | None) -> ExtensionDataEntry:
        provider, model = text(self._request.get("provider")), text(self._request.get("model"))
        return ExtensionDataEntry(
            timestamp=time,
            ext_type=f"{NAME}.{kind}",
            data=data,
            usage=as_object(usage) or None,
            provider=provider,
            model=model,
        )

    def _event(self, event: dict[str, Any], fields: dict[str, Any], time: str | None) -> list[Entry]:
        provider, model = self._request.get("provider"), self._request.get("model")
        match event.get("type"):
            case "step.begin":
                self._is_paid = False
            case "step.end":
                is_news = not self._is_paid
                data = without(event, "type", "usage") | {"agentId": fields.get("agentId")}
                return [self._paid("step.end", data, event.get("usage") if is_news else None, time)]
            case "content.part":
                rest = without(event, "type", "part")
                blocks = blocks_of(event.get("part"))
                return make_messages(NAME, "assistant", blocks, rest, time=time, provider=provider, model=model)
            case "tool.call":
                call = call_block(event.get("toolCallId"), event.get("name"), event.get("args"))
                self._tools[as_text(event.get("toolCallId"))] = call["name"]
                rest = without(event, "type", "toolCallId", "name", "args")
                return make_messages(NAME, "assistant", [call], rest, time=time, provider=provider, model=model)
            case "tool.result":
                result = as_object(event.get("result"))
                tool = self._tools.pop(as_text(event.get("toolCallId")), "")
                content, is_error = _rendered(result, tool), result.get("isError") is True
                block = result_block(event.get("toolCallId"), content, is_error=is_error)
                rest = without(event, "type", "toolCallId", "result") | without(result, "output", "isError", "note")
                return make_messages(NAME, "user", [block], rest, time=time)
        return self._other(event | {"agentId": fields.get("agentId")}, time)

    def _prompt(self, node: Node, time: str | None, replaces: str | None) -> list[Entry]:
        fields = node.fields
        self._systems[node.id] = node.id
        message = {"role": "system", "content": fields["systemPrompt"], NAME: without(fields, "systemPrompt", "time")}
        shape = f"{NAME}.message"
        return [MessageEntry(timestamp=time, message=message, shape=shape, pinned=True, replaces=replaces)]

    def _compaction(self, fields: dict[str, Any], time: str | None) -> Entry:
        summary = fields.get("contextSummary") or fields.get("summary")
        said = texts_of(summary.get("content")) if isinstance(summary, dict) else as_text(summary)
        first = self._first_kept(fields)
        details = without(fields, "type", "time", "contextSummary")
        if not isinstance(summary, dict) and fields.get("summary") == said:
            details.pop("summary", None)
        return CompactionEntry(
            timestamp=time,
            summary=said,
            first_kept_entry_id=None if first is None else self._context[first].id,
            details=details or None,
        )


def _said(id: str, parent_id: str | None, message: dict[str, Any]) -> _Said:
    return _Said(id, parent_id, message, text(as_object(message.get("origin")).get("kind")))


def _message(message: dict[str, Any], time: str | None, *, visible_to: Any) -> list[Entry]:
    role, blocks = text(message.get("role")) or "user", blocks_of(message.get("content"))
    for call in objects(message.get("toolCalls")):
        blocks.append(call_block(call.get("id"), call.get("name"), call.get("arguments")))
    if role == "tool":
        is_error = message.get("isError") is True
        content = _rendered({"output": message.get("content"), "isError": is_error, "note": message.get("note")})
        role, blocks = "user", [result_block(message.get("toolCallId"), content, is_error=is_error)]
    rest = without(message, "role", "content", "toolCalls", "toolCallId", "isError")
    return make_messages(NAME, role, blocks, rest, time=time, visible_to=visible_to)


def _rendered(result: dict[str, Any], tool: str = "") -> list[dict[str, Any]]:
    """Returns the output of a tool as Kimi Code sends it."""
    blocks, is_error, note = blocks_of(result.get("output")), result.get("isError") is True, text(result.get("note"))
    if not any(block.get("type") != "text" or block["text"].strip() not in ("", _EMPTY) for block in blocks):
        blocks = []
    status = "ERROR: Tool execution failed." if is_error else ""
    status = status if blocks else f"{status} {_EMPTY}".strip()
    lines = [f"<system>{status}</system>"] if status else []
    taken = result.get("durationMs")
    if isinstance(taken, int | float) and (tool in _TIMED or tool.startswith(_MCP)):
        lines.insert(0, f"Wall time: {taken / 1000:.3f} seconds")
    has_one = len(blocks) == 1 or not status
    if blocks and blocks[0].get("type") == "text" and has_one:
        lines.append(blocks.pop(0)["text"])
    if note and not blocks:
        lines.append(note)
        note = None
    said = [{"type": "text", "text": "\n".join(lines)}] if lines else []
    return [*said, *blocks, *([{"type": "text", "text": note}] if note else [])]


def _is_record(fields: dict[str, Any]) -> bool:
    """Returns whether an object is a record; parts, events and messages inside of one have a type, and no time."""
    return isinstance(fields.get("type"), str) and isinstance(fields.get("time"), int | float)


def _is_known(fields: dict[str, Any]) -> bool:
    kind = text(fields.get("type")) or ""
    if kind == "context.append_message":
        return isinstance(fields.get("message"), dict)
    return kind == "context.append_loop_event" and isinstance(fields.get("event"), dict)
