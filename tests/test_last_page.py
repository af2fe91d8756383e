"""What a list keeps of the last one: only what is still the same, and nothing that is the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import assistant, user

from convtree import SessionStore, open_store


@pytest.fixture(params=["", "sqlite:///{}/x.db", "memory:"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionStore]:
    """A store with a session."""
    with open_store(request.param.format(tmp_path) or tmp_path / "store", durability="process") as store:
        with store.create(id="a", name="first") as session:
            session.append(user("one two"))
        yield store


def test_sessions_are_kept(store: SessionStore) -> None:
    """A session that has not changed is the same object in the next list, also when another one is asked for."""
    with store.create(id="b") as session:
        session.append(user("three four"))
    before = {info.id: info for info in store.list()}
    assert store.info("b") is before["b"]
    assert [before[info.id] is info for info in store.list()] == [True, True]
    with store.open("b") as session:
        session.append(user("five"))
    after = {info.id: info for info in store.list()}
    assert (after["a"] is before["a"], after["b"] is before["b"], after["b"].messages) == (True, False, 2)


def test_every_change_is_seen(store: SessionStore) -> None:
    """Of the session's row, of its usage, of its title, and of its stamp."""
    store.list()
    with store.open("a") as session:
        session.append(assistant("yes"), model="m", usage={"input_tokens": 3})
        assert (store.info("a").usage.input_tokens, store.info("a").models) == (3, ("m",))
        session.rename(None)
        assert store.info("a").title == "one two"
        session.archive()
        assert store.info("a").archived
        session.hold()
        assert store.info("a").held
        session.hold(False)
    store.delete("a")
    assert list(store.list(archived=None)) == []


def test_activity_in_the_future(tmp_path: Path) -> None:
    """It counts when its time has come, and the time before until then, though the tables do not change."""
    now_s = 1_000
    with open_store(tmp_path, durability="process", clock=lambda: now_s * 10**9) as store:
        for id in ("a", "b"):
            with store.create(id=id) as session:
                session.append(user("x"))
        now_s = 9_000
        with store.open("a") as session:
            session.append(user("y"))
        orders = []
        for time_s in (1_100, 1_100, 9_100, 9_100, 1_100):
            now_s = time_s
            orders.append([(info.id, info.last_activity) for info in store.list()])
    early, late = "1970-01-01T00:16:40.000Z", "1970-01-01T02:30:00.000Z"
    before, after = [("b", early), ("a", early)], [("a", late), ("b", early)]
    assert orders == [before, before, after, after, before]


def test_another_question(store: SessionStore) -> None:
    """A list with other filters, another limit or a cursor."""
    with store.create(id="b", owner="ann", metadata={"k": 1}) as session:
        session.append(user("three"))
    whole = [info.id for info in store.list()]
    assert sorted(whole) == ["a", "b"]
    for _ in range(2):
        page = store.list(limit=1)
        assert [info.id for info in page] == whole[:1]
        assert [info.id for info in store.list(limit=1, cursor=page.cursor)] == whole[1:]
        assert [info.id for info in store.list(owner="ann")] == ["b"]
        assert [info.id for info in store.list(metadata={"k": 1})] == ["b"]
        assert [info.id for info in store.list(metadata={"k": True})] == []
        assert [info.id for info in store.list(text="one")] == ["a"]
        assert [info.id for info in store.list()] == whole


def test_keys_are_the_callers(store: SessionStore) -> None:
    """A key may be a list: what is done to it is not in the next list."""
    with store.create(key=["x", 1]) as session:
        session.append(user("six seven"))
        id = session.id
    key = store.info(id).key
    assert key == ["x", 1]
    key.append("more")
    assert store.info(id).key == ["x", 1]


def test_long_lists(store: SessionStore) -> None:
    """Lists of more sessions than are kept."""
    for number in range(501):
        with store.create(id=f"s{number:03}") as session:
            session.append(user(f"word {number}"))
    first = {info.id: info.title for info in store.list(limit=None)}
    assert (len(first), first["s500"], first["a"]) == (502, "word 500", "first")
    assert {info.id: info.title for info in store.list(limit=None)} == first
    assert store.info("s007") is store.info("s007")
