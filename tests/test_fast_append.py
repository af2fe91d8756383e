"""The fast path of appends writes what the ordinary way writes, also when interrupted and beside other writers."""

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from harness.interrupts import Tripwire
from helpers import assistant, contents, ids, user
from hypothesis import example, given
from hypothesis import strategies as st

from convtree import (
    CompactionEntry,
    Entry,
    EntryNotFound,
    ExtensionDataEntry,
    Header,
    IdConflict,
    InvalidMessage,
    LeafUncertain,
    MessageEntry,
    Session,
    SessionClosed,
    SessionFailed,
    SessionNotFound,
    StaleLeaf,
)
from convtree._engine.columns import SnapshotDamaged
from convtree._engine.log import LogReplaced
from convtree._engine.tree import CHAINS, COLUMN_TYPES
from convtree._engine.write_batch import WriteBatch
from convtree._logs.jsonl import JsonlLog


class Alarm(Exception):
    """What a handler of signals may raise."""


class OrdinaryLog(JsonlLog):
    """A log that takes every append the ordinary way."""

    append_at = None  # type: ignore[assignment]


def opened(path: Path, kind: type[JsonlLog], ids: Callable[[], str], **options: Any) -> Session:
    """A session whose times and ids are its own: both count."""
    times = count(10**18, 10**9)
    header = Header(id="s", timestamp="2001-09-09T01:46:40.000000Z", seal="crc32")
    log = kind(path, durability="process")
    return Session(log, header, clock=lambda: next(times), id_source=ids, **options)


def numbered() -> Callable[[], str]:
    numbers = count()
    return lambda: f"{next(numbers):016x}"


def messages(number: int) -> list[dict[str, Any]]:
    return [user(f"{number}.{each}") for each in range(number % 7)]


CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "Done."}]}


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(StaleLeaf) as raised:
        call()
    return str(raised.value.actual)


def outcome(call: Callable[[], object]) -> object:
    """What a call returns or raises."""
    try:
        return call()
    except (EntryNotFound, IdConflict, InvalidMessage, StaleLeaf, TypeError) as error:
        return type(error), str(error).rpartition(".jsonl")[2]


def data(number: int, id: str = "") -> ExtensionDataEntry:
    return ExtensionDataEntry(id=id, ext_type="x", data={"number": number})


def full(number: int, each: int, above: str | None) -> Entry:
    """An entry that may say all that it can; what an append decides, too: the place and the time."""
    choose = Random(number * 10 + each).choice
    placed: dict[str, Any] = choose(({}, {}, {"parent_id": above, "timestamp": "2020-01-01T00:00:00Z"}))
    if choose((True, False, False)):
        return ExtensionDataEntry(ext_type="x", data={}, usage={"input_tokens": 3}, source_id="d", **placed)
    fields: list[dict[str, Any]] = [
        {"provider": "p", "model": "m1", "shape": "openai-chat"},
        {"status": "interrupted", "extra": {"x": [1]}, "usage": {"input_tokens": 2}},
        {"pinned": False},
        {"pinned": True},
        {"visible_to": "user"},
        {"reply_to": above},
        {"replaces": above},
    ]
    role = choose(("user", "system", "assistant", "developer"))
    return MessageEntry(message={"role": role, "content": f"{number}"}, **choose(({}, {}, *fields)), **placed)


