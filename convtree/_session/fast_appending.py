"""The fast path of appends, as a client of a log takes it: plain entries, and texts even before they are entries.

Each function returns None if the append must go the ordinary way; then nothing was written. See `_engine.fast_append`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from convtree._engine.call_places import results_in
from convtree._engine.expected import Expected
from convtree._engine.fast_append import Fields
from convtree._engine.json_values import dump_texts
from convtree._engine.leaf import LEAF, AtLeaf
from convtree._engine.sdk_objects import entry_of
from convtree._engine.write_batch import EncodedRecord, encode_record
from convtree._model.entries import Entry, ExtensionDataEntry, MessageEntry
from convtree._model.errors import ConvtreeError
from convtree._model.interrupts import Unlocking, is_owned, release

if TYPE_CHECKING:
    from convtree._engine.fast_append import Run
    from convtree._session.client import Client

_PLAIN = (MessageEntry, ExtensionDataEntry)
_SPEAKERS = ("user", "assistant")  # a text of theirs is a plain message: it is not pinned, and brings no result


def append_plain(
    client: Client, records: Sequence[EncodedRecord], parent_id: str | AtLeaf, expected: Expected
) -> list[Any] | None:
    """Appends records by the fast path; returns None if that cannot do it. The caller has the lock.

    Of a chain, only the first may go to a call on another branch.
    """
    run = None if client.refuses else client.journal.run_for(len(records))
    leaf_id = None if run is None else _expected_leaf(client, run, parent_id, expected)
    place = None if leaf_id is None else _place_below(client, parent_id, leaf_id)
    if run is None or place is None:
        return None
    below_id, row = place
    own_ids = [each.record.id for each in records if each.record.id]
    results = results_in(records[0].record) if parent_id is LEAF else None
    if (
        not all(run.takes(each.record, row is None) for each in records)
        or len(set(own_ids)) < len(own_ids)
        or any(map(client.is_taken, own_ids))
        or (results and client.has_call_elsewhere(results))
        or client.journal.run is not run  # the log was replaced
    ):
        return None
    if len(records) == 1:
        record, fields = records[0]
        one = run.append(fields[1:-1], below_id, row, record.id, record.type)
        placed = None if one is None else [one]
    else:
        given = [Fields(fields[1:-1], record.id, record.type) for record, fields in records]
        placed = run.append_many(given, below_id, row)
    if placed is None:
        return None
    client.leaf_id = placed[-1][0]
    return [
        msgspec.structs.replace(each.record, id=id, parent_id=parent_id, timestamp=timestamp)
        for each, (id, parent_id, timestamp) in zip(records, placed, strict=True)
    ]


def _expected_leaf(client: Client, run: Run, parent_id: str | AtLeaf, expected: Expected) -> str | None:
    """Returns the leaf that an append expects; None if it must go the ordinary way, perhaps to be refused there."""
    leaf_id: str | UnsetType | None = client.leaf_id
    if expected.revision is not UNSET:
        if not run.ends_with(expected.revision):
            return None
        leaf_id = run.leaf_id
    if expected.leaf_id is not UNSET:
        leaf_id = expected.leaf_id
        if parent_id is not LEAF and parent_id != leaf_id:
            return None
    return leaf_id if isinstance(leaf_id, str) else None


def _run_below(
    client: Client, parent: Any, count: int, leaf_id: str | None
) -> tuple[Run, str | None, int | None] | None:
    """Returns a run with room for so many messages, and the place to append them at, see `_place_below`."""
    run = client.journal.run_for(count)
    place = None if run is None else _place_below(client, parent, leaf_id)
    return None if run is None or place is None else (run, *place)


def _place_below(client: Client, parent: Any, leaf_id: str | None) -> tuple[str | None, int | None] | None:
    """Returns the id and row of the entry to append below.

    `parent` is LEAF, an entry, or perhaps the id of one. The row is None for `leaf_id`, the leaf that is expected.
    Returns None if the append must go the ordinary way.
    """
    parent_id = leaf_id if parent is LEAF else parent.id if isinstance(parent, Entry) else parent
    if parent_id == leaf_id:
        return leaf_id, None
    row = client.journal.row_of(parent_id) if isinstance(parent_id, str) else None
    return None if row is None else (parent_id, row)


def move_leaf(client: Client, target: Any) -> bool:
    """Moves the leaf to another entry, as `branch` does; returns False if that must do it."""
    if client.refuses:
        return False
    lock = client.lock
    is_nested = is_owned(lock)
    try:  # as in `append`
        with lock:
            found = _run_below(client, target, 1, None)
            if found is None:
                return False
            run, target_id, row = found
            if target_id is None or row is None or not run.move_leaf(target_id, row):
                return False
            client.leaf_id = target_id
            return True
    except BaseException:
        if not is_nested:  # pragma: no branch
            release(lock)
        raise


def append_text(
    client: Client, message: dict[str, Any], parent_id: str | Entry | AtLeaf | None = LEAF, **expected: Any
) -> MessageEntry | None:
    """Appends a message of a role and a text, as `append` does; returns None if that must do it.

    The fast path of the call that is made most often; see `_engine.fast_append`.
    """
    members = _members_of_text(message)
    if members is None or expected or client.redact is not None or client.refuses:
        return None
    lock, journal = client.lock, client.journal
    is_nested = lock._is_owned()  # type: ignore[attr-defined]
    try:  # as in `append`
        with lock:
            if parent_id is LEAF:
                run = journal.run or journal.begin_run()
                placed = run.append(members, client.leaf_id) if run is not None else None
            else:
                found = _run_below(client, parent_id, 1, client.leaf_id)
                placed = found[0].append(members, found[1], found[2]) if found is not None else None
            if placed is None:
                return None
            client.leaf_id = placed[0]
            return _entry_of_text(message, placed)
    except BaseException:
        if not is_nested:  # pragma: no branch
            release(lock)
        raise


def append_listed(
    client: Client,
    items: Sequence[Any],
    parent_id: str | Entry | AtLeaf | None = LEAF,
    expect_revision: Any = UNSET,
    move_leaf: Any = True,
) -> list[Any] | None:
    """Appends a chain as `append_many` does, of texts or of entries; returns None if that must do it."""
    if not items or client.redact is not None or client.refuses or move_leaf is not True:
        return None
    if expect_revision is UNSET:
        return _append_texts(client, items, parent_id)
    if expect_revision.__class__ is not str or parent_id.__class__ is not str:
        return None
    return _append_entries(client, items, parent_id, Expected(revision=expect_revision))


def _append_entries(client: Client, entries: Sequence[Any], parent_id: str, expected: Expected) -> list[Any] | None:
    """Appends a chain of entries of the types that a run takes."""
    if getattr(client.journal.log, "append_at", None) is None:  # it has no fast path
        return None
    if any(each.__class__ not in _PLAIN for each in entries):
        return None
    try:
        records = [encode_record(entry_of(each)) for each in entries]
    except ConvtreeError:
        return None
    with Unlocking(client.lock), client.lock:
        return append_plain(client, records, parent_id, expected)


def _append_texts(
    client: Client, messages: Sequence[Any], parent_id: str | Entry | AtLeaf | None
) -> list[MessageEntry] | None:
    """Appends a chain of messages of a role and a text, as `append_text` does one."""
    each_fields: list[Fields] = []
    for message in messages:
        members = _members_of_text(message) if message.__class__ is dict else None
        if members is None:
            return None
        each_fields.append(Fields(members))
    with Unlocking(client.lock), client.lock:
        found = _run_below(client, parent_id, len(messages), client.leaf_id)
        placed = found[0].append_many(each_fields, found[1], found[2]) if found is not None else None
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
