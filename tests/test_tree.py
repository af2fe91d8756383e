"""The tree in columns, against a model of dicts."""

from typing import Any

import pytest
from helpers import user
from hypothesis import given, settings
from hypothesis import strategies as st

from convtree import Session
from convtree._engine import tree
from convtree._engine.tree import HIDDEN, MARK, MESSAGE, MISSING, NONE, PINNED, ROOT, Tree

COLUMNS = ("compactions", "models", "settings", "extension_data", "faults")
KINDS = st.sampled_from(
    [
        tree.MESSAGE,
        tree.MESSAGE | tree.PINNED,
        tree.MESSAGE | tree.HIDDEN | tree.NAMES_MODEL,
        tree.COMPACTION,
        tree.BRANCH_SUMMARY,
        tree.MODEL_CHANGE | tree.NAMES_MODEL | tree.HAS_SETTINGS,
        tree.EXTENSION_DATA,
        tree.OPAQUE | tree.CRITICAL,
        tree.LOST,
        tree.VACUUM | tree.NAMES_MODEL,
        tree.MARK,
    ]
)


class Grown:
    """A tree and its model: the parent and the kind of every row."""

    def __init__(self, choices: list[tuple[int, int, bool]]) -> None:
        self.ids: list[str] = []
        self.parents: list[int] = []
        self.kinds: list[int] = []
        self.tree = Tree(lambda row, asked: self.ids[row] == asked, salt=12345)
        for number, (kind, pick, hexadecimal) in enumerate(choices):
            above = [row for row in range(number) if self.kinds[row] != tree.MARK]
            parent = [ROOT, MISSING, *above][pick % (len(above) + 2)]
            if kind == tree.MARK:
                parent = ROOT
            self.ids.append(f"{number * 2**40:016x}" if hexadecimal else f"id-{number}")
            self.parents.append(parent)
            self.kinds.append(kind)
            assert self.tree.add(self.ids[-1], parent, kind, number * 100, number) == number

    def path(self, row: int) -> list[int]:
        return [*self.path(self.parents[row]), row] if row >= 0 else []

    def nodes(self) -> list[int]:
        return [row for row, kind in enumerate(self.kinds) if kind != tree.MARK]

    def matters(self, column: str, row: int) -> bool:
        kind = self.kinds[row]
        what = kind & tree.KIND
        return {
            "compactions": what == tree.COMPACTION,
            "models": bool(kind & tree.NAMES_MODEL),
            "settings": bool(kind & tree.HAS_SETTINGS),
            "extension_data": what in (tree.EXTENSION_DATA, tree.VACUUM),
            "faults": bool(kind & tree.CRITICAL) or what == tree.LOST or self.parents[row] == MISSING,
        }[column]


TREES = st.lists(st.tuples(KINDS, st.integers(0, 10_000), st.booleans()), max_size=40).map(Grown)


@given(TREES)
def test_every_id_is_found_at_its_row(grown: Grown) -> None:
    """Looking up an unknown id returns None."""
    for row, id in enumerate(grown.ids):
        assert grown.tree.find(id) == row
        assert grown.tree.is_node(row) is (grown.kinds[row] != MARK)
    for id in ("", "id-99", "0" * 16 + "x", "ffffffffffffffff", "é", "\ud800"):
        assert grown.tree.find(id) is None


@given(TREES)
def test_paths_and_links_match_the_model(grown: Grown) -> None:
    """Each link leads to the nearest row of its kind at or above, on the same path."""
    for row in grown.nodes():
        path = grown.path(row)
        assert grown.tree.path(row) == path
        assert list(grown.tree.walk_up(row)) == path[::-1]
        for column in COLUMNS:
            expected = [each for each in path if grown.matters(column, each)]
            assert grown.tree.nearest(getattr(grown.tree, column), row) == (expected[-1] if expected else NONE)


@given(TREES, st.integers(0, 40), KINDS)
def test_a_replaced_row_is_as_if_it_had_always_been_there(grown: Grown, row: int, kind: int) -> None:
    """Every column is that of a tree that grew with the other record, and it grows on."""
    nodes = grown.nodes()
    if not nodes or kind == MARK:
        return
    row = nodes[row % len(nodes)]
    grown.tree.replace(row, kind, 7, 9)
    other = Tree(lambda row, asked: grown.ids[row] == asked, salt=12345)
    grown.kinds[row] = kind
    for each, id in enumerate(grown.ids):
        place = (7, 9) if each == row else (each * 100, each)
        other.add(id, grown.parents[each], grown.kinds[each], *place)
    for columns in (grown.tree, other):
        columns.add("next", row, PINNED, 1, 1)
        columns.add("last", len(columns) - 1, MESSAGE, 1, 1)
    assert [list(column) for column in grown.tree.columns.values()] == [
        list(column) for column in other.columns.values()
    ]


