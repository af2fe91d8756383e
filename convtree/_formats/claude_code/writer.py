"""Writes sessions as transcripts of Claude Code, which goes on with the same context. See `write`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import dropwhile
from typing import Any

from msgspec.structs import replace

from convtree._engine.rendering import default_render
from convtree._formats.claude_code.lines import LAST_PROMPT, TITLE
from convtree._formats.common.base import Exported, Findings, origin
from convtree._formats.common.call_ids import CallIds
from convtree._formats.common.export import (
    ExportWriter,
    Models,
    full_summary,
    is_hidden,
    line,
    line_ids,
    own_uuid,
    stamp,
)
from convtree._formats.common.ids import derive_id
from convtree._formats.common.kept import FIRST_KEPT, OURS, kept_of, kept_whole
from convtree._formats.common.shown import ShownEntries
from convtree._formats.common.speech import by_speaker
from convtree._formats.common.values import as_object
from convtree._messages.dialects import ANTHROPIC
from convtree._messages.matching import Matches
from convtree._messages.parts import Part, Role
from convtree._messages.said import read
from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
)
from convtree._model.usage import usage_of
from convtree._providers import anthropic
from convtree._providers.pairing import named
from convtree._providers.target import Target

NAME = "claude-code"

_VERSION = "2.1.332"  # of Claude Code, whose lines these are
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PLAIN = frozenset({"role", "content"})
#: members of a line that the metadata of an imported session has under another name
_HEADER = {"version": "version", "gitBranch": "git_branch", "userType": "user_type", "entrypoint": "entrypoint"}
_IN_TREE = frozenset({"isSidechain", "cwd", "version"})  # what lines of the tree have, and bookkeeping has not
_NO_MATCHES = Matches({}, [], frozenset(), frozenset(), [])
Line = dict[str, Any]


def write(session: Exported, findings: Findings) -> Iterator[bytes]:
    """Yields a session as a transcript, with all branches. Claude Code shows its model the same context.

    * A session that came from Claude Code gets its own lines back. Messages of other formats are converted.
    * A compaction becomes a boundary and its summary, and the boundary names the messages that are kept. Pinned
      messages become part of the summary.
    * A system message becomes a message of the user that only the model sees, because Claude Code has its own prompt.
    * What Claude Code has no line for becomes a `system` line that it passes over, with the data in `convtree`.
    * The last line names the leaf.
    """
    return _Writer(session, findings).lines()


def file_name(session: Exported) -> str:
    """Returns the name under which Claude Code looks for the session, in the folder of its project."""
    return f"{own_uuid(session, NAME)}.jsonl"


class _Writer(ExportWriter):
    """Writes one session, in the order of its log."""

    NAME = NAME

    def __init__(self, session: Exported, findings: Findings) -> None:
        super().__init__(session, findings)
        self._models = Models()
        self._entries = ShownEntries(session)
        self._ids = CallIds(_ID)
        self._beside: set[str] = set()  # ids of lines that stand outside of the tree
        self._boundaries: set[str] = set()  # ids of Claude Code's own
        self._usage: dict[str, Line] = {}  # of Claude Code's own messages, all their lines so far
        self._parents: dict[str, str | None] = {}
        self._line_counts: dict[str, int] = {}  # of entries that became messages
        self._envelope = self._common()

    def _beginning(self) -> Iterator[bytes]:
        """Yields nothing. Claude Code has no header: every line has what it would say."""
        return iter(())

    def _ordered(self) -> Iterator[Entry]:
        """Yields the entries; the path to the leaf last if another branch has a compaction.

        Claude Code takes the last boundary in the file for the one that counts.
        """
        compactions: list[str] = []
        for entry in self._entries:
            self._parents[entry.id] = entry.parent_id
            self._models.take(entry)
            compactions += [entry.id] if isinstance(entry, CompactionEntry) else []
        path: set[str] = set()
        at = self._session.leaf_id
        while at in self._parents:
            path.add(at)
            at = self._parents[at]
        is_aside = any(id not in path for id in compactions)
        for is_last in (False, True) if is_aside else (None,):
            yield from (entry for entry in self._entries if is_last in (None, entry.id in path))

    def _common(self) -> Line:
        """Returns what all lines have in common."""
        header = self._session.header
        facts = origin(header) if self._is_own else {}
        known = {name: facts[key] for name, key in _HEADER.items() if facts.get(key)}
        given = {"isSidechain": False, "userType": "external", "cwd": header.cwd or "", "version": _VERSION} | known
        return given | {"sessionId": own_uuid(self._session, NAME)}

    def _line(self, fields: Line, id: str, parent_id: str | None, time: str | None) -> bytes:
        if fields.pop("uuid", id) is None:
            self._beside.add(id)
            placed: Line = {} if time is None else {"timestamp": stamp(time)}
            return line(fields | placed | {"sessionId": self._envelope["sessionId"]})
        placed = {"timestamp": stamp(time)}
        self._last = id
        above = None if parent_id in self._beside else parent_id
        if fields.get("parentUuid", above) is None and above is not None:
            placed["logicalParentUuid"] = fields.get("logicalParentUuid", above)
        return line({"parentUuid": above} | self._envelope | fields | placed | {"uuid": id})

    def _ending(self) -> Iterator[bytes]:
        session, leaf = self._session, self._session.leaf_id
        for label in session.labels.values():
            self._findings.lose(f"label {label}")
        session_id = {"sessionId": self._envelope["sessionId"]}
        if (name := self._notes.name_left(session)) is not None:
            yield line({"type": TITLE, "customTitle": name} | session_id)
        if leaf is None or leaf in self._beside:
            if self._last is not None:
                self._findings.lose("leaf before the first entry", code="export_reworded")
            return
        if leaf in self._parents.values():  # Claude Code goes on from the end of a branch only
            end = derive_id(session.id, leaf, "leaf")
            yield self._line(_note("leaf"), end, leaf, session.header.timestamp)
            leaf = end
        yield line({"type": LAST_PROMPT, "lastPrompt": "", "leafUuid": leaf} | session_id)

    # --- messages ---

    def _message(self, entry: MessageEntry) -> list[Line]:
        extra = as_object(entry.extra) if self._is_own and entry.shape == ANTHROPIC else {}
        source = read(entry.message, entry.shape)
        if extra.get("attachment"):
            self._ids.name(entry, source.parts, keep=True)
            return [{"type": "attachment"} | extra]
        if is_hidden(entry) and not extra.get("isVisibleInTranscriptOnly") and not extra.get("isApiErrorMessage"):
            self._ids.name(entry, ())
            return [_passed_over(entry)]
        if extra or _is_anthropic(entry, source.parts):
            self._ids.name(entry, source.parts, keep=True)
            lines = [self._said(entry, dict(entry.message), entry.usage, extra)]
        else:
            lines = list(self._converted(entry, self._ids.name(entry, source.parts))) or [_passed_over(entry)]
        self._line_counts[entry.id] = len(lines)
        shown = {"isMeta": True} if entry.visible_to == "model" else {}
        names = ["pinned", "status", "reply_to", *([] if self._is_own and extra else ["extra"])]
        kept = lines[-1].get(OURS, {}) | kept_of(entry, *names)
        lines[-1] |= {OURS: kept} if kept else {}
        return [each | shown | {name: extra[name] for name in extra if name != "message"} for each in lines]

    def _converted(self, entry: MessageEntry, parts: list[Part]) -> Iterator[Line]:
        """Yields a message for each speaker; results apart, behind their calls and before other words."""
        target = Target(shape="anthropic", matches=_NO_MATCHES, unknown="text", left_out=[])
        bodies: list[tuple[Role, Any]] = []
        for role, apart in by_speaker([named(part, ANTHROPIC) for part in parts]):
            mine = [replace(part, role="user") for part in apart] if role == "system" else apart
            if content := anthropic.content_of(mine, target):
                bodies.append((role, content))
        last = max((at for at, (role, _) in enumerate(bodies) if role == "assistant"), default=None)
        for at, (role, content) in enumerate(bodies):
            if role == "system":
                self._findings.lose("system message, as the user's", entry.id, "export_reworded")
                said = self._said(entry, {"role": "user", "content": content}, None, {}) | {"isMeta": True}
                yield said | ({OURS: kept_whole(entry)} if len(bodies) == 1 else {})
            else:
                yield self._said(entry, {"role": role, "content": content}, entry.usage if at == last else None, {}, at)
        for left in target.left_out:
            self._findings.lose(f"{left.what}: {left.why}", entry.id)

    def _said(self, entry: MessageEntry, message: Line, usage: Any, extra: Line, at: int = 0) -> Line:
        """Returns the line of one message, the `at`-th of its entry; the model's has the frame of the API's answers."""
        more = as_object(extra.get("message"))
        if message["role"] == "user":
            return {"type": "user", "message": message | more}
        if extra:
            return self._own(entry, message, usage, more)
        _, model, _ = self._models.above(entry).after(entry)
        content = message["content"]
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content
        calls = any(isinstance(block, dict) and block.get("type") == "tool_use" for block in content)
        frame: Line = {"id": f"msg_{entry.id}_{at}", "type": "message", "role": "assistant", "model": model or ""}
        frame |= {"content": content, "stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None}
        frame |= {"usage": _usage(usage)} if usage else {}
        return {"type": "assistant", "message": frame, OURS: self._made_by(entry, model)}

    def _made_by(self, entry: MessageEntry, model: str | None) -> Line:
        """Returns what a line does not say of who made its message, if it names this model."""
        is_said = model is not None and (entry.provider, entry.model) == ("anthropic", model)
        return {} if is_said else {"provider": entry.provider, "model": entry.model}

    def _own(self, entry: MessageEntry, message: Line, usage: Any, more: Line) -> Line:
        """Returns a line of the model that was imported: Claude Code's, or one that an earlier export made."""
        id, model = more.get("id"), entry.model or "<synthetic>"
        kept: Line | None = None if entry.provider in (None, "anthropic") else {"provider": entry.provider}
        if isinstance(id, str) and id.startswith(f"msg_{entry.id}_"):
            above = self._models.above(entry).after(entry).model
            model, kept = above or "", self._made_by(entry, above)
        said = more | {"model": model} | message | self._summed(id, usage)
        return {"type": "assistant", "message": said} | ({} if kept is None else {OURS: kept})

    def _summed(self, message_id: Any, usage: Any) -> Line:
        """Returns the usage of a line of Claude Code's own: the sum of all lines of its message so far."""
        if message_id is None:
            return {"usage": usage} if usage else {}
        before, now = self._usage.get(str(message_id), {}), as_object(usage)
        sums = before | now
        sums |= {name: value + before.get(name, 0) for name, value in now.items() if type(value) is int}
        self._usage[str(message_id)] = sums
        return {"usage": sums} if sums else {}

    # --- summaries and the rest ---

    def _entry_lines(self, entry: Entry) -> list[Line]:
        if isinstance(entry, MessageEntry):
            return self._message(entry)
        self._ids.name(entry, ())
        if not isinstance(entry, CompactionEntry):
            return super()._entry_lines(entry)
        own = as_object(entry.details) if self._is_own else {}
        if entry.parent_id not in self._boundaries:
            return [self._boundary(entry), self._compaction(entry)]
        if isinstance(own.get("message"), dict):
            summary = {"type": "user", "isCompactSummary": True, "message": own["message"]}
            return [summary | as_object(own.get("line"))]
        return [self._compaction(entry)]

    def _boundary(self, entry: CompactionEntry) -> Line:
        shown = self._entries.context_at(entry)
        behind = dropwhile(lambda each: each.id != entry.id, shown)
        kept = [id for each in behind for id in line_ids(each.id, self._line_counts.get(each.id, 1)) if each != entry]
        facts: Line = {"trigger": "manual", "preTokens": entry.tokens_before or 0}
        facts |= {} if entry.tokens_after is None else {"postTokens": entry.tokens_after}
        if kept:
            facts["preservedMessages"] = {"anchorUuid": entry.id, "uuids": kept, "allUuids": kept}
        boundary = {"type": "system", "subtype": "compact_boundary", "content": "Conversation compacted"}
        return boundary | {"level": "info", "parentUuid": None, "compactMetadata": facts, OURS: {}}

    def _compaction(self, entry: CompactionEntry) -> Line:
        summary = full_summary(entry, self._entries.context_at(entry))
        names = ("summary", "tokens_before", "tokens_after", "messages_removed", "read_files", "modified_files")
        kept = kept_of(entry, *names, "details", "usage", "provider", "model")
        if entry.first_kept_entry_id is not None:
            kept[FIRST_KEPT] = entry.first_kept_entry_id
        said = default_render(replace(entry, summary=summary))
        return {"type": "user", "isCompactSummary": True, "message": said, OURS: kept}

    def _branch_summary(self, entry: BranchSummaryEntry) -> Line:
        if not entry.summary:
            return _passed_over(entry)
        self._findings.lose("branch summary, as a message", entry.id, "export_reworded")
        return {"type": "user", "isMeta": True, "message": default_render(entry), OURS: kept_whole(entry)}

    def _model_change(self, entry: ModelChangeEntry) -> list[Line]:
        return [_passed_over(entry)]

    def _extension_data(self, entry: ExtensionDataEntry) -> Line:
        kind = entry.ext_type.removeprefix(f"{NAME}.")
        if not self._is_own or kind == entry.ext_type or not isinstance(entry.data, dict):
            return _passed_over(entry)
        fields: Line = {"type": kind} | entry.data
        if _IN_TREE.isdisjoint(fields):
            if kind == TITLE:
                self._notes.name = str(entry.data.get("customTitle") or "")
            return fields | {"uuid": None}
        if fields.get("subtype") == "compact_boundary":
            self._boundaries.add(entry.id)
            fields["parentUuid"] = None
        return fields

    def _unknown(self, entry: Entry) -> Line:
        return _passed_over(entry)


def _passed_over(entry: Entry) -> Line:
    """Returns a line that Claude Code passes over."""
    return _note(entry.type) | {OURS: kept_whole(entry)}


def _note(about: str) -> Line:
    return {"type": "system", "subtype": OURS, "content": about, "level": "info", "isMeta": True}


def _is_anthropic(entry: MessageEntry, parts: tuple[Part, ...]) -> bool:
    """Returns whether a message is one that Claude Code would store as it is."""
    message = entry.message
    if entry.shape not in (None, ANTHROPIC) or message.get("role") not in ("user", "assistant"):
        return False
    is_sent = all(part.shape in (None, ANTHROPIC) and getattr(part, "sealed", True) for part in parts)
    return is_sent and message.keys() == _PLAIN and isinstance(message["content"], str | list)


def _usage(usage: Line) -> Line:
    read = usage_of(usage)
    return {
        "input_tokens": read.input_tokens,
        "cache_creation_input_tokens": read.cache_write_tokens,
        "cache_read_input_tokens": read.cache_read_tokens,
        "output_tokens": read.output_tokens,
    }
