"""Two branches side by side: what they share, and what each has that the other has not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from convtree.digest import Usage, usage_of
from convtree.entries import Entry, MessageEntry, ModelChangeEntry


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model on a branch, and what its replies there took."""

    provider: str | None
    model: str | None
    usage: Usage


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What a branch has of its own, from below the common ancestor down to `leaf_id`.

    `models` are in the order in which they come first; `usage` is the sum of theirs.
    """

    leaf_id: str | None
    entries: list[Entry]
    models: list[Model]
    usage: Usage


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """Two branches compared: the last entry that both have (None when they share none), and what each has beyond it."""

    ancestor_id: str | None
    a: Side
    b: Side


def side_of(leaf_id: str | None, entries: Sequence[Entry]) -> Side:
    """Sums up what a branch has of its own."""
    models = _models(entries)
    usage = sum((each.usage for each in models), Usage())
    return Side(leaf_id=leaf_id, entries=list(entries), models=models, usage=usage)


def _models(entries: Iterable[Entry]) -> list[Model]:
    """Returns the models that entries name, each once, with what it took; None is who took it without a name."""
    took: dict[tuple[str | None, str | None], Usage] = {}
    for entry in entries:
        if isinstance(entry, MessageEntry | ModelChangeEntry) and (entry.model is not None or _usage(entry)):
            key = (entry.provider, entry.model)
            took[key] = took.get(key, Usage()) + (_usage(entry) or Usage())
    return [Model(provider=provider, model=model, usage=usage) for (provider, model), usage in took.items()]


def _usage(entry: MessageEntry | ModelChangeEntry) -> Usage | None:
    return usage_of(entry.usage) if isinstance(entry, MessageEntry) and entry.usage else None
