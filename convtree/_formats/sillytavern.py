"""Chats of SillyTavern: JSONL, a header with the names of user and character, then one message a line.

The keys are those of SillyTavern/SillyTavern, `public/script.js`: `saveChat` writes the file, `saveReply` the swipes.
Mapping:

- A line with `mes`: a message, of the user if `is_user`, else of the assistant; one of the type `narrator` is of the
  system. `name` and the other fields are its `extra`; `extra.api` and `extra.model` are provider and model.
- `swipes`: siblings. The conversation goes on below the one that `swipe_id` names; `swipe_info` has their other fields.
- `is_system`, which also hides a message by hand: for the user only.
- `chat_metadata`: metadata of the session under `sillytavern`, as are the user's name and the character's, whose name
  is that of the session, too.

The file is written anew each time: ids are derived from the content, and an edit is a branch. The id of the session
is derived from the character and the time of the chat. So the copies that SillyTavern makes for a checkpoint or a
branch are branches of one session. A group chat and older files have no such header; their id is the file's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.content_ids import node_by_content
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import leaf_mark, make_header, metadata_mark, name_mark
from convtree._formats.common.ids import Ids, derive_id, make_ref
from convtree._formats.common.jsonl import read_objects
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.unsaid import name_unsaid
from convtree._formats.common.values import as_object, count, misfits, moment, text, without
from convtree._model.entries import Entry, ExtensionDataEntry, MessageEntry, Record, VisibilityMark

NAME = "sillytavern"
SHAPE = "openai-chat"
_NO_NAME = "unused"  # in the header of a group chat
_LOOK = 8  # lines in which a chat is recognised
_SWIPE = ("send_date", "gen_started", "gen_finished", "extra")  # fields that each swipe has of its own
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_SHOWN = re.compile(r"(\w+) (\d+), (\d{4}) (\d+):(\d\d) ?([ap]m)", re.IGNORECASE)
_FILED = re.compile(r"(\d{4})-(\d+)-(\d+) ?@ ?(\d+)h ?(\d+)m ?(\d+)s.*")


class _Chat(NamedTuple):
    """The header of a chat; empty if it has none."""

    fields: dict[str, Any]


def recognises(source: Source) -> bool:
    """Recognises a chat by a message among its first lines."""
    if not source.beginning.lstrip().startswith(b"{"):
        return False
    found = read_objects(source.open_beginning(), Findings(), _is_message)
    return any(_is_message(fields) and "name" in fields for fields, _ in islice(found, _LOOK))


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session."""
    with SourceFile(source.path) as file:
        first = next(read_objects(file, Findings(), _is_message), None)
    header = {} if first is None or _is_message(first.fields) else first.fields
    name, begun = text(header.get("character_name")), header.get("create_date")
    is_named = name not in (None, "", _NO_NAME) and begun not in (None, "")
    yield make_ref(NAME, derive_id(NAME, name, begun) if is_named else source.path.stem, content=_Chat(header))


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    chat: _Chat = ref.content
    findings = Findings(ref.findings)
    file = source.open_file()
    begun = chat.fields.get("create_date")
    header = make_header(NAME, ref.source_id, time=_time(begun) or begun)
    reader = _Reader(Ids(NAME, ref.source_id), findings)
    return SourceSession(header, reader.records(file, chat.fields), findings.listed, file.position)


class _Reader:
    """Reads the lines of a chat in order."""

    def __init__(self, ids: Ids, findings: Findings) -> None:
        self._ids = ids
        self._findings = findings
        self._tip: str | None = None
        self._last: str | None = None
        self._hidden: list[str] = []

    def records(self, file: SourceFile, header: dict[str, Any]) -> Iterator[Record]:
        """Yields the session's records."""
        yield from make_records(self._nodes(file), _make, self._ids, self._findings)
        for id in self._hidden:
            yield VisibilityMark(id=self._ids.derive("hidden", id), target_id=id, visible_to="user")
        span = SourceSpan(1, 0, 0)
        name = text(header.get("character_name"))
        if name != _NO_NAME:
            yield from name_mark(self._ids, name, span, self._findings)
        yield from metadata_mark(self._ids, NAME, without(header, "create_date"), span, self._findings)
        yield from leaf_mark(self._ids, self._tip, self._last)

    def _nodes(self, file: SourceFile) -> Iterator[Node]:
        for number, (fields, span) in enumerate(read_objects(file, self._findings, _is_message)):
            if number == 0 and not _is_message(fields) and "user_name" in fields:
                continue
            parent, chosen = self._tip, _chosen(fields)
            swipes = _swipes(fields)
            if "swipes" in fields:
                name_unsaid(fields, swipes, span, self._findings)
            for place, swipe in enumerate(swipes):
                said = without(swipe, "is_system") | misfits(swipe, {"is_system": bool})
                node = node_by_content(self._ids, said, span, parent, str(number))
                self._last = node.id
                if place == chosen:
                    self._tip = node.id
                if fields.get("is_system") is True and _is_message(fields):
                    self._hidden.append(node.id)
                yield node


def _chosen(fields: dict[str, Any]) -> int:
    swipes, chosen = fields.get("swipes"), count(fields.get("swipe_id"))
    size = len(swipes) if isinstance(swipes, list) else 0
    return chosen if chosen is not None and 0 <= chosen < size else 0


def _swipes(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the alternatives of a message, each with its own fields."""
    swipes = fields.get("swipes")
    if not isinstance(swipes, list) or not swipes:
        return [fields]
    shared = {name: value for name, value in fields.items() if name not in ("swipes", "swipe_id", "swipe_info")}
    info = fields.get("swipe_info")
    chosen = _chosen(fields)
    found = []
    for place, said in enumerate(swipes):
        if place == chosen:
            found.append(shared)
            continue
        own = as_object(info[place]) if isinstance(info, list) and place < len(info) else {}
        others = {name: value for name, value in shared.items() if name not in _SWIPE}
        found.append(others | {"mes": said} | own)
    return found


def _make(node: Node) -> list[Entry]:
    fields = node.fields
    said, time = text(fields.get("mes")), _time(fields.get("send_date"))
    if said is None:
        return [ExtensionDataEntry(timestamp=time, ext_type=f"{NAME}.message", data=fields)]
    extra = as_object(fields.get("extra"))
    is_users = fields.get("is_user") is True
    role = "user" if is_users else "system" if extra.get("type") == "narrator" else "assistant"
    rest = without(fields, "mes", "is_user", "send_date")
    return [
        MessageEntry(
            timestamp=time,
            message={"role": role, "content": said},
            shape=SHAPE,
            provider=None if role != "assistant" else text(extra.get("api")) or None,
            model=None if role != "assistant" else text(extra.get("model")) or None,
            extra=rest or None,
        )
    ]


def _time(value: Any) -> str | None:
    """Returns a time in any of the forms that versions of SillyTavern wrote; those without a zone are taken as UTC."""
    shown = text(value) or ""
    try:
        if found := _SHOWN.fullmatch(shown):
            month, day, year, hour, minute, half = found.groups()
            hours = int(hour) % 12 + (12 if half.lower() == "pm" else 0)
            return moment(
                datetime(int(year), _MONTHS.index(month.lower()) + 1, int(day), hours, int(minute)).isoformat()
            )
        if found := _FILED.fullmatch(shown):
            years, months, days, hours, minutes, seconds = map(int, found.groups())
            return moment(datetime(years, months, days, hours, minutes, seconds).isoformat())
    except ValueError:
        return None
    return moment(value)


def _is_message(fields: dict[str, Any]) -> bool:
    return "mes" in fields and isinstance(fields.get("is_user"), bool)
