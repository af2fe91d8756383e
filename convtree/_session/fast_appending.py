"""The fast path of appends, as a client of a log takes it: plain messages, and texts even before they are entries.

Each function returns None if the append must go the ordinary way; then nothing was written. See `_engine.fast_append`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from convtree._engine.expected import Expected
from convtree._engine.json_values import dump_texts
from convtree._engine.leaf import LEAF, AtLeaf
from convtree._engine.write_batch import EncodedRecord
from convtree._model.entries import MessageEntry
from convtree._model.interrupts import Unlocking, release

if TYPE_CHECKING:
    from convtree._session.client import Client

_SPEAKERS = ("user", "assistant")  # a text of theirs is a plain message: it is not pinned, and brings no result


def append_plain(
    client: Client, records: Sequence[EncodedRecord], parent_id: str | AtLeaf, expected: Expected
) -> list[Any] | None:
    """Appends records by the fast path; returns None if that cannot do it. The caller has the lock."""
    leaf_id = expected.leaf_id if expected else client.leaf_id
    if client.refuses or expected.revision is not UNSET or not isinstance(leaf_id, str):
        return None
    if parent_id is LEAF or parent_id == leaf_id:
        run, parent_id = client.journal.run_for(len(records)), leaf_id
    elif expected or not isinstance(parent_id, str):
        return None
    else:
        run = client.journal.run_below(parent_id)
    if run is None or not all(run.takes(each.record) for each in records):
        return None
    if len(records) == 1:
        one = run.append(records[0].fields[1:-1], parent_id)
        placed = None if one is None else [one]
    else:
        placed = run.append_many([each.fields[1:-1] for each in records], parent_id)
    if placed is None:
        if parent_id != leaf_id:
            client.journal.run = None  # the leaf is not where this run begins
        return None
    client.leaf_id = placed[-1][0]
    return [
        msgspec.structs.replace(each.record, id=id, parent_id=parent_id, timestamp=timestamp)
        for each, (id, parent_id, timestamp) in zip(records, placed, strict=True)
    ]


def append_text(client: Client, message: dict[str, Any]) -> MessageEntry | None:
    """Appends a message of a role and a text, as `append` does; returns None if that must do it.

    The fast path of the call that is made most often; see `_engine.fast_append`.
    """
    members = _members_of_text(message)
    if members is None or client.redact is not None or client.refuses:
        return None
    lock, journal = client.lock, client.journal
    is_nested = lock._is_owned()  # type: ignore[attr-defined]
    try:  # as in `append`
        with lock:
            run = journal.run or journal.begin_run()
            placed = run.append(members, client.leaf_id) if run is not None else None
            if placed is None:
                return None
            client.leaf_id = placed[0]
            return _entry_of_text(message, placed)
    except BaseException:
        if not is_nested:  # pragma: no branch
            release(lock)
        raise


def append_texts(client: Client, messages: Sequence[Any]) -> list[MessageEntry] | None:
    """Appends a chain of messages of a role and a text, as `append_text` does one."""
    if not messages or client.redact is not None or client.refuses:
        return None
    each_members: list[bytes] = []
    for message in messages:
        members = _members_of_text(message) if message.__class__ is dict else None
        if members is None:
            return None
        each_members.append(members)
    with Unlocking(client.lock), client.lock:
        run = client.journal.run_for(len(messages))
        placed = run.append_many(each_members, client.leaf_id) if run is not None else None
        if placed is None:
            return None
        client.leaf_id = placed[-1][0]
    return list(map(_entry_of_text, messages, placed))


def _members_of_text(message: dict[str, Any]) -> bytes | None:
    """Returns the fields of an entry for a message that has a role and a text and nothing else; None for any other."""
    role, content = message.get("role"), message.get("content")
    if len(message) != 2 or content.__class__ is not str or role.__class__ is not str or role not in _SPEAKERS:
        return None
    try:
        return b'"message":' + dump_texts(message)
    except TypeError:  # a lone surrogate
        return None


def _entry_of_text(message: dict[str, Any], placed: tuple[str, str, str]) -> MessageEntry:
    """Returns the entry of such a message. Texts cannot be changed, so they are shared."""
    id, parent_id, timestamp = placed
    return MessageEntry(id=id, parent_id=parent_id, timestamp=timestamp, message=message.copy())
