"""Events of Google's ADK as entries of a log, and back. Reads logs, writes none.

ADK's history of a session is one line, in which a rewind is an event behind what it takes back. In the tree, that event
begins a branch above what it takes back, so that everybody else reads the conversation as it goes on. The entry says
behind which one ADK has it, and `upwards` yields the events in ADK's order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import islice, takewhile

from google.adk.events.event import Event
from google.adk.sessions.base_session_service import GetSessionConfig
from msgspec.structs import replace

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    EntryNotFound,
    MessageEntry,
    Session,
    is_session_id,
    session_key,
)
from convtree.adapters._base import entries_up, is_hidden
from convtree.adapters._cleaning import clean
from convtree.adapters._dumping import dump_clean
from convtree.exchange import read_google_adk_event

SHAPE = "google-adk"

_BEHIND = "behind"  # in `extra` of a rewind: the entry behind which ADK has it


def id_of(event_id: str) -> str:
    """Returns the id of the entry of an event: the event's, where that can be one. No two ids share one."""
    return event_id if is_session_id(event_id) else session_key("event", json.dumps(event_id))


def second_id_of(entry: MessageEntry) -> str:
    """Returns the id of the entry of an event whose own id another one has: ADK's services store both."""
    return session_key("event", entry.id, json.dumps(entry.message, sort_keys=True))


def ids_of(entry: MessageEntry) -> Iterator[str]:
    """Yields the ids that the entry of an event may have: both, and then one for each further branch that has it."""
    yield entry.id
    id = second_id_of(entry)
    while True:
        yield id
        id = session_key("event", id)


def message_entry(event: Event) -> MessageEntry:
    """Returns the entry that stores an event. An object in it that JSON does not know becomes its `repr`."""
    dumped, cleaned = dump_clean(lambda each, **how: each.model_dump(mode="json", exclude_none=True, **how), event)
    entry = read_google_adk_event(dumped)
    return replace(entry, id=id_of(event.id), extra={"cleaned": cleaned} if cleaned else None)


def event_of(entry: MessageEntry) -> Event:
    """Returns the event that an entry stores."""
    return Event.model_validate(entry.message)


def says_the_same(stored: MessageEntry, entry: MessageEntry) -> bool:
    """Returns whether a stored entry is that of the same event: it was delivered twice."""
    return stored.message == entry.message or stored.message == clean(entry.message).value


# --- the history ---


def upwards(log: Session, leaf: str | None, app_name: str, first: int | None = None) -> Iterator[MessageEntry]:
    """Yields the entries of a session's events in ADK's order, the last first.

    Args:
        log: the session.
        leaf: where to begin.
        app_name: who the author of answers is that another tool stored.
        first: how many entries to read at once.
    """
    at = leaf
    while at is not None:
        above = None
        for entry in entries_up(log, at, first, None):
            if isinstance(entry, MessageEntry) and entry.shape == SHAPE:
                if not is_hidden(log, entry):
                    yield entry
                above = _behind(log, entry)
                if above is not None:
                    break
            elif isinstance(entry, MessageEntry | CompactionEntry | BranchSummaryEntry):
                yield from _of_others(log, entry, app_name)
                break
        at = above


def recent(log: Session, leaf: str | None, app_name: str, config: GetSessionConfig | None) -> list[Event]:
    """Returns the last events of a session in order: those that ADK asks for, and no others are read."""
    wanted = None if config is None else config.num_recent_events
    entries: Iterator[MessageEntry] = islice(upwards(log, leaf, app_name, wanted), wanted)
    if config is not None and config.after_timestamp is not None:
        after = config.after_timestamp
        entries = takewhile(lambda each: each.message["timestamp"] >= after, entries)
    return [event_of(each) for each in entries][::-1]


def rewound(log: Session, leaf: str | None, app_name: str, event: Event, entry: MessageEntry) -> MessageEntry | None:
    """Returns the entry of an event that rewinds, with the place where that is in the tree as its parent.

    None if the event does not rewind, or there is no such invocation.
    """
    invocation = event.actions.rewind_before_invocation_id
    first = None
    if invocation:
        for each in upwards(log, leaf, app_name):
            first = each if each.message.get("invocation_id") == invocation else first
    if first is None:
        return None
    return replace(entry, parent_id=first.parent_id, extra={**(entry.extra or {}), _BEHIND: leaf})


def _behind(log: Session, entry: MessageEntry) -> str | None:
    """Returns the entry behind which ADK has the event of a rewind; None for others, and if a vacuum has dropped it."""
    id = (entry.extra or {}).get(_BEHIND)
    if id is not None:
        with suppress(EntryNotFound):
            log.entry(id)
            return str(id)
    return None


def _of_others(log: Session, entry: Entry, app_name: str) -> Iterator[MessageEntry]:
    """Yields what a model should see of a conversation down to an entry that this adapter did not write.

    Without system prompts: an agent has its own.
    """
    contents = log.build_context(leaf=entry).to("gemini")["contents"]
    for number, content in reversed([*enumerate(contents)]):
        said = any("functionResponse" not in part for part in content["parts"])
        author = "user" if content["role"] == "user" and said else app_name
        time = datetime.fromisoformat(entry.timestamp or "1970-01-01T00:00:00+00:00").timestamp()
        event = Event(id=f"{entry.id}.{number}", author=author, timestamp=time, content=content)
        yield replace(message_entry(event), parent_id=entry.parent_id)
