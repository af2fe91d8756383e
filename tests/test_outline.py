"""The outline: a tree as linear segments between forks."""

from hypothesis import given
from hypothesis import strategies as st

from convtree import BrokenPath, MessageEntry, Session
from convtree._engine.outline import LinearSegment, main_children, split
from convtree._engine.tree import MARK, MESSAGE, MISSING, NONE, ROOT, Tree


def grown(parents: list[int], marks: frozenset[int] = frozenset()) -> Tree:
    """Returns a tree made from the parents of its rows."""
    tree = Tree(lambda row, name: str(row) == name)
    for row, parent in enumerate(parents):
        tree.add(str(row), parent, MARK if row in marks else MESSAGE, row, 1)
    return tree


def test_a_chain_is_one_segment() -> None:
    """Without a fork there is one segment."""
    assert split(grown([ROOT, 0, 1, 2])) == [LinearSegment([0, 1, 2, 3], ROOT, [])]


def test_a_fork_ends_a_segment() -> None:
    """The entry at a fork ends its segment, and every child begins one, in log order."""
    assert split(grown([ROOT, 0, 1, 1, 2, 3])) == [
        LinearSegment([0, 1], ROOT, [1, 2]),
        LinearSegment([2, 4], 0, []),
        LinearSegment([3, 5], 0, []),
    ]


def test_roots_and_orphans_begin_segments() -> None:
    """Their segments continue no other. Marks are in no segment."""
    tree = grown([ROOT, ROOT, ROOT, MISSING, 3], marks=frozenset({1}))
    assert split(tree) == [
        LinearSegment([0], ROOT, []),
        LinearSegment([2], ROOT, []),
        LinearSegment([3, 4], MISSING, []),
    ]


def test_an_empty_tree_has_no_segments() -> None:
    """An empty tree gives an empty list."""
    assert split(grown([])) == []


def test_the_main_child_is_the_active_or_largest_one() -> None:
    """The child on the path to the leaf comes first, else the one with most entries below it."""
    runs = split(grown([ROOT, 0, 0, 2, 2, 4]))
    assert [run.rows for run in runs] == [[0], [1], [2], [3], [4, 5]]
    assert main_children(runs, frozenset()) == [2, NONE, 4, NONE, NONE]
    assert main_children(runs, frozenset({0, 2, 3})) == [2, NONE, 3, NONE, NONE]
    assert main_children(runs, frozenset({0, 1})) == [1, NONE, 4, NONE, NONE]


@st.composite
def _parents(draw: st.DrawFn) -> list[int]:
    size = draw(st.integers(0, 60))
    return [draw(st.integers(MISSING, row - 1)) for row in range(size)]


@given(_parents(), st.data())
def test_segments_partition_the_tree(parents: list[int], data: st.DataObject) -> None:
    """Every entry is in one segment, and a drawing is never deeper than the logarithm of its size."""
    tree = grown(parents)
    runs = split(tree)
    assert sorted(row for run in runs for row in run.rows) == list(range(len(parents)))
    for run in runs:
        assert [parents[row] for row in run.rows[1:]] == run.rows[:-1]
        assert len(run.children) != 1
        assert [parents[runs[child].rows[0]] for child in run.children] == [run.rows[-1]] * len(run.children)
    leaf = data.draw(st.integers(ROOT, len(parents) - 1))
    onward = main_children(runs, frozenset(tree.walk_up(leaf)))
    depths: list[int] = []
    for number, run in enumerate(runs):
        depths.append(0 if run.parent < 0 else depths[run.parent] + (onward[run.parent] != number))
    assert max(depths, default=0) <= 1 + len(parents).bit_length()


def test_an_outline_reads_entries_on_request() -> None:
    """A session's outline has the shape and the leaf, and reads entries by row."""
    session = Session.memory()
    first = session.append({"role": "user", "content": "one"})
    second = session.append({"role": "assistant", "content": "two"})
    session.label(second.id, "here")
    session.branch(first.id)
    outline = session.outline()
    assert outline.runs == [LinearSegment([0, 1], ROOT, [])]
    assert (outline.leaf, outline.certain) == (0, True)
    assert (outline.row(second.id), outline.row("nothing")) == (1, None)
    assert outline.entries([1, 0]) == [second, first]


def test_an_outline_returns_none_for_damaged_entries() -> None:
    """The other entries are returned all the same."""
    kept = MessageEntry(id="a", message={"role": "user", "content": "one"})
    session = Session.memory()
    session.append(kept)
    session.append({"role": "user", "content": "two"})
    outline = session.outline()

    def read(rows: object) -> list[MessageEntry]:
        if rows == [0]:
            return [kept]
        raise BrokenPath("damaged")

    outline._read = read  # type: ignore[assignment]
    assert outline.entries([0, 1]) == [kept, None]