def act(session: Session, step: int, number: int) -> object:
    """One call of a history; `number` chooses among what there is."""
    known = ids(session.path()) if session.leaf_id else []
    some = known[number % len(known)] if known else None
    acts: list[Callable[[], object]] = [
        lambda: session.append(user(f"said {number}")),
        lambda: session.append(assistant(f"answered {number}"), model=f"m{number % 2}", provider="p"),
        lambda: session.append({"role": "user", "content": [{"type": "text", "text": f"{number}"}]}),
        lambda: session.append_many(messages(number)),
        lambda: session.append_many([user("one"), CALL, RESULT]),
        lambda: session.append(user("below"), parent_id=some),
        lambda: session.append(user("kept"), pinned=True),
        lambda: session.append(user("expected"), expect_leaf=session.leaf_id),
        lambda: session.append_many(messages(number), parent_id=session.leaf_id, expect_leaf=session.leaf_id),
        lambda: refused(lambda: session.append(user("not here"), parent_id=some, expect_leaf="x")),
        lambda: session.append(user("answer"), reply_to=some) if some else None,
        lambda: session.append(user("once"), id=f"id{number % 3}-{len(known)}"),
        lambda: session.branch(some),
        lambda: session.label(some, f"l{number}") if some else None,
        lambda: session.rename(f"name {number}"),
        lambda: session.append(CALL),
        lambda: session.append(RESULT),
        lambda: session.append(data(number)),
        lambda: outcome(lambda: session.append(data(number % 2, f"d{number % 3}"))),
        lambda: outcome(
            lambda: session.append_many(
                [full(number, each, some) for each in range(number % 4)],
                parent_id=some if number % 3 else session.leaf_id,
                move_leaf=bool(number % 5),
                expect_revision=session.revision,
            )
        ),
        lambda: outcome(
            lambda: session.append_many(
                [data(0, f"d{number % 5}"), MessageEntry(id=f"m{len(known)}", message=user("own")), data(1)],
                parent_id=some if number % 3 else session.leaf_id,
                move_leaf=bool(number % 4),
                expect_revision=session.revision if number % 6 else "x",
            )
        ),
        lambda: outcome(lambda: session.append(user("revised"), expect_revision=session.revision)),
        lambda: session.append(CompactionEntry(summary="S", first_kept_entry_id=some)),
        session.refresh,
        lambda: session.build_context().messages,
    ]
    return acts[step % len(acts)]()


def facts(session: Session) -> list[Any]:
    return [
        session.leaf_id,
        session.revision,
        [record for _, record in session.records()],
        ids(session.leaves()),
        session.labels,
        session.name,
        session.findings,
    ]


@given(st.lists(st.tuples(st.integers(0, 24), st.integers(0, 999)), max_size=40))
def test_both_ways_write_the_same_bytes(steps: list[tuple[int, int]]) -> None:
    """And have the same tree after each step, which is that of the log."""
    with TemporaryDirectory() as directory:
        fast_path, other_path = Path(directory, "fast.jsonl"), Path(directory, "other.jsonl")
        fast, other = opened(fast_path, JsonlLog, numbered()), opened(other_path, OrdinaryLog, numbered())
        with fast, other:
            for step, number in steps:
                assert act(fast, step, number) == act(other, step, number)
                assert fast_path.exists() == other_path.exists()
                if fast_path.exists():
                    assert fast_path.read_bytes() == other_path.read_bytes()
            assert facts(fast) == facts(other)
            if fast_path.exists():
                with Session.open(fast_path, mode="r", strict=True) as reader:
                    assert facts(reader) == facts(fast)


def test_an_instruction_that_comes_as_an_entry_is_pinned(tmp_path: Path) -> None:
    """As one that comes as a message: it stays in contexts after a compaction."""
    with Session.open(tmp_path / "s.jsonl", durability="process") as session:
        session.append(user("q"))
        session.append(user("r"))
        (entry,) = session.append_many(
            [MessageEntry(message={"role": "system", "content": "Be brief."})],
            parent_id=session.leaf_id,
            move_leaf=True,
            expect_revision=session.revision,
        )
        assert isinstance(entry, MessageEntry)
        assert (entry.pinned, session.entry(entry)) == (True, entry)


