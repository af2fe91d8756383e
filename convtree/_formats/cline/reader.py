"""Tasks of Cline, and of Roo Code and Kilo Code, which began as copies of it.

A task is a folder: `api_conversation_history.json` is the array of messages that a model is sent, `ui_messages.json`
what the screen shows. (cline/cline, apps/vscode/src/core/storage/disk.ts and shared/messages/content.ts;
RooCodeInc/Roo-Code, src/core/task-persistence/apiMessages.ts.) The history alone is read, too. Mapping:

- A message: a message of Anthropic's shape. What a person typed is in tags (`<task>`, `<user_message>`, `<user_input>`
  and others): that is for the user, and the whole for the model. What the tool says itself is for the model. `ts` is
  its time, `modelInfo` its provider and model; every other field is its `extra`. A record without content, such as
  Roo's `reasoning`: extension data `cline.<type>`.
- `isSummary`: a compaction that keeps no entry. What is sent with it follows it in the history.
- Requests in `ui_messages.json`: extension data `cline.<kind>` with the usage, below the message that the request
  began with, once it is answered. Other messages of that file repeat the history, and are not read; fields of theirs
  that do not repeat it are reported.
- `conversationHistoryDeletedRange`, `truncationParent`: messages that are for the user only. The message that marks
  the place of a truncation is left out, so that it does not move those behind it.
- The first text on the screen, which is what the user typed: the name. `history_item.json`, which Roo writes beside
  them: `workspace` is the directory, `parentTaskId` the task that this one belongs to.

Both files are written anew each time. Ids are derived from the content, so a task that was set back to a checkpoint
becomes a branch. While the list of the screen does not end, messages that a missing request may stand before are not
read. The id of the session is the folder's name, as it is for the tools.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from convtree._formats.cline.screen import Request, Screen, is_screen, read_screen
from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import make_typed
from convtree._formats.common.content_ids import node_by_content
from convtree._formats.common.files import SourceFile, read_beginning
from convtree._formats.common.headers import make_header, name_mark
from convtree._formats.common.ids import Ids, make_ref
from convtree._formats.common.json_arrays import item_keys, read_items
from convtree._formats.common.jsonl import object_in
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.typed import is_injected, typed_in
from convtree._formats.common.values import as_object, as_text, moment, objects, text, without
from convtree._model.entries import CompactionEntry, Entry, ExtensionDataEntry, MessageEntry, Record, VisibilityMark

NAME = "cline"
SHAPE = "anthropic"
_HISTORY, _SCREEN, _ITEM = "api_conversation_history.json", "ui_messages.json", "history_item.json"
_BEGINNING = 2**20
_END = 2**10
_CHANGING = ("condenseParent", "truncationParent")  # of old messages, when newer ones replace them
_NAME = 200  # characters
_TYPED = ("task", "feedback", "answer", "user_message", "user_input")  # tags around what is typed
#: how a text begins that the tool says in the role of the user
_BY_THE_TOOL = (
    *("<environment_details>", "<explicit_instructions", "<mode_notice", "[TASK RESUMPTION]", "[ERROR]"),
    *("The user has accepted the condensed conversation", "You seem to be having trouble proceeding."),
)
_START = SourceSpan(1, 0, 0)


class _Task(NamedTuple):
    """The files of a task. `screen` is None if there is no such file that can be read."""

    id: str
    history: Path
    screen: Path | None
    folder: Path
    is_torn: bool  # the screen, which is being written, or was damaged


def recognises(source: Source) -> bool:
    """Recognises a task by the messages in its files."""
    beginning = source.beginning
    if not beginning:
        return _is_history(read_beginning(source.path / _HISTORY, _BEGINNING))
    if is_screen(beginning):
        return _is_history(read_beginning(source.path.parent / _HISTORY, _BEGINNING))
    is_timed = any({"role", "content", "ts"} <= keys for keys in _keys(beginning))
    return is_timed or (_is_history(beginning) and _has_screen(source.path.parent))


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session."""
    task = _task(source)
    yield make_ref(NAME, task.id, content=task)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    task: _Task = ref.content
    findings = Findings(ref.findings)
    screen = Screen() if task.screen is None else read_screen(source.open_file(task.screen), findings)
    about = _about(task.folder / _ITEM)
    header = make_header(
        NAME,
        ref.source_id,
        time=screen.time,
        cwd=about.get("workspace"),
        parent=text(about.get("parentTaskId")),
        parent_kind="task",
        mode=text(about.get("mode")),
    )
    file = source.open_file(task.history)
    ids = Ids(NAME, ref.source_id)
    if task.is_torn and not findings.count("source_torn_tail"):
        findings.add("source_torn_tail", _START)
    records = _records(_Reader(ids, screen, findings, task.is_torn), file, (screen.task or text(about.get("task"))))
    return SourceSession(header, records, findings.listed, file.position)


