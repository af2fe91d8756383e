"""Copies of stores in use: a second process writes, deletes or is killed meanwhile; and the ledger goes along."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from helpers import assistant, user
from postgres import new_database

from convtree import LedgerRow, Session, Usage, open_store
from convtree._cli.app import app
from convtree._engine.log import LogReplaced
from convtree.repair import verify
from convtree.stores import _copy
from convtree.stores._session_store import SessionStore

Place = Callable[[str, str], str]
Start = Callable[..., "subprocess.Popen[str]"]
KINDS = ("memory", "folder", "sqlite", "postgresql")
LASTING = KINDS[1:]
WRITER = """
import sys, time
import convtree
with convtree.open_store(sys.argv[1], durability="process") as store:
    sessions = [store.open(id, create=True) for id in ("s0", "s1", "s2")]
    for number in range(1_000_000):
        session = sessions[number % 3]
        session.append_many([{"role": "user", "content": f"{number} {part}"} for part in range(1 + number % 4)])
        if number % 7 == 0:
            session.label(session.leaf_id, f"l{number}")
        print(number, flush=True)
        time.sleep(0.002)  # else it writes as much as its pipe takes, and all of that is to be copied
"""
COPIER = """
import sys
import convtree
with convtree.open_store(sys.argv[1]) as store, convtree.open_store(sys.argv[2]) as target:
    print("ready", flush=True)
    store.copy_to(target, progress=lambda done, of: print(done, flush=True))
    print("copied", flush=True)
