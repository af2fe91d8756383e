"""Appending: methods of `Session`, and the intent that sets the system message. Pure.

Whatever needs no log is checked before the lock. Where an entry belongs, and whether it is stored already, is decided
under the lock, in an intent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import wraps
from typing import Any, ClassVar, Protocol, TypeVar, cast, overload

import msgspec
from msgspec import UNSET, UnsetType

from convtree._engine import tree
from convtree._engine.expected import ANYTHING, Expected, expected
from convtree._engine.leaf import LEAF, AtLeaf, OnStale, SeenLeaf
from convtree._engine.sdk_objects import PINNED_ROLES, SDKObject, check_shape, entry_of, message_entry
from convtree._engine.write_batch import EncodedRecord, WriteBatch, encode_record
from convtree._model.entries import Entry, MessageEntry, Record, Status, Visibility
from convtree._model.errors import InvalidMessage
from convtree._model.interrupts import Unlocking
from convtree._session.client import Client, HasClient, check_on_stale, for_each_item
from convtree._session.later import or_later

E = TypeVar("E", bound=Entry)
F = TypeVar("F", bound=Callable[..., Any])

_PLACE = {"parent_id", "move_leaf", "expect_revision"}


class Appendable(HasClient, Protocol):
    """The part of a session that this module needs, and that a method of `convtree.aio` asks for."""

    def close(self) -> None:
        """Closes the log."""
        ...


@overload
def append(
    self: Appendable,
    item: E,
    /,
    *,
    parent_id: str | Entry | AtLeaf | None = LEAF,
    id: str | None = None,
    replaces: str | Entry | None = None,
    reply_to: str | Entry | None = None,
    label: str | None = None,
    move_leaf: bool = True,
    on_stale: OnStale | None = None,
    expect_leaf: str | Entry | UnsetType | None = UNSET,
    expect_revision: str | Record | UnsetType | None = UNSET,
) -> E: ...
@overload
def append(
    self: Appendable,
    item: Mapping[str, Any] | SDKObject,
    /,
    *,
    parent_id: str | Entry | AtLeaf | None = LEAF,
    id: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    usage: Mapping[str, Any] | SDKObject | None = None,
    shape: str | None = None,
    visible_to: Visibility = "all",
    pinned: bool | None = None,
    status: Status | None = None,
    extra: Mapping[str, Any] | SDKObject | None = None,
    replaces: str | Entry | None = None,
    reply_to: str | Entry | None = None,
    label: str | None = None,
    move_leaf: bool = True,
    on_stale: OnStale | None = None,
    expect_leaf: str | Entry | UnsetType | None = UNSET,
    expect_revision: str | Record | UnsetType | None = UNSET,
) -> MessageEntry: ...
def append(
    self: Appendable,
    item: Any,
    /,
    *,
    parent_id: str | Entry | AtLeaf | None = LEAF,
    id: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    usage: Mapping[str, Any] | SDKObject | None = None,
    shape: str | None = None,
    visible_to: Visibility = "all",
    pinned: bool | None = None,
    status: Status | None = None,
    extra: Mapping[str, Any] | SDKObject | None = None,
    replaces: str | Entry | None = None,
    reply_to: str | Entry | None = None,
    label: str | None = None,
    move_leaf: bool = True,
    on_stale: OnStale | None = None,
    expect_leaf: str | Entry | UnsetType | None = UNSET,
    expect_revision: str | Record | UnsetType | None = UNSET,
) -> Any:
    """Appends one message or entry and moves the leaf to it; when this returns, it is stored.

    An entry's own `parent_id` and `timestamp` are replaced; its id is kept if it has one.

    Args:
        self: the session.
        item: a message (a dict is always a message), a provider's answer, or an `Entry`. A message or an answer may be
            an object of an SDK or a framework, its dump, or JSON. Of an answer the message alone is stored.
        parent_id: the entry to append below; left out, the session's leaf; None, the place before the first
            entry. Branches and appends in one record.
        id: the new entry's id; left out, a fresh one. Makes a retry safe: if it is stored already with equal
            content, the stored entry is returned and nothing is written, no label either.
        provider: the provider that made the message; left out, as the answer tells, see below.
        model: the model that made the message; left out, as the answer states.
        usage: the tokens it took, as the provider reports them; left out, as the answer states.
        shape: the format of the message: one that `Context.to` takes, "pi", "kit", or a framework's; left out, as the
            answer tells.
        visible_to: "all", "user" (not in contexts), "model" (for the model only) or "nobody".
        pinned: whether it survives compactions; left out, true for the roles `system` and `developer`.
        status: "interrupted" for a reply that was stopped: its calls without a result count as interrupted.
        extra: data that a framework must get back with the message; never sent to a model.
        replaces: an entry on the path to the message that contexts leave out from here on.
        reply_to: the entry that the message answers; it decides the place, so `parent_id` and `on_stale` are left out.
            If only notes lie between that entry and the leaf, the reply continues at the leaf: a compaction that landed
            meanwhile is above it. If somebody said something there, the reply is a sibling, below the entry it
            answers. If the leaf has been moved off that entry, the reply is below the entry and the leaf stays where it
            is. If the leaf is uncertain, the reply is below the entry and becomes the leaf. Never raises StaleLeaf.
        label: a bookmark on the new entry, stored with it.
        move_leaf: False leaves the leaf where it is. The entry and a leaf mark are stored together.
        on_stale: what to do if another session moved the leaf: "raise", "branch" (continue the leaf that this
            session has seen) or "rebase" (continue the new leaf); left out, as the session was opened with.
        expect_leaf: the leaf that the log must have, whatever this session has seen; None: the place before the first
            entry. Otherwise StaleLeaf, also for notes of others. Goes with `parent_id`, not with `on_stale` or
            `reply_to`.
        expect_revision: the last record that the log must have, such as `revision` of a session; None: no record. Sees
            marks, too: a label, a name. Otherwise as `expect_leaf`.

    Wherever an id is asked for, an entry will do, and a label that no other entry has. An id wins over a label.

    The answers of OpenAI (chat completions and Responses), Anthropic, Gemini, Bedrock Converse, Ollama, Cohere and
    LiteLLM are known. A Response is one entry with all its items. The provider is the maker of the model where the
    model's name tells it: many servers answer as OpenAI does, some as Anthropic does, so the SDK does not tell. A chat
    completion of any other model has no provider, and the other answers have that of their format. If an answer has
    several choices or candidates, append one of them.

    The arguments from `provider` to `reply_to` go with a message only; a `MessageEntry` takes the last two. Only the
    argument `reply_to` decides the place; one that a `MessageEntry` brings itself is stored as it is.

    A tool result whose call is on another branch than the leaf goes to that call, unless `parent_id` or `reply_to` says
    where it belongs: below the results that are there already. The leaf stays where it is.

    A note is an entry that nobody said: a compaction, a model change, extension data, an entry of another tool's type,
    a message that is visible to nobody, and a text of role `user` for the model only, such as the `note` of
    `SessionStore.resume`. Where other sessions only added notes, the append continues below them.

    Raises:
        TypeError: `item` is not a message or an entry, or an entry came with arguments of messages.
        ValueError: `reply_to` came with `parent_id` or `on_stale`, or an expectation with `reply_to` or `on_stale`.
        InvalidMessage: a value cannot be stored, an answer has several choices, `shape` is unknown, or `replaces` is
            not on the path; the error names the place.
        StaleLeaf: another session moved the leaf (never with `parent_id` or `reply_to`), or the log is not as expected.
        EntryNotFound, AmbiguousLabel, IdConflict, InvalidCompaction, LeafUncertain, ReadOnlySession, SessionLocked,
        SessionFailed, SessionClosed: nothing was written.
        OSError: the disk refused; nothing was stored, or the session is failed.
    """
    id_of = self._client.id_of
    answered = id_of(reply_to)
    entry = entry_of(
        item,
        id=id,
        provider=provider,
        model=model,
        usage=usage,
        shape=shape,
        visible_to=visible_to,
        pinned=pinned,
        status=status,
        extra=extra,
        replaces=id_of(replaces),
        reply_to=answered,
    )
    return self._client.append(
        [entry],
        id_of(parent_id),
        on_stale,
        reply_to=answered,
        label=label,
        move_leaf=move_leaf,
        expected=expected(expect_leaf, expect_revision),
    )[0]


def texts_first(method: F, attempt: Callable[..., Any], kinds: Collection[type]) -> F:
    """Makes `append` or `append_many` try the fast path before its arguments are checked.

    That is, if it is given only what to append, and perhaps where, and the revision to expect.
    """

    @wraps(method)
    def append(self: Appendable, *items: Any, **options: Any) -> Any:
        if len(items) == 1 and items[0].__class__ in kinds and (not options or options.keys() <= _PLACE):
            appended = attempt(self._client, items[0], **options)
            if appended is not None:
                return appended
        return method(self, *items, **options)

    return cast(F, append)


@or_later
def move_first(method: F, attempt: Callable[[Client, Any], bool]) -> F:
    """Makes `branch` try the fast path before its arguments are checked, if it is given only the entry."""

    @wraps(method)
    def branch(self: HasClient, *entries: Any, **options: Any) -> Any:
        if not options and len(entries) == 1 and attempt(self._client, entries[0]):
            return None
        return method(self, *entries, **options)

    return cast(F, branch)


def append_many(
    self: Appendable,
    items: Iterable[Any],
    /,
    *,
    parent_id: str | Entry | AtLeaf | None = LEAF,
    provider: str | None = None,
    model: str | None = None,
    usage: Mapping[str, Any] | SDKObject | None = None,
    shape: str | None = None,
    visible_to: Visibility = "all",
    pinned: bool | None = None,
    status: Status | None = None,
    extra: Mapping[str, Any] | SDKObject | None = None,
    replaces: str | Entry | None = None,
    reply_to: str | Entry | None = None,
    label: str | None = None,
    move_leaf: bool = True,
    on_stale: OnStale | None = None,
    expect_leaf: str | Entry | UnsetType | None = UNSET,
    expect_revision: str | Record | UnsetType | None = UNSET,
) -> list[Entry]:
    """Appends a chain with one write and one sync: all of it or nothing.

    An item whose id is stored already stays where it is, and is returned as it is stored. The others form a chain at
    the place that the call names, so they never continue an entry of another branch. If all are stored, nothing is
    written. More than 65,536 lines, the marks of `label` and `move_leaf` included, are several groups: after a crash,
    the first of them may be stored without the rest.

    Args:
        self: the session.
        items: messages and entries, as `append` takes them; each is the parent of the next.
        parent_id: the parent of the first, as in `append`.
        provider: as in `append`, for every message.
        model: as in `append`, for every message.
        usage: as in `append`, for the last item if it is a message.
        shape: as in `append`, for every message.
        visible_to: as in `append`, for every message.
        pinned: as in `append`, for every message.
        status: as in `append`, for the last item if it is a message.
        extra: as in `append`, for the last item if it is a message.
        replaces: as in `append`, for the first item.
        reply_to: as in `append`, for the first item; decides the place of the chain.
        label: as in `append`, for the last item.
        move_leaf: as in `append`.
        on_stale: as in `append`.
        expect_leaf: as in `append`. If an earlier try of this call was cut off, the leaf may also be where that ended.
        expect_revision: as in `expect_leaf`.

    Raises:
        As `append`.
    """
    listed, id_of = list(items), self._client.id_of
    if shape is not None:
        check_shape(shape)
    answered = id_of(reply_to)
    common = {"provider": provider, "model": model, "shape": shape, "visible_to": visible_to, "pinned": pinned}

    def entry_at(place: int) -> Entry:
        item = listed[place]
        own: dict[str, Any] = {} if isinstance(item, Entry) else common
        if place == 0:
            own = own | {"replaces": id_of(replaces), "reply_to": answered}
        if place == len(listed) - 1 and not isinstance(item, Entry):
            own = own | {"usage": usage, "status": status, "extra": extra}
        return entry_of(item, **own)

    entries = for_each_item(entry_at, range(len(listed)))
    if not entries:
        return []
    return self._client.append(
        entries,
        id_of(parent_id),
        on_stale,
        reply_to=answered,
        label=label,
        move_leaf=move_leaf,
        expected=expected(expect_leaf, expect_revision),
    )


def set_system(
    self: Appendable,
    message: str | Mapping[str, Any],
    /,
    *,
    on_stale: OnStale | None = None,
    expect_leaf: str | Entry | UnsetType | None = UNSET,
    expect_revision: str | Record | UnsetType | None = UNSET,
) -> MessageEntry:
    """Makes a text the system message from here on. Writes nothing if it is the system message in effect already.

    So a program may call it at every start. Otherwise it appends the message with `replaces` set to the system message
    in effect, which contexts below leave out. `message` is a text or a message of role `system` or `developer`.

    Raises:
        TypeError: `message` is neither a text nor a message.
        InvalidMessage: the message has another role, or a value cannot be stored.
        As `append`.
    """
    only_text = isinstance(message, str)
    entry = message_entry({"role": "system", "content": message} if isinstance(message, str) else message)
    if entry.role not in PINNED_ROLES:
        raise InvalidMessage("set_system takes a text, or a message of role system or developer", place="message.role")
    wanted = expected(expect_leaf, expect_revision)
    check_on_stale(on_stale, wanted)
    client = self._client
    record = client.encode(entry)
    with Unlocking(client.lock), client.lock:
        intent = SetSystem(record, only_text, client.seen(on_stale, wanted), wanted)
        return cast(MessageEntry, client.write(intent).stored[-1])


class SetSystem(msgspec.Struct, frozen=True):
    """A system message at the leaf, unless the one in effect there says the same.

    `only_text` compares the text alone: the message was given as a text.
    """

    record: EncodedRecord
    only_text: bool
    seen: SeenLeaf
    expected: Expected = ANYTHING

    moves_leaf: ClassVar[bool] = True

    def plan(self, batch: WriteBatch) -> None:
        """Adds the message with `replaces`. Like a retry, one that is in effect is noticed before a stale leaf."""
        leaf_id = batch.current_leaf(self.seen.or_newer())
        current = _system_message(batch, leaf_id)
        message = cast(MessageEntry, self.record.record)
        if current is None:
            record = self.record
        elif current.text == message.text if self.only_text else current.message == message.message:
            batch.stored.append(current)
            return
        else:
            record = encode_record(msgspec.structs.replace(message, replaces=current.id))
        batch.check_expected(self.expected)
        batch.add_chain([record], batch.current_leaf(self.seen))


def _system_message(batch: WriteBatch, leaf_id: str | None) -> MessageEntry | None:
    """Returns the last system message that a model sees at a leaf."""
    row = tree.ROOT if leaf_id is None else batch.row_of(leaf_id)
    from convtree._engine.context import build_context

    for entry in reversed(build_context(batch.index, row, allow_gaps=True).entries):
        if isinstance(entry, MessageEntry) and entry.role in PINNED_ROLES:
            return entry
    return None
