"""Moving the leaf and summarising the branch that is left: methods of `Session`, and the intent that they write. Pure.

Between a plan and its summary a model is asked, which takes long. So no plan is made where its summary could not be
written, and when the summary comes, the plan is checked once more, under the log's lock, at the current leaf.
The planning modules are imported when the first plan is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import msgspec

from convtree._engine import tree
from convtree._engine.intents import MoveLeaf
from convtree._engine.leaf import LEAF, AtLeaf, SeenLeaf
from convtree._engine.rendering import Render, default_render
from convtree._engine.write_batch import EncodedRecord, WriteBatch, encode_record
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, LeafMark
from convtree._model.errors import StaleLeaf

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
    entry_id: str | None,
    *,
    summary: str | None = None,
    details: Any = None,
    summarize: SummarizeBranch | None = None,
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

    Raises:
        EntryNotFound: there is no such entry.
        StaleLeaf: another session moved the leaf elsewhere while `summarize` ran.
        InvalidMessage: `summarize` did not return a text, or a reply with one.
        LeafUncertain, ReadOnlySession: raised before `summarize` is called.
    """
    if summary is not None and summarize is not None:
        raise TypeError("branch takes `summary` or `summarize`, not both")
    if summary is None and summarize is None and details is not None:
        raise ValueError("details belong to a summary; pass `summary` or `summarize`, too")
    if summarize is not None and (plan := plan_branch(self, entry_id)) is not None:
        return apply_branch_summary(self, plan, summarize(plan), entry_id, details=details)
    if summary is not None:
        with self._client.lock:
            note = BranchSummaryEntry(from_id=self.leaf_id, summary=summary, details=details)
            return cast(BranchSummaryEntry, self._client.append([note], entry_id)[0])
    self._client.write(MoveLeaf(entry_id, encode_record(LeafMark(target_id=entry_id))))
    return None


def compact(
    self: Summarised,
    summarize: Summarize,
    *,
    keep_tokens: int | None = None,
    keep_bytes: int | None = None,
    count_tokens: Counter | None = None,
    render: Render = default_render,
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

    Raises:
        TypeError: `keep_tokens` and `keep_bytes` are both given, or neither.
        StaleLeaf: the leaf moved to where the plan does not hold, or marks changed what it stands for; nothing was
            written.
        InvalidMessage: the summary is not a text or a reply, or blank.
        SummaryTooLong: it has more tokens than what it stands for; nothing was written.
        LeafUncertain, ReadOnlySession: raised before `summarize` is called.
        As `build_context` and `append`.
    """
    plan = plan_compaction(self, keep_tokens, keep_bytes, count_tokens, render)
    return None if plan is None else apply_compaction(self, plan, summarize(plan), count_tokens=count_tokens)


def apply_compaction(
    self: Summarised,
    plan: CompactionPlan,
    summary: Summary,
    *,
    count_tokens: Counter | None = None,
    usage: Mapping[str, Any] | None = None,
    provider: str | None = None,
    model: str | None = None,
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

    Raises:
        StaleLeaf: the leaf moved to where the plan does not hold, or marks changed what it stands for; nothing was
            written.
        InvalidMessage: the summary is not a text or a reply, or blank.
        SummaryTooLong: it has more tokens than what it stands for; nothing was written.
        As `append`.
    """
    return cast(
        CompactionEntry,
        _apply(self._client, plan, _with_cost(plan.entry(summary, count_tokens), usage, provider, model), LEAF),
    )


def apply_branch_summary(
    self: Summarised,
    plan: BranchPlan,
    summary: Summary,
    entry_id: str | None,
    *,
    details: Any = None,
    usage: Mapping[str, Any] | None = None,
    provider: str | None = None,
    model: str | None = None,
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

    Raises:
        StaleLeaf: the leaf moved off the branch since the plan was made; nothing was written.
        InvalidMessage: the summary is not a text, or a reply with one.
        As `append`.
    """
    from convtree._session.summaries import read_summary

    written = read_summary(summary)
    note = BranchSummaryEntry(
        from_id=plan.leaf_id,
        summary=written.text,
        details=details,
        usage=written.usage,
        provider=written.provider,
        model=written.model,
    )
    return cast(BranchSummaryEntry, _apply(self._client, plan, _with_cost(note, usage, provider, model), entry_id))


def plan_compaction(
    session: Summarised,
    keep_tokens: int | None,
    keep_bytes: int | None,
    count_tokens: Counter | None,
    render: Render,
) -> CompactionPlan | None:
    """Plans a compaction; None if there is nothing to summarise.

    Raises first if the session cannot be written to.
    """
    from convtree._session import compaction

    session._client.check_can_append()
    return compaction.plan_compaction(
        session, keep_tokens=keep_tokens, keep_bytes=keep_bytes, count_tokens=count_tokens, render=render
    )


def plan_branch(session: Summarised, entry_id: str | None) -> BranchPlan | None:
    """Plans the summary of the branch that a move to `entry_id` leaves; None if it leaves no messages.

    Raises first if the session cannot be written to.
    """
    from convtree._session import compaction

    session._client.check_can_append()
    return compaction.plan_branch(session, entry_id)


def _with_cost(
    note: CompactionEntry | BranchSummaryEntry,
    usage: Mapping[str, Any] | None,
    provider: str | None,
    model: str | None,
) -> Entry:
    """Returns a summary with what it cost; None keeps what the reply said."""
    cost = {"usage": None if usage is None else dict(usage), "provider": provider, "model": model}
    return msgspec.structs.replace(note, **{name: value for name, value in cost.items() if value is not None})


def _apply(client: Client, plan: CompactionPlan | BranchPlan, note: Entry, parent_id: str | AtLeaf | None) -> Entry:
    record = client.encode(note)
    with client.lock:
        return cast(Entry, client.write(ApplySummary(plan, record, parent_id, client.seen())).stored[-1])


class ApplySummary(msgspec.Struct, frozen=True):
    """The compaction or branch summary of a plan, below `parent_id` or the leaf, if the plan still holds there."""

    summary_of: CompactionPlan | BranchPlan
    record: EncodedRecord
    parent_id: str | AtLeaf | None
    seen: SeenLeaf

    moves_leaf: ClassVar[bool] = True

    def plan(self, batch: WriteBatch) -> None:
        """Adds the summary. If the leaf has moved, continues the new leaf, unless `on_stale` is "branch".

        Raises:
            StaleLeaf: the plan does not hold at the leaf as it is now, or marks have changed what it stands for.
        """
        from convtree._session import compaction

        leaf_id = batch.current_leaf(self.seen.or_newer())
        row = tree.ROOT if leaf_id is None else batch.row_of(leaf_id)
        if not compaction.is_still_valid(self.summary_of, batch.index, row):
            planned_at = self.summary_of.leaf_id
            reason = f"the plan was made for the leaf {planned_at!r} and does not hold at the leaf {leaf_id!r}"
            if planned_at == leaf_id:
                reason = "a message that the summary stands for was hidden, shown, pinned or unpinned since the plan"
            raise StaleLeaf(
                f"{reason}; call refresh(), then make another plan",
                expected=planned_at,
                actual=leaf_id,
            )
        batch.add_chain([self.record], leaf_id if self.parent_id is LEAF else self.parent_id)
