"""Sessions of Kimi CLI: `~/.kimi/sessions/<project>/<session>/wire.jsonl`, and a `wire.jsonl` for each sub-agent.

The keys are those of MoonshotAI/kimi-cli: `src/kimi_cli/wire/types.py` for the messages of the wire, `wire/file.py` for
its lines, `session_state.py` for `state.json`, `soul/message.py` for what a model is sent of a result. Mapping:

- `TurnBegin`, `SteerInput`: messages of the user. A slash command is for the user only, and so is what is said in its
  turn before a step begins. What the tool says in the role of the user, such as a reminder, is for the model only.
- `/clear`, `/reset`: what comes next is another root, with the system prompt again.
- `ContentPart`, `ToolCall`: messages of the assistant, one for each. `ToolResult`: the result.
- `StatusUpdate`: extension data with the usage of its step. The wire does not say which model it was.
- `CompactionEnd`: a compaction. Its summary is in `context.jsonl`, which Kimi CLI begins anew each time; older ones are
  `context_1.jsonl` and so on. Without these files it is extension data (`source_torn_off`).
- `SubagentEvent`: extension data. Its usage counts here if the sub-agent has no file of its own.
- The first line of `context.jsonl`: the system prompt.
- `custom_title`, `archived` of `state.json`: the name, archived. Other members: metadata under `kimi-cli`.

Other messages: extension data `kimi-cli.<name>`. A sub-agent is a task of its session. A fork has a copy of the wire
and names no session that it comes from. A context file without a wire beside it, as versions from before the wire wrote
them, is a session, too; it has no times and no usage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import call_block, make_messages, result_block
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import archived_mark, make_header, metadata_mark, name_mark
from convtree._formats.common.ids import Ids, make_ref
from convtree._formats.common.jsonl import object_in, read_objects
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.typed import is_injected
from convtree._formats.common.unsaid import name_unsaid
from convtree._formats.common.values import NUMBER, Kinds, as_object, as_text, misfits, moment, objects, text, without
from convtree._formats.kimi.parts import blocks_of, is_wire, kind_of, texts_of
from convtree._model.entries import CompactionEntry, Entry, ExtensionDataEntry, MessageEntry, Record, Visibility

NAME = "kimi-cli"
_WIRE, _STATE, _CONTEXT = "wire.jsonl", "state.json", "context.jsonl"
_AGENTS = "subagents"
_START = SourceSpan(1, 0, 0)
_SILENT = ("StepBegin", "TurnEnd", "CompactionBegin")  # what they say is in the order of the lines
_CLEAR = re.compile(r"\s*/(clear|reset)(\s|$)")
_OF_LINE: Kinds = {"timestamp": NUMBER, "protocol_version": str}
_COMMAND = re.compile(r"\s*/[a-zA-Z0-9_-]+(:[a-zA-Z0-9_-]+)*(\s|$)")
#: how a text begins that the tool says in the role of the user (soul/message.py, notifications/llm.py)
_BY_THE_TOOL = ("<system>", "<system-reminder>", "<notification ")
_COMPACTED = "<system>Previous context has been compacted."
_OWN = "_"  # begins the roles of lines that are no messages


class _Summary(NamedTuple):
    """A compaction as a context file begins with it: its text, and how many messages before it were kept."""

    text: str
    kept: int


def recognises(source: Source) -> bool:
    """Recognises a wire by its lines, or a context file by those that are no messages."""
    return is_wire(source, _is_message) or is_wire(source, _is_mark)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, by the folder that it is in; none for a context file beside a wire."""
    path = source.path.absolute()
    folder = path.parent if path.name.startswith((_WIRE, _CONTEXT)) else None
    if not is_wire(source, _is_message) and _has_wire(path):
        return
    if folder is None:
        yield make_ref(NAME, path.stem)
    elif folder.parent.name == _AGENTS:
        session = folder.parent.parent.name
        yield make_ref(NAME, f"{session}.{folder.name}", content=session)
    else:
        yield make_ref(NAME, folder.name)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    findings = Findings(ref.findings)
    folder = source.path.absolute().parent
    file = source.open_file()
    if not is_wire(source, _is_message):
        ids = Ids(NAME, ref.source_id)
        header = make_header(NAME, ref.source_id, parent=ref.content, parent_kind="task")
        records = make_records(_context_nodes(file, ids, findings), _make_context, ids, findings)
        return SourceSession(header, records, findings.listed, file.position)
    with SourceFile(source.path) as beginning:
        lines = islice(read_objects(beginning, Findings(), _is_message), 2)
        about: dict[str, Any] = {}
        for fields, _ in reversed(list(lines)):
            about |= {name: fields[name] for name in ("timestamp", "protocol_version") if name in fields}
    header = make_header(
        NAME,
        ref.source_id,
        time=about.get("timestamp"),
        parent=ref.content,
        parent_kind="task",
        protocol=about.get("protocol_version"),
    )
    reader = _Reader(folder if source.path.name.startswith(_WIRE) else None, Ids(NAME, ref.source_id), findings)
    return SourceSession(header, reader.records(file), findings.listed, file.position)