def move(session: Session, known: list[str], step: int, number: int) -> None:
    """One call that asks the index for little or nothing; `known` are the ids of the messages."""
    some, last = known[number % len(known)], known[-1]
    acts: list[Callable[[], object]] = [
        lambda: session.append(user(f"said {number}")),
        lambda: session.append(user(f"below {number}"), parent_id=some),
        lambda: session.append_many(messages(number), parent_id=some),
        lambda: session.branch(some),
        lambda: session.branch(last),
        lambda: session.append({"role": "user", "content": [{"type": "text", "text": "x"}]}, parent_id=last),
        lambda: session.append(assistant("answered"), model=f"m{number % 2}", provider="p"),
        lambda: session.append(assistant("below"), model="m1", provider="p", parent_id=session.entry(some)),
        lambda: session.label(some, "a label"),
        lambda: session.append(user("below"), parent_id="a label") if session.labels else None,
        lambda: session.branch("a label") if session.labels else None,
        lambda: session.branch(None) if number % 5 == 0 else None,
        lambda: session.append(CALL),
        lambda: session.append(RESULT),
        lambda: session.append(RESULT, parent_id=some),
        lambda: session.append_many([RESULT, user("then")]),
        lambda: session.append(data(number)),
        lambda: session.append(data(number), parent_id=some),
        lambda: outcome(lambda: session.append(data(number % 2, f"d{number % 9}"), parent_id=some)),
        lambda: outcome(
            lambda: session.append_many(
                [data(0, f"e{number}"), MessageEntry(id=f"m{len(known)}", message=user("own")), data(1)][: number % 4],
                parent_id=some if number % 2 else last,
                move_leaf=True,
                expect_revision=last,
            )
        ),
        lambda: outcome(lambda: session.append_many([data(1, last), data(2, some)])),
        session.build_context,
    ]
    made = acts[step % len(acts)]()
    known += ids(made) if isinstance(made, list) else [made.id] if isinstance(made, Entry) else []


@given(st.lists(st.tuples(st.integers(0, 21), st.integers(0, 99)), max_size=60))
@example([(16, 0), (19, 3), (19, 7), (17, 0), (19, 2), (0, 0), (17, 3), (21, 0)])
@example([(18, 0), (18, 9), (18, 18), (4, 0), (18, 0), (20, 0), (20, 2)])
@example([(12, 0), (13, 0), (3, 0), (13, 0), (15, 0)])  # a result, and results whose call is on another branch
@example([(6, 1), (7, 0)])  # the model of the leaf, below another entry
@example([(6, 1), (3, 0), (6, 1)])  # after the leaf has moved
@example([(6, 1), (1, 0), (8, 0), (6, 1)])  # and the index has seen it
@example([(2, 3), (3, 1), (2, 5), (0, 0)])
def test_messages_at_many_places(steps: list[tuple[int, int]]) -> None:
    """The index gets them together, and is then that of a scan."""
    with TemporaryDirectory() as directory:
        fast_path, other_path = Path(directory, "fast.jsonl"), Path(directory, "other.jsonl")
        fast, other = opened(fast_path, JsonlLog, numbered()), opened(other_path, OrdinaryLog, numbered())
        with fast, other:
            for session in (fast, other):
                known = ids(session.append_many([user("one"), assistant("two"), user("three")]))
                for step, number in steps:
                    move(session, known, step, number)
            assert fast_path.read_bytes() == other_path.read_bytes()
            assert columns(fast) == columns(other)
            assert facts(fast) == facts(other)
            with Session.open(fast_path, mode="r", strict=True) as reader:
                assert columns(fast) == columns(reader)
                assert facts(fast) == facts(reader)


def columns(session: Session) -> dict[str, list[int]]:
    """The tree of a session, without what is made when somebody asks for an ancestor."""
    found = session._journal.index.tree.columns
    return {name: list(found[name]) for name in COLUMN_TYPES if name not in CHAINS}


def test_most_messages_take_the_fast_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's text, a reply with the model that is known, blocks, calls and results."""
    ordinary: list[object] = []
    monkeypatch.setattr(JsonlLog, "append", lambda *arguments: ordinary.append(arguments))
    with Session.open(tmp_path / "a.jsonl", durability="process", mode="a") as session:
        monkeypatch.undo()
        session.append(user("first"))
        session.append(assistant("second"), model="m", provider="p")
        monkeypatch.setattr(JsonlLog, "append", lambda *arguments: ordinary.append(arguments))
        for number in range(5):
            session.append(user(f"{number}"))
            session.append(assistant(f"{number}"), model="m", provider="p", usage={"input_tokens": 1})
            session.append({"role": "user", "content": [{"type": "text", "text": "x"}]})
            session.append(CALL)
            session.append(RESULT)
        session.append_many([user("one"), assistant("two")])
        session.append_many([CALL, RESULT])
        assert not ordinary
        assert len(list(session.path())) == 31


