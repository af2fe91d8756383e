"""Databases of agent frameworks: sessions of OpenAI's Agents SDK with branches and usage, checkpoints of LangGraph.

The tables and values are those that openai-agents 0.24 and langgraph-checkpoint-sqlite 3.1 write.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from foreign import claude_line, claude_said, encoded
from foreign_stores import Found, read, read_again, read_one, write_database

from convtree import ExtensionDataEntry, MessageEntry, Session, session_key
from convtree._formats import openai_agents
from convtree._formats.langgraph import reader as langgraph
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


def test_an_id_that_is_none_here_is_the_key(tmp_path: Path) -> None:
    """So the adapter for the SDK goes on with the session."""
    for id in ("ann@example.org", "x" * 300):
        rows = [{**item(1, asked("one")), "session_id": id}]
        path = write_database(
            tmp_path / id[:9], AGENTS, agent_sessions=[{**SESSION, "session_id": id}], agent_messages=rows
        )
        session = read_one(openai_agents, path).session
        assert (session.id, session.header.key) == (session_key(id), id)
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


def test_the_tables_have_any_name(tmp_path: Path) -> None:
    """As the SDK takes them, with several pairs in one database; a key names the other table, else there is one."""
    named = ADVANCED.replace("agent_sessions", "order").replace("agent_messages", "talks")
    tables = {"talks" if name == "agent_messages" else name: found for name, found in AGENT_TABLES.items()}
    tables["order"] = tables.pop("agent_sessions")
    schema = named.replace("table if not exists order", 'table "order"')
    found = read_one(openai_agents, write_database(tmp_path / "one", schema, **tables))
    assert texts(found.session) == ["one", "a1", "two", "a2"]
    assert found.session.labels != {}
    key = "created_at timestamp, foreign key (session_id) references {} (session_id))"
    pairs = "".join(
        "create table {0}_s (session_id text primary key, created_at timestamp, updated_at timestamp);"
        "create table {0}_m (id integer primary key, session_id text, message_data text, {1};".format(
            name, key.format(f"{name}_s")
        )
        for name in ("b", "a")
    )
    rows = {f"{name}_s": [SESSION | {"session_id": name}] for name in ("a", "b")}
    rows |= {f"{name}_m": [item(1, asked(f"in {name}"), name)] for name in ("a", "b")}
    path = write_database(tmp_path / "two", pairs, **rows)
    assert [texts(each.session) for each in read(openai_agents, path)] == [["in a"], ["in b"]]


def test_messages_of_a_session_without_a_row(tmp_path: Path) -> None:
    """They are a session, and that is reported."""
    rows = [item(1, asked("one")), item(2, asked("stray"), session="gone")]
    path = write_database(tmp_path / "d", AGENTS, agent_sessions=[SESSION], agent_messages=rows)
    assert [(each.session.id, each.codes, texts(each.session)) for each in read(openai_agents, path)] == [
        ("chat", [], ["one"]),
        ("gone", ["source_no_session"], ["stray"]),
    ]


# --- LangGraph ---

CHECKPOINTS = """
    create table if not exists checkpoints (
        thread_id text not null, checkpoint_ns text not null default '', checkpoint_id text not null,
        parent_checkpoint_id text, type text, checkpoint blob, metadata blob,
        primary key (thread_id, checkpoint_ns, checkpoint_id)
    );
