"""Planning of summaries: which messages one replaces when a context is compacted or a branch is left. Pure.

A plan is made from the context alone. The conversation may grow while the summary is written, so `is_still_valid`
checks the plan again before the summary is appended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Protocol

import msgspec

from convtree._engine import tree
from convtree._engine.context import Context, build_context
from convtree._engine.diff import Diff
from convtree._engine.log_index import Index
from convtree._engine.rendering import Render, default_render
from convtree._engine.tokens import Counter, count_bytes_each, count_each, estimate_tokens
from convtree._messages.dialects import (
    COMMAND_READS,
    COMMAND_TOOLS,
    PATCH_TOOL,
    PATCHED_FILE,
    PATH_ARGUMENTS,
    READ_TOOLS,
    WRITE_TOOLS,
)
from convtree._messages.parts import Source
from convtree._model.arguments import checked
from convtree._model.entries import CompactionEntry, Entry, MessageEntry
from convtree._model.errors import InvalidMessage, SummaryTooLong
from convtree._session.cut_points import allowed_cuts, choose_cut, turn_prefix
from convtree._session.summaries import Summary, read_summary


class CompactionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The messages that a summary will replace.

    Attributes:
        leaf_id: The leaf for which the plan was made.
        entries: The entries to summarise.
        messages: Their messages, as the model sees them.
        first_kept_entry_id: The first entry that stays in the context after the summary; None if none does.
        previous_summary: The summary of earlier messages, if there is one. The new summary replaces it, so it has to
            repeat what still matters.
        turn_prefix: How many of the last messages belong to a turn that continues in what is kept; 0 if the cut is
            between two turns.
        read_files: Files that tools have read so far, also before the previous summary.
        modified_files: Files that tools have changed so far, also before the previous summary.
        tokens_before: Tokens of the whole context.
        tokens_kept: Tokens of the messages that stay.
        render: How summaries were rendered for this plan.
    """

    leaf_id: str
    entries: tuple[Entry, ...]
    messages: tuple[Any, ...]
    first_kept_entry_id: str | None
    previous_summary: str | None
    turn_prefix: int
    read_files: tuple[str, ...]
    modified_files: tuple[str, ...]
    tokens_before: int
    tokens_kept: int
    render: Render = default_render

    def entry(self, summary: Summary, count_tokens: Counter | None = None) -> CompactionEntry:
        """Returns the compaction entry of this plan, with a summary: a text, or the reply of a model.

        Raises:
            InvalidMessage: The summary is not a text or a reply, or is blank.
            SummaryTooLong: It has more tokens than what it stands for: the messages and the previous summary.
        """
        written = read_summary(summary)
        if not written.text.strip():
            raise InvalidMessage("the summary is blank; return a text that replaces the messages", place="summary")
        counter = count_tokens or estimate_tokens
        self._check_length(written.text, counter)
        made = CompactionEntry(summary=written.text, first_kept_entry_id=self.first_kept_entry_id)
        return msgspec.structs.replace(
            made,
            tokens_before=self.tokens_before,
            tokens_after=self.tokens_kept + counter(default_render(made)),
            messages_removed=len(self.messages),
            read_files=list(self.read_files) or None,
            modified_files=list(self.modified_files) or None,
            usage=written.usage,
            provider=written.provider,
            model=written.model,
        )

    def _check_length(self, summary: str, counter: Counter) -> None:
        """Checks that a context is not longer with the summary, apart from the words that introduce it."""
        tokens = counter(_as_message(summary))
        limit = sum(map(counter, self.messages))
        limit += counter(_as_message(self.previous_summary)) if self.previous_summary is not None else 0
        if tokens > limit:
            reason = f"the summary has {tokens:,} tokens, more than the {limit:,} that it stands for"
            raise SummaryTooLong(f"{reason}; nothing was written, ask for a shorter one", tokens=tokens, limit=limit)


