"""`Session.resolve`: what people type in place of the id of an entry."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import assistant, ids, log_of, mark, node, user
from hypothesis import given
from hypothesis import strategies as st

from convtree import (
    AmbiguousId,
    AmbiguousLabel,
    BrokenPath,
    EntryNotFound,
    LeafUncertain,
    Session,
    SessionNotFound,
    open_store,
)


def filled(session: Session) -> Session:
    """Adds a question with two answers, a change of the model, a label, and a mark; the leaf is "9f00ee"."""
    session.append(user("q"), id="9f00aa")
    session.append(assistant("a"), id="9f00ab", label="warm one")
    session.append(assistant("b"), id="cafe", parent_id="9f00aa")
    session.append_many([user("c")], model="m")
    session.append(user("d"), id="9f00ee")
    session.rename("N")
    return session


def test_what_stands_for_an_entry(session: Session) -> None:
    """An id, a label, the beginning of one id, the leaf, and an entry above it; every entry of the path counts."""
    filled(session)
    path = ids(session.path())
    assert len(path) == 4
    for text, expected in {
        "cafe": "cafe",
        "warm one": "9f00ab",
        "9f00e": "9f00ee",
        "9f00ee": "9f00ee",
        "@": "9f00ee",
        "@~0": "9f00ee",
        "@~1": path[2],
        "@~3": "9f00aa",
    }.items():
        assert session.resolve(text) == expected
    assert [session.resolve(f"@~{number}") for number in range(4)] == [entry.id for entry in session.walk_up()]


def test_an_id_comes_before_a_label_and_a_label_before_a_prefix(session: Session) -> None:
    """The order decides if a text is several of them."""
    filled(session)
    session.append(user("e"), id="9f00")
    assert session.resolve("9f00") == "9f00"
    session.label("cafe", "9f00e")
    assert session.resolve("9f00e") == "cafe"
    session.label("cafe", "9f00")
    assert session.resolve("9f00") == "9f00"
    session.label("cafe", "@")
    assert session.resolve("@") == "cafe"


@pytest.mark.parametrize(
    "text",
    ["9f0", "caf", "", "9f01", "@~4", "@~", "@~-1", "@~x", "@latest", "warm", "@~" + "9" * 99],
)
def test_what_stands_for_nothing(text: str, session: Session) -> None:
    """Three characters are no prefix, nor is a part of a label; nothing is above the first entry."""
    filled(session)
    with pytest.raises(EntryNotFound) as caught:
        session.resolve(text)
    assert caught.value.id == text


def test_several_ids_with_a_prefix(session: Session) -> None:
    """The error lists the candidates in log order; of very many, the first 20."""
    filled(session)
    with pytest.raises(AmbiguousId, match="begins with '9f00': '9f00aa', '9f00ab', '9f00ee'; give") as caught:
        session.resolve("9f00")
    assert (caught.value.text, caught.value.ids) == ("9f00", ("9f00aa", "9f00ab", "9f00ee"))
    session.append_many([user(f"{number}") for number in range(600)])
    for number in range(21):
        session.append(user("x"), id=f"many{number}")
    with pytest.raises(AmbiguousId, match="'many19', and more; give more") as caught:
        session.resolve("many")
    assert caught.value.ids == tuple(f"many{number}" for number in range(20))
    assert session.resolve("many20") == "many20"


def test_both_ends_of_an_id(session: Session) -> None:
    """As lists show a long id: with an ellipsis or three dots in the middle. The ends do not overlap."""
    one, two = "0199a1b2-c3d4-7000-8000-00000000aaa1", "0199a1b2-c3d4-7000-8000-00000000bbb2"
    for id in (one, two, "01990199"):
        session.append(user("q"), id=id)
    assert (session.resolve("0199…aaa1"), session.resolve("0199a...bbb2")) == (one, two)
    assert session.resolve("0199…0199") == "01990199"
    for text in ("0199…none", "019…aaa1", "0199…", "…aaa1", "01990…0199"):
        with pytest.raises(EntryNotFound):
            session.resolve(text)
    session.append(user("q"), id="0199aaa1")
    with pytest.raises(AmbiguousId, match="has the ends '0199…aaa1'") as caught:
        session.resolve("0199…aaa1")
    assert caught.value.ids == (one, "0199aaa1")


def test_a_label_of_several_entries(session: Session) -> None:
    """It is ambiguous in the same way, by an error that callers know already."""
    filled(session)
    session.label("cafe", "warm one")
    with pytest.raises(AmbiguousLabel) as caught:
        session.resolve("warm one")
    assert isinstance(caught.value, AmbiguousId)
    assert (caught.value.text, caught.value.label, caught.value.ids) == ("warm one", "warm one", ("9f00ab", "cafe"))


def test_only_resolve_guesses(session: Session) -> None:
    """The arguments of other calls are ids and labels, as before."""
    filled(session)
    for text in ("@", "9f00e", "@~1"):
        with pytest.raises(EntryNotFound):
            session.entry(text)


def test_before_the_first_entry(session: Session) -> None:
    """There is no leaf that `@` could stand for."""
    with pytest.raises(EntryNotFound, match="'@'; the leaf is before the first entry"):
        session.resolve("@")
    filled(session)
    session.branch(None)
    with pytest.raises(EntryNotFound):
        session.resolve("@~0")
    assert session.resolve("9f00e") == "9f00ee"


def test_a_log_of_others_with_damage(tmp_path: Path) -> None:
    """Ids may be written escaped, a damaged line has none, marks are no entries, and a path ends at what is missing."""
    path = tmp_path / "log.jsonl"
    lines = log_of(
        node("first", None),
        node("broken-one", "first"),
        node("second", "broken-one").replace("second", "sec\\u006fnd"),
        node("third", "second"),
        mark("second-mark", "label", target_id="third", label="L"),
    )
    path.write_bytes(lines)
    with Session.open(path, mode="r") as session:
        assert session.resolve("secon") == "second"
        assert session.resolve("@~3") == "first"
        path.write_bytes(lines.replace(b'{"id":"broken-one"', b'X"id":"broken-one"'))
        assert session.resolve("secon") == "second"
        with pytest.raises(EntryNotFound):
            session.resolve("brok")
    with Session.open(path, mode="r") as session:
        assert (session.resolve("@"), session.resolve("@~1")) == ("third", "second")
        for text in ("@~2", "@~9"):
            with pytest.raises(BrokenPath) as caught:
                session.resolve(text)
            assert caught.value.missing == "broken-one"


def test_an_uncertain_leaf(tmp_path: Path) -> None:
    """What counts from the leaf is refused; an id is not."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(log_of(node("first", None), mark("m", "leaf", target_id="first")).replace(b"leaf", b"leav"))
    with Session.open(path, mode="r") as session:
        with pytest.raises(LeafUncertain):
            session.resolve("@")
        assert session.resolve("firs") == "first"


