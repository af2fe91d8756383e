"""Chats of SillyTavern. Their form is that of SillyTavern's sources, which the reader names."""

from pathlib import Path
from typing import Any

import pytest
from foreign_stores import shown, tree_of, write_lines

from convtree import MessageEntry, SessionStore, open_store
from convtree.exchange import import_into, read_foreign

HEADER = {
    "user_name": "Ann",
    "character_name": "Seraphina",
    "create_date": "2024-05-01@12h30m05s",
    "chat_metadata": {"note_prompt": "Be kind."},
}


def said(text: str, *, is_user: bool = False, **more: Any) -> dict[str, Any]:
    """A message."""
    name = "Ann" if is_user else "Seraphina"
    return {
        "name": name,
        "is_user": is_user,
        "is_system": False,
        "send_date": "May 1, 2024 2:05pm",
        "mes": text,
        **more,
    }


EXTRA = {"api": "openai", "model": "gpt-4o", "token_count": 5}
GREETING = said(
    "Hello, dear!", swipes=["Hello!", "Hello, dear!"], swipe_id=1, swipe_info=[{"send_date": 1714565105000}]
)
ASKED = said("Who are you?", is_user=True)
ANSWERS = said(
    "A keeper.",
    extra=EXTRA,
    swipe_id=1,
    swipes=["A guard.", "A keeper.", "A friend."],
    swipe_info=[{"extra": {"api": "claude", "model": "opus"}}, {"extra": EXTRA}],
)


@pytest.fixture
def store() -> SessionStore:
    """An empty store."""
    return open_store("memory:")


def imported(folder: Path, lines: list[Any], store: SessionStore) -> tuple[str | None, int]:
    """Imports a chat; returns its session, and how many records were new."""
    (report,) = import_into(write_lines(folder / "chat.jsonl", lines), store)
    assert report.format == "sillytavern"
    return report.session_id, report.written


def test_swipes_are_siblings(tmp_path: Path, store: SessionStore) -> None:
    """The conversation goes on below the one that is shown."""
    lines = [HEADER, GREETING, ASKED, ANSWERS]
    id, new = imported(tmp_path, lines, store)
    assert new == (2 + 1 + 3) + 2 + 1
    assert imported(tmp_path, lines, store) == (id, 0)
    with store.open(str(id)) as session:
        assert shown(session) == ["assistant: Hello, dear!", "user: Who are you?", "assistant: A keeper."]
        assert [len(session.children(each)) for each in (None, *(each.id for each in session.path()))] == [2, 1, 3, 0]
        assert [each for each in tree_of(session).values() if each is None] == [None, None]
        answers = [each for each in session.children(session.path()[1].id) if isinstance(each, MessageEntry)]
        assert [(each.text, each.provider, each.model) for each in answers] == [
            *(("A guard.", "claude", "opus"), ("A keeper.", "openai", "gpt-4o")),
            ("A friend.", None, None),
        ]
        greetings = session.children(None)
        assert [each.timestamp for each in greetings] == ["2024-05-01T12:05:05.000000Z", "2024-05-01T14:05:00.000000Z"]
        assert (session.name, session.header.timestamp) == ("Seraphina", "2024-05-01T12:30:05.000000Z")
        assert session.metadata["sillytavern"] == {
            "user_name": "Ann",
            "character_name": "Seraphina",
            "chat_metadata": {"note_prompt": "Be kind."},
        }


def test_a_chat_grows(tmp_path: Path, store: SessionStore) -> None:
    """By a line, by a swipe, by another choice, by an edit. Nothing is there twice."""
    id, _ = imported(tmp_path, [HEADER, ASKED], store)
    date = "May 1, 2024 2:05pm"
    one = said("A guard.", extra=EXTRA, swipes=["A guard."], swipe_id=0)
    info = [{"send_date": date, "extra": EXTRA}, {"send_date": date, "extra": EXTRA}]
    two = said("A keeper.", extra=EXTRA, swipes=["A guard.", "A keeper."], swipe_id=1, swipe_info=info)
    for lines, added, last in (
        ([HEADER, ASKED, one], 1, "assistant: A guard."),
        ([HEADER, ASKED, two], 1, "assistant: A keeper."),
        ([HEADER, ASKED, two | {"swipe_id": 0, "mes": "A guard."}], 1, "assistant: A guard."),
        ([HEADER, ASKED, two, said("And you?")], 1, "assistant: And you?"),
        ([HEADER, ASKED, two, said("And thou?")], 1, "assistant: And thou?"),
    ):
        assert imported(tmp_path, lines, store) == (id, added), last
        with store.open(str(id)) as session:
            assert shown(session)[-1] == last


def test_hidden_messages_and_narrators(tmp_path: Path, store: SessionStore) -> None:
    """A message may be hidden later; a narrator is of the system."""
    lines = [HEADER, ASKED, said("It rains.", extra={"type": "narrator"}), said("Yes.")]
    id, _ = imported(tmp_path, lines, store)
    assert imported(tmp_path, [*lines[:3], lines[3] | {"is_system": True}], store) == (id, 1)
    with store.open(str(id)) as session:
        assert shown(session) == ["user: Who are you?", "system: It rains."]


def test_a_checkpoint_is_a_branch(tmp_path: Path, store: SessionStore) -> None:
    """SillyTavern copies the chat for it; both files are one session."""
    for name, last in (("a", "And you?"), ("b", "And they?")):
        write_lines(tmp_path / f"{name}.jsonl", [HEADER, ASKED, said(last)])
    (id,) = {each.session_id for each in import_into(tmp_path, store)}
    with store.open(str(id)) as session:
        assert (len(session.children(None)), len(session.leaves())) == (1, 2)


def test_chats_without_a_header(tmp_path: Path) -> None:
    """Group chats and old ones have the name of their file. Odd lines are kept."""
    odd = [
        said("x", swipes=["y", 7], swipe_id=5),
        said("z", swipes=[]),
        {"n": 1},
        said("later", send_date="May 50, 2024 1:00am"),
    ]
    for lines in ([ASKED, *odd], [{"user_name": "unused", "character_name": "unused"}, ASKED, *odd]):
        session, _ = read_foreign(write_lines(tmp_path / "group.jsonl", lines))
        assert (session.id, session.name) == ("group", None)
        kinds = [each.type for each in session.path()]
        assert kinds == ["message", "message", "message", "extension_data", "message"]
        assert session.path()[-1].timestamp is None