"""


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Gives each name and kind a new place for a store."""
    with ExitStack() as ends:

        def made(kind: str, name: str) -> str:
            if kind == "postgresql":
                url = ends.enter_context(new_database(request.getfixturevalue("postgres_server")))
                open_store(url, create=True).close()
                return url
            return {"memory": "memory:", "folder": f"{tmp_path}/{name}", "sqlite": f"sqlite:///{tmp_path}/{name}.db"}[
                kind
            ]

        yield made


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes. They end with the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(script: str, *arguments: str) -> subprocess.Popen[str]:
        started.append(subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for each in started:
        if each.returncode is None:
            kill(each)


def kill(process: subprocess.Popen[str]) -> list[str]:
    """Kills a process, and returns what it had printed that was not read yet."""
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    return rest.splitlines()


def lines_of(store: SessionStore, id: str) -> list[bytes]:
    log = store._log(id, "r")
    try:
        return [line for chunk in log.read() for line in chunk.lines]
    finally:
        log.close()


def said(session: Session) -> list[str]:
    return [entry.text for entry in session.path()]  # type: ignore[attr-defined]


def whole(texts: list[str]) -> bool:
    """Whether no write of the writer is there in part."""
    last = int(texts[-1].split()[0])
    return texts[-1] == f"{last} {last % 4}"


# --- a second process writes --------------------------------------------------------------------------------------


@pytest.mark.no_cover
@pytest.mark.parametrize(("source", "target"), [("folder", "sqlite"), ("sqlite", "folder"), ("postgresql", "folder")])
def test_a_copy_of_a_store_in_use(source: str, target: str, place: Place, start: Start) -> None:
    """Each session is a prefix of its log that verifies, and has what was acknowledged before the copy began."""
    urls = place(source, "a"), place(target, "b")
    writer = start(WRITER, urls[0])
    assert writer.stdout is not None
    with open_store(urls[0]) as store, open_store(urls[1], durability="process") as copy:
        for _ in range(4):
            acknowledged = max(int(writer.stdout.readline()) for _ in range(30))
            assert "refused" not in {each.status for each in store.copy_to(copy)}
            for id in ("s0", "s1", "s2"):
                with copy.open(id, read_only=True) as session:
                    assert session.findings == ()
                    texts = said(session)
                assert whole(texts)
                assert int(texts[-1].split()[0]) >= acknowledged - 2
                copied = lines_of(copy, id)
                assert lines_of(store, id)[: len(copied)] == copied
        kill(writer)
        store.copy_to(copy)
        for id in ("s0", "s1", "s2"):
            with store.open(id, read_only=True) as session, copy.open(id, read_only=True) as other:
                assert said(other) == said(session)


@pytest.mark.no_cover
def test_the_command_copies_a_store_in_use(place: Place, start: Start) -> None:
    """And continues."""
    urls = place("folder", "a"), place("folder", "b")
    writer = start(WRITER, urls[0])
    assert writer.stdout is not None
    for _ in range(3):
        for _ in range(10):
            writer.stdout.readline()
        assert CliRunner().invoke(app, ["copy", *urls]).exit_code == 0
        for path in Path(urls[1]).glob("*.jsonl"):
            assert verify(path).findings == ()
    kill(writer)


@pytest.mark.no_cover
@pytest.mark.parametrize(("source", "target"), list(product(("folder", "sqlite"), LASTING)))
def test_a_copy_that_is_killed_and_repeated(source: str, target: str, place: Place, start: Start) -> None:
    """What was said to be copied is there; in the end, everything, and the ledger once."""
    urls = place(source, "a"), place(target, "b")
    with open_store(urls[0], durability="process") as store:
        for number in range(12):
            with store.create(id=f"s{number}", owner="ann") as session:
                session.append_many([user(f"{each} " + "x" * 500) for each in range(200)])
                session.append(assistant("a"), model="m", usage={"output_tokens": 1})
        for number in range(9, 12):
            store.delete(f"s{number}")
        ledger = store.ledger()
        for delay in (0.0, 0.02, 0.1):
            copier = start(COPIER, *urls)
            assert copier.stdout is not None
            assert copier.stdout.readline() == "ready\n"
            time.sleep(delay)
            done = [line for line in kill(copier) if line.isdigit()]
            with open_store(urls[1]) as copy:
                there = [info.id for info in copy.list(limit=None)]
                assert sum(lines_of(copy, id) == lines_of(store, id) for id in there) >= len(done)
        for _ in range(2):
            with open_store(urls[1], durability="process") as copy:
                store.copy_to(copy)
                assert {info.id for info in copy.list(limit=None)} == {f"s{number}" for number in range(9)}
                for number in range(9):
                    assert lines_of(copy, f"s{number}") == lines_of(store, f"s{number}")
                assert copy.ledger() == ledger


def test_sessions_that_are_deleted_or_replaced_meanwhile(place: Place) -> None:
    """One that is gone is left out, unless it was asked for by its id. One that was replaced is refused, once."""
    with open_store(place("folder", "a")) as store, open_store(place("memory", "b")) as copy:
        for id in ("a", "b", "c"):
            with store.create(id=id) as session:
                session.append(user("x"))

        def delete(number: int, _: int) -> None:
            if number == 1:
                store.delete("a")

        done = store.copy_to(copy, progress=delete)
        assert [each.id for each in done] == ["c", "b"]
        with patch.object(_copy, "copy_log", side_effect=LogReplaced("b")):
            (refused,) = store.copy_to(copy, ["b"])
        assert (refused.status, refused.reason and "copy it again" in refused.reason) == ("refused", True)
        assert [each.status for each in store.copy_to(copy)] == ["unchanged", "unchanged"]


# --- the ledger ---------------------------------------------------------------------------------------------------


def spend(store: SessionStore, id: str, tokens: int) -> None:
    with store.open(id, create=True, owner="ann") as session:
        session.append(assistant("x"), model="m", usage={"output_tokens": tokens})


def sums(store: SessionStore) -> tuple[int, int]:
    """Tokens of the sessions and of the ledger."""
    counted = sum(info.usage.output_tokens for info in store.list(limit=None))
    return counted, sum(row.usage.output_tokens for row in store.ledger())


@pytest.mark.no_cover
@pytest.mark.parametrize(("source", "target"), list(product(KINDS, KINDS)))
def test_the_ledger_goes_along(source: str, target: str, place: Place) -> None:
    """Between all kinds of stores, and once, however often it is copied and whatever is deleted where."""
    with (
        open_store(place(source, "a"), create=True, clock=lambda: 10**18) as store,
        open_store(place(target, "b"), create=True) as copy,
    ):
        spend(copy, "own", 1000)
        copy.delete("own")
        for id, tokens in (("a", 1), ("b", 10), ("c", 100)):
            spend(store, id, tokens)
        store.fork("c", new_id="f").close()
        store.delete("a")
        for _ in range(2):
            store.copy_to(copy)
            assert (sums(store), sums(copy)) == ((110, 1), (110, 1001))
        store.delete("b")
        store.copy_to(copy)
        assert (sums(store), sums(copy)) == ((100, 11), (110, 1001))  # the copy has b, which counts itself
        copy.delete("b")
        store.copy_to(copy)
        assert sums(copy) == (100, 1011)
        store.delete("c")  # f has what it said
        store.delete("f")
        assert sums(store) == (0, 111)
        copy.delete("f")  # in the other order
        copy.delete("c")
        for _ in range(2):
            store.copy_to(copy)
            assert sums(copy) == (0, 1111)
        assert store.ledger() == [LedgerRow(day="2001-09-09", owner="ann", model="m", usage=Usage(output_tokens=111))]


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_that_was_restored_and_deleted_again(kind: str, place: Place) -> None:
    """It counts as it was when it was deleted last, here and in a copy of the ledger."""
    with open_store(place(kind, "a")) as store, open_store(place("folder", "b")) as backup:
        spend(store, "a", 1)
        store.copy_to(backup, ["a"])
        for tokens in (10, 100):
            store.delete("a")
            store.copy_to(backup)
            backup.copy_to(store, ["a"])
            assert sum(sums(store)) == sums(store)[0]
            spend(store, "a", tokens)
        store.delete("a")
        with open_store(place(kind, "c")) as other:
            for _ in range(2):
                store.copy_to(other)
                assert (sums(store), sums(other)) == ((0, 101), (0, 101))


@pytest.mark.parametrize("kind", KINDS)
def test_a_ledger_that_grew_is_copied_again(kind: str, place: Place) -> None:
    """What was copied before is replaced, and the links past deleted sessions are there."""
    with open_store(place(kind, "a")) as store, open_store(place(kind, "c")) as other:
        with open_store(place("folder", "b")) as backup:
            spend(store, "a", 1)
            store.copy_to(backup, ["a"])
            store.delete("a")
            store.copy_to(other)
            assert sums(other) == (0, 1)
            backup.copy_to(store, ["a"])
            spend(store, "a", 10)
            store.fork("a", new_id="f").close()
            store.fork("f", new_id="g").close()
            store.delete("f")
        for _ in range(2):
            store.copy_to(other)
            assert (sums(store), sums(other)) == ((11, 0), (11, 0))
        store.delete("a")
        store.delete("g")
        store.copy_to(other)
        assert (sums(store), sums(other)) == ((0, 11), (11, 0))
        other.delete("a")
        other.delete("g")
        store.copy_to(other)
        assert sums(other) == (0, 11)


@pytest.mark.parametrize("kind", KINDS)
def test_some_sessions_and_some_owners(kind: str, place: Place) -> None:
    """Sessions that are named come without the ledger. A handle of an owner copies that owner's, in both directions."""
    with open_store(place(kind, "a")) as store, open_store(place(kind, "b")) as copy:
        for id, owner in (("a", "ann"), ("b", "bob"), ("c", "ann")):
            with store.create(id=id, owner=owner) as session:
                session.append(assistant("x"), model="m", usage={"output_tokens": 1})
        store.delete("a")
        store.delete("b")
        store.copy_to(copy, ["c"])
        assert copy.ledger() == []
        store.scoped(owner="bob").copy_to(copy)
        assert [row.owner for row in copy.ledger()] == ["bob"]
        store.copy_to(copy.scoped(owner="ann"))
        assert [row.owner for row in copy.ledger()] == ["ann", "bob"]