@given(TREES, st.integers(0, 40))
def test_children_leaves_and_tips_match_the_model(grown: Grown, asked_early: int) -> None:
    """They are also right when they are queried while the tree grows."""
    columns = grown.tree
    if asked_early < len(grown.ids):
        columns.children(ROOT)
    nodes = grown.nodes()
    for above in (ROOT, *nodes):
        assert columns.children(above) == [row for row in nodes if grown.parents[row] == above]
    assert columns.leaves() == [row for row in nodes if row not in grown.parents]
    for row in nodes:
        assert columns.tip(row) == max(each for each in nodes if row in grown.path(each))


@given(TREES)
@settings(max_examples=40)
def test_ancestors_match_the_model(grown: Grown) -> None:
    """The common ancestor is the last row that two paths share, or ROOT."""
    for a in (ROOT, *grown.nodes()):
        for b in (ROOT, *grown.nodes()):
            shared = [row for row in grown.path(a) if row in grown.path(b)]
            assert grown.tree.common_ancestor(a, b) == (shared[-1] if shared else ROOT)
            if a >= 0 and b >= 0:
                assert grown.tree.is_ancestor(a, b) is (a in grown.path(b))


@given(TREES)
def test_siblings_match_the_model(grown: Grown) -> None:
    """Siblings are the messages with the same nearest message above, ignoring other entries."""

    def above(row: int) -> int:
        row = grown.parents[row]
        while row >= 0 and grown.kinds[row] & tree.KIND != MESSAGE:
            row = grown.parents[row]
        return row

    messages = [row for row in grown.nodes() if grown.kinds[row] & tree.KIND == MESSAGE]
    for row in messages:
        expected = [row] if above(row) == MISSING else [each for each in messages if above(each) == above(row)]
        assert grown.tree.siblings(row) == expected
        for behind in (NONE, *expected):
            assert grown.tree.siblings_behind(row, behind, 2) == [each for each in expected if each > behind][:2]


@given(TREES)
def test_pages_of_children_match_the_model(grown: Grown) -> None:
    """A page has the children behind a row, in log order."""
    for row in (ROOT, *grown.nodes()):
        expected = [each for each in grown.nodes() if grown.parents[each] == row]
        assert grown.tree.children(row) == expected
        for behind in (NONE, *expected):
            assert grown.tree.children_behind(row, behind, 2) == [each for each in expected if each > behind][:2]


def test_flags_do_not_change_the_kind() -> None:
    """A pinned and hidden message is still a message."""
    columns = Tree(lambda _row, _id: True)
    row = columns.add("a", ROOT, MESSAGE | PINNED | HIDDEN, 7, 9)
    assert (columns.kinds[row] & tree.KIND, columns.is_node(row)) == (MESSAGE, True)
    assert (columns.offsets[row], columns.lengths[row], len(columns)) == (7, 9, 1)


@pytest.fixture(scope="module")
def chain() -> Session:
    """Returns a conversation of 20,000 messages, with a branch in its middle."""
    session = Session.memory()
    session.append_many([user(str(number)) for number in range(20_000)])
    return session


def test_a_long_chain_needs_no_recursion(chain: Session) -> None:
    """A conversation of 100,000 entries can be walked."""
    assert len(chain.build_context().messages) == 20_000
    path = chain.path()
    first, middle, last = path[0].id, path[10_000].id, path[-1].id
    assert chain.tip(first) == last
    assert chain.common_ancestor(first, last) == first
    assert [entry.id for entry in chain.leaves()] == [last]
    assert [entry.id for entry in chain.children(middle)] == [path[10_001].id]
    assert len(chain.siblings(middle)) == 1
    other = chain.append(user("other"), parent_id=middle)
    assert chain.common_ancestor(other.id, last) == middle
    assert chain.tip(first) == other.id


def test_a_wide_tree() -> None:
    """Five hundred alternatives, and as many roots, are listed correctly."""
    session = Session.memory()
    root = session.append(user("root"))
    for _ in range(20):
        session.append_many([user("x")] * 1)
    items: list[Any] = [user(str(number)) for number in range(500)]
    for item in items:
        session.append(item, parent_id=root.id)
        session.append(item, parent_id=None)
    assert len(session.children(root.id)) == 501
    assert len(session.children(None)) == 501
    assert len(session.siblings(root.id)) == 501
    assert len(session.leaves()) == 1001


def test_a_16_letter_id_that_is_not_hex_is_found(session: Session) -> None:
    """Sixteen small letters need not be hexadecimal digits."""
    session.append(user("z"), id="z" * 16)
    session.append(user("a"), id="a" * 16)
    assert [session.entry(letter * 16).id for letter in "za"] == ["z" * 16, "a" * 16]