def _has_wire(path: Path) -> bool:
    wire = path.parent / _WIRE
    return path.name.startswith("context") and wire.is_file() and wire.stat().st_size > 0


def _contexts(folder: Path) -> list[Path]:
    """Returns the context files of a session, the oldest first."""
    numbers = {path: path.stem.removeprefix("context_") for path in folder.glob("context_*.jsonl")}
    old = sorted((path for path in numbers if numbers[path].isdecimal()), key=lambda path: int(numbers[path]))
    newest = folder / _CONTEXT
    return [*old, newest] if newest.is_file() else old


def _read_context(path: Path) -> Iterator[dict[str, Any]]:
    with SourceFile(path) as file:
        for fields, _ in read_objects(file, Findings(), lambda it: "role" in it):
            yield fields


def _summary(path: Path) -> _Summary | None:
    """Returns the compaction that a context file begins with; None if it begins with none."""
    summary: str | None = None
    kept = 0
    for fields in _read_context(path):
        role, content = text(fields.get("role")) or "", fields.get("content")
        if summary is None and not role.startswith(_OWN):
            first, *others = objects(content) or [{}]
            if not (text(first.get("text")) or "").startswith(_COMPACTED):
                return None
            summary = texts_of(others)
        elif summary is not None and role.startswith(_OWN):
            break
        elif summary is not None:
            kept += 1
    return None if summary is None else _Summary(summary, kept)


