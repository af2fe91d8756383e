"""The entry that a text stands for, as people type it. Pure."""

from __future__ import annotations

from itertools import islice

from convtree._engine import tree
from convtree._engine.leaf import LEAF
from convtree._engine.upwards import break_above, broken_at
from convtree._model.errors import EntryNotFound
from convtree._model.references import CANDIDATES, ENTRY_FORMS, ends_of, is_prefix, steps_above_leaf, the_only
from convtree._session.view import SessionView


def resolve(self: SessionView, text: str) -> str:
    """Returns the id of the entry that a text stands for: what people type in place of an id.

    In this order: an id; a label; the beginning of one id, from 4 characters on; `@` for the leaf; `@~3` for the entry
    three above the leaf, which is the fourth that `walk_up()` yields; both ends of one id, as lists show a long one
    (`0199…3f4e`). Every entry of the path counts, notes and changes of the model as well; marks are not on the path.
    Other calls take whole ids and labels only. Looking for a prefix reads the whole log.

    Raises:
        EntryNotFound: it stands for none.
        AmbiguousId: several ids have this beginning, or these ends; as AmbiguousLabel, several entries have this label.
        LeafUncertain: it counts from the leaf, and that is not certain.
        BrokenPath: an entry is missing or damaged on the way from the leaf.
    """
    if self.row_named(text) is not None:
        return self.index.id_named(text)
    if (steps := steps_above_leaf(text)) is not None:
        return _above_leaf(self, text, steps)
    self.index.check_not_dropped(text)
    found = self.index.ids_with_prefix(text, CANDIDATES + 1) if is_prefix(text) else []
    if not found and (ends := ends_of(text)) is not None:
        found = self.index.ids_with_prefix(ends[0], CANDIDATES + 1, end=ends[1])
    if not found:
        raise EntryNotFound(
            f"{self.location}: no entry {repr(text)[:140]}; {ENTRY_FORMS}; `convtree inspect --full` has the ids",
            id=text,
        )
    return the_only(text, found, f"{self.location}: entries")


def _above_leaf(view: SessionView, text: str, steps: int) -> str:
    leaf = view.row(LEAF)
    row = next(islice(view.index.tree.walk_up(leaf), steps, None), None)
    if row is not None:
        return view.ids([row])[0]
    if (end := break_above(view.index, leaf)) != tree.NONE:
        raise broken_at(view.index, end)
    why = "the path to the leaf is shorter" if leaf != tree.ROOT else "the leaf is before the first entry"
    raise EntryNotFound(f"{view.location}: no entry {text!r}; {why}", id=text)
