"""Databases of agent frameworks: sessions of OpenAI's Agents SDK with branches and usage.

The tables are those that openai-agents 0.24 makes.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign_stores import Found, read, read_again, read_one, write_database

from convtree import ExtensionDataEntry, Session
from convtree._formats import openai_agents
from convtree.exchange import import_into
from convtree.stores._open import open_store

TIME = "2026-11-29 08:49:28"
AGENTS = """
    create table if not exists agent_sessions (session_id text primary key, created_at timestamp, updated_at timestamp);
    create table if not exists agent_messages (
        id integer primary key autoincrement, session_id text not null, message_data text not null, created_at timestamp
    );
"""
ADVANCED = (
    AGENTS
    + """
    create table if not exists message_structure (
        id integer primary key autoincrement, session_id text not null, message_id integer not null,
        branch_id text not null default 'main', message_type text not null, sequence_number integer not null,
        user_turn_number integer, branch_turn_number integer, tool_name text, created_at timestamp
    );
    create table if not exists turn_usage (
        id integer primary key autoincrement, session_id text not null, branch_id text not null default 'main',
        user_turn_number integer not null, requests integer default 0, input_tokens integer default 0,
        output_tokens integer default 0, total_tokens integer default 0, input_tokens_details json,
        output_tokens_details json, created_at timestamp, unique(session_id, branch_id, user_turn_number)
    );