def _keys(beginning: bytes) -> tuple[frozenset[str], ...]:
    return item_keys(beginning) if beginning.lstrip().startswith(b"[") else ()


def _is_history(beginning: bytes) -> bool:
    return any({"role", "content"} <= keys for keys in _keys(beginning))


def _has_screen(folder: Path) -> bool:
    return is_screen(read_beginning(folder / _SCREEN, _BEGINNING))


def _task(source: Source) -> _Task:
    path = source.path.absolute()
    folder = path.parent if source.beginning else path
    is_whole = _has_screen(folder)
    is_history = source.beginning and not is_screen(source.beginning)
    is_named = not source.beginning or is_whole or path.name == _HISTORY
    id = folder.name if is_named else path.stem
    history = path if is_history else folder / _HISTORY
    return _Task(id, history, folder / _SCREEN if is_whole else None, folder, is_named and _is_torn(folder / _SCREEN))


def _is_torn(screen: Path) -> bool:
    """Returns whether a list that is there does not end."""
    with suppress(OSError):
        if screen.is_file():
            with screen.open("rb") as file:
                file.seek(-min(_END, file.seek(0, os.SEEK_END)), os.SEEK_END)
                return not file.read().rstrip(b" \t\r\n\0").endswith(b"]")
    return False


def _about(path: Path) -> dict[str, Any]:
    found = object_in(path)
    return found if "id" in found else {}


def _records(reader: _Reader, file: SourceFile, name: str | None) -> Iterator[Record]:
    yield from make_records(reader.nodes(file), _make, reader.ids, reader.findings)
    yield from reader.marks()
    first = (name or "").strip().split("\n", 1)[0][:_NAME]
    yield from name_mark(reader.ids, first, _START, reader.findings)