def test_what_a_vacuum_removed_is_named(tmp_path: Path) -> None:
    """As by the other calls."""
    from convtree._tools.vacuum_log import vacuum

    path = tmp_path / "log.jsonl"
    with Session.open(path) as session:
        filled(session)
    vacuum(path, dry_run=False)
    with Session.open(path, mode="r") as session:
        with pytest.raises(EntryNotFound, match="vacuum has removed it"):
            session.resolve("9f00ab")
        assert session.resolve("9f00e") == "9f00ee"


@given(st.lists(st.text("ab", min_size=1, max_size=6), unique=True, max_size=12), st.text("ab", max_size=6))
def test_a_prefix_finds_what_begins_with_it(names: list[str], text: str) -> None:
    """The only id that begins with a text of four characters; an error with all of them if there are several."""
    session = Session.memory()
    for name in names:
        session.append(user("x"), id=name)
    expected = [text] if text in names else [name for name in names if name.startswith(text) and len(text) > 3]
    found: tuple[str, ...]
    try:
        found = (session.resolve(text),)
    except AmbiguousId as error:
        found = error.ids
    except EntryNotFound:
        found = ()
    assert expected == list(found)


def test_a_damaged_session_is_found(tmp_path: Path) -> None:
    """By its id and by the beginning of it, so that it can be verified and repaired; without a record or a log, too."""
    (tmp_path / "bad-12.jsonl").write_text("x")
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "zero.jsonl").touch()
    texts = ("bad-12", "bad-", "folder", "zero")
    with open_store(tmp_path) as store:
        assert [store.resolve(text) for text in texts] == ["bad-12", "bad-12", "folder", "zero"]
        with pytest.raises(SessionNotFound, match="no session 'bad'"):
            store.resolve("bad")