class _Reader:
    """Reads the lines of a wire in order."""

    def __init__(self, folder: Path | None, ids: Ids, findings: Findings) -> None:
        self._folder = folder
        self._ids = ids
        self._findings = findings
        self._tip: str | None = None
        contexts = [] if folder is None else _contexts(folder)
        self._contexts = contexts
        self._summaries = [found for path in contexts if (found := _summary(path)) is not None][::-1]
        self._starts: list[str] = []  # ids of the entries with which the messages begin that a model is sent
        self._is_in_step = False
        self._has_said = False  # something in this step

    def records(self, file: SourceFile) -> Iterator[Record]:
        """Yields the session's records."""
        yield from make_records(self._nodes(file), self._make, self._ids, self._findings)
        if self._folder is None:
            return
        state = object_in(self._folder / _STATE)
        yield from name_mark(self._ids, state.get("custom_title"), _START, self._findings)
        rest = without(state, "custom_title", "archived", "wire_mtime")
        yield from metadata_mark(self._ids, NAME, rest, _START, self._findings)
        if state.get("archived") is True:
            yield archived_mark(self._ids)

    def _nodes(self, file: SourceFile) -> Iterator[Node]:
        for prompt in self._prompts():
            yield self._node(0, prompt, _START)
        for number, (fields, span) in enumerate(read_objects(file, self._findings, _is_message), 1):
            kind = as_object(fields.get("message")).get("type")
            if kind == "StepBegin":
                self._is_in_step, self._has_said = True, False
            elif kind == "TurnBegin":
                self._is_in_step = False
                if _is_clear(fields):
                    yield from self._cleared(number, span)
            if kind in _SILENT or fields.get("type") == "metadata":
                name_unsaid(_beside(fields), None, span, self._findings)
            else:
                yield self._node(number, fields, span)

    def _node(self, number: int, fields: dict[str, Any], span: SourceSpan) -> Node:
        node = Node(self._ids.derive(number), self._tip, None, span, fields)
        self._tip = node.id
        return node

    def _cleared(self, number: int, span: SourceSpan) -> Iterator[Node]:
        """Begins another root, with the system prompt again. The command that cleared the context is below it."""
        self._tip, self._starts = None, []
        for prompt in self._prompts():
            self._tip = self._ids.derive("cleared", number)
            yield Node(self._tip, None, None, span, prompt)

    def _prompts(self) -> Iterator[dict[str, Any]]:
        for path in self._contexts[:1]:
            first = next(_read_context(path), {})
            if first.get("role") == "_system_prompt" and text(first.get("content")):
                yield {"prompt": first["content"]}

    def _make(self, node: Node) -> list[Entry]:
        fields = node.fields
        if "prompt" in fields:
            return _prompt(fields["prompt"])
        message, time = as_object(fields.get("message")), moment(fields.get("timestamp"))
        kind, payload = message.get("type"), as_object(message.get("payload"))
        made = self._said(kind, payload, time, node) if _is_message(fields) else None
        if made is not None:
            return made
        if kind == "CompactionEnd":
            return [self._compaction(time, node)]
        usage = self._usage(kind, payload)
        data = payload if _is_message(fields) else fields
        rest = {name: value for name, value in without(data).items() if usage is None or name != "token_usage"}
        return [ExtensionDataEntry(timestamp=time, ext_type=f"{NAME}.{kind_of(kind)}", data=rest, usage=usage)]

    def _said(self, kind: Any, payload: dict[str, Any], time: str | None, node: Node) -> list[Entry] | None:
        """Returns the entries of what is said; None for anything else."""
        match kind:
            case "TurnBegin" | "SteerInput":
                said = payload.get("user_input")
                is_command = isinstance(said, str) and _COMMAND.match(said) is not None and kind == "TurnBegin"
                if not is_command:
                    self._starts.append(node.id)
                visible_to: Visibility = "user" if is_command else _seen_by(said)
                rest = without(payload, "user_input")
                return make_messages(NAME, "user", blocks_of(said), rest, time=time, visible_to=visible_to)
            case "ContentPart":
                self._begin(node)
                heard_by: Visibility = "all" if self._is_in_step else "user"
                return make_messages(NAME, "assistant", blocks_of(payload), {}, time=time, visible_to=heard_by)
            case "ToolCall":
                self._begin(node)
                function = as_object(payload.get("function"))
                call = call_block(payload.get("id"), function.get("name"), function.get("arguments"))
                return make_messages(NAME, "assistant", [call], without(payload, "type", "id", "function"), time=time)
            case "ToolResult":
                self._starts.append(node.id)
                return _result(payload, time)
        return None

    def _begin(self, node: Node) -> None:
        if self._is_in_step and not self._has_said:
            self._has_said = True
            self._starts.append(node.id)

    def _compaction(self, time: str | None, node: Node) -> Entry:
        if not self._summaries:
            self._findings.add("source_torn_off", node.span, node.id)
            return ExtensionDataEntry(timestamp=time, ext_type=f"{NAME}.compaction", data={})
        summary = self._summaries.pop()
        kept = self._starts[-summary.kept :] if 0 < summary.kept <= len(self._starts) else []
        return CompactionEntry(timestamp=time, summary=summary.text, first_kept_entry_id=next(iter(kept), None))

    def _usage(self, kind: Any, payload: dict[str, Any]) -> dict[str, Any] | None:
        """Returns the usage that a message reports."""
        if kind == "SubagentEvent":
            event = as_object(payload.get("event"))
            agent = text(payload.get("agent_id"))
            if agent and self._folder is not None and (self._folder / _AGENTS / agent / _WIRE).is_file():
                return None
            kind, payload = event.get("type"), as_object(event.get("payload"))
        return as_object(payload.get("token_usage")) or None if kind == "StatusUpdate" else None


