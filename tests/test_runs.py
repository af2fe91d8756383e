"""The tree as runs between forks."""

from hypothesis import given
from hypothesis import strategies as st

from convtree import BrokenPath, MessageEntry, Session
from convtree._engine.outline import LinearSegment, main_children, split
from convtree._engine.tree import MARK, MESSAGE, MISSING, NONE, ROOT, Tree


def grown(parents: list[int], marks: frozenset[int] = frozenset()) -> Tree:
    """Grows a tree from the parents of its rows."""
    tree = Tree(lambda row, name: str(row) == name)
    for row, parent in enumerate(parents):
        tree.add(str(row), parent, MARK if row in marks else MESSAGE, row, 1)
    return tree


def test_chain_is_one_run() -> None:
    """Without a fork there is one run."""
    assert split(grown([ROOT, 0, 1, 2])) == [LinearSegment([0, 1, 2, 3], ROOT, [])]


def test_fork_ends_a_run() -> None:
    """The entry at a fork ends its run, and every child begins one, in log order."""
    assert split(grown([ROOT, 0, 1, 1, 2, 3])) == [
        LinearSegment([0, 1], ROOT, [1, 2]),
        LinearSegment([2, 4], 0, []),
        LinearSegment([3, 5], 0, []),
    ]


def test_first_entries_and_orphans_begin_runs() -> None:
    """Every first entry and every orphan begins a run that continues none; marks are in no run."""
    tree = grown([ROOT, ROOT, ROOT, MISSING, 3], marks=frozenset({1}))
    assert split(tree) == [
        LinearSegment([0], ROOT, []),
        LinearSegment([2], ROOT, []),
        LinearSegment([3, 4], MISSING, []),
    ]


def test_nothing_has_no_runs() -> None:
    """An empty tree has no run."""
    assert split(grown([])) == []


def test_active_child_goes_on_else_the_largest() -> None:
    """The way to the leaf goes on in its line, else the child with most below it."""
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
def test_runs_partition_the_tree(parents: list[int], data: st.DataObject) -> None:
    """Every entry is in one run, runs are chains, and no drawing is deeper than the logarithm of its size."""
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


def test_outline_reads_nothing_until_asked() -> None:
    """A session's outline has the shape, the leaf and the entries one asks for."""
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


def test_damaged_entry_is_none() -> None:
    """An entry that cannot be read is None; the others are there all the same."""
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