def test_messages_at_other_places_take_the_fast_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move of the leaf is a line of its own."""
    with Session.open(tmp_path / "a.jsonl", durability="process") as session:
        first, second = session.append_many([user("first"), assistant("second")])
        session.label(first, "start")
        session.append(user("third"))
        monkeypatch.setattr(WriteBatch, "__init__", lambda *_: pytest.fail("planned"))
        assert session.append(user("below"), parent_id="start").parent_id == first.id
        for place in (first, second.id):
            assert session.append(user("below"), parent_id=place).parent_id in (first.id, second.id)
            session.branch(place)
            leaf_id = session.leaf_id
            assert leaf_id in (first.id, second.id)
            assert session.append(user("here")).parent_id == leaf_id
        blocks = session.append({"role": "user", "content": [{"type": "text", "text": "x"}]}, parent_id=first)
        assert blocks.parent_id == first.id
        chain = session.append_many([user("one"), assistant("two")], parent_id=second)
        assert [each.parent_id for each in chain] == [second.id, chain[0].id]
        session.branch(blocks)  # the index has it only now
        assert session.append(user("here")).parent_id == blocks.id
        monkeypatch.undo()
        with pytest.raises(EntryNotFound):
            session.append(user("nowhere"), parent_id="x")
        with pytest.raises(EntryNotFound):
            session.branch("x")
        assert contents(session)[-1] == "here"
    with pytest.raises(SessionClosed):
        session.branch(first)


@pytest.mark.no_cover
@pytest.mark.parametrize("error", [KeyboardInterrupt, Alarm])
@pytest.mark.parametrize("within", ["_engine/fast_append.py", "_session/fast_appending.py", "_engine/journal.py"])
def test_an_append_that_is_interrupted_anywhere(within: str, error: type[BaseException], tmp_path: Path) -> None:
    """Wherever it is: the log stays one chain, has what was returned, and the session agrees with it."""
    path = tmp_path / "s.jsonl"
    with Session.open(path, durability="process", on_stale="rebase") as session:
        returned = [session.append(user("first")).id]

        def appends() -> None:
            returned.append(session.append(user("text")).id)
            returned.extend(ids(session.append_many([user("one"), assistant("two")])))
            chain = [data(1, f"d{len(returned)}"), data(2)]
            revised: dict[str, Any] = {"parent_id": returned[-1], "move_leaf": True, "expect_revision": returned[-1]}
            returned.extend(ids(session.append_many(chain, **revised)))
            returned.append(session.append(data(3)).id)
            session.tip(returned[0])

        for _ in interruptions(appends, within, error):
            with Session.open(path, mode="r", strict=True) as reader:
                stored = ids(reader.path())
            assert set(returned) <= set(stored)
            session.append(user("after"))
            assert ids(session.path()) == ids(Session.open(path, mode="r", strict=True).path())


@pytest.mark.no_cover
@pytest.mark.parametrize("error", [KeyboardInterrupt, Alarm])
@pytest.mark.parametrize("within", ["_engine/fast_append.py", "_session/fast_appending.py"])
def test_a_move_that_is_interrupted_anywhere(within: str, error: type[BaseException], tmp_path: Path) -> None:
    """Wherever it is: the log stays whole, has what was returned, and the session agrees with it."""
    path = tmp_path / "s.jsonl"
    with Session.open(path, durability="process", on_stale="rebase") as session:
        first, second = session.append_many([user("first"), assistant("second")])
        returned = {first.id, second.id}

        def moves() -> None:
            returned.add(session.append(user("below"), parent_id=first).id)
            session.branch(second)
            returned.add(session.append(user("here")).id)
            returned.update(ids(session.append_many([user("one"), assistant("two")], parent_id=first)))
            session.tip(first)

        for _ in interruptions(moves, within, error, each=20):
            with Session.open(path, mode="r", strict=True) as reader:
                assert returned <= set(ids(record for _, record in reader.records()))
            session.append(user("after"))
            session.refresh()  # an interrupted call may have written what the session has not seen
            with Session.open(path, mode="r", strict=True) as reader:
                assert facts(reader) == facts(session)
                assert columns(reader) == columns(session)


def interruptions(act: Callable[[], object], within: str, error: type[BaseException], each: int = 5) -> Iterator[int]:
    """Calls `act` and interrupts it at an instruction of a module: at every fifth that it runs, or at fewer."""
    counting = Tripwire(error)
    counting.run(act)
    numbers = [seen[0] for (code, _), seen in counting.seen.items() if code.co_filename.endswith(within)]
    assert numbers
    for number in numbers[::each]:
        try:
            Tripwire(error, number).run(act)
        except error:
            yield number


def test_another_writer_in_between(tmp_path: Path) -> None:
    """The message goes the ordinary way, which says that the leaf has moved."""
    path = tmp_path / "s.jsonl"
    with Session.open(path) as session, Session.open(path) as other:
        session.append(user("one"))
        session.append(user("two"))
        other.refresh()
        other.append(user("three"))
        with pytest.raises(StaleLeaf):
            session.append(user("four"))
        session.refresh()
        session.append(user("four"))
        assert contents(session) == ["one", "two", "three", "four"]


def test_another_writer_before_a_move(tmp_path: Path) -> None:
    """A move needs no leaf that was seen, so it goes the ordinary way."""
    path = tmp_path / "s.jsonl"
    with Session.open(path, durability="process") as session, Session.open(path, on_stale="rebase") as other:
        first = session.append(user("one"))
        session.append(user("two"))
        other.append(user("theirs"))
        session.branch(first)
        assert session.append(user("here")).parent_id == first.id
        other.append(user("theirs"))
        assert session.append(user("below"), parent_id=first).parent_id == first.id
        other.refresh()
        assert other.leaf_id == session.leaf_id
        assert facts(other)[2:] == facts(session)[2:]


@pytest.mark.parametrize("problem", [SnapshotDamaged, LogReplaced])
def test_a_parent_that_the_index_cannot_find(
    problem: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is read again, and the message goes the ordinary way."""

    def fails(_: str) -> int:
        raise problem

    with Session.open(tmp_path / "s.jsonl", durability="process") as session:
        first = session.append(user("one"))
        session.append(user("two"))
        monkeypatch.setattr(session._journal.index, "node", fails)
        assert session.append(user("below"), parent_id=first).parent_id == first.id
        monkeypatch.setattr(session._journal.index, "node", fails)
        session.branch(first)
        assert session.append(user("here")).parent_id == first.id