class _Reader:
    """Reads the messages of a task in order, with its requests between them."""

    def __init__(self, ids: Ids, screen: Screen, findings: Findings, is_torn: bool) -> None:
        self.ids = ids
        self.findings = findings
        self._is_torn = is_torn
        self._screen = screen
        self._waiting = list(reversed(screen.requests))
        self._users = 0  # messages of the user
        self._tip: str | None = None
        self._places: list[str] = []  # ids of the messages, by their place in the history
        self._truncated: list[tuple[str, str]] = []  # ids of messages, and what hides them
        self._markers = set[str]()

    def nodes(self, file: SourceFile) -> Iterator[Node]:
        """Yields the messages, and the requests."""
        open_requests: list[Request] = []
        for fields, span in read_items(file, self.findings, _is_message):
            if fields.get("isTruncationMarker") is True:
                self._markers.add(str(fields.get("truncationId")))
                continue
            yield from self._costs(open_requests)
            if self._is_torn and not self._waiting and fields.get("role") != "assistant":
                return  # another request may have begun before it
            self._users += fields.get("role") == "user"
            begun = list(self._begun(fields.get("ts")))
            yield from self._costs([each for each in begun if each.is_apart])
            yield self._message(fields, span)
            open_requests = [each for each in begun if not each.is_apart]
            if fields.get("role") == "assistant":
                yield from self._costs(open_requests)
                open_requests = []
        yield from self._costs([each for each in open_requests if each.is_over])
        yield from self._costs([each for each in reversed(self._waiting) if each.is_apart])

    def _message(self, fields: dict[str, Any], span: SourceSpan) -> Node:
        said = {name: value for name, value in fields.items() if name not in _CHANGING}
        node = node_by_content(self.ids, said, span, self._tip, str(len(self._places)))
        self._tip = node.id
        self._places.append(node.id)
        if (hidden_by := text(fields.get("truncationParent"))) is not None:
            self._truncated.append((node.id, hidden_by))
        return node

    def _begun(self, time: Any) -> Iterator[Request]:
        """Yields the requests that began before the message at hand was written."""
        while self._waiting and self._is_begun(self._waiting[-1], time):
            yield self._waiting.pop()

    def _is_begun(self, request: Request, time: Any) -> bool:
        if request.place is not None:
            return request.place < len(self._places)
        if request.time is not None and isinstance(time, int | float):
            return request.time <= time
        return len(self._screen.requests) - len(self._waiting) < self._users

    def _costs(self, requests: list[Request]) -> Iterator[Node]:
        for request in requests:
            content = as_text([request.kind, request.time, request.usage, request.facts])
            id = self.ids.derive(self._tip or "", content)
            node = Node(id, self._tip, None, request.span, {"request": request})
            self._tip = node.id
            yield node

    def marks(self) -> Iterator[VisibilityMark]:
        """Yields marks for the messages that a model is not sent any more."""
        hidden = [id for id, marker in self._truncated if marker in self._markers]
        if self._screen.hidden is not None:
            first, last = self._screen.hidden
            hidden += self._places[max(first, 0) : last + 1]
        for id in dict.fromkeys(hidden):
            yield VisibilityMark(id=self.ids.derive("hidden", id), target_id=id, visible_to="user")


def _make(node: Node) -> list[Entry]:
    fields = node.fields
    if isinstance(request := fields.get("request"), Request):
        return [_cost(request)]
    time, content, role = moment(fields.get("ts")), fields.get("content"), text(fields.get("role"))
    if role is None or not isinstance(content, str | list):
        kind = text(fields.get("type")) or "message"
        return [ExtensionDataEntry(timestamp=time, ext_type=f"{NAME}.{kind}", data=without(fields, "ts"))]
    rest = without(fields, "role", "content", "ts", "modelInfo")
    if fields.get("isSummary") is True:
        texts = [content] if isinstance(content, str) else [text(each.get("text")) or "" for each in objects(content)]
        return [CompactionEntry(timestamp=time, summary="\n".join(texts), first_kept_entry_id=None, details=rest)]
    model = as_object(fields.get("modelInfo"))
    provider = text(model.get("providerId")) if role == "assistant" else None
    name = text(model.get("modelId")) if role == "assistant" else None
    if model and (role != "assistant" or model.keys() - {"providerId", "modelId"}):
        rest["modelInfo"] = model
    said = MessageEntry(
        timestamp=time,
        message={"role": role, "content": content},
        shape=SHAPE,
        provider=provider,
        model=name,
        extra=rest or None,
    )
    return _said_by_user(said, content) if role == "user" else [said]


def _said_by_user(said: MessageEntry, content: Any) -> list[Entry]:
    """Returns a message in the role of the user, and what a person typed of it.

    What is sent comes first: it has the id of the message, which marks hide.
    """
    if (typed := typed_in(content, _TYPED)) is not None:
        seen, sent = make_typed(NAME, typed, said)
        return [sent, seen]
    has_results = any(each.get("type") == "tool_result" for each in objects(content))
    is_tools = not has_results and is_injected(content, _BY_THE_TOOL)
    return [msgspec.structs.replace(said, visible_to="model")] if is_tools else [said]


def _cost(request: Request) -> ExtensionDataEntry:
    model = as_object(request.facts.get("modelInfo"))
    return ExtensionDataEntry(
        timestamp=moment(request.time),
        ext_type=f"{NAME}.{request.kind}",
        data=request.facts,
        usage=request.usage,
        provider=text(model.get("providerId")),
        model=text(model.get("modelId")),
    )


def _is_message(fields: dict[str, Any]) -> bool:
    return "role" in fields and "content" in fields