def _as_message(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


class BranchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The messages of a branch that is to be left: those of its context from below `ancestor_id` down to `leaf_id`."""

    leaf_id: str
    ancestor_id: str | None
    entries: tuple[Entry, ...]
    messages: tuple[Any, ...]


class Conversation(Protocol):
    """The part of a session that planning uses."""

    @property
    def leaf_id(self) -> str | None:
        """The entry that the next append continues."""
        ...

    def build_context(self, *, leaf: str | None, render: Render = ...) -> Context:
        """Builds what a model should see at a leaf."""
        ...

    def common_ancestor(self, a: str | None, b: str | Entry | None) -> str | None:
        """Returns the id of the last entry that two paths share."""
        ...

    def diff(self, a: str | None, b: str | None) -> Diff:
        """Compares the branches that end at two entries."""
        ...


@checked
def plan_compaction(
    session: Conversation,
    *,
    keep_tokens: int | None = None,
    keep_bytes: int | None = None,
    count_tokens: Counter | None = None,
    render: Render = default_render,
) -> CompactionPlan | None:
    """Plans a compaction that keeps the last `keep_tokens` tokens; None if there is nothing to summarise.

    The kept end begins with a turn if a whole turn fits, else inside a turn. If not even the last message fits, it is
    kept anyway, together with the call that it answers. `keep_tokens=0` keeps nothing but calls without a result and
    what follows them. A pinned call keeps everything behind it, unless its results are pinned too.

    Args:
        session: The session, or something else that has its contexts.
        keep_tokens: How many tokens stay.
        keep_bytes: How many bytes of the request stay, in place of `keep_tokens`: those of the messages as JSON. A
            picture counts with its base64. The plan says tokens all the same.
        count_tokens: Counts the tokens of one message. By default messages are estimated, and the estimates are raised
            to the usage that the provider reported, see `Context.count_tokens`.
        render: Turns summaries into messages, as for `build_context`. The plan is made of that context: a compaction
            that is not rendered is not a summary, and the messages that it stands for are summarised again.

    Raises:
        TypeError: `keep_tokens` and `keep_bytes` are both given, or neither.
        BrokenPath, UnknownEntry, LeafUncertain: The context cannot be built, see `Session.build_context`.
    """
    keep = keep_bytes if keep_tokens is None else keep_tokens
    if keep is None or (keep_tokens is not None and keep_bytes is not None):
        given = "neither" if keep is None else "both"
        raise TypeError(f"a compaction takes `keep_tokens` or `keep_bytes`, not {given}")
    leaf_id = session.leaf_id
    if leaf_id is None:
        return None
    context = session.build_context(leaf=leaf_id, render=render)
    counts = _counts(context, count_tokens)
    start = _after_summary(context)
    sizes = counts if keep_bytes is None else count_bytes_each(context.messages)
    cut = choose_cut(context, sizes, start, keep)
    removed = _removed(context, cut)
    if not any(index >= start for index in removed):
        return None
    previous = context.entries[start - 1] if start else None
    read, modified = _files(context, removed, previous)
    pinned = sum(counts[index] for index in range(cut) if context.is_pinned(index))
    return CompactionPlan(
        leaf_id=leaf_id,
        entries=tuple(context.entries[index] for index in removed),
        messages=tuple(context.messages[index] for index in removed),
        first_kept_entry_id=context.entries[cut].id if cut < len(context.entries) else None,
        previous_summary=previous.summary if isinstance(previous, CompactionEntry) else None,
        turn_prefix=turn_prefix(context, removed, cut),
        read_files=read,
        modified_files=modified,
        tokens_before=context.count_tokens(count_tokens),
        tokens_kept=pinned + sum(counts[cut:]),
        render=render,
    )


@checked
def plan_branch(session: Conversation, entry_id: str | Entry | None) -> BranchPlan | None:
    """Plans a summary of the branch that a move to `entry_id` leaves; None if it leaves no messages."""
    leaf_id = session.leaf_id
    if leaf_id is None:
        return None
    ancestor_id = session.common_ancestor(leaf_id, entry_id)
    left = {entry.id for entry in session.diff(leaf_id, ancestor_id).a.entries}
    context = session.build_context(leaf=leaf_id)
    seen = [index for index, entry in enumerate(context.entries) if entry.id in left]
    if not seen:
        return None
    return BranchPlan(
        leaf_id=leaf_id,
        ancestor_id=ancestor_id,
        entries=tuple(context.entries[index] for index in seen),
        messages=tuple(context.messages[index] for index in seen),
    )


def is_still_valid(plan: CompactionPlan | BranchPlan, index: Index, leaf: int) -> bool:
    """Returns whether a plan made earlier can be applied at the leaf in row `leaf`.

    A compaction can if its last compaction is still the same, the first kept entry is still an ancestor, and a cut is
    still allowed there. The summary of a branch can if that branch has only grown. Neither can if a message that it
    stands for was hidden, shown, pinned, unpinned or replaced since.
    """
    planned = index.node(plan.leaf_id)
    if planned is None or leaf == tree.ROOT:
        return False
    is_marked = bool(index.state.visible_to or index.state.pinned)
    if isinstance(plan, BranchPlan):
        grown = index.tree.is_ancestor(planned, leaf)
        return grown and not (is_marked and _has_changed_branch(plan, index, planned))
    if planned == leaf:
        return not is_marked or _stands_for_the_same(plan, index, leaf)
    return _has_grown_after(plan, index, planned, leaf) and _stands_for_the_same(plan, index, leaf)


def _has_grown_after(plan: CompactionPlan, index: Index, planned: int, leaf: int) -> bool:
    """Returns whether a leaf is below the first kept entry of a plan, with the same last compaction above it."""
    columns = index.tree
    kept = index.node(plan.first_kept_entry_id) if plan.first_kept_entry_id is not None else None
    if kept is None or not columns.is_ancestor(kept, leaf):
        return False
    return columns.nearest(columns.compactions, leaf) == columns.nearest(columns.compactions, planned)


def _stands_for_the_same(plan: CompactionPlan, index: Index, leaf: int) -> bool:
    """Returns whether a cut at the first kept entry is allowed in the context at `leaf`, and would remove the same."""
    context = build_context(index, leaf, plan.render)
    ids = [*(entry.id for entry in context.entries), None]
    cut = ids.index(plan.first_kept_entry_id) if plan.first_kept_entry_id in ids else -1
    if cut not in allowed_cuts(context):
        return False
    removed = _removed(context, cut)
    now = _outline_of(context.entries, context.messages, removed)
    return now == _outline_of(plan.entries, plan.messages, range(len(plan.entries)))


def _has_changed_branch(plan: BranchPlan, index: Index, planned: int) -> bool:
    """Returns whether the context at the leaf of a branch is not what it was for the plan."""
    ancestor = tree.ROOT if plan.ancestor_id is None else index.node(plan.ancestor_id)
    context = build_context(index, planned)
    rows = [index.node(entry.id) for entry in context.entries]
    left = [number for number, row in enumerate(rows) if row is not None and ancestor is not None and row > ancestor]
    return _outline_of(context.entries, context.messages, left) != _outline_of(
        plan.entries, plan.messages, range(len(plan.entries))
    )


def _outline_of(entries: Sequence[Entry], messages: Sequence[Any], indexes: Sequence[int]) -> list[tuple[str, Any]]:
    """Returns the ids of some entries of a context, and the messages that are not those of their entries."""
    shown = ((entries[index], messages[index]) for index in indexes)
    return [
        (entry.id, None if not isinstance(entry, MessageEntry) or message == entry.message else message)
        for entry, message in shown
    ]


# --- counting ---


def _counts(context: Context, count_tokens: Counter | None) -> list[int]:
    """Returns the tokens of each message."""
    if count_tokens is None:
        return count_each(context.said, context.entries, context.first_after_compaction, context.stale_usage)
    return list(map(count_tokens, context.messages))


def _removed(context: Context, cut: int) -> list[int]:
    """Returns the indexes of the messages before a cut that a summary stands for.

    A message before the earlier summary is one of them if it is not pinned any more.
    """
    entries = context.entries[:cut]
    return [
        index
        for index, entry in enumerate(entries)
        if not isinstance(entry, CompactionEntry) and not context.is_pinned(index)
    ]


def _after_summary(context: Context) -> int:
    """Returns the index behind the summary at the beginning of the context; 0 without one."""
    cuts = (index for index, entry in enumerate(context.entries, 1) if isinstance(entry, CompactionEntry))
    return max(cuts, default=0)


# --- which files ---


def _files(context: Context, removed: Sequence[int], previous: Entry | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the files read and the files modified so far. A modified file is not listed as read."""
    read: dict[str, None] = {}
    modified: dict[str, None] = {}
    if isinstance(previous, CompactionEntry):
        read.update(dict.fromkeys(previous.read_files or ()))
        modified.update(dict.fromkeys(previous.modified_files or ()))
    for index in removed:
        for name, arguments in _calls(context.said[index]):
            names = read if _is_read(name, arguments) else modified
            names.update(dict.fromkeys(_paths(name, arguments)))
    return tuple(sorted(read.keys() - modified.keys())), tuple(sorted(modified))


def _is_read(name: str, arguments: dict[str, Any]) -> bool:
    return name in READ_TOOLS or (name in COMMAND_TOOLS and arguments.get("command") == COMMAND_READS)


def _paths(name: str, arguments: dict[str, Any]) -> list[str]:
    """Returns the files that a call reads or modifies; none for an unknown tool."""
    if name == PATCH_TOOL:
        patch = next((value for value in arguments.values() if isinstance(value, str)), "")
        return re.compile(PATCHED_FILE).findall(patch)
    known = name in READ_TOOLS or name in WRITE_TOOLS or name in COMMAND_TOOLS
    paths = (value for key in PATH_ARGUMENTS if isinstance(value := arguments.get(key), str) and value)
    return list(islice(paths, 1 if known else 0))


def _calls(said: Source) -> list[tuple[str, dict[str, Any]]]:
    """Returns the names of the tools that a message calls, in lower case, with their arguments."""
    from convtree._providers.writing import as_object

    return [(call.name.lower(), as_object(call)) for call in said.calls]


Summarize = Callable[[CompactionPlan], Summary]
SummarizeBranch = Callable[[BranchPlan], Summary]
