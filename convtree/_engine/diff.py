"""The difference of two branches: the entries below their common ancestor, with models and usage. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from convtree._catalogue.record_summary import spent_in
from convtree._model.entries import PAID_ASIDE, Entry, Mark, MessageEntry, ModelChangeEntry, VacuumEntry
from convtree._model.usage import Usage, usage_of, usage_stored_in

_NAMERS = (MessageEntry, ModelChangeEntry, VacuumEntry)  # entries that may name a model


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model on a branch, and the usage of its replies and summaries there: none if it was set but made none."""

    provider: str | None
    model: str | None
    usage: Usage


class BranchDelta(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of one branch only, from below the common ancestor down to `leaf_id`.

    `models` are in order of first appearance; `usage` is the sum of theirs.
    """

    leaf_id: str | None
    entries: list[Entry]
    models: list[Model]
    usage: Usage


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """Two branches compared: their last common entry (None: no entry), and the entries of each below it."""

    ancestor_id: str | None
    a: BranchDelta
    b: BranchDelta


def side_of(leaf_id: str | None, entries: Sequence[Entry], named: Entry | Mark | None = None) -> BranchDelta:
    """Sums up the entries of one branch only; `named` is the last entry above them that names a model."""
    models = _models(entries, named)
    usage = sum((each.usage for each in models), Usage())
    return BranchDelta(leaf_id=leaf_id, entries=list(entries), models=models, usage=usage)


def _models(entries: Iterable[Entry], named: Entry | Mark | None) -> list[Model]:
    """Returns the models of a branch, each once, with their usage.

    A reply that does not name its model counts for the model named last; before any was named, for the model None. A
    summary, or extension data with a usage, counts for the model that it names, and does not change which one was named
    last. What a vacuum dropped counts for the models that its entry lists.
    """
    maker = (named.provider, named.model) if isinstance(named, _NAMERS) else (None, None)
    took: dict[tuple[str | None, str | None], Usage] = {}
    for entry in entries:
        stored = usage_stored_in(entry)
        usage = Usage() if stored is None else usage_of(stored)
        if isinstance(entry, PAID_ASIDE) and (entry.model is not None or usage != Usage()):
            took[entry.provider, entry.model] = took.get((entry.provider, entry.model), Usage()) + usage
        for each in spent_in(entry) if isinstance(entry, VacuumEntry) else ():
            took[each.provider, each.model] = took.get((each.provider, each.model), Usage()) + each.usage
        if not isinstance(entry, _NAMERS):
            continue
        if entry.model is not None:
            maker = (entry.provider, entry.model)
        spoke = isinstance(entry, MessageEntry) and entry.role in ("assistant", "model") and maker[1] is not None
        if entry.model is not None or spoke or usage != Usage():
            took[maker] = took.get(maker, Usage()) + usage
    return [Model(provider=provider, model=model, usage=usage) for (provider, model), usage in took.items()]
