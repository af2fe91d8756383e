"""The lines of `convtree browse` without a screen: laws over trees of any shape."""

from __future__ import annotations

from functools import partial
from math import log2
from typing import Any

from helpers import assistant, system, user
from hypothesis import given
from hypothesis import strategies as st

from convtree import Session
from convtree._cli.browse.listing import Look, Mode, build_listing
from convtree._cli.browse.shape import Shape
from convtree._engine.tree import MARK

CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "read", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "text"}]}
SAID = (user("question"), assistant("answer"), CALL, RESULT, system("instruction"))
TREES = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(range(len(SAID)))), min_size=1, max_size=25)


def shape_of(tree: list[tuple[int, int]]) -> Shape:
    """A session in which each entry hangs below one of the last ten before it, or is a root."""
    with Session.memory() as session:
        ids: list[str | None] = [None]
        for back, said in tree:
            parent = ids[max(len(ids) - 1 - back, 0)]
            ids.append(session.append(SAID[said], parent_id=parent).id)
        shape = Shape(session.outline())
        for rows in shape.unread(shape.outline.leaf):
            shape.look_at(rows, shape.outline.entries(rows))
        return shape


def nodes(shape: Shape) -> list[int]:
    """The rows of all entries."""
    return [row for row, kind in enumerate(shape.outline.tree.kinds) if kind != MARK]


@given(TREES)
def test_everything_is_listed_once(tree: list[tuple[int, int]]) -> None:
    """In any tree, parents before their children, and never deeper than the logarithm of its size."""
    shape = shape_of(tree)
    listing = build_listing(shape, Look(Mode.ALL))
    assert sorted(listing.rows) == nodes(shape)
    places = {row: place for place, row in enumerate(listing.rows)}
    parents = shape.outline.tree.parents
    assert [row for row in places if parents[row] >= 0 and places[parents[row]] > places[row]] == []
    assert max(listing.depths) <= log2(len(places)) + 1


@given(TREES, st.sampled_from(Mode), st.sets(st.integers(0, 40)), st.one_of(st.none(), st.sets(st.integers(0, 40))))
def test_every_entry_has_a_line(
    tree: list[tuple[int, int]], mode: Mode, folded: set[int], opened: set[int] | None
) -> None:
    """Whatever is filtered and folded, a jump to an entry leads to a line; one that is listed has its own."""
    shape = shape_of(tree)
    look = Look(mode, frozenset(folded), None if opened is None else frozenset(opened))
    listing = build_listing(shape, look)
    lines = [listing[number] for number in range(len(listing))]
    assert [row for row in nodes(shape) if not -1 <= listing.line_of[row] < len(lines)] == []
    for number, line in enumerate(lines):
        is_open_group = line.is_group and not line.hidden
        assert listing.line_of[line.row] == number + is_open_group
        assert listing.find(line) == number
    own = [line.row for line in lines if not line.is_group]
    assert len(own) == len(set(own))


@given(TREES)
def test_tools_are_counted_whether_or_not_they_are_folded(tree: list[tuple[int, int]]) -> None:
    """A folded group hides as many entries as it has lines when it is open."""
    shape = shape_of(tree)
    folded, unfolded = build_listing(shape, Look()), build_listing(shape, Look(opened=None))
    hidden = sum(folded[number].hidden - 1 for number in range(len(folded)) if folded[number].is_group)
    headers = sum(unfolded[number].is_group for number in range(len(unfolded)))
    assert len(unfolded) == len(folded) + hidden + headers


@given(TREES, st.integers(0, 30))
def test_reading_begins_at_the_target(tree: list[tuple[int, int]], target: int) -> None:
    """Every entry is read once. Those that were not read are not listed."""
    shape = shape_of(tree)
    shape.kinds[:] = bytes(len(shape.kinds))
    assert len(build_listing(shape, Look())) == 0
    assert sorted(row for rows in shape.unread(target) for row in rows) == nodes(shape)


def test_an_entry_that_is_hidden_later() -> None:
    """A mark that hides it, and one that shows it, change what is listed. The rest is not looked at again."""
    with Session.memory() as session:
        session.append_many([user("question"), assistant("answer")])
        note = session.append(user("note"))
        before = Shape(session.outline())
        for rows in before.unread(0):
            before.look_at(rows, before.outline.entries(rows))
        listed = []
        for change in (partial(session.hide, note, visible_to="model"), partial(session.show, note)):
            change()
            after = Shape(session.outline(), before)
            unread = [row for rows in after.unread(0) for row in rows]
            after.look_at(unread, after.outline.entries(unread))
            listed.append((unread, list(build_listing(after, Look()).rows)))
            before = after
    assert listed == [([2], [0, 1]), ([2], [0, 1, 2])]


def test_all_columns_of_a_line_are_plain_values() -> None:
    """A line compares equal to the same line of another listing, so the cursor finds it again."""
    shape = shape_of([(0, 0), (0, 2), (0, 3), (0, 1)])
    first, second = build_listing(shape, Look()), build_listing(shape, Look(opened=frozenset({1})))
    found: list[Any] = [second[second.find(first[number])].row for number in range(len(first))]
    assert found == [0, 1, 3]
