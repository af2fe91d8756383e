"""The end of a path, walks upwards, and records from the last to the first: what they return, and what they read."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from helpers import assistant, ids, log_of, mark, node, user
from hypothesis import given
from hypothesis import strategies as st
from loops import Run

from convtree import (
    BranchSummaryEntry,
    BrokenPath,
    CompactionEntry,
    Entry,
    EntryNotFound,
    ExtensionDataEntry,
    Header,
    LostEntry,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    SeenBy,
    Session,
    SessionClosed,
    StaleLeaf,
    VacuumEntry,
    aio,
)
from convtree._logs.jsonl import JsonlLog
from convtree._logs.memory import MemoryLog
from convtree.repair import repair

CLASSES: tuple[type[Entry], ...] = (
    Entry,
    MessageEntry,
    CompactionEntry,
    BranchSummaryEntry,
    ModelChangeEntry,
    ExtensionDataEntry,
    LostEntry,
    VacuumEntry,
    OpaqueEntry,
)


class CountingMemory(MemoryLog):
    """A log in memory that counts the lines that are read from it."""

    lines_read = 0

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        self.lines_read += len(spans)
        return super().read_at(spans)


class CountingFile(JsonlLog):
    """A log in a file that counts the lines that are read from it."""

    lines_read = 0

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        self.lines_read += len(spans)
        return super().read_at(spans)


@pytest.fixture(params=["memory", "jsonl"])
def counted(request: pytest.FixtureRequest, log_path: Path) -> Iterator[tuple[Session, Any]]:
    """A session of 5,000 messages, with a compaction near its beginning, and its log."""
    log = CountingMemory() if request.param == "memory" else CountingFile(log_path, durability="process")
    with Session(log, Header(id="s")) as session:
        session.append(user("0"), id="m0")
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None), id="c")
        session.append(ExtensionDataEntry(ext_type="x.y", data=1), id="x")
        session.extend(_chain(1, 5000, "x"))
        log.lines_read = 0
        yield session, log


def _chain(start: int, end: int, parent_id: str) -> Iterator[MessageEntry]:
    for number in range(start, end):
        yield MessageEntry(id=f"m{number}", parent_id=parent_id, message=user(str(number)))
        parent_id = f"m{number}"


# --- what they return ---


def test_the_last_entries_of_a_path(session: Session) -> None:
    """In the order of the path; all of them if there are fewer."""
    a = session.append(user("a"))
    b = session.append(assistant("b"))
    change = session.append(ModelChangeEntry(provider=None, model="m"))
    c = session.append(user("c"))
    assert session.path(last=1) == [c]
    assert session.path(last=3) == [b, change, c]
    assert session.path(last=9) == [a, b, change, c]
    assert session.path(b.id, last=1) == [b]
    assert session.path(None, last=1) == []
    assert session.path(last=2, type=MessageEntry) == [b, c]
    assert session.path(type=ModelChangeEntry) == [change]
    assert session.path(b.id, type=ModelChangeEntry) == []


def test_a_walk_goes_from_an_entry_to_the_first(session: Session) -> None:
    """On the path of the entry only; from the leaf if none is given."""
    a = session.append(user("a"))
    b = session.append(assistant("b"))
    other = session.append(assistant("c"), parent_id=a.id)
    assert list(session.walk_up()) == [other, a]
    assert list(session.walk_up(b.id)) == [b, a]
    assert list(session.walk_up(None)) == []
    assert list(session.walk_up(b.id, type=CompactionEntry)) == []


def test_what_a_model_and_what_a_user_sees_of_a_path(session: Session) -> None:
    """As appended, or as a mark has changed it; what is left out does not count, and what is no message is seen."""
    a = session.append(user("a"))
    note = session.append(user("note"), visible_to="model")
    change = session.append(ModelChangeEntry(provider=None, model="m"))
    notice = session.append(assistant("notice"), visible_to="user")
    b = session.append(assistant("b"))
    seen_by: dict[SeenBy, list[Entry]] = {"model": [a, note, change, b], "user": [a, change, notice, b]}
    for who, seen in seen_by.items():
        assert session.path(seen_by=who) == seen
        assert session.path(last=3, seen_by=who) == seen[1:]
        assert list(session.walk_up(seen_by=who)) == seen[::-1]
        assert list(session.walk_up(a.id, seen_by=who)) == [a]
    session.hide(b, visible_to="nobody")
    session.show(notice)
    assert session.path(last=2, seen_by="model") == [change, notice]
    assert session.path(last=1, type=MessageEntry, seen_by="user") == [notice]
    assert session.path(last=1) == [b]


def test_a_walk_sees_a_mark_that_is_added_meanwhile(session: Session) -> None:
    """Who sees an entry is looked up when the walk comes to it."""
    entries = session.append_many(user(str(number)) for number in range(9))
    walk = session.walk_up(seen_by="model")
    assert next(walk) == entries[8]
    session.hide(entries[0], visible_to="nobody")
    assert list(walk) == entries[7:0:-1]


def test_records_in_reverse(session: Session) -> None:
    """The last record first, marks among them, down to the number that is given."""
    a = session.append(user("a"), id="a")
    session.label(a.id, "L")
    session.append(user("b"), id="b")
    forwards = list(session.records())
    assert [number for number, _ in forwards] == [0, 1, 2]
    assert list(session.records(reverse=True)) == forwards[::-1]
    assert list(session.records(1, reverse=True)) == [forwards[2], forwards[1]]
    assert list(session.records(3, reverse=True)) == []


def test_reverse_records_pass_over_damage(log_path: Path, run: Run) -> None:
    """Also when the last record is the damaged one."""
    log_path.write_bytes(log_of(*(node(f"e{n}", f"e{n - 1}" if n else None) for n in range(9))))
    with Session.open(log_path, durability="process") as session:
        for text in (b'"content":"e8"', b'"content":"e5"'):
            log_path.write_bytes(log_path.read_bytes().replace(text, b'"content":"XX"'))
        numbers = [number for number, _ in session.records(reverse=True)]
        assert numbers == [7, 6, 4, 3, 2, 1, 0]

        async def main() -> list[int]:
            async with aio.Session.open(log_path, mode="r") as other:
                log_path.write_bytes(log_path.read_bytes().replace(b'"content":"e7"', b'"content":"XX"'))
                return [number async for number, _ in other.records(reverse=True)]

        assert run(main) == [5, 4, 3, 2, 1, 0]  # seven records are whole, and then the last is not


# --- the law ---

KINDS = ["message", "compaction", "model", "summary", "data", "opaque", "critical", "mark", "bad_vacuum"]
KINDS += ["for the model", "for the user", "hiding", "showing"]
ITEMS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 1000)), max_size=40)


def _line(kind: str, id: str, parent: str | None) -> str:
    return {
        "message": lambda: node(id, parent),
        "compaction": lambda: node(id, parent, "compaction", summary="S", first_kept_entry_id=None),
        "model": lambda: node(id, parent, "model_change", provider=None, model="m"),
        "summary": lambda: node(id, parent, "branch_summary", from_id=None, summary="S"),
        "data": lambda: node(id, parent, "extension_data", ext_type="x.y", data=1),
        "opaque": lambda: node(id, parent, "theirs"),
        "critical": lambda: node(id, parent, "theirs", critical=True),
        "bad_vacuum": lambda: node(id, parent, "vacuum", dropped=1),
        "vacuum": lambda: node(id, parent, "vacuum", dropped=1),
        "mark": lambda: mark(id, "label", target_id="e0", label="L"),
        "for the model": lambda: node(id, parent, visible_to="model"),
        "for the user": lambda: node(id, parent, visible_to="user"),
        "hiding": lambda: mark(id, "visibility", target_id=parent or "e0", visible_to="nobody"),
        "showing": lambda: mark(id, "visibility", target_id=parent or "e0", visible_to="all"),
    }[kind]()


@given(ITEMS, st.booleans(), st.sampled_from(CLASSES), st.integers(1, 12))
def test_the_end_and_the_walk_are_parts_of_the_path(
    items: list[tuple[str, int]], vacuumed: bool, cls: type[Entry], last: int
) -> None:
    """Of every tree, whole or with a parent that is missing: for each entry, class and number."""
    nodes: list[str | None] = [None]
    lines = []
    if vacuumed:
        lines.append(_line("vacuum", "e0", None))
        nodes.append("e0")
    for number, (kind, pick) in enumerate(items, len(lines)):
        above = (*nodes[-3:], "gone")
        parent = above[pick // 7 % len(above)] if pick % 7 == 0 else nodes[-1]
        lines.append(_line(kind, f"e{number}", parent))
        if kind not in ("mark", "hiding", "showing"):
            nodes.append(f"e{number}")
    with Session(_memory(log_of(*lines)), Header(id="s")) as session:
        for entry in nodes:
            try:
                path = session.path(entry)
            except BrokenPath:
                with pytest.raises(BrokenPath):
                    list(session.walk_up(entry, type=cls))
                continue
            expected = [each for each in path if isinstance(each, cls)]
            assert session.path(entry, type=cls) == expected
            assert session.path(entry, last=last, type=cls) == expected[-last:]
            assert list(session.walk_up(entry, type=cls)) == expected[::-1]
            who: SeenBy = "model" if last % 2 else "user"
            seen = [each for each in expected if session.visible_to(each) in ("all", who)]
            assert session.path(entry, type=cls, seen_by=who) == seen
            assert session.path(entry, last=last, type=cls, seen_by=who) == seen[-last:]
            assert list(session.walk_up(entry, type=cls, seen_by=who)) == seen[::-1]
        assert list(session.records(reverse=True)) == list(session.records())[::-1]


def _memory(data: bytes) -> MemoryLog:
    log = MemoryLog()
    log._lines.extend(data.splitlines())
    return log


# --- what they read ---


@pytest.mark.parametrize("last", [1, 3, 700])
def test_the_end_of_a_path_reads_what_it_returns(counted: tuple[Session, Any], last: int) -> None:
    """One line for each entry that is returned, in a log of 5,000."""
    session, log = counted
    assert ids(session.path(last=last)) == [f"m{number}" for number in range(5000 - last, 5000)]
    assert log.lines_read == last


def test_a_type_far_above_is_found_without_reading_what_is_below(counted: tuple[Session, Any]) -> None:
    """The last compaction and the last extension data: one line each."""
    session, log = counted
    assert ids(session.path(last=1, type=CompactionEntry)) == ["c"]
    assert ids(islice(session.walk_up(type=ExtensionDataEntry), 1)) == ["x"]
    assert log.lines_read == 2


def test_a_walk_reads_as_far_as_it_is_followed(counted: tuple[Session, Any]) -> None:
    """At most twice as many lines as entries were taken, and one for the first."""
    session, log = counted
    walk = session.walk_up()
    assert log.lines_read == 0
    assert next(walk).id == "m4999"
    assert log.lines_read == 1
    assert ids(islice(walk, 9)) == [f"m{number}" for number in range(4998, 4989, -1)]
    assert log.lines_read <= 20
    assert len(list(walk)) == 4992
    assert log.lines_read == 5002


def test_reverse_records_read_as_far_as_they_are_followed(counted: tuple[Session, Any]) -> None:
    """At most twice as many lines as records were taken."""
    session, log = counted
    assert [number for number, _ in islice(session.records(reverse=True), 10)] == list(range(5001, 4991, -1))
    assert log.lines_read <= 20


# --- damage ---


def test_damage_above_what_is_returned_is_not_noticed(log_path: Path) -> None:
    """The end of the path is returned, and the walk yields every entry below the damaged line before it raises."""
    log_path.write_bytes(log_of(*(node(f"e{n}", f"e{n - 1}" if n else None) for n in range(20))))
    with Session.open(log_path, durability="process") as session:
        log_path.write_bytes(log_path.read_bytes().replace(b'"content":"e9"', b'"content":"XX"'))
        assert ids(session.path(last=10)) == [f"e{n}" for n in range(10, 20)]
        with pytest.raises(BrokenPath):
            session.path(last=11)
        walk = session.walk_up()
        assert ids(islice(walk, 10)) == [f"e{n}" for n in range(19, 9, -1)]
        with pytest.raises(BrokenPath):
            next(walk)


def test_a_walk_ends_with_an_error_at_a_missing_parent(log_path: Path) -> None:
    """The entry without a parent is yielded before; the end of the path is returned."""
    log_path.write_bytes(log_of(node("a", None), node("b", "gone"), node("c", "b")))
    with Session.open(log_path, mode="r") as session:
        walk = session.walk_up()
        assert [next(walk).id, next(walk).id] == ["c", "b"]
        with pytest.raises(BrokenPath) as broken:
            next(walk)
        assert broken.value.missing == "gone"
        assert ids(session.path(last=2)) == ["b", "c"]
        with pytest.raises(BrokenPath):
            session.path(last=3)


def test_a_lost_entry_ends_a_walk_of_any_type(log_path: Path) -> None:
    """It may have been of that type. What lies below it is found."""
    log_path.write_bytes(
        log_of(
            node("a", None, "compaction", summary="S", first_kept_entry_id=None),
            node("b", "a"),
            node("c", "b", "compaction", summary="S", first_kept_entry_id=None),
            node("d", "c"),
        )
    )
    log_path.write_bytes(log_path.read_bytes().replace(b'"content":"b"', b'"content":"X"'))
    repair(log_path, rejoin=True, dry_run=False)
    with Session.open(log_path, mode="r") as session:
        assert ids(session.path(last=1, type=CompactionEntry)) == ["c"]
        for cls in CLASSES:
            with pytest.raises(BrokenPath) as broken:
                session.path(last=5, type=cls)
            assert broken.value.missing == "b"


# --- while others write ---


def test_a_walk_stays_on_its_path(session: Session) -> None:
    """The loop may append and move the leaf."""
    first = session.append(user("a"))
    second = session.append(user("b"))
    walk = session.walk_up()
    session.append(user("c"))
    assert next(walk) == second
    session.branch(None)
    session.append(user("d"))
    assert list(walk) == [first]


def test_a_walk_goes_on_in_a_log_that_was_replaced(log_path: Path) -> None:
    """The rows are others then; the walk finds its place by the id of the last entry."""
    log_path.write_bytes(log_of(node("a", None), node("b", "a"), node("c", "b"), node("d", "c")))
    with Session.open(log_path, durability="process") as session:
        walk = session.walk_up()
        begun = [next(walk).id, next(walk).id]
        other = log_path.with_name("other")
        other.write_bytes(log_of(node("r", None), node("a", None), node("b", "a"), node("c", "b"), node("d", "c")))
        other.replace(log_path)
        session.refresh()
        assert begun + ids(walk) == ["d", "c", "b", "a"]
        walk, all_gone = session.walk_up(), session.walk_up("c")
        assert next(walk).id == "d"
        other.write_bytes(log_of(node("r", None)))
        other.replace(log_path)
        session.refresh()
        for each, id in ((walk, "d"), (all_gone, "c")):
            with pytest.raises(EntryNotFound) as missing:
                next(each)
            assert missing.value.id == id


def test_a_closed_session_ends_a_walk(session: Session) -> None:
    """With SessionClosed."""
    session.append_many([user("a"), user("b")])
    walk = session.walk_up()
    next(walk)
    session.close()
    with pytest.raises(SessionClosed):
        next(walk)
    with pytest.raises(SessionClosed):
        session.walk_up()


# --- arguments ---

WRONG: list[tuple[Callable[[Session], Any], type[Exception], str]] = [
    (lambda session: session.path(last=0), ValueError, "last: expected at least 1, not 0"),
    (lambda session: session.path(last=-1), ValueError, "last: expected at least 1, not -1"),
    (lambda session: session.path(last="5"), TypeError, "last: expected a whole number or None, not the str"),  # type: ignore[call-overload]
    (lambda session: session.path(last=True), TypeError, "last: expected a whole number or None, not the bool"),
    (lambda session: session.path(type="message"), TypeError, "type: expected a class, not the str"),  # type: ignore[call-overload]
    (lambda session: session.path(type=Header), TypeError, "type is a class of entries, not Header;"),
    (lambda session: session.path(seen_by="all"), ValueError, "seen_by is one of 'model', 'user', not 'all'"),  # type: ignore[call-overload]
    (lambda session: session.walk_up(seen_by=1), ValueError, "seen_by is one of 'model', 'user', not 1"),  # type: ignore[call-overload]
    (lambda session: session.walk_up(type=int), TypeError, "expected one of Entry, MessageEntry, "),
    (lambda session: session.walk_up("nobody"), EntryNotFound, "nobody"),
    (lambda session: session.records(-1), ValueError, "start: expected at least 0, not -1"),
    (lambda session: session.records("0"), TypeError, "start: expected a whole number, not the str"),  # type: ignore[arg-type]
    (lambda session: session.records(reverse=1), TypeError, "reverse: expected True or False, not the int"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "error", "words"), WRONG)
def test_wrong_arguments_are_named_at_the_call(
    call: Callable[[Session], Any], error: type[Exception], words: str, session: Session
) -> None:
    """Before anything is read."""
    session.append(user("a"))
    with pytest.raises(error) as raised:
        call(session)
    assert words in str(raised.value)


def test_async_programs_walk_too(run: Run) -> None:
    """`path`, `walk_up` and `records` give what the sync ones give; a loop may end early."""

    async def main() -> None:
        async with aio.Session.memory() as session:
            entries = await session.append_many([user("a"), assistant("b"), user("c")])
            assert await session.path(last=2, type=MessageEntry) == entries[1:]
            assert [entry async for entry in session.walk_up()] == entries[::-1]
            assert [entry async for entry in session.walk_up(entries[1].id, type=MessageEntry)] == entries[1::-1]
            assert [record async for _, record in session.records(1, reverse=True)] == entries[:0:-1]
            async for entry in session.walk_up():
                assert entry == entries[2]
                break
            with pytest.raises(TypeError, match="type is a class of entries"):
                async for _ in session.walk_up(type=int):  # type: ignore[type-var]
                    pass

    run(main)


def test_a_stale_session_walks_what_it_has_seen(log_path: Path) -> None:
    """Until it is refreshed, its path ends at the leaf that it has seen."""
    with Session.open(log_path, durability="process") as one, Session.open(log_path, durability="process") as two:
        a = one.append(user("a"))
        two.refresh()
        b = one.append(user("b"))
        assert two.path(last=1) == [a]
        with pytest.raises(StaleLeaf):
            two.append(user("c"))
        two.refresh()
        assert list(two.walk_up()) == [b, a]
