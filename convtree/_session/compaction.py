"""What a summary is to stand for in a conversation that has grown too long, or was left for another branch. Pure.

A plan is made from what a model sees, nothing else. Whether it still holds when its summary is written is asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from itertools import islice
from typing import Any, Protocol

import msgspec

from convtree._engine import tree
from convtree._engine.context import Context, build_context, default_render
from convtree._engine.diff import Diff
from convtree._engine.log_index import Index
from convtree._engine.tokens import Counter, count_each, estimate_tokens
from convtree._model.dialects import (
    COMMAND_READS,
    COMMAND_TOOLS,
    PATCH_TOOL,
    PATCHED_FILE,
    PATH_ARGUMENTS,
    READ_TOOLS,
    WRITE_TOOLS,
)
from convtree._model.entries import CompactionEntry, Entry
from convtree._model.errors import InvalidMessage
from convtree._model.messages import calls_of
from convtree._session.cut_points import allowed_cuts, choose_cut, is_pinned, turn_prefix


class CompactionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a summary is to stand for: `messages`, of `entries`, before `first_kept_entry_id` (None: keep nothing).

    `previous_summary` is what stood for still earlier messages: the new summary replaces it, so it has to say what of
    it still matters. The last `turn_prefix` messages begin a turn whose rest is kept (0: the cut is between turns).
    `read_files` and `modified_files` are cumulative. `leaf_id` is where the plan was made.
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

    def entry(self, summary: str, count_tokens: Counter | None = None) -> CompactionEntry:
        """Makes the entry of this plan and a summary.

        Raises:
            InvalidMessage: the summary is no text, or says nothing; an empty one would stand for all that goes.
        """
        check_text(summary)
        if not summary.strip():
            raise InvalidMessage("the summary is an empty text; it has to say what it stands for", place="summary")
        made = CompactionEntry(summary=summary, first_kept_entry_id=self.first_kept_entry_id)
        tokens = (count_tokens or estimate_tokens)(default_render(made))
        return msgspec.structs.replace(
            made,
            tokens_before=self.tokens_before,
            tokens_after=self.tokens_kept + tokens,
            messages_removed=len(self.messages),
            read_files=list(self.read_files) or None,
            modified_files=list(self.modified_files) or None,
        )


def check_text(summary: object) -> None:
    """Makes sure that what a summariser returned is a text.

    Raises:
        InvalidMessage: it is something else; a coroutine, for one, is only awaited in `convtree.aio`.
    """
    if isinstance(summary, Coroutine):
        summary.close()  # or Python warns that nobody awaited it
        raise InvalidMessage(
            "the summary is a coroutine; with a coroutine function, use the session of convtree.aio", place="summary"
        )
    if not isinstance(summary, str):
        raise InvalidMessage(f"the summary is a {type(summary).__name__}; return a text", place="summary")


class BranchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What happened on a branch that is to be left: what a model saw of it below `ancestor_id`, down to `leaf_id`."""

    leaf_id: str
    ancestor_id: str | None
    entries: tuple[Entry, ...]
    messages: tuple[Any, ...]


class Conversation(Protocol):
    """What planning needs of a session."""

    @property
    def leaf_id(self) -> str | None:
        """The entry that the next append continues."""
        ...

    def build_context(self, *, leaf: str | None) -> Context:
        """Builds what a model should see at a leaf."""
        ...

    def common_ancestor(self, a: str | None, b: str | None) -> str | None:
        """Returns the id of the last entry that two paths share."""
        ...

    def diff(self, a: str | None, b: str | None) -> Diff:
        """Compares the branches that end at two entries."""
        ...


def plan_compaction(
    session: Conversation, *, keep_tokens: int, count_tokens: Counter | None = None
) -> CompactionPlan | None:
    """Plans what to summarise so that the last `keep_tokens` stay; None when there is nothing to do.

    The longest end that fits is kept; it begins with a turn if one fits, else inside the turn; if not even the last
    message fits, that is kept all the same, with the call that it answers. `keep_tokens=0` keeps nothing, except calls
    that are waiting for results. A call that is pinned holds back all that is behind it, unless its results are pinned,
    too. `count_tokens` counts one message; left out, messages are estimated, at no less than what the provider's usage
    says of them together, as `Context.count_tokens` has it.

    Raises:
        As `Session.build_context`.
    """
    leaf_id = session.leaf_id
    if leaf_id is None:
        return None
    context = session.build_context(leaf=leaf_id)
    counts = _counts(context, count_tokens)
    start = _after_summary(context)
    cut = choose_cut(context, counts, start, keep_tokens)
    gone = [place for place in range(start, cut) if not is_pinned(context.entries[place])]
    if not gone:
        return None
    previous = context.entries[start - 1] if start else None
    read, modified = _files(context, gone, previous)
    pinned = sum(counts[place] for place in range(cut) if is_pinned(context.entries[place]))
    return CompactionPlan(
        leaf_id=leaf_id,
        entries=tuple(context.entries[place] for place in gone),
        messages=tuple(context.messages[place] for place in gone),
        first_kept_entry_id=context.entries[cut].id if cut < len(context.entries) else None,
        previous_summary=previous.summary if isinstance(previous, CompactionEntry) else None,
        turn_prefix=turn_prefix(context, gone, cut),
        read_files=read,
        modified_files=modified,
        tokens_before=context.count_tokens(count_tokens),
        tokens_kept=pinned + sum(counts[cut:]),
    )


