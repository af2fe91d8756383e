"""Writes a session as a rollout of Codex, which goes on with the same context. See `write`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from convtree._engine.context import Context
from convtree._formats.codex.lines import is_typed
from convtree._formats.common.base import Exported, Findings, origin
from convtree._formats.common.export import LONG_AGO, line, lose_left_out, own_uuid, stamp
from convtree._formats.common.ids import uuid_of
from convtree._formats.common.kept import OURS, kept_of, kept_whole
from convtree._formats.common.paths import lose_others
from convtree._formats.common.values import as_object
from convtree._messages.dialects import RESPONSES
from convtree._messages.matching import match
from convtree._messages.parts import without_repeats
from convtree._model.entries import CompactionEntry, Entry, ExtensionDataEntry, MessageEntry, ModelChangeEntry
from convtree._model.usage import is_known_usage, usage_of
from convtree._providers import openai_responses
from convtree._providers.pairing import ANSWER
from convtree._providers.target import Target

NAME = "codex"

_VERSION = "0.171.0"  # of Codex, whose lines these are
#: what Codex wants to know of a turn
_TURN = {"approval_policy": "on-request", "sandbox_policy": {"type": "read-only"}, "summary": "auto"}
_BASE = ("history_base", "forked_from_id")  # the file that a file continues; an exported one continues none
_NOTE = f"Error: {ANSWER}"  # for a call that waits for its result; Codex has its own words
_ROLLED_BACK = "thread_rolled_back"
Item = dict[str, Any]


def write(session: Exported, findings: Findings) -> Iterator[bytes]:
    """Yields the path to the leaf as a rollout. Codex shows its model the same context.

    * A session that came from Codex gets its own lines back, without the turns that were rolled back.
    * Messages become items of OpenAI's Responses, a message of the system the developer's: Codex has its own prompt.
    * What Codex shows of a message is a line of its own, as in its files.
    * A compaction becomes a `compacted` line with what the model sees from there on.
    * What Codex has no line for becomes one of the type `convtree`, which it passes over.
    * Other branches are left out.
    """
    return _Writer(session, findings).lines()


def file_name(session: Exported) -> str:
    """Returns the name under which Codex looks for the session."""
    time = (session.header.timestamp or LONG_AGO)[:19].replace(":", "-")
    return f"rollout-{time}-{own_uuid(session, NAME)}.jsonl"


class _Writer:
    """Writes one path."""

    def __init__(self, session: Exported, findings: Findings) -> None:
        self._session = session
        self._findings = findings
        self._is_own = origin(session.header).get("format") == NAME
        self._thread = own_uuid(session, NAME)
        self._path = session.path(session.leaf_id)
        self._context = session.build_context(leaf=session.leaf_id)
        self._ordinal = -1
        self._used: dict[str, int] = {}  # tokens so far

    def lines(self) -> Iterator[bytes]:
        """Yields the lines of the file."""
        session = self._session
        yield self._line("session_meta", self._meta(), session.header.timestamp)
        start = 0
        for end, entry in enumerate(self._path):
            if isinstance(entry, CompactionEntry):
                yield from self._stretch(start, end, session.build_context(leaf=entry.parent_id))
                yield self._line("compacted", self._compacted(entry), entry.timestamp)
                start = end + 1
        yield from self._stretch(start, len(self._path), self._context)
        self._report()

    def _report(self) -> None:
        session = self._session
        lose_others(session, {entry.id for entry in self._path}, self._findings)
        for label in session.labels.values():
            self._findings.lose(f"label {label}")
        if session.name is not None:
            self._findings.lose("name of the session, which Codex keeps in another file")

    def _line(self, kind: str, payload: Any, time: str | None, **more: Any) -> bytes:
        self._ordinal += 1
        place = {"timestamp": stamp(time), "ordinal": self._ordinal}
        return line(place | {"type": kind, "payload": payload} | more)

    def _meta(self) -> Item:
        """Returns the metadata of the session: Codex's own, if it came from there."""
        header = self._session.header
        facts: Item = {"timestamp": stamp(header.timestamp), "cwd": header.cwd or "/", "source": "cli"}
        facts |= {"originator": OURS, "cli_version": _VERSION}
        for entry in self._path if self._is_own else ():
            if isinstance(entry, ExtensionDataEntry) and entry.ext_type == f"{NAME}.session_meta":
                facts |= as_object(entry.data)
        left_out = (*_BASE, "ordinal")
        facts = {name: value for name, value in facts.items() if name not in left_out}
        return {"id": self._thread, "session_id": self._thread} | facts | {"id": self._thread}

    # --- entries between two compactions ---

    def _stretch(self, start: int, end: int, context: Context) -> Iterator[bytes]:
        """Yields the lines of a part of the path that lies between compactions, or at its end."""
        entries = self._path[start:end]
        places = {entry.id: place for place, entry in enumerate(entries)}
        items = [each for each in self._items(context) if each[0] in places]
        earliest = list(accumulate((places[id] for id, _ in reversed(items)), min))
        before = earliest[::-1]  # a result stands behind its call, also if its entry comes later
        counts = Counter(id for id, _ in items)
        last = {id: number for number, (id, _) in enumerate(items)}
        number = 0
        for place, entry in enumerate(entries):
            while number < len(items) and before[number] <= place:
                said = entries[places[items[number][0]]]
                yield self._item(items[number][1], said, alone=counts[said.id] == 1, is_last=last[said.id] == number)
                yield from self._display(items[number][1], said)
                number += 1
            yield from self._beside(entry, is_said=entry.id in last)

    def _items(self, context: Context) -> list[tuple[str, Item]]:
        """Returns the items of a context with the ids of their entries; those of Codex's own as they are."""
        written = _written(context, self._findings if context is self._context else Findings())
        if not self._is_own:
            return written
        by_entry: dict[str, list[Item]] = {}
        for id, item in written:
            by_entry.setdefault(id, []).append(item)
        found: dict[str, list[Item]] = {}
        for entry, message in zip(context.entries, context.messages, strict=True):
            is_own = isinstance(entry, MessageEntry) and self._is_items(entry)
            found[entry.id] = [message] if is_own else by_entry.get(entry.id, [])
        return [(id, item) for id, items in found.items() for item in items]

    def _item(self, item: Item, entry: Entry, *, alone: bool, is_last: bool) -> bytes:
        if not isinstance(entry, MessageEntry):
            self._findings.lose("branch summary, as a message", entry.id, "export_reworded")
            return self._line("response_item", _stored(item), entry.timestamp, **{OURS: kept_whole(entry)})
        extra = as_object(entry.extra) if self._is_items(entry) else {}
        payload = _stored(item) | as_object(extra.get("item"))
        names = ["provider", "model", "status", "reply_to"] + ([] if extra else ["extra"])
        kept = kept_of(entry, *names) if is_last else {}
        is_users = payload.get("role") == "user"
        if entry.visible_to != ("all" if not is_users or is_typed(payload) else "model"):
            kept["visible_to"] = entry.visible_to
        if entry.message.get("role") == "system" and payload.get("role") == "developer":
            self._findings.lose("system message, as the developer's", entry.id, "export_reworded")
            kept = kept_whole(entry) | {"pinned": None} if alone else kept  # a compaction repeats it
        elif entry.pinned:
            self._findings.lose("pin, which keeps a message in front of a summary", entry.id)
        more = {name: value for name, value in extra.items() if name != "item"}
        return self._line("response_item", payload, entry.timestamp, **more, **({OURS: kept} if kept else {}))

    def _display(self, item: Item, entry: Entry) -> Iterator[bytes]:
        """Yields what Codex shows of a message; without any, it lists no session. Its own files have such lines."""
        if not isinstance(entry, MessageEntry) or entry.visible_to != "all" or self._is_items(entry):
            return
        said, role = _stored(item), item.get("role")
        blocks = said["content"] if role in ("user", "assistant") else []
        text = "\n".join(block["text"] for block in blocks if "text" in block)
        if role == "user":
            images = [block["image_url"] for block in blocks if "image_url" in block]
            yield self._line("event_msg", {"type": "user_message", "message": text, "images": images}, entry.timestamp)
        elif text:
            yield self._line("event_msg", {"type": "agent_message", "message": text}, entry.timestamp)

    def _is_items(self, entry: MessageEntry) -> bool:
        """Returns whether a message came from Codex."""
        return self._is_own and entry.shape == RESPONSES

    def _beside(self, entry: Entry, *, is_said: bool) -> Iterator[bytes]:
        """Yields what stands in the file besides the items of an entry."""
        match entry:
            case MessageEntry():
                if not is_said:
                    yield self._line(OURS, kept_whole(entry), entry.timestamp)
                elif entry.usage and is_known_usage(entry.usage):
                    yield self._line("token_usage_record", self._usage(entry), entry.timestamp)
                elif entry.usage:
                    self._findings.lose("usage in an unknown spelling", entry.id)
            case ModelChangeEntry():
                yield self._line("turn_context", self._turn(entry), entry.timestamp)
            case ExtensionDataEntry() if self._is_own and entry.ext_type.startswith(f"{NAME}."):
                kind, data = entry.ext_type.removeprefix(f"{NAME}."), as_object(entry.data)
                if kind != "session_meta" and data.get("type") != _ROLLED_BACK:
                    payload = {name: value for name, value in data.items() if name != "ordinal"}
                    kind = "response_item" if kind == "ghost_snapshot" else kind
                    yield self._line(kind, payload, entry.timestamp)
            case _ if not is_said:
                yield self._line(OURS, kept_whole(entry), entry.timestamp)

    def _turn(self, entry: ModelChangeEntry) -> Item:
        if self._is_own and "approval_policy" in (entry.settings or {}):
            return {"model": entry.model} | (entry.settings or {})
        kept = kept_of(entry, "provider", "settings")
        return {"cwd": self._session.header.cwd or "/", "model": entry.model} | _TURN | {OURS: kept}

    def _usage(self, entry: MessageEntry) -> Item:
        read = usage_of(entry.usage or {})
        if read.cost:
            self._findings.lose("cost of an answer", entry.id)
        used = {
            "input_tokens": read.input_tokens + read.cache_read_tokens + read.cache_write_tokens,
            "cached_input_tokens": read.cache_read_tokens,
            "cache_write_input_tokens": read.cache_write_tokens,
            "output_tokens": read.output_tokens,
            "reasoning_output_tokens": 0,
            "total_tokens": read.total_tokens,
        }
        self._used = {name: value + self._used.get(name, 0) for name, value in used.items()}
        turn = uuid_of(entry.id)
        place = {"thread_id": self._thread, "session_id": self._thread, "turn_id": turn, "root_turn_id": turn}
        counts = {"usage": used, "turn_token_usage": used, "thread_token_usage": self._used}
        return place | {"response_id": f"resp_{entry.id}"} | counts

    def _compacted(self, entry: CompactionEntry) -> Item:
        """Returns a compaction with all that the model sees at it."""
        items = _written(self._session.build_context(leaf=entry.id), Findings())
        history = [_stored(item) for _, item in items]
        details = as_object(entry.details) if self._is_own else {}
        names = ("tokens_before", "tokens_after", "messages_removed", "read_files", "modified_files")
        kept = kept_of(entry, *names, "usage", "provider", "model", *(() if self._is_own else ("details",)))
        return details | {"message": entry.summary, "replacement_history": history} | ({OURS: kept} if kept else {})


def _written(context: Context, findings: Findings) -> list[tuple[str, Item]]:
    """Returns the items of a request, each after the id of its entry."""
    parts = [part for source in context.said for part in source.parts]
    target = Target(shape="openai-responses", matches=match(parts), provider=context.provider, unknown="text")
    texts, items = openai_responses.write_items(without_repeats(parts), target)
    lose_left_out(target.left_out, findings)
    waiting = {call.entry_id for call in target.answered}
    said = [each for each in items if each[0] not in waiting or each[1].get("output") != _NOTE]
    return [*((id, _message("developer", text)) for id, text in texts), *said]


def _stored(item: Item) -> Item:
    """Returns an item as Codex stores it: a message has a type, and blocks."""
    if "role" not in item or item.get("type", "message") != "message":
        return item
    content = item.get("content")
    if isinstance(content, str):
        return {name: item[name] for name in item.keys() - {"content"}} | _message(item["role"], content)
    return {"type": "message"} | item


def _message(role: str, text: str) -> Item:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