"""
WRITES = """
    create table if not exists writes (
        thread_id text not null, checkpoint_ns text not null default '', checkpoint_id text not null,
        task_id text not null, idx integer not null, channel text not null, type text, value blob,
        primary key (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
    );
"""


def stored(value: Any, code: int = 5) -> msgspec.msgpack.Ext:
    """An object of the class `Any`, as LangGraph stores it."""
    return msgspec.msgpack.Ext(code, msgspec.msgpack.encode(["some.module", "Any", value, "model_validate_json"]))


def human(id: str, text: str) -> msgspec.msgpack.Ext:
    """A message of the user."""
    fields = {"content": text, "additional_kwargs": {}, "response_metadata": {}, "type": "human", "id": id}
    return stored(fields)


def ai(id: str, text: str, tokens: int, **more: Any) -> msgspec.msgpack.Ext:
    """A message of the model."""
    usage = {"input_tokens": tokens, "output_tokens": 2, "total_tokens": tokens + 2}
    fields = {"content": text, "additional_kwargs": {}, "response_metadata": {"model_name": "gpt-5"}, "type": "ai"}
    return stored(fields | {"id": id, "tool_calls": [], "invalid_tool_calls": [], "usage_metadata": usage} | more)


def checkpoint(id: int, *messages: Any, thread: str = "t1", namespace: str = "", **channels: Any) -> dict[str, Any]:
    """A row of a checkpoint."""
    values = {"messages": list(messages)} | channels
    value = {"v": 4, "ts": f"2026-11-29T08:48:{id:02}+00:00", "id": str(id), "channel_values": values}
    row = {"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": f"{id:03}", "type": "msgpack"}
    return row | {"checkpoint": msgspec.msgpack.encode(value | {"channel_versions": {"messages": "1"}})}


HELLO, HI, CALLED = human("h1", "hello"), ai("a1", "hi", 10), human("h2", "CALL it")
CALLING = ai("a2", "", 20, tool_calls=[{"name": "echo", "args": {"x": "hi"}, "id": "c1", "type": "tool_call"}])
RETURNED = stored({"content": "echo hi", "type": "tool", "id": "r1", "tool_call_id": "c1", "status": "success"})
GRAPH = [
    checkpoint(1, HELLO),
    checkpoint(2, HELLO, HI),
    checkpoint(3, HELLO, HI, CALLED),
    checkpoint(4, HELLO, HI, CALLED, CALLING, RETURNED),
    checkpoint(5, HELLO, HI, human("h3", "different")),
    checkpoint(6, HELLO, HI, human("h3", "different"), ai("a3", "yes", 30)),
]


def graph(path: Path, *rows: dict[str, Any]) -> Found:
    """The only session of a database of checkpoints."""
    return read_one(langgraph, write_database(path, CHECKPOINTS, checkpoints=list(rows)))


def test_checkpoints_are_a_tree_of_messages(tmp_path: Path) -> None:
    """A state that was forked is a branch; the leaf is the end of the last checkpoint."""
    found = graph(tmp_path / "d", *GRAPH)
    session = found.session
    assert (session.id, found.codes, len(session.leaves())) == ("t1", [], 2)
    assert texts(session) == ["hello", "hi", "different", "yes"]
    assert [each.timestamp for each in session.path()] == [f"2026-11-29T08:48:0{at}.000000Z" for at in (1, 2, 5, 6)]
    assert [each.source_id for each in session.path()] == ["h1", "a1", "h3", "a3"]
    session.checkout(session.leaves()[0].id)
    assert [each.role for each in session.path()] == ["user", "assistant", "user", "assistant", "tool"]  # type: ignore[attr-defined]
    assert session.build_context().open_calls == ()
    assert read_again(langgraph, tmp_path / "d", session) == 0


def test_growth_of_a_thread_adds_what_is_new(tmp_path: Path) -> None:
    """Checkpoint by checkpoint."""
    path = tmp_path / "d"
    session = graph(path, GRAPH[0]).session
    written = []
    for row in GRAPH[1:]:
        write_database(path, CHECKPOINTS, checkpoints=[row])
        written.append(read_again(langgraph, path, session))
    assert written == [1, 1, 2, 2, 2]  # with the mark that the leaf is on the branch
    assert texts(session) == ["hello", "hi", "different", "yes"]


def test_tokens_of_a_trimmed_state_count_once(tmp_path: Path) -> None:
    """What stays of a trimmed state is a tree of its own; a subgraph is a task, whose tokens the thread counts."""
    inside = checkpoint(5, HELLO, HI, namespace="agent:1")
    rows = [checkpoint(1, HELLO, HI), checkpoint(2, HI), checkpoint(3, HI, ai("a2", "more", 30)), inside]
    store = open_store("memory:")
    reports = import_into(write_database(tmp_path / "d", CHECKPOINTS, checkpoints=rows), store)
    assert [each.written for each in reports] == [5, 2]
    info = store.info("t1")
    assert (info.usage.input_tokens, info.usage.output_tokens) == (10 + 30, 2 + 2)
    task = store.info(reports[1].session_id or "")
    assert (task.usage.input_tokens, task.parent_session.id if task.parent_session else None) == (0, "t1")
    with store.open("t1", read_only=True) as session:
        last = session.path()[-1]
        assert isinstance(last, MessageEntry)
        assert (texts(session), last.model) == (["hi", "more"], "gpt-5")


def test_other_channels_are_named_once(tmp_path: Path) -> None:
    """Those of the framework say nothing."""
    own: dict[str, Any] = {"__start__": None, "branch:to:bot": None}
    rows = [checkpoint(at, HELLO, todo=["pack"], **own) for at in (1, 2)]
    found = graph(tmp_path / "d", *rows)
    assert (texts(found.session), found.codes) == (["hello"], ["source_field_dropped"])


@pytest.mark.parametrize(
    "message",
    [{"role": "user", "content": "hello"}, stored({"role": "user", "content": "hello"}, 2)],
)
def test_messages_that_are_plain_objects(tmp_path: Path, message: Any) -> None:
    """A graph may keep any messages, also as its only state."""
    assert texts(graph(tmp_path / "a", checkpoint(1, message)).session) == ["hello"]
    state = checkpoint(1)
    value = {"ts": None, "channel_values": {"__root__": [message]}}
    found = graph(tmp_path / "b", state | {"checkpoint": msgspec.msgpack.encode(value)})
    assert (texts(found.session), found.codes) == (["hello"], [])


def test_checkpoints_of_earlier_versions_are_json(tmp_path: Path) -> None:
    """With objects as LangChain dumps them."""
    fields = {"content": "hello", "type": "human", "id": "h1"}
    message = {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "HumanMessage"], "kwargs": fields}
    value = json.dumps({"ts": "2024-01-02T03:04:05+00:00", "channel_values": {"messages": [message]}})
    rows = [checkpoint(at) | {"type": "json", "checkpoint": data} for at, data in ((1, value), (2, value.encode()))]
    found = graph(tmp_path / "d", *rows)
    assert (texts(found.session), found.codes) == (["hello"], [])


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("pickle", b"cos\nsystem\n(S'true'\ntR."),
        ("msgpack", b"\xc1"),
        ("msgpack", b"\x91" * 5000 + b"\xc0"),
        ("msgpack", "text"),
        ("msgpack", msgspec.msgpack.encode(["x"])),
        ("json", b"[1]"),
        ("json", b"{"),
        (None, None),
    ],
)
def test_a_checkpoint_that_cannot_be_read_is_passed_over(tmp_path: Path, kind: Any, data: Any) -> None:
    """It is reported, and the others are read. Nothing that a value names is called."""
    found = graph(tmp_path / "d", checkpoint(1, HELLO), checkpoint(2) | {"type": kind, "checkpoint": data})
    assert texts(found.session) == ["hello"]
    assert found.codes[-1] == "source_bad_line"


def test_objects_inside_of_objects_end_somewhere(tmp_path: Path) -> None:
    """A hostile value nests them; what is nested too deeply is not opened."""
    deep: Any = "end"
    for _ in range(200):
        deep = stored(deep)
    found = graph(tmp_path / "d", checkpoint(1, HELLO, deep))
    assert found.codes == ["source_bad_record"]
    assert [each.type for each in found.session.path()] == ["message", "extension_data"]


def test_what_belongs_to_a_checkpoint_is_named(tmp_path: Path) -> None:
    """Its metadata, and the writes of steps that were not finished, of this thread only."""
    rows = [checkpoint(at, HELLO) | {"metadata": b'{"step": 1}'} for at in (1, 2)] + [checkpoint(1, HI, thread="t2")]
    write = {"thread_id": "t1", "checkpoint_id": "002", "task_id": "a", "channel": "messages"}
    writes = [write | {"idx": number} for number in range(3)]
    path = write_database(tmp_path / "d", CHECKPOINTS + WRITES, checkpoints=rows, writes=writes)
    reports = import_into(path, open_store("memory:"))
    found = {each.session_id: [(one.code, one.about, one.times) for one in each.findings] for each in reports}
    assert found == {"t1": [("source_field_dropped", "metadata", 2), ("source_field_dropped", "writes", 3)], "t2": []}


def test_messages_that_are_stored_as_changes_are_reported(tmp_path: Path) -> None:
    """The checkpoint says that there are some, and has none."""
    value = {"ts": None, "channel_values": {}, "channel_versions": {"messages": "2"}}
    found = graph(tmp_path / "d", checkpoint(1) | {"checkpoint": msgspec.msgpack.encode(value)})
    assert (texts(found.session), found.codes) == ([], ["source_unsupported"])


def test_a_graph_without_messages_says_nothing(tmp_path: Path) -> None:
    """The first checkpoint of a thread has none either."""
    value: dict[str, Any] = {"ts": None, "channel_values": {"__start__": {}}, "channel_versions": {"__start__": "1"}}
    found = graph(tmp_path / "d", checkpoint(1) | {"checkpoint": msgspec.msgpack.encode(value)})
    assert (texts(found.session), found.codes) == ([], [])


@pytest.mark.parametrize(
    "made",
    [
        "<local-command-caveat>Caveat: the messages below</local-command-caveat>",
        "<command-name>/clear</command-name>\n            <command-message>clear</command-message>",
        [{"type": "text", "text": "<command-message>review</command-message>\n<command-name>/review</command-name>"}],
        "<local-command-stdout>done</local-command-stdout>",
        "<bash-input>ls</bash-input>",
    ],
)
def test_a_command_is_not_what_a_person_said_first(made: Any, tmp_path: Path) -> None:
    """Claude Code writes it as the user's; the model sees it, a list of sessions does not."""
    lines = [
        claude_line("user", "u1", None, message={"role": "user", "content": made}),
        claude_said("u2", "u1", "Plan my trip"),
    ]
    (tmp_path / "c.jsonl").write_bytes(encoded(*lines))
    store = open_store("memory:")
    import_into(tmp_path / "c.jsonl", store)
    (info,) = store.list()
    assert (info.first_user_message, info.last_user_message) == ("Plan my trip", "Plan my trip")
    with store.open(info.id) as session:
        assert [message["content"] for message in session.build_context().messages] == [made, "Plan my trip"]