def plan_branch(session: Conversation, entry_id: str | None) -> BranchPlan | None:
    """Collects what a model saw of the branch that a move to `entry_id` leaves; None when it leaves nothing."""
    leaf_id = session.leaf_id
    if leaf_id is None:
        return None
    ancestor_id = session.common_ancestor(leaf_id, entry_id)
    left = {entry.id for entry in session.diff(leaf_id, ancestor_id).a.entries}
    context = session.build_context(leaf=leaf_id)
    seen = [place for place, entry in enumerate(context.entries) if entry.id in left]
    if not seen:
        return None
    return BranchPlan(
        leaf_id=leaf_id,
        ancestor_id=ancestor_id,
        entries=tuple(context.entries[place] for place in seen),
        messages=tuple(context.messages[place] for place in seen),
    )


def is_still_valid(plan: CompactionPlan | BranchPlan, index: Index, leaf: int) -> bool:
    """Tells whether a plan may land although the leaf has moved to the row `leaf` since it was made.

    A compaction may where its kept entry is above, no other compaction came or went, and the cut separates nothing
    there either; a summary of a branch, where that branch only grew.
    """
    columns = index.tree
    planned = index.node(plan.leaf_id)
    if planned is None or planned == leaf:
        return planned == leaf
    if isinstance(plan, BranchPlan):
        return leaf != tree.ROOT and columns.is_ancestor(planned, leaf)
    kept = index.node(plan.first_kept_entry_id) if plan.first_kept_entry_id is not None else None
    if kept is None or leaf == tree.ROOT or not columns.is_ancestor(kept, leaf):
        return False
    if columns.nearest(columns.compactions, leaf) != columns.nearest(columns.compactions, planned):
        return False
    context = build_context(index, leaf)
    allowed = set(allowed_cuts(context))
    return any(entry.id == plan.first_kept_entry_id for place, entry in enumerate(context.entries) if place in allowed)


# --- counting ---


def _counts(context: Context, count_tokens: Counter | None) -> list[int]:
    """Returns how many tokens each message takes."""
    if count_tokens is None:
        return count_each(context.messages, context.entries, context.first_after_compaction)
    return list(map(count_tokens, context.messages))


def _after_summary(context: Context) -> int:
    """Returns the place behind the summary that the context begins with; 0 when it has none."""
    cuts = (place for place, entry in enumerate(context.entries, 1) if isinstance(entry, CompactionEntry))
    return next(cuts, 0)


# --- which files ---


def _files(context: Context, gone: Sequence[int], previous: Entry | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the files read and the files modified, before and now; a modified one is not listed as read."""
    read: dict[str, None] = {}
    modified: dict[str, None] = {}
    if isinstance(previous, CompactionEntry):
        read.update(dict.fromkeys(previous.read_files or ()))
        modified.update(dict.fromkeys(previous.modified_files or ()))
    for place in gone:
        for name, given in _calls(context.messages[place]):
            names = read if _reads(name, given) else modified
            names.update(dict.fromkeys(_paths(name, given)))
    return tuple(sorted(read.keys() - modified.keys())), tuple(sorted(modified))


def _reads(name: str, given: dict[str, Any]) -> bool:
    return name in READ_TOOLS or (name in COMMAND_TOOLS and given.get("command") == COMMAND_READS)


def _paths(name: str, given: dict[str, Any]) -> list[str]:
    """Returns the files that a call reads or modifies; none where nobody knows the tool."""
    if name == PATCH_TOOL:
        patch = next((value for value in given.values() if isinstance(value, str)), "")
        return PATCHED_FILE.findall(patch)
    known = name in READ_TOOLS or name in WRITE_TOOLS or name in COMMAND_TOOLS
    paths = (value for key in PATH_ARGUMENTS if isinstance(value := given.get(key), str) and value)
    return list(islice(paths, 1 if known else 0))


def _calls(message: Any) -> list[tuple[str, dict[str, Any]]]:
    """Returns the tools that a message calls, in lower case, with their arguments."""
    from convtree._providers.parts import Call, Source, as_object
    from convtree._providers.reading import read_message

    parts = read_message(Source(message=message)) if calls_of(message) else ()
    return [(part.name.lower(), as_object(part)) for part in parts if isinstance(part, Call)]


Summarize = Callable[[CompactionPlan], str]
SummarizeBranch = Callable[[BranchPlan], str]
