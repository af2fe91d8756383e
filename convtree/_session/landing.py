"""Moving the leaf and summarising the branch that is left: methods of `Session`. Pure.

Between a plan and its summary a model is asked, which takes long. So no plan is made where its summary could not be
written, and when the summary comes, the plan is checked once more, under the log's lock, at the current leaf.
The planning modules are imported when the first plan is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec
from msgspec import UNSET, UnsetType

from convtree._engine.expected import Expected, expected
from convtree._engine.intents import MoveLeaf
from convtree._engine.leaf import LEAF, AtLeaf
from convtree._engine.rendering import Render, default_render
from convtree._engine.write_batch import encode_record
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, LeafMark, Mark, Record
from convtree._model.interrupts import Unlocking
from convtree._session.branches import CheckOut
from convtree._session.client import checked_id
from convtree._session.summary_intents import ApplySummary, LeaveBranch, same_call

if TYPE_CHECKING:
    from convtree._engine.tokens import Counter
    from convtree._session.client import Client, HasClient
    from convtree._session.compaction import (
        BranchPlan,
        CompactionPlan,
        Conversation,
        Summarize,
        SummarizeBranch,
    )
    from convtree._session.summaries import Summary

    class Summarised(Conversation, HasClient, Protocol):
        """The methods of a session that this module calls."""


def branch(  # noqa: D417  # a method: `self` needs no description
    self: Summarised,
    entry_id: str | Entry | None,
    *,
    summary: str | None = None,
    details: Any = None,
    summarize: SummarizeBranch | None = None,
    expect_leaf: str | Entry | UnsetType | None = UNSET,
    expect_revision: str | Record | UnsetType | None = UNSET,
    id: str | None = None,
) -> BranchSummaryEntry | None:
    """Moves the leaf to an entry, so that the next append continues there. The move is recorded in the log.

    With a summary, the entry returned is appended below `entry_id` and becomes the leaf. To look at another
    branch, `build_context(leaf=…)` moves nothing.

    Args:
        entry_id: the entry to go to; None, the place before the first entry.
        summary: the text of a branch summary: what happened on the branch that is left.
        details: additional data for the summary, any JSON value.
        summarize: a function that is called for the summary, outside any lock, if the move leaves something. It
            returns a text, or the reply of a model, whose usage, provider and model are stored with its text.
            If it raises, nothing is written.
        expect_leaf: the leaf that the log must have, as for `append`. Without it, the leaf moves from wherever it is.
        expect_revision: the last record that the log must have, as for `append`.
        id: the id of the summary, or of the move. Makes a retry safe: if it is stored already, nothing is written, and
            `summarize` is not called. So a move is recorded even if the leaf is there already.

    Raises:
        EntryNotFound, AmbiguousLabel: there is no such entry, or several have this label.
        StaleLeaf: another session moved the leaf elsewhere while `summarize` ran, or the log is not as expected. The
            latter is also raised before `summarize` is called.
        IdConflict: the id belongs to another record, or to another move.
        InvalidMessage: `summarize` did not return a text, or a reply with one.
        LeafUncertain, ReadOnlySession: raised before `summarize` is called.
    """
    if summary is not None and summarize is not None:
        raise TypeError("branch takes `summary` or `summarize`, not both")
    if summary is None and summarize is None and details is not None:
        raise ValueError("details belong to a summary; pass `summary` or `summarize`, too")
    wanted = expected(expect_leaf, expect_revision)
    if summarize is not None:
        plan = begin_branch(self, entry_id, details, wanted, id)
        if isinstance(plan, BranchSummaryEntry):
            return plan
        if plan is not None:
            return land_branch(self, plan, summarize(plan), entry_id, details, wanted, id)
    client, target_id = self._client, self._client.id_of(entry_id)
    if summary is not None:
        note = client.encode(BranchSummaryEntry(id=checked_id(id), from_id=None, summary=summary, details=details))
        with Unlocking(client.lock), client.lock:
            left = LeaveBranch(note, target_id, client.seen(expected=wanted), wanted)
            return cast(BranchSummaryEntry, client.write(left).stored[-1])
    client.write(MoveLeaf(target_id, encode_record(LeafMark(id=checked_id(id), target_id=target_id)), wanted))
    return None


def checkout(
    self: Summarised,
    entry_id: str | Entry,
    *,
    expect_leaf: str | Entry | UnsetType | None = UNSET,
    expect_revision: str | Record | UnsetType | None = UNSET,
    id: str | None = None,
) -> None:
    """Moves the leaf to the last appended leaf at or below an entry, which may be named by its label.

    That leaf is looked for under the log's lock, so it is the newest one, whatever this session has read. The arguments
    are those of `branch`.

    Raises:
        As `branch`.
    """
    wanted = expected(expect_leaf, expect_revision)
    self._client.write(CheckOut(self._client.id_of(entry_id), checked_id(id), wanted))


def compact(
    self: Summarised,
    summarize: Summarize,
    *,
    keep_tokens: int | None = None,
    keep_bytes: int | None = None,
    count_tokens: Counter | None = None,
    render: Render = default_render,
    expect_leaf: str | Entry | UnsetType | None = UNSET,
    expect_revision: str | Record | UnsetType | None = UNSET,
    id: str | None = None,
) -> CompactionEntry | None:
    """Appends a summary that replaces all but about the last `keep_tokens` in contexts; None if nothing would go.

    If the leaf moved on while `summarize` ran, the compaction is appended at the new leaf.

    Args:
        self: the session.
        summarize: gets the plan of `plan_compaction` and returns the summary: a text, or the reply of a model. The
            usage, provider and model of a reply are stored with its text. Called outside any lock; if it raises,
            nothing is written.
        keep_tokens: how many tokens stay.
        keep_bytes: how many bytes of the request stay, in place of `keep_tokens`: those of the messages as JSON.
        count_tokens: counts one message; left out, tokens are estimated as in `Context.count_tokens`.
        render: turns summaries into messages, as for `build_context`: what is summarised are the messages of that
            context.
        expect_leaf: the leaf that the log must have, before `summarize` is called and when its summary is written.
        expect_revision: the last record that the log must have, likewise.
        id: the id of the compaction. Makes a retry safe: if a compaction with this id is stored, it is returned, and
            `summarize` is not called.

    Raises:
        TypeError: `keep_tokens` and `keep_bytes` are both given, or neither.
        StaleLeaf: the leaf moved to where the plan does not hold, marks changed what it stands for, or the log is not
            as expected; nothing was written.
        IdConflict: the id belongs to another record.
        InvalidMessage: the summary is not a text or a reply, or blank.
        SummaryTooLong: it has more tokens than what it stands for; nothing was written.
        LeafUncertain, ReadOnlySession: raised before `summarize` is called.
        As `build_context` and `append`.
    """
    wanted = expected(expect_leaf, expect_revision)
    plan = begin_compaction(self, keep_tokens, keep_bytes, count_tokens, render, wanted, id)
    if plan is None or isinstance(plan, CompactionEntry):
        return plan
    return land_compaction(self, plan, summarize(plan), count_tokens, wanted, id)


def apply_compaction(
    self: Summarised,
    plan: CompactionPlan,
    summary: Summary,
    *,
    count_tokens: Counter | None = None,
    usage: Mapping[str, Any] | None = None,
    provider: str | None = None,
    model: str | None = None,
    expect_leaf: str | Entry | UnsetType | None = UNSET,
    expect_revision: str | Record | UnsetType | None = UNSET,
    id: str | None = None,
) -> CompactionEntry:
    """Appends the compaction of a plan at the current leaf, which may have moved on since the plan was made.

    Args:
        self: the session.
        plan: what `plan_compaction` returned.
        summary: the text that replaces the messages of the plan, or the reply of a model that has it.
        count_tokens: counts the tokens of one message; left out, they are estimated.
        usage: the tokens that the summary took, as the provider reports them; None: as the reply says.
        provider: the provider that made the summary; None: as the reply says.
        model: the model that made it; None: as the reply says. The conversation's model stays.
        expect_leaf: the leaf that the log must have, as for `append`.
        expect_revision: the last record that the log must have, as for `append`.
        id: the id of the compaction. A retry with an equal summary of the same plan writes nothing.

    Raises:
        StaleLeaf: the leaf moved to where the plan does not hold, marks changed what it stands for, or the log is not
            as expected; nothing was written.
        InvalidMessage: the summary is not a text or a reply, or blank.
        SummaryTooLong: it has more tokens than what it stands for; nothing was written.
        As `append`.
    """
    note = _with_cost(plan.entry(summary, count_tokens), usage, provider, model, id)
    return cast(CompactionEntry, _apply(self._client, plan, note, LEAF, expected(expect_leaf, expect_revision)))


def apply_branch_summary(
    self: Summarised,
    plan: BranchPlan,
    summary: Summary,
    entry_id: str | Entry | None,
    *,
    details: Any = None,
    usage: Mapping[str, Any] | None = None,
    provider: str | None = None,
    model: str | None = None,
    expect_leaf: str | Entry | UnsetType | None = UNSET,
    expect_revision: str | Record | UnsetType | None = UNSET,
    id: str | None = None,
) -> BranchSummaryEntry:
    """Leaves the branch of a plan for `entry_id` and appends the branch's summary there.

    Args:
        self: the session.
        plan: what `plan_branch` returned.
        summary: what happened on the branch: a text, or the reply of a model that has it.
        entry_id: the entry to go to; None is the place before the first entry.
        details: anything else to store with the summary.
        usage: the tokens that the summary took, as the provider reports them; None: as the reply says.
        provider: the provider that made the summary; None: as the reply says.
        model: the model that made it; None: as the reply says. The conversation's model stays.
        expect_leaf: the leaf that the log must have, as for `append`.
        expect_revision: the last record that the log must have, as for `append`.
        id: the id of the summary. A retry with an equal summary of the same plan writes nothing.

    Raises:
        StaleLeaf: the leaf moved off the branch since the plan was made, or the log is not as expected; nothing was
            written.
        InvalidMessage: the summary is not a text, or a reply with one.
        As `append`.
    """
    note = _with_cost(_branch_summary(plan, summary, details), usage, provider, model, id)
    wanted = expected(expect_leaf, expect_revision)
    return cast(BranchSummaryEntry, _apply(self._client, plan, note, self._client.id_of(entry_id), wanted))


# --- around the model -------------------------------------------------------------------------------------------------


def begin_compaction(
    session: Summarised,
    keep_tokens: int | None,
    keep_bytes: int | None,
    count_tokens: Counter | None,
    render: Render,
    wanted: Expected,
    id: str | None,
) -> CompactionPlan | CompactionEntry | None:
    """Plans a compaction; None if there is nothing to summarise. Of a retry, returns the compaction that is stored.

    Raises first if the session cannot be written to, or is not as expected.
    """
    from convtree._session import compaction

    if (stored := _stored_before(session, id)) is not None:
        return same_call(stored, CompactionEntry(summary="", first_kept_entry_id=None))
    session._client.check_can_append(wanted)
    return compaction.plan_compaction(
        session, keep_tokens=keep_tokens, keep_bytes=keep_bytes, count_tokens=count_tokens, render=render
    )


def begin_branch(
    session: Summarised, entry_id: str | Entry | None, details: Any, wanted: Expected, id: str | None
) -> BranchPlan | BranchSummaryEntry | None:
    """Plans the summary of the branch that a move to `entry_id` leaves; None if the move needs no summary.

    Of a retry, returns the summary that is stored; None if that was a move. Raises first if the session cannot be
    written to, or is not as expected.
    """
    from convtree._session import compaction

    if (stored := _stored_before(session, id)) is not None:
        if isinstance(stored, LeafMark):
            return None
        note = session._client.encode(BranchSummaryEntry(from_id=None, summary="", details=details)).record
        return same_call(stored, cast(BranchSummaryEntry, note))
    session._client.check_can_append(wanted)
    return compaction.plan_branch(session, entry_id)


def land_compaction(
    session: Summarised,
    plan: CompactionPlan,
    summary: Summary,
    count_tokens: Counter | None,
    wanted: Expected,
    id: str | None,
) -> CompactionEntry:
    """Appends the compaction for which a model was asked. A retry that was asked at the same time may have been faster.

    Its words are others then, and its compaction is returned.
    """
    note = _with_cost(plan.entry(summary, count_tokens), None, None, None, id)
    return cast(CompactionEntry, _apply(session._client, plan, note, LEAF, wanted, any_words=True))


def land_branch(
    session: Summarised,
    plan: BranchPlan,
    summary: Summary,
    entry_id: str | Entry | None,
    details: Any,
    wanted: Expected,
    id: str | None,
) -> BranchSummaryEntry:
    """Appends the branch summary for which a model was asked, as `land_compaction` does."""
    note = _with_cost(_branch_summary(plan, summary, details), None, None, None, id)
    target_id = session._client.id_of(entry_id)
    return cast(BranchSummaryEntry, _apply(session._client, plan, note, target_id, wanted, any_words=True))


def _stored_before(session: Summarised, id: str | None) -> Entry | Mark | None:
    """Returns the record with the id of a call, which an earlier try of it has stored."""
    return session._client.stored_record(given) if (given := checked_id(id)) else None


def _branch_summary(plan: BranchPlan, summary: Summary, details: Any) -> BranchSummaryEntry:
    from convtree._session.summaries import read_summary

    written = read_summary(summary)
    return BranchSummaryEntry(
        from_id=plan.leaf_id,
        summary=written.text,
        details=details,
        usage=written.usage,
        provider=written.provider,
        model=written.model,
    )


def _with_cost(
    note: CompactionEntry | BranchSummaryEntry,
    usage: Mapping[str, Any] | None,
    provider: str | None,
    model: str | None,
    id: str | None,
) -> Entry:
    """Returns a summary with its id and what it cost; None keeps what the reply said."""
    cost = {"usage": None if usage is None else dict(usage), "provider": provider, "model": model}
    given = {name: value for name, value in cost.items() if value is not None}
    return msgspec.structs.replace(note, id=checked_id(id), **given)


def _apply(
    client: Client,
    plan: CompactionPlan | BranchPlan,
    note: Entry,
    parent_id: str | AtLeaf | None,
    wanted: Expected,
    *,
    any_words: bool = False,
) -> Entry:
    record = client.encode(note)
    with Unlocking(client.lock), client.lock:
        intent = ApplySummary(plan, record, parent_id, client.seen(expected=wanted), wanted, any_words)
        return cast(Entry, client.write(intent).stored[-1])