def test_an_expected_leaf_is_that_of_the_log(tmp_path: Path) -> None:
    """Not the one that a message was put below: that lies elsewhere, and nothing is written."""
    path = tmp_path / "s.jsonl"
    with Session.open(path, durability="process") as session, Session.open(path, on_stale="rebase") as other:
        first = session.append(user("one"))
        last = session.append(user("two"))
        other.refresh()
        other.append(user("three"))
        for _ in range(2):
            with pytest.raises(StaleLeaf):
                session.append(user("four"), expect_leaf=first)
            with pytest.raises(StaleLeaf):
                session.append(user("four"), parent_id=first, expect_leaf=last)
        below = session.append(user("below"), parent_id=first)
        assert session.append(user("five"), expect_leaf=below).parent_id == below.id


def test_own_messages_are_not_news(tmp_path: Path) -> None:
    """`refresh` returns what others wrote, also between messages that the index did not have yet."""
    path = tmp_path / "s.jsonl"
    with Session.open(path) as session, Session.open(path, on_stale="rebase") as other:
        for number in range(3):
            session.append(user(f"{number}"))
        assert session.refresh() == []
        session.append(user("3"))
        theirs = other.append(user("theirs"))
        assert session.refresh() == [theirs]
        session.append(user("4"))
        assert session.refresh() == []


