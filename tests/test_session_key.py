"""Ids of sessions that are made from ids of people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from postgres import new_database

from convtree import Header, InvalidMessage, SessionExists, SessionNotFound, open_store, session_key
from convtree._model.entries import ID

PEOPLE: list[tuple[Any, ...]] = [
    ("user@example.com",),
    ("USER@example.com",),
    ("+49 30 1234567",),
    ("日本",),
    ("",),
    ("", ""),
    ("CON",),
    ("con",),
    ("../../etc/passwd",),
    ("x" * 300,),
    ("x" * 301,),
    (1,),
    ("1",),
    (-1,),
    (2**64 - 1,),
    ("a", "b"),
    (("a", "b"),),
    ("a", ("b",)),
    ("ab",),
    ("é",),
    ("e\u0301",),
    ("a\0",),
    ((),),
    (((),),),
]
PARTS = st.lists(
    st.recursive(st.text() | st.integers(-(2**63), 2**64 - 1), lambda inner: st.lists(inner).map(tuple), max_leaves=8),
    min_size=1,
).map(tuple)


@pytest.fixture(params=["memory", "folder", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place for a store of each kind."""
    if request.param == "postgresql":
        with new_database(request.getfixturevalue("postgres_server")) as made:
            yield made
    else:
        yield {"memory": "memory:", "folder": f"{tmp_path}/s", "sqlite": f"sqlite:///{tmp_path}/s.db"}[request.param]


def test_ids_are_as_stated() -> None:
    """The same in every version: they find the sessions again."""
    assert session_key("user@example.com", "chat") == "k-6nhaptjhptvmkiojbkeeytwyospp6npj"
    encoded = "(2:s1:\u00e9(2:i-7:(0:".encode().replace(b"s1:", b"s2:")
    digest = int.from_bytes(sha256(encoded).digest()[:20])
    letters = "".join("abcdefghijklmnopqrstuvwxyz234567"[digest >> shift & 31] for shift in range(155, -1, -5))
    assert session_key("é", (-7, ())) == session_key("é", [-7, []]) == f"k-{letters}"


def test_ids_of_people_are_different() -> None:
    """Also where a file system sees no difference."""
    made = {session_key(*parts).casefold() for parts in PEOPLE}
    assert len(made) == len(PEOPLE)


@given(PARTS, PARTS)
def test_different_parts_give_different_ids(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    """And equal parts equal ones. Every id is valid, in lower case, and no name that Windows reserves."""
    made = [session_key(*one), session_key(*other)]
    assert (made[0] == made[1]) == (one == other)
    for id in made:
        assert ID.fullmatch(id)
        assert re.fullmatch(r"k-[a-z2-7]{32}", id)
    assert session_key(one) != session_key(*one)


def test_a_very_deep_tuple() -> None:
    """There is no limit of recursion."""
    deep: tuple[Any, ...] = ()
    for _ in range(100_000):
        deep = (deep,)
    assert len(session_key(deep)) == 34


def test_parts_that_are_refused() -> None:
    """The error says what to pass."""
    for part in (None, True, 1.5, b"a", {"a": 1}, {1}, object()):
        with pytest.raises(TypeError, match=rf"not {type(part).__name__}; pass str"):
            session_key("a", (part,))
    with pytest.raises(TypeError, match="at least one part"):
        session_key()
    with pytest.raises(ValueError, match="lone surrogate"):
        session_key("\ud800")
    for number in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match="pass it as a text"):
            session_key(number)


def test_sessions_of_people(url: str) -> None:
    """They are begun, opened and listed by their keys. The header has the key as it was."""
    with open_store(url, create=True) as store:
        for parts in PEOPLE:
            with store.create(key=parts) as session:
                session.append({"role": "user", "content": repr(parts)})
        for parts in PEOPLE:
            with store.open(key=parts) as session:
                assert session.build_context().messages[0]["content"] == repr(parts)
                assert session.id == session_key(*parts)
        found = {info.id: info.key for info in store.list(limit=None)}
        assert found == {session_key(*parts): as_json(parts) for parts in PEOPLE}
        with store.open(key="user@example.com") as session:
            assert session.header.key == ["user@example.com"]
        with pytest.raises(SessionExists), store.create(key="日本") as session:
            session.append({"role": "user", "content": "x"})
        with pytest.raises(SessionNotFound):
            store.open(key="somebody else")
        with store.open(key=7, create=True) as session:
            session.append({"role": "user", "content": "x"})
        assert store.delete(session_key(7)) == [session_key(7)]


def as_json(value: Any) -> Any:
    """A value as it comes back from a log, without recursion over its text."""
    return [as_json(each) for each in value] if isinstance(value, tuple) else value


def test_the_error_for_an_id_says_so(url: str) -> None:
    """Wherever the id of a session is taken."""
    said = r"'user@example\.com' cannot be the id .* session_key\(\) makes one"
    with open_store(url, create=True) as store:
        for call in (store.open, store.info, store.delete, store.erase, store.fork, store.usage):
            with pytest.raises(InvalidMessage, match=said):
                call("user@example.com")
        with pytest.raises(InvalidMessage, match=said):
            store.create(id="user@example.com")
        with pytest.raises(TypeError, match="id: expected a text or None, not the list"):
            store.create(id=[])  # type: ignore[arg-type]
        with pytest.raises(InvalidMessage, match="a list cannot be"):
            store.open_or_create(Header(id=[]))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="either an id or a key"):
            store.create(id="a", key="a")
        with pytest.raises(TypeError, match="either an id or a key"):
            store.open("a", key="a")
        with pytest.raises(TypeError, match="open takes the id"):
            store.open()
        with pytest.raises(TypeError, match="at least one part"):
            store.create(key=())