def _beside(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns what a line says that becomes no entry, beside its time and its number."""
    message = fields.get("message")
    inside = as_object(message)
    payload = inside.get("payload")
    numbered = as_object(payload)
    return {
        "line": without(fields, "timestamp", "message", "protocol_version") | misfits(fields, _OF_LINE),
        "message": without(inside, "payload") if inside else message,
        "payload": without(numbered, "n") | misfits(numbered, {"n": int}) if numbered else payload,
    }


def _result(payload: dict[str, Any], time: str | None) -> list[Entry]:
    """Returns the result of a call as Kimi CLI sends it: a message about it in tags, then the output."""
    value = as_object(payload.get("return_value")) or as_object(payload.get("result"))
    is_error, said, output = value.get("is_error") is True, text(value.get("message")) or "", value.get("output")
    status = f"<system>ERROR: {said}</system>" if is_error else f"<system>{said}</system>" if said else ""
    blocks = blocks_of(output)
    if not status and not blocks:
        status = "<system>Tool output is empty.</system>"
    content = [{"type": "text", "text": status}, *blocks] if status else blocks
    block = result_block(payload.get("tool_call_id"), content, is_error=is_error)
    rest = without(payload, "tool_call_id", "return_value", "result")
    rest |= without(value, "is_error", "message", "output")
    return make_messages(NAME, "user", [block], rest, time=time)


def _is_clear(fields: dict[str, Any]) -> bool:
    said = as_object(as_object(fields.get("message")).get("payload")).get("user_input")
    return isinstance(said, str) and _CLEAR.match(said) is not None


def _seen_by(content: Any) -> Visibility:
    """Returns who sees a message in the role of the user."""
    return "model" if is_injected(content, _BY_THE_TOOL) else "all"


def _is_message(fields: dict[str, Any]) -> bool:
    message = fields.get("message")
    if not isinstance(message, dict) or not isinstance(fields.get("timestamp"), int | float):
        return False
    return isinstance(message.get("type"), str) and isinstance(message.get("payload"), dict)


def _is_mark(fields: dict[str, Any]) -> bool:
    return fields.get("role") in ("_system_prompt", "_checkpoint", "_usage")


# --- a context file alone ---


def _context_nodes(file: SourceFile, ids: Ids, findings: Findings) -> Iterator[Node]:
    tip: str | None = None
    for number, (fields, span) in enumerate(read_objects(file, findings, lambda it: "role" in it)):
        node = Node(ids.derive(number), tip, None, span, fields)
        tip = node.id
        yield node


def _make_context(node: Node) -> list[Entry]:
    fields = node.fields
    role, content = text(fields.get("role")) or "", fields.get("content")
    rest = without(fields, "role", "content", "tool_calls", "tool_call_id")
    if role == "_system_prompt":
        return _prompt(content)
    if role.startswith(_OWN):
        return [ExtensionDataEntry(ext_type=f"{NAME}.{kind_of(role[1:])}", data=rest)]
    if role == "tool":
        return make_messages(NAME, "user", [result_block(fields.get("tool_call_id"), blocks_of(content))], rest)
    calls = []
    for call in objects(fields.get("tool_calls")):
        function = as_object(call.get("function"))
        calls.append(call_block(call.get("id"), function.get("name"), function.get("arguments")))
    seen_by = _seen_by(content) if role == "user" else "all"
    return make_messages(NAME, role or "user", [*blocks_of(content), *calls], rest, visible_to=seen_by)


def _prompt(content: Any) -> list[Entry]:
    message = {"role": "system", "content": as_text(content)}
    return [MessageEntry(message=message, shape=f"{NAME}.message", pinned=True)]