@pytest.mark.parametrize("change", ["replaced", "gone", "cut", "overwritten", "moved directory"])
def test_a_log_that_is_another_one(change: str, tmp_path: Path) -> None:
    """What was appended to goes on only if the path still leads to it, and it ends as it did."""
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "s.jsonl"
    with Session.open(path, durability="process", on_stale="rebase") as session:
        session.append_many([user("one"), user("two")])
        session.append(user("three"))
        data = path.read_bytes()
        if change == "replaced":
            shutil.copy(path, folder / "copy")
            os.replace(folder / "copy", path)
        elif change == "gone":
            path.unlink()
        elif change == "cut":
            os.truncate(path, data.rindex(b"\n", 0, -1) + 1)
        elif change == "overwritten":
            path.write_bytes(data[:-4] + (b"0" if data[-4:-3] != b"0" else b"1") + data[-3:])
        else:
            folder.rename(tmp_path / "elsewhere")
            shutil.copytree(tmp_path / "elsewhere", folder)
        if change == "gone":
            with pytest.raises(SessionNotFound):
                session.append(user("four"))
            return
        if change == "overwritten":
            with pytest.raises(LeafUncertain):
                session.append(user("four"))
            return
        session.append(user("four"))
        assert session.times_replaced == 1
        with Session.open(path, mode="r") as reader:
            assert contents(reader, allow_gaps=True)[-1] == "four"