"""
)
SESSION = {"session_id": "chat", "created_at": TIME, "updated_at": TIME}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "echo", "arguments": '{"x":"hi"}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "echo hi"}


def asked(text: str) -> dict[str, Any]:
    """An item of the user."""
    return {"content": text, "role": "user"}


def answered(text: str) -> dict[str, Any]:
    """An item of the model."""
    content = [{"annotations": [], "text": text, "type": "output_text"}]
    return {"id": f"msg_{text}", "content": content, "role": "assistant", "status": "completed", "type": "message"}


def item(id: int, value: Any, session: str = "chat") -> dict[str, Any]:
    """A row of a message."""
    return {"id": id, "session_id": session, "message_data": json.dumps(value), "created_at": TIME}


def place(number: int, message: int, branch: str, turn: int) -> dict[str, Any]:
    """The place of a message in a branch."""
    row = {"id": number, "session_id": "chat", "message_id": message, "branch_id": branch, "message_type": "user"}
    return row | {"sequence_number": number, "user_turn_number": turn, "branch_turn_number": turn}


def paid(branch: str, turn: int, tokens: int) -> dict[str, Any]:
    """The usage of a turn."""
    row = {"session_id": "chat", "branch_id": branch, "user_turn_number": turn, "requests": 1, "created_at": TIME}
    row |= {"input_tokens": tokens, "output_tokens": 5, "total_tokens": tokens + 5}
    return row | {"input_tokens_details": '{"cached_tokens": 7}', "output_tokens_details": '{"reasoning_tokens": 3}'}


def texts(session: Session, leaf: str | None = None) -> list[str]:
    """What is said up to the leaf, or to the last entry below a label."""
    if leaf is not None:
        session.checkout(leaf)
    return [each.text for each in session.path() if each.type == "message"]  # type: ignore[attr-defined]


SAID = [item(1, asked("one")), item(2, answered("a1")), item(3, asked("two")), item(4, answered("a2"))]
MAIN = [place(1, 1, "main", 1), place(2, 2, "main", 1), place(3, 3, "main", 2), place(4, 4, "main", 2)]
FORK = [place(5, 1, "other", 1), place(6, 2, "other", 1), place(7, 5, "other", 2), place(8, 6, "other", 2)]
MORE = [item(5, asked("two again")), item(6, answered("a3"))]


AGENT_TABLES: dict[str, list[dict[str, Any]]] = {
    "agent_sessions": [SESSION],
    "agent_messages": SAID + MORE,
    "message_structure": MAIN + FORK,
    "turn_usage": [paid("main", 1, 100), paid("main", 2, 200), paid("other", 2, 300)],
}


def advanced(path: Path, **tables: list[dict[str, Any]]) -> Found:
    """The only session of a database with branches."""
    return read_one(openai_agents, write_database(path, ADVANCED, agent_sessions=[SESSION], **tables))


def test_a_session_of_the_agents_sdk(tmp_path: Path) -> None:
    """Items as they are, calls paired, the times of the database."""
    rows = [item(1, asked("CALL it")), item(2, CALL), item(3, RESULT), item(4, answered("done"))]
    path = write_database(tmp_path / "d", AGENTS, agent_sessions=[SESSION], agent_messages=rows)
    found = read_one(openai_agents, path)
    session = found.session
    assert (session.id, session.header.timestamp, found.codes) == ("chat", "2026-11-29T08:49:28.000000Z", [])
    assert [each.timestamp for each in session.path()] == ["2026-11-29T08:49:28.000000Z"] * 4
    assert [each.source_id for each in session.path()] == ["1", "2", "3", "4"]
    assert session.build_context().open_calls == ()
    assert [each.message for each in session.path()] == [json.loads(row["message_data"]) for row in rows]  # type: ignore[attr-defined]
    assert read_again(openai_agents, path, session) == 0


def test_branches_share_what_they_share(tmp_path: Path) -> None:
    """The leaf is where `main` ends; the other branch has its name as a label."""
    found = advanced(tmp_path / "d", agent_messages=SAID + MORE, message_structure=MAIN + FORK)
    session = found.session
    assert (found.codes, len(session.leaves())) == ([], 2)
    assert texts(session) == ["one", "a1", "two", "a2"]
    assert texts(session, "other") == ["one", "a1", "two again", "a3"]


def test_the_usage_of_a_turn_counts_once(tmp_path: Path) -> None:
    """A branch does not pay for what it shares; the sums are those of the table."""
    path = write_database(tmp_path / "d", ADVANCED, **AGENT_TABLES)
    store = open_store("memory:")
    (report,) = import_into(path, store)
    info = store.info("chat")
    assert (report.written, info.usage.input_tokens) == (6 + 3 + 2, 100 + 200 + 300 - 3 * 7)
    assert (info.usage.output_tokens, info.usage.cache_read_tokens) == (3 * 5, 3 * 7)
    with store.open("chat", read_only=True) as session:
        kept = [each for each in session.path() if isinstance(each, ExtensionDataEntry)]
        assert [each.ext_type for each in kept] == ["openai-agents.turn_usage"] * 2
        assert kept[0].data == {"branch_id": "main", "user_turn_number": 1}
        assert kept[0].usage == {
            "requests": 1,
            "input_tokens": 100,
            "output_tokens": 5,
            "total_tokens": 105,
            "input_tokens_details": {"cached_tokens": 7},
            "output_tokens_details": {"reasoning_tokens": 3},
        }
        assert len(session.leaves()) == 2


def test_growth_adds_what_is_new(tmp_path: Path) -> None:
    """A turn, then its usage, then a branch, then `main` goes on."""
    path = tmp_path / "d"
    found = advanced(path, agent_messages=SAID[:2], message_structure=MAIN[:2])
    steps: list[dict[str, list[dict[str, Any]]]] = [
        {"turn_usage": [paid("main", 1, 100)]},
        {"agent_messages": SAID[2:], "message_structure": MAIN[2:], "turn_usage": [paid("main", 2, 200)]},
        {"agent_messages": MORE, "message_structure": FORK},
        {"agent_messages": [item(7, asked("three"))], "message_structure": [place(9, 7, "main", 3)]},
    ]
    written = []
    for tables in steps:
        write_database(path, ADVANCED, **tables)
        written.append(read_again(openai_agents, path, found.session))
    assert written == [1, 3, 4, 2]  # with the label and the leaf of the branch, and the leaf of what goes on
    assert texts(found.session) == ["one", "a1", "two", "a2", "three"]


def test_what_was_taken_back_stays_as_a_branch(tmp_path: Path) -> None:
    """`pop_item` deletes the last item; what follows hangs where it was."""
    path = write_database(tmp_path / "d", AGENTS, agent_sessions=[SESSION], agent_messages=SAID)
    session = read_one(openai_agents, path).session
    write_database(path, "delete from agent_messages where id = 4;", agent_messages=[item(5, answered("a4"))])
    assert read_again(openai_agents, path, session) >= 1
    assert texts(session) == ["one", "a1", "two", "a4"]
    assert len(session.leaves()) == 2


def test_messages_in_no_branch_are_a_tree_of_their_own(tmp_path: Path) -> None:
    """A plain session wrote into the table of one with branches; a place without its message is reported."""
    lost = place(9, 99, "main", 3)
    path = write_database(
        tmp_path / "d",
        ADVANCED,
        agent_sessions=[SESSION],
        agent_messages=SAID + MORE,
        message_structure=[*MAIN, lost],
    )
    found, *leftover = read(openai_agents, path)
    assert found.codes == ["source_orphan"]
    assert [each.codes for each in leftover] == [["source_left_out"]]
    assert texts(found.session) == ["one", "a1", "two", "a2"]
    assert [each.text for each in found.session.children(None)] == ["one", "two again"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [{"note": 1}, ["x"], "text", None])
def test_items_that_are_no_messages_are_kept(tmp_path: Path, value: Any) -> None:
    """In their place, and reported."""
    rows = [item(1, asked("one")), item(2, value)]
    found = read_one(
        openai_agents, write_database(tmp_path / "d", AGENTS, agent_sessions=[SESSION], agent_messages=rows)
    )
    last = found.session.path()[-1]
    assert isinstance(last, ExtensionDataEntry)
    assert (last.ext_type, last.data, found.codes) == ("openai-agents.item", value, ["source_bad_record"])


def test_messages_of_a_session_without_a_row(tmp_path: Path) -> None:
    """They are a session, and that is reported."""
    rows = [item(1, asked("one")), item(2, asked("stray"), session="gone")]
    path = write_database(tmp_path / "d", AGENTS, agent_sessions=[SESSION], agent_messages=rows)
    assert [(each.session.id, each.codes, texts(each.session)) for each in read(openai_agents, path)] == [
        ("chat", [], ["one"]),
        ("gone", ["source_no_session"], ["stray"]),
    ]