def test_a_copy_of_the_log_on_its_descriptor_is_not_written_to(tmp_path: Path) -> None:
    """Something closed the descriptor, and a session on an equal log has its number now."""
    with Session.open(tmp_path / "a.jsonl", durability="process") as session:
        session.append(user("one"))
        shutil.copy(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
        before = (tmp_path / "b.jsonl").read_bytes()
        fd = session._journal.log._fd  # type: ignore[attr-defined]
        os.close(fd)
        with Session.open(tmp_path / "b.jsonl", durability="process") as other:
            assert other._journal.log._fd == fd  # type: ignore[attr-defined]
            with pytest.raises(SessionFailed, match="closed by something else"):
                session.append(user("two"))
            assert (tmp_path / "b.jsonl").read_bytes() == before
            other.append(user("mine"))


def test_a_message_that_cannot_be_stored(tmp_path: Path) -> None:
    """The ordinary way says why, and names the place."""
    with Session.open(tmp_path / "a.jsonl") as session:
        session.append(user("one"))
        with pytest.raises(InvalidMessage, match="lone surrogate"):
            session.append(user("half of \ud83d"))
        with pytest.raises(InvalidMessage, match="items\\[1\\]"):
            session.append_many([user("whole"), user("half of \ud83d")])
        with pytest.raises(InvalidMessage, match="the limit is"):
            session.append(user("x" * 2**24))
        with pytest.raises(InvalidMessage):
            session.append({"role": "user", "content": 2**64})
        session.append(user("two"))
        assert contents(session) == ["one", "two"]


def test_an_entry_does_not_change_with_the_callers_message(tmp_path: Path) -> None:
    with Session.open(tmp_path / "a.jsonl") as session:
        session.append(user("one"))
        message = user("two")
        entry = session.append(message)
        message["content"] = "three"
        assert entry.message == user("two")


def test_ids_are_not_given_out_twice_after_a_fork(tmp_path: Path) -> None:
    """A child does not have the random ids that its parent has in stock."""
    with Session.open(tmp_path / "a.jsonl") as session:
        session.append(user("one"))
    child = os.fork()
    if child == 0:
        try:
            with Session.open(tmp_path / "child.jsonl") as own:
                own.append_many([user(f"{number}") for number in range(70)])
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    with Session.open(tmp_path / "parent.jsonl") as own:
        mine = ids(own.append_many([user(f"{number}") for number in range(70)]))
    with Session.open(tmp_path / "child.jsonl", mode="r") as theirs:
        assert not set(mine) & set(ids(theirs.path()))


def test_entries_with_ids_take_the_fast_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a revision is expected, too. What the log has already goes the ordinary way."""
    with Session.open(tmp_path / "a.jsonl", durability="process") as session:
        revision = session.append(user("one")).id
        monkeypatch.setattr(WriteBatch, "__init__", lambda *_: pytest.fail("planned"))
        for number in range(300):
            chain = [data(number, f"a{number}"), MessageEntry(id=f"b{number}", message=user("own"))][: 1 + number % 2]
            stored = session.append_many(chain, parent_id=revision, move_leaf=True, expect_revision=revision)
            assert [(each.id, each.parent_id) for each in stored] == [
                (each.id, above) for each, above in zip(chain, [revision, chain[0].id], strict=False)
            ]
            revision = stored[-1].id
            assert revision in session
            assert "c" not in session
        assert session.append(data(1, "c"), parent_id="a7", expect_revision=revision).parent_id == "a7"
        monkeypatch.undo()
        before = (tmp_path / "a.jsonl").read_bytes()
        assert session.append(data(1, "c")).parent_id == "a7"  # a retry
        for taken in ([data(2, "c")], [data(1, "d"), data(1, "d")], [data(1, "d"), data(2, "a0")]):
            with pytest.raises(IdConflict):
                session.append_many(taken)
        with pytest.raises(StaleLeaf):
            session.append_many([data(1, "d")], parent_id="c", move_leaf=True, expect_revision=revision)
        with pytest.raises(InvalidMessage, match="data"):
            session.append_many([data(2**64, "d")], parent_id="c", move_leaf=True, expect_revision="c")
        assert (tmp_path / "a.jsonl").read_bytes() == before
        with Session.open(tmp_path / "a.jsonl", mode="r", strict=True) as reader:
            assert facts(reader) == facts(session)
            assert columns(reader) == columns(session)


def test_a_revision_that_another_writer_has_passed(tmp_path: Path) -> None:
    """Also if this session has not seen it, and after marks."""
    path = tmp_path / "s.jsonl"
    with Session.open(path, durability="process", on_stale="rebase") as session, Session.open(path) as other:
        first = session.append(user("one"))
        other.refresh()
        theirs = other.append(user("theirs"))
        with pytest.raises(StaleLeaf):
            session.append_many([data(1)], parent_id=first.id, move_leaf=True, expect_revision=first.id)
        stored = session.append_many([data(1)], parent_id=first.id, move_leaf=True, expect_revision=theirs.id)
        session.branch(first)
        with pytest.raises(StaleLeaf):
            session.append_many([data(2)], parent_id=first.id, move_leaf=True, expect_revision=stored[-1].id)
        session.refresh()
        session.append_many([data(2)], parent_id=first.id, move_leaf=True, expect_revision=session.revision)
        other.refresh()
        assert facts(other)[2:] == facts(session)[2:]


@pytest.mark.parametrize("problem", [SnapshotDamaged, LogReplaced])
def test_an_id_that_the_index_cannot_look_for(
    problem: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is read again, and the entry goes the ordinary way."""

    def fails(_: str) -> bool:
        raise problem

    with Session.open(tmp_path / "s.jsonl", durability="process") as session:
        session.append(user("one"))
        session.append(user("two"))
        monkeypatch.setattr(session._journal.index, "is_taken", fails)
        assert session.append(data(1, "own")).id == "own"
        assert session.append(data(1, "own")).id == "own"
        assert len(list(session.path())) == 3


def test_an_id_source_that_repeats_itself(tmp_path: Path) -> None:
    """An id that is taken is passed over, also if the index does not have its message yet."""
    given_out = iter(["h", "a", "b", "b", "a", "c", "c", "d", "e"])
    with opened(tmp_path / "a.jsonl", JsonlLog, given_out.__next__) as session:
        session.append(user("one"))
        for text in ("two", "three", "four"):
            session.append(user(text))
        assert len(set(ids(session.path()))) == 4
        assert session.findings == ()


def test_an_index_is_saved_while_a_log_grows(tmp_path: Path) -> None:
    """As it is by ordinary appends: opening never has to read much more than a step of lines."""
    path = tmp_path / "a.jsonl"
    with Session.open(path, durability="process") as session:
        for number in range(1100):
            session.append(user(f"{number}"))
        assert (tmp_path / "a.jsonl.index").exists()
    with Session.open(path, mode="r") as reader:
        assert len(list(reader.path())) == 1100
