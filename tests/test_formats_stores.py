"""The stores of agents: databases, folders and lines, read into sessions. Hand-made samples."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from foreign_stores import (
    all_records,
    entries_of,
    read,
    read_again,
    read_one,
    said_by,
    shown,
    source_of,
    tree_of,
    write_database,
    write_json,
    write_lines,
)

from convtree import CompactionEntry, MessageEntry, ModelChangeEntry, open_store
from convtree._formats import atuin_ai, chatgpt, claude_ai, goose, kubectl_ai, librechat, openwebui, picoclaw
from convtree._formats.common.base import Format
from convtree._formats.common.ids import derive_id
from convtree._formats.llm import reader as llm
from convtree._formats.opencode import reader as opencode
from convtree.exchange import import_into

# --- goose ---

GOOSE = """
create table if not exists sessions(id text primary key, name text, description text, working_dir text not null,
    created_at text, extension_data text, provider_name text, archived_at text, parent_session_id text);
create table if not exists messages(id integer primary key autoincrement, message_id text, session_id text, role text,
    content_json text, created_timestamp integer, tokens integer, metadata_json text);
"""
GOOSE_SESSION = {
    "id": "20260101_1",
    "name": "Trip",
    "working_dir": "/home",
    "created_at": "2026-01-01 00:00:00",
    "extension_data": '{"todo.v0": {"content": "x"}}',
}


def goose_row(number: int, role: str, *content: dict[str, Any] | str, **more: Any) -> dict[str, Any]:
    blocks = [{"type": "text", "text": each} if isinstance(each, str) else each for each in content]
    fields = {"message_id": f"msg_{number}", "session_id": "20260101_1", "role": role}
    return fields | {"content_json": json.dumps(blocks), "created_timestamp": 1767225600 + number} | more


def hidden(user: bool, agent: bool) -> str:
    return json.dumps({"userVisible": user, "agentVisible": agent})


GOOSE_CALL = {
    "type": "toolRequest",
    "id": "t1",
    "toolCall": {"status": "success", "value": {"name": "ls", "arguments": {"p": 1}}},
}
GOOSE_RESULT = {
    "type": "toolResponse",
    "id": "t1",
    "toolResult": {"status": "success", "value": {"content": [{"type": "text", "text": "f"}], "isError": False}},
}


def test_a_goose_database(tmp_path: Path) -> None:
    """In the order of the times, seconds or milliseconds; calls and results as Anthropic has them."""
    rows = [
        goose_row(4, "assistant", "done", {"type": "systemNotification", "msg": "x"}, created_timestamp=1767225604000),
        goose_row(1, "user", "list"),
        goose_row(2, "assistant", {"type": "thinking", "thinking": "hm", "signature": "s"}, GOOSE_CALL),
        goose_row(3, "user", GOOSE_RESULT),
    ]
    found = read_one(goose, write_database(tmp_path / "s", GOOSE, sessions=[GOOSE_SESSION], messages=rows))
    session = found.session
    assert shown(session) == [
        "user: list",
        "assistant: <thinking> <tool_use>",
        "user: <tool_result>",
        "assistant: done",
    ]
    assert (session.id, session.name, session.header.cwd, found.codes) == ("20260101_1", "Trip", "/home", [])
    assert session.metadata["goose.extension_data"] == {"todo.v0": {"content": "x"}}
    assert [entry.id for entry in session.path()] == ["msg_1", "msg_2", "msg_3", "msg_4"]
    assert session.build_context().messages[1]["content"][1] == {
        "type": "tool_use",
        "id": "t1",
        "name": "ls",
        "input": {"p": 1},
    }
    assert session.build_context().messages[3]["goose"] == {"content": [{"type": "systemNotification", "msg": "x"}]}
    assert session.path()[3].timestamp == "2026-01-01T00:00:04.000000Z"


def test_a_compaction_of_goose_shows_what_goose_shows(tmp_path: Path) -> None:
    """Imported before and after: nothing conflicts, and the context is the agent's."""
    path = write_database(tmp_path / "s", GOOSE, sessions=[GOOSE_SESSION])
    write_database(path, GOOSE, messages=[goose_row(1, "user", "old"), goose_row(2, "assistant", "older")])
    session = read_one(goose, path).session
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update messages set metadata_json = ?", (hidden(True, False),))
    rows = [
        goose_row(3, "user", "summary", metadata_json=hidden(False, True)),
        goose_row(4, "user", "gone", metadata_json=hidden(False, False)),
        goose_row(5, "assistant", "new"),
    ]
    write_database(path, GOOSE, messages=rows)
    read_again(goose, path, session)
    assert shown(session) == ["user: summary", "assistant: new"]
    assert [said_by(entry) for entry in session.path()][:2] == ["user: old", "assistant: older"]
    assert shown(session, "msg_2") == ["user: old", "assistant: older"]


def test_a_message_of_goose_is_edited(tmp_path: Path) -> None:
    """goose drops what followed it, and goes on from there; here it is a branch, and goes on there, too."""
    rows = [goose_row(1, "user", "one"), goose_row(2, "assistant", "two"), goose_row(3, "user", "three")]
    path = write_database(tmp_path / "s", GOOSE, sessions=[GOOSE_SESSION], messages=rows)
    store = open_store("memory:")
    import_into(path, store)
    edited = goose_row(2, "assistant", "zwei")["content_json"]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update messages set content_json = ? where message_id = 'msg_2'", (edited,))
        database.execute("delete from messages where message_id = 'msg_3'")
    write_database(path, GOOSE, messages=[goose_row(4, "user", "four")])
    [report] = import_into(path, store)
    assert ([each.code for each in report.findings], report.leaf_kept) == (
        ["source_contradicted", "source_shrunk"],
        False,
    )
    with store.open("20260101_1") as session:
        assert shown(session) == ["user: one", "assistant: zwei", "user: four"]
        assert shown(session, "msg_3") == ["user: one", "assistant: two", "user: three"]


def test_other_fields_of_a_goose_session(tmp_path: Path) -> None:
    """Whatever columns there are; messages of a thread that no session has are reported."""
    more = "alter table sessions add column goose_mode text;"
    more += "create table thread_messages(thread_id text, session_id text);"
    threads = [{"thread_id": "t", "session_id": id} for id in ("20260101_1", None)]
    own = GOOSE_SESSION | {"goose_mode": "auto"}
    path = write_database(tmp_path / "s", GOOSE + more, sessions=[own], messages=[], thread_messages=threads)
    found, rest = read(goose, path)
    assert (found.session.metadata["goose"], found.codes, rest.codes) == (
        {"goose_mode": "auto"},
        [],
        ["source_left_out"],
    )


def test_a_goose_message_without_its_session(tmp_path: Path) -> None:
    """It is a session of its own, and content that is no JSON is a text."""
    rows = [goose_row(1, "user", "x", session_id="lost"), goose_row(2, "user", session_id="lost", content_json="{torn")]
    path = write_database(tmp_path / "s", GOOSE, sessions=[GOOSE_SESSION], messages=rows)
    found = read(goose, path)
    assert [each.session.id for each in found] == ["20260101_1", "lost"]
    assert (shown(found[1].session), found[1].codes) == (
        ["user: x", "user: {torn"],
        ["source_no_session", "source_bad_line"],
    )


def test_a_legacy_file_of_goose(tmp_path: Path) -> None:
    """The first line is about the session, whose id is the file's name."""
    lines: list[Any] = [
        {"working_dir": "/home", "description": "Trip", "message_count": 1, "total_tokens": 9},
        {"role": "user", "created": 1767225600, "content": [{"type": "text", "text": "hi"}]},
    ]
    found = read_one(goose, write_lines(tmp_path / "20250101_1.jsonl", lines))
    assert (found.session.id, found.session.name, shown(found.session)) == ("20250101_1", "Trip", ["user: hi"])


# --- atuin-ai ---

ATUIN = """
create table if not exists sessions(id text primary key, head_id text, server_session_id text, directory text,
    git_root text, created_at int, updated_at int, archived_at int);
create table if not exists session_events(id text primary key, session_id text not null, parent_id text,
    invocation_id text not null, event_type text not null, event_data text not null, created_at int);
create table if not exists session_metadata(session_id text, key text, value text, updated_at int);
"""


def event(id: str, parent: str | None, kind: str, second: int, /, **data: Any) -> dict[str, Any]:
    fields = {"id": id, "session_id": "s1", "parent_id": parent, "invocation_id": "i1", "event_type": kind}
    return fields | {"event_data": json.dumps(data), "created_at": 1767225600 + second}


def test_an_atuin_database(tmp_path: Path) -> None:
    """Two shells went on with one session: both branches are there, the head is the leaf."""
    events = [
        event("e1", None, "user_message", 1, content="list"),
        event("e2", "e1", "tool_call", 2, id="t1", name="ls", input={"p": 1}),
        event("e3", "e2", "tool_result", 3, tool_use_id="t1", content="f", is_error=False, remote=False),
        event("e4", "e3", "text", 4, content="done"),
        event("e5", "e4", "system_context", 5, content="again"),
        event("e6", "e5", "out_of_band_output", 6, name="x", command=None, content="shown"),
        event("e7", "e4", "user_message", 7, content="other shell"),
        event("e8", "e6", "future", 8, x=1),
    ]
    session = {"id": "s1", "head_id": "e8", "directory": "/home", "git_root": "/", "created_at": 1, "archived_at": 2}
    metadata = {"session_id": "s1", "key": "edit_permissions", "value": '{"a": true}'}
    path = write_database(tmp_path / "a", ATUIN, sessions=[session], session_events=events, session_metadata=[metadata])
    found = read_one(atuin_ai, path)
    assert tree_of(found.session) == {each["id"]: each["parent_id"] for each in events}
    assert (found.session.leaf_id, found.session.archived, found.codes) == ("e8", True, [])
    assert (found.session.header.git_root, found.session.metadata["atuin_ai.edit_permissions"]) == ("/", {"a": True})
    assert shown(found.session) == [
        "user: list",
        "assistant: <tool_use>",
        "user: <tool_result>",
        "assistant: done",
        "user: again",
    ]
    assert [said_by(entry) for entry in found.session.path()][5:] == ["user: shown", "atuin_ai.future"]
    assert found.session.build_context().open_calls == ()


def test_odd_events_of_atuin_are_kept(tmp_path: Path) -> None:
    """Data that is no JSON, a parent that is not there, a head that is not there, a session that is not there."""
    events = [
        event("e1", "gone", "text", 1) | {"event_data": "{"},
        event("e2", "e1", "text", 2, content="x"),
        event("e3", None, "text", 3, content="y") | {"session_id": "lost"},
    ]
    path = write_database(tmp_path / "a", ATUIN, sessions=[{"id": "s1", "head_id": "nowhere"}], session_events=events)
    write_database(path, ATUIN, session_metadata=[{"session_id": "lost", "key": "k", "value": "1"}])
    first, second, outside = read(atuin_ai, path)
    assert outside.codes == ["source_left_out"]
    assert tree_of(first.session) == {"e1": None, "e2": "e1"}
    assert sorted(first.codes) == ["source_bad_line", "source_bad_record", "source_bad_target", "source_orphan"]
    assert (shown(second.session), second.codes) == (["assistant: y"], ["source_no_session"])


# --- kubectl-ai ---


def kubectl_line(id: str, source: str, kind: str, payload: Any) -> dict[str, Any]:
    return {"ID": id, "Source": source, "Type": kind, "Payload": payload, "Timestamp": "2026-01-01T00:00:01.123456789Z"}


KUBECTL = [
    kubectl_line("k1", "agent", "text", ">>>"),
    kubectl_line("k2", "user", "text", "pods?"),
    kubectl_line("k3", "model", "tool-call-request", "kubectl get pods"),
    kubectl_line("k4", "agent", "tool-call-response", {"stdout": "a"}),
    kubectl_line("k5", "model", "text", "One."),
    kubectl_line("k6", "agent", "future", 1),
]
YAML = """# about
providerID: gemini
modelID: "gemini-2.5"
createdAt: 2026-01-01T00:00:00Z
lastAccessed: '2026-01-02T00:00:00Z'
"""


@pytest.mark.parametrize("kind", ["lines", "array", "file"])
def test_a_kubectl_session(tmp_path: Path, kind: str) -> None:
    """The folder, with a legacy array in it, and the history alone."""
    folder = tmp_path / "20260101-0001"
    history = (write_json if kind == "array" else write_lines)(folder / "history.json", KUBECTL)
    (folder / "metadata.yaml").write_text(YAML)
    found = read_one(kubectl_ai, history if kind == "file" else folder)
    assert (found.session.id, found.codes) == ("20260101-0001", ["source_not_understood"])
    assert found.session.header.timestamp == "2026-01-01T00:00:00.000000Z"
    assert shown(found.session) == ["user: pods?", "assistant: One."]
    assert [said_by(entry) for entry in found.session.path()] == [
        "assistant: >>>",
        "user: pods?",
        "assistant: kubectl get pods",
        'tool: {"stdout":"a"}',
        "assistant: One.",
        "kubectl_ai.future",
        "model: gemini-2.5",
    ]
    change = found.session.path()[-1]
    assert isinstance(change, ModelChangeEntry)
    assert (change.provider, change.timestamp) == ("gemini", "2026-01-02T00:00:00.000000Z")


def test_a_kubectl_session_that_went_on_with_another_model(tmp_path: Path) -> None:
    """The message that is new stands where it stood; the model is the one of now."""
    folder = tmp_path / "s"
    write_lines(folder / "history.json", KUBECTL[:2])
    (folder / "metadata.yaml").write_text(YAML)
    session = read_one(kubectl_ai, folder).session
    write_lines(folder / "history.json", KUBECTL[:5])
    (folder / "metadata.yaml").write_text(YAML.replace("2.5", "3"))
    read_again(kubectl_ai, folder, session)
    assert shown(session) == ["user: pods?", "assistant: One."]
    assert session.build_context().model == "gemini-3"


# --- picoclaw ---


def claw_line(role: str, content: str, second: int, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, "created_at": f"2026-01-01T00:00:{second:02}Z"} | more


CLAW_CALL = {"id": "t1", "function": {"name": "ls", "arguments": "{}"}}
CLAW = [
    claw_line("user", "list", 1),
    claw_line("assistant", "", 2, tool_calls=[CLAW_CALL], model_name="m"),
    claw_line("tool", "f", 3, tool_call_id="t1"),
    claw_line("assistant", "done", 4, model_name="m"),
    claw_line("assistant", "", 5, reasoning_content="hm"),
]  # fmt: skip


def test_a_picoclaw_session(tmp_path: Path) -> None:
    """Messages verbatim; what is skipped is behind the summary; a thought alone is for the user."""
    path = write_lines(tmp_path / "telegram_1.jsonl", CLAW)
    meta = {"key": "telegram:1", "summary": "S", "skip": 3, "count": 5, "created_at": "2026-01-01T00:00:00Z"}
    write_json(tmp_path / "telegram_1.meta.json", meta)
    found = read_one(picoclaw, path)
    context = found.session.build_context()
    assert (context.messages[1:], context.model, found.codes) == ([CLAW[3]], "m", [])
    assert context.messages[0]["content"].endswith("<summary>\nS\n</summary>")
    assert [said_by(entry) for entry in found.session.path()][:3] == ["user: list", "assistant: ", "tool: f"]
    assert (found.session.id, found.session.header.timestamp) == ("telegram:1", "2026-01-01T00:00:00.000000Z")
    assert picoclaw.recognises(source_of(tmp_path / "telegram_1.meta.json")) is False


def test_a_picoclaw_session_that_was_compacted_on_disk(tmp_path: Path) -> None:
    """The lines that picoclaw deleted stay in the log, behind the new summary."""
    path = write_lines(tmp_path / "s.jsonl", CLAW)
    session = read_one(picoclaw, path).session
    write_lines(path, [*CLAW[3:4], claw_line("user", "more", 6)])
    write_json(tmp_path / "s.meta.json", {"key": "s", "summary": "S", "skip": 0})
    read_again(picoclaw, path, session)
    assert [said_by(entry) for entry in session.path()] == [
        "user: list",
        "assistant: ",
        "tool: f",
        "assistant: done",
        "user: more",
        "compaction: S",
    ]
    assert [message["content"] for message in session.build_context().messages][1:] == ["done", "more"]


def test_a_picoclaw_session_of_the_first_versions(tmp_path: Path) -> None:
    """Its lines have no time, so that only the metadata beside them says whose they are."""
    path = write_lines(tmp_path / "a_b.jsonl", [{"role": "user", "content": "hi"}])
    assert picoclaw.recognises(source_of(path)) is False
    write_json(tmp_path / "a_b.meta.json", {"key": "a:b", "summary": "", "skip": 0, "count": 1})
    found = read_one(picoclaw, path)
    assert (found.session.id, found.session.build_context().messages) == ("a:b", [{"role": "user", "content": "hi"}])


def test_picoclaw_skips_lines_not_messages(tmp_path: Path) -> None:
    """A line that cannot be read is one of those that are skipped."""
    path = tmp_path / "s.jsonl"
    lines = [json.dumps(each) for each in CLAW]
    path.write_text("\n".join([lines[0], '{"role":"us', *lines[1:], ""]))
    write_json(tmp_path / "s.meta.json", {"key": "s", "summary": "S", "skip": 4, "count": 6})
    assert read_one(picoclaw, path).session.build_context().messages[1:] == [CLAW[3]]


def test_a_thought_of_picoclaw_with_blanks_is_alone(tmp_path: Path) -> None:
    """Blanks say nothing, neither beside a thought nor as one."""
    blank, thought = claw_line("assistant", " ", 1, reasoning_content="hm"), claw_line("assistant", "", 2)
    path = write_lines(tmp_path / "s.jsonl", [blank, thought | {"reasoning_content": " "}])
    assert [
        int(message["created_at"][-3:-1]) for message in read_one(picoclaw, path).session.build_context().messages
    ] == [2]


def test_a_legacy_file_of_picoclaw(tmp_path: Path) -> None:
    """One object, with messages that have no times."""
    legacy = {
        "key": "a:b",
        "messages": [{"role": "user", "content": "hi"}, "no message"],
        "summary": "S",
        "created": "2026-01-01T00:00:00Z",
        "updated": "2026-01-02T00:00:00Z",
    }
    found = read_one(picoclaw, write_json(tmp_path / "a_b.json", legacy))
    assert [said_by(entry) for entry in found.session.path()] == ["user: hi", "picoclaw.unknown", "compaction: S"]
    assert (found.session.id, found.codes) == ("a:b", ["source_bad_record"])


# --- llm ---

LLM_OLD = """
create table if not exists conversations(id text primary key, name text, model text);
create table if not exists responses(id text primary key, model text, prompt text, system text, prompt_json text,
    options_json text, response text, response_json text, conversation_id text, duration_ms integer, datetime_utc text,
    input_tokens integer, output_tokens integer);
create table if not exists tool_calls(id integer primary key, response_id text, tool_id integer, name text,
    arguments text, tool_call_id text);
create table if not exists tool_results(id integer primary key, response_id text, tool_id integer, name text,
    output text, tool_call_id text, exception text);
create table if not exists attachments(id text primary key, type text, path text, url text, content blob);
create table if not exists prompt_attachments(response_id text, attachment_id text, "order" integer);
create table if not exists fragments(id integer primary key, hash text, content text);
create table if not exists prompt_fragments(response_id text, fragment_id integer, "order" integer);
"""
LLM_NEW = """
create table if not exists messages(hash text primary key, parent_hash text, role text, provider_metadata text);
create table if not exists parts(id integer primary key, message_hash text, position integer, type text,
    tool_name text, text text, payload text);
create table if not exists fragments(id integer primary key, hash text, content text);
create table if not exists threads(id text primary key, name text, tip_message_hash text, forked_from text,
    datetime_utc text);
create table if not exists turns(id text primary key, thread_id text, parent_message_hash text, tip_message_hash text,
    model text, input_tokens integer, output_tokens integer, datetime_utc text);
"""


def response(id: str, prompt: str | None, answer: str, **more: Any) -> dict[str, Any]:
    fields = {"id": id, "model": "gpt", "prompt": prompt, "response": answer, "conversation_id": "c1"}
    return fields | {"datetime_utc": "2026-01-01T00:00:00", "input_tokens": 1, "output_tokens": 2} | more


def test_an_old_database_of_llm(tmp_path: Path) -> None:
    """The system prompt where it changes, fragments before the prompt, calls and their results, attachments."""
    path = write_database(
        tmp_path / "logs.db",
        LLM_OLD,
        conversations=[{"id": "c1", "name": "Trip"}],
        responses=[
            response("r1", "Look", "", system="Be kind"),
            response("r2", None, "done", system="Be kind", options_json='{"temperature": 1}'),
            response("r3", "alone", "yes", conversation_id=None),
            response("r4", "x", "y", conversation_id="lost"),
        ],
        tool_calls=[{"response_id": "r1", "name": "ls", "arguments": '{"p": 1}', "tool_call_id": "t1"}],
        tool_results=[{"response_id": "r2", "name": "ls", "output": "f", "tool_call_id": "t1"}],
        attachments=[{"id": "a1", "type": "image/png", "content": b"\x89\xff"}],
        prompt_attachments=[{"response_id": "r1", "attachment_id": "a1", "order": 0}],
        fragments=[{"id": 7, "hash": "h", "content": "long text"}],
        prompt_fragments=[{"response_id": "r1", "fragment_id": 7, "order": 0}],
    )
    first, lost, alone = read(llm, path)
    assert shown(first.session) == [
        "system: Be kind",
        "user: <image> long text\nLook",
        "assistant: <tool_use>",
        "user: <tool_result>",
        "assistant: done",
    ]
    assert (first.session.id, first.session.name, first.codes) == ("c1", "Trip", [])
    assert (alone.session.id, shown(alone.session)) == ("r3", ["user: alone", "assistant: yes"])
    assert (lost.session.id, lost.codes) == ("lost", ["source_no_session"])
    answer = first.session.path()[-1]
    assert isinstance(answer, MessageEntry)
    assert (answer.model, answer.usage) == ("gpt", {"input_tokens": 1, "output_tokens": 2})
    assert answer.message["llm"] == {"options_json": {"temperature": 1}}
    image = first.session.build_context().messages[1]["content"][0]
    assert image["source"] == {"type": "base64", "media_type": "image/png", "data": "if8="}


LLM_CALL = {"name": "ls", "tool_call_id": "t", "arguments": {"p": 1}, "provider_metadata": {"sig": "s"}}


def part(hash: str, text: str | None, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"message_hash": hash, "position": 0, "type": kind, "text": text} | more


LLM_TOOLS = """
create table if not exists tools(id integer primary key, hash text, name text, input_schema text);
create table if not exists tool_responses(tool_id integer, response_id text);
create table if not exists schemas(id text primary key, content text);
create table if not exists tool_results_attachments(tool_result_id integer, attachment_id text, "order" integer);
alter table responses add column schema_id text;
"""


def test_tools_schemas_and_files_of_llm(tmp_path: Path) -> None:
    """Its tools and schemas, not those of others; what a tool brought back as a file follows its result."""
    tools = [
        {"id": at, "name": name, "input_schema": '{"type": "object"}'} for at, name in enumerate(("up", "down"), 1)
    ]
    path = write_database(
        tmp_path / "l",
        LLM_OLD + LLM_TOOLS,
        conversations=[{"id": "c1"}, {"id": "c2"}],
        responses=[
            response("r1", "a", "b", conversation_id="c1", schema_id="s1"),
            response("r2", None, "c", conversation_id="c1"),
            response("r3", "x", "y", conversation_id="c2"),
            response("r4", "x", "y", conversation_id=None),
        ],
        tools=tools,
        tool_responses=[{"tool_id": 1, "response_id": "r1"}, {"tool_id": 2, "response_id": "r4"}],
        schemas=[{"id": "s1", "content": '{"a": 1}'}, {"id": "s2", "content": "{}"}],
        tool_results=[{"id": 7, "response_id": "r2", "output": "o", "tool_call_id": "t"}],
        attachments=[{"id": "f", "type": "image/png", "url": "https://x/i.png"}],
        tool_results_attachments=[{"tool_result_id": 7, "attachment_id": "f", "order": 0}],
    )
    found = {each.session.id: each.session for each in read(llm, path)}
    up = {"id": 1, "name": "up", "input_schema": {"type": "object"}}
    assert found["c1"].metadata["llm"] == {"tools": [up], "schemas": [{"id": "s1", "content": {"a": 1}}]}
    assert shown(found["c1"])[2] == "user: <tool_result> <image>"
    assert "llm" not in found["c2"].metadata
    assert [each.metadata["llm"]["tools"][0]["name"] for id, each in found.items() if id not in ("c1", "c2")] == [
        "down"
    ]


def test_a_new_database_of_llm(tmp_path: Path) -> None:
    """A fork shares its beginning; turns that lead elsewhere are branches; what no thread reaches is not lost."""
    messages = [
        ("b2:1", None, "user"),
        ("b2:2", "b2:1", "assistant"),
        ("b2:3", "b2:2", "user"),
        ("b2:4", "b2:2", "user"),
    ]
    path = write_database(
        tmp_path / "logs.db",
        LLM_NEW,
        messages=[
            {"hash": hash, "parent_hash": parent, "role": role}
            for hash, parent, role in [*messages, ("b2:9", None, "user")]
        ],
        parts=[
            part("b2:1", None, payload='{"text_ref": [{"fragment": 1}, {"literal": "?"}]}'),
            part("b2:2", None, "tool_call", tool_name="ls", payload=json.dumps(LLM_CALL)),
            part("b2:3", None, "tool_result", tool_name="ls", payload='{"tool_call_id": "t", "output": "f"}'),
            part("b2:4", '{"looks": "like JSON"}'),
            part("b2:9", "stray"),
            part("b2:9", None, payload='{"text_ref": [{"fragment": 2}]}', position=1),
        ],
        fragments=[{"id": 1, "hash": "h", "content": "What is this"}],
        threads=[
            {"id": "t1", "name": "One", "tip_message_hash": "b2:3"},
            {"id": "t2", "name": "Two", "tip_message_hash": "b2:4", "forked_from": "t1"},
        ],
        turns=[
            {"id": "u1", "thread_id": "t1", "parent_message_hash": "b2:1", "tip_message_hash": "b2:2", "model": "gpt"},
            {"id": "u2", "thread_id": "t1", "parent_message_hash": "b2:4", "tip_message_hash": "b2:4", "model": "gpt"},
        ],
    )
    one, two, strays = read(llm, path)
    assert tree_of(one.session) == {hash: parent for hash, parent, _ in messages}
    assert (one.session.leaf_id, one.session.name, one.codes) == ("b2:3", "One", [])
    assert shown(one.session) == ["user: What is this?", "assistant: <tool_use>", "user: <tool_result>"]
    assert shown(two.session) == ["user: What is this?", "assistant: <tool_use>", 'user: {"looks": "like JSON"}']
    parent = two.session.header.parent_session
    assert parent is not None
    assert (parent.id, parent.kind) == ("t1", "fork")
    assert (shown(strays.session), strays.codes) == (["user: stray"], ["source_bad_target"])
    answer = one.session.entry("b2:2")
    assert isinstance(answer, MessageEntry)
    assert (answer.model, answer.message["llm"]) == (
        "gpt",
        {"parts": [{"type": "tool_call", "provider_metadata": {"sig": "s"}}]},
    )


def test_both_generations_of_llm(tmp_path: Path) -> None:
    """A response that a turn has too is read once; older ones of the thread are a tree beside it."""
    path = write_database(
        tmp_path / "logs.db",
        LLM_OLD + LLM_NEW,
        conversations=[{"id": "c1", "name": "Old"}],
        responses=[response("r1", "older", "yes"), response("r2", "twice", "no")],
        messages=[{"hash": "b2:1", "role": "user"}],
        parts=[part("b2:1", "twice")],
        threads=[{"id": "c1", "name": "New", "tip_message_hash": "b2:1"}],
        turns=[{"id": "r2", "thread_id": "c1", "tip_message_hash": "b2:1"}],
    )
    found = read_one(llm, path)
    assert [said_by(entry) for entry in entries_of(found.session)] == ["user: older", "assistant: yes", "user: twice"]
    assert found.session.leaf_id == "b2:1"


# --- opencode ---

OPENCODE = """
create table if not exists session(id text primary key, project_id text, parent_id text, directory text, title text,
    version text, revert text, time_created integer, time_updated integer);
create table if not exists message(id text primary key, session_id text, time_created integer, data text);
create table if not exists part(id text primary key, message_id text, session_id text, data text);
"""
CODE_COST = {
    "tokens": {"input": 9, "output": 1, "cache": {"read": 2, "write": 0}},
    "cost": 0.25,
    "providerID": "q",
    "modelID": "small",
}
CODE_MESSAGES: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
    ("m1", {"role": "user"}, [{"type": "text", "text": "list"}]),
    (
        "m2",
        {"role": "assistant", "modelID": "m", "providerID": "p", "tokens": {"input": 1}, "cost": 0.5, "parentID": "m1"},
        [
            {"type": "step-start"},
            {
                "type": "tool",
                "callID": "t1",
                "tool": "ls",
                "state": {"status": "completed", "input": {}, "output": "f"},
            },
            {"type": "tool", "callID": "t2", "tool": "rm", "state": {"status": "error", "input": {}, "error": "no"}},
            {"type": "step-finish"},
            {"type": "reasoning", "text": "hm"},
            {"type": "text", "text": "done"},
        ],
    ),
    ("m3", {"role": "user"}, [{"type": "compaction", "auto": True, "tail_start_id": "m2"}]),
    ("m4", {"role": "assistant", "summary": True, "finish": "stop", **CODE_COST}, [{"type": "text", "text": "S"}]),
    ("m5", {"role": "user"}, [{"type": "text", "text": "more"}]),
]
CODE_SHOWN = [
    "assistant: <tool_use> <tool_use>",
    "user: <tool_result> <tool_result>",
    "assistant: <thinking> done",
    "user: more",
]


def opencode_database(path: Path, **session: Any) -> Path:
    messages, parts = [], []
    for second, (id, data, pieces) in enumerate(CODE_MESSAGES):
        time = 1767225600000 + second
        stored = json.dumps(data | {"time": {"created": time, "completed": time}})
        messages.append({"id": id, "session_id": "s1", "time_created": time, "data": stored})
        for at, piece in enumerate(pieces):
            parts.append({"id": f"{id}-{at}", "message_id": id, "session_id": "s1", "data": json.dumps(piece)})
    fields = {"id": "s1", "directory": "/home", "title": "Trip", "time_created": 1767225600000, "parent_id": "s0"}
    return write_database(path, OPENCODE, session=[fields | session], message=messages, part=parts)


def opencode_folder(root: Path) -> Path:
    fields = {"id": "s1", "directory": "/home", "title": "Trip", "time": {"created": 1767225600000}, "parentID": "s0"}
    write_json(root / "storage" / "session" / "project" / "s1.json", fields)
    for second, (id, data, pieces) in enumerate(CODE_MESSAGES):
        time = {"created": 1767225600000 + second, "completed": 1767225600000 + second}
        more = {"id": id, "sessionID": "s1", "time": time}
        write_json(root / "storage" / "message" / "s1" / f"{id}.json", data | more)
        for at, piece in enumerate(pieces):
            own = {"id": f"{id}-{at}", "messageID": id, "sessionID": "s1"}
            write_json(root / "storage" / "part" / id / f"{id}-{at}.json", piece | own)
    return root


@pytest.mark.parametrize("kind", ["database", "folder", "storage"])
def test_an_opencode_session(tmp_path: Path, kind: str) -> None:
    """The same from the database and from the folder that it replaced."""
    path = opencode_database(tmp_path / "o.db") if kind == "database" else opencode_folder(tmp_path / "o")
    found = read_one(opencode, path / "storage" if kind == "storage" else path)
    context = found.session.build_context()
    assert (shown(found.session)[1:], found.codes, context.open_calls) == (CODE_SHOWN, [], ())
    assert (found.session.name, found.session.header.cwd, context.model) == ("Trip", "/home", "m")
    parent = found.session.header.parent_session
    assert parent is not None
    assert (parent.id, parent.kind) == ("s0", "task")
    compaction = found.session.entry("m4")
    assert isinstance(compaction, CompactionEntry)
    assert (compaction.summary, compaction.first_kept_entry_id) == ("S", "m2")
    assert (compaction.provider, compaction.model) == ("q", "small")
    assert compaction.usage == {"input": 9, "output": 1, "cache": {"read": 2, "write": 0}, "cost": 0.25}
    stored = {"time": {"completed": 1767225600003}, "parts": [{"id": "m4-0", "type": "text"}]}
    assert compaction.details == {"summary": True, "finish": "stop"} | stored
    answer = found.session.path()[3]
    assert isinstance(answer, MessageEntry)
    assert (answer.source_id, answer.usage, answer.provider) == ("m2", {"input": 1, "cost": 0.5}, "p")


def test_a_reverted_session_of_opencode(tmp_path: Path) -> None:
    """The leaf is before the message that was reverted to; what comes after is still there."""
    path = opencode_database(tmp_path / "o.db", revert='{"messageID": "m3"}')
    session = read_one(opencode, path).session
    assert shown(session) == ["user: list", *CODE_SHOWN[:3]]
    assert len(entries_of(session)) == 7


def test_other_fields_of_an_opencode_session(tmp_path: Path) -> None:
    """Archived, things to do, and whatever columns there are."""
    more = "alter table session add column slug text; alter table session add column time_archived integer;"
    todo = "create table todo(session_id text, content text, status text, position integer);"
    write_database(
        tmp_path / "o.db", OPENCODE + more + todo, todo=[{"session_id": "s1", "content": "pack", "position": 0}]
    )
    found = read_one(opencode, opencode_database(tmp_path / "o.db", slug="calm-otter", time_archived=1))
    assert (found.session.archived, found.codes) == (True, [])
    todo_list = {"todo": [{"content": "pack", "position": 0}]}
    assert found.session.metadata["opencode"] == {"slug": "calm-otter", "time": {"archived": 1}} | todo_list
    folder = opencode_folder(tmp_path / "o")
    write_json(folder / "storage" / "todo" / "s1.json", {"content": "pack"})
    assert read_one(opencode, folder).session.metadata["opencode"] == {"todo": {"content": "pack"}}


def test_messages_of_opencode_of_a_kind_not_known_here_are_kept(tmp_path: Path) -> None:
    """Only where a session has no others; each is reported."""
    newer = "create table session_message(id text, session_id text, type text, time_created integer, data text);"
    said = [{"id": id, "session_id": id[:2], "type": "user", "data": '{"text": "hi"}'} for id in ("s1a", "s2a", "s2b")]
    write_database(tmp_path / "o.db", OPENCODE + newer, session_message=said, session=[{"id": "s2"}])
    found = {each.session.id: each for each in read(opencode, opencode_database(tmp_path / "o.db"))}
    assert found["s1"].codes == []
    assert found["s2"].codes == ["source_unsupported", "source_unsupported"]
    kept = entries_of(found["s2"].session)
    assert [(each.id, said_by(each)) for each in kept] == [
        ("s2a", "opencode.session_message"),
        ("s2b", "opencode.session_message"),
    ]


# --- databases as such ---

DATABASES: dict[str, tuple[Format, str]] = {
    "goose": (goose, GOOSE),
    "atuin_ai": (atuin_ai, ATUIN),
    "llm": (llm, LLM_OLD),
    "llm, new": (llm, LLM_NEW),
    "opencode": (opencode, OPENCODE),
}
FORMATS = (chatgpt, claude_ai, openwebui, librechat, goose, atuin_ai, kubectl_ai, picoclaw, llm, opencode)


@pytest.mark.parametrize("name", DATABASES)
def test_a_database_is_told_by_its_tables(tmp_path: Path, name: str) -> None:
    """By its own format only; an empty one has no sessions; another database is nobody's."""
    path = write_database(tmp_path / "d", DATABASES[name][1])
    assert [form.NAME for form in FORMATS if form.recognises(source_of(path))] == [DATABASES[name][0].NAME]
    assert read(DATABASES[name][0], path) == []
    other = write_database(tmp_path / "other", "create table x(y)")
    assert not any(form.recognises(source_of(other)) for form in FORMATS)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_is_read_without_a_trace(tmp_path: Path, mode: str) -> None:
    """No byte and no file, while its tool has it open and after; what is in a write-ahead log is read too.

    In this process, SQLite shares its shared memory file among connections, and may note a reader there.
    """
    path = tmp_path / "sessions.db"

    def contents() -> dict[str, bytes | None]:
        names = os.listdir(tmp_path)
        return {name: None if name.endswith("-shm") else (tmp_path / name).read_bytes() for name in names}

    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute(f"pragma journal_mode={mode}")
        writer.executescript(GOOSE)
        write_database(path, GOOSE, sessions=[GOOSE_SESSION], messages=[goose_row(1, "user", "hi")])
        before = contents()
        assert shown(read_one(goose, path).session) == ["user: hi"]
        assert contents() == before
    assert os.listdir(tmp_path) == ["sessions.db"]
    before_bytes = path.read_bytes()
    assert shown(read_one(goose, path).session) == ["user: hi"]
    assert (os.listdir(tmp_path), path.read_bytes()) == (["sessions.db"], before_bytes)


def test_a_journal_left_by_a_crash_is_included(tmp_path: Path) -> None:
    """A write-ahead log without its writer, in a copy."""
    path, crashed = tmp_path / "a.db", tmp_path / "crashed"
    crashed.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("pragma journal_mode=wal")
        writer.executescript(GOOSE)
        write_database(path, GOOSE, sessions=[GOOSE_SESSION], messages=[goose_row(1, "user", "hi")])
        for end in ("", "-wal"):
            (crashed / f"b.db{end}").write_bytes((tmp_path / f"a.db{end}").read_bytes())
    assert shown(read_one(goose, crashed / "b.db").session) == ["user: hi"]
    assert sorted(os.listdir(crashed)) == ["b.db", "b.db-wal"]


def test_a_damaged_database_ends_with_a_finding(tmp_path: Path) -> None:
    """What lies before the damage is there."""
    rows = [goose_row(number, "user", "x" * 2000) for number in range(200)]
    path = write_database(tmp_path / "s", GOOSE, sessions=[GOOSE_SESSION], messages=rows)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xff" * (len(data) // 2))
    codes = [code for each in read(goose, path) for code in each.codes]
    assert "source_database" in codes


def test_rows_around_a_damaged_page_are_read(tmp_path: Path) -> None:
    """In the order of the times, though the rows were written the other way round; the damage is reported."""
    rows = [goose_row(500 - at, "user", f"word {at}") for at in range(500)]
    path = write_database(tmp_path / "s", GOOSE, sessions=[GOOSE_SESSION], messages=rows)
    data = bytearray(path.read_bytes())
    at = data.index(b"word 250") // 4096 * 4096
    lost = data[at : at + 4096].count(b"word ")
    data[at : at + 4096] = bytes(4096)
    path.write_bytes(data)
    found = read(goose, path)
    numbers = [int(each.split()[-1]) for each in shown(found[0].session)]
    assert (numbers, len(numbers)) == (sorted(numbers, reverse=True), 500 - lost)
    assert (numbers[0], numbers[-1], found[0].codes) == (499, 0, ["source_database"])


def test_an_empty_log_beside_a_database_makes_no_file(tmp_path: Path) -> None:
    """SQLite would make shared memory for it."""
    path = write_database(tmp_path / "s", GOOSE, sessions=[GOOSE_SESSION])
    (tmp_path / "s-wal").write_bytes(b"")
    assert len(read(goose, path)) == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["s", "s-wal"]


def test_odd_values_of_a_database(tmp_path: Path) -> None:
    """Bytes that are no text, zeros, infinity and ids that do not fit have a stand-in each."""
    rows = [
        goose_row(1, "user", content_json=b'[{"type":"text","text":"a\xffb"}]', message_id="über uns"),
        goose_row(2, "user", content_json='[{"type":"text","text":"\\ud800 1e999"}]\0', tokens=float("inf")),
        goose_row(3, "user", "x", message_id=None),
        goose_row(4, "user", "y", message_id="msg_4"),
        goose_row(5, "user", "z", message_id="msg_4"),
    ]
    found = read_one(goose, write_database(tmp_path / "s", GOOSE, sessions=[GOOSE_SESSION], messages=rows))
    assert shown(found.session) == ["user: a\ufffdb", "user: \ufffd 1e999", "user: x", "user: y", "user: z"]
    first, *_, fourth, fifth = found.session.path()
    assert (first.id, first.source_id) == (derive_id("goose", "20260101_1", "über uns"), "über uns")
    assert (fourth.id, fifth.id) == ("msg_4", derive_id("goose", "20260101_1", "msg_4", 5))
    assert found.codes == ["value_replaced", "value_replaced", "source_nul_bytes", "value_replaced", "source_duplicate"]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (b'[{"type":"thinking","thinking":"\xff","signature":"s"}]', [{"type": "thinking", "thinking": "\ufffd"}]),
        (
            b'[{"type":"text","text":"\xff"},{"type":"thinking","thinking":"a","signature":"s"}]',
            [{"type": "text", "text": "\ufffd"}, {"type": "thinking", "thinking": "a", "signature": "s"}],
        ),
    ],
)
def test_a_signature_in_a_cell_that_is_not_text(tmp_path: Path, cell: bytes, expected: Any) -> None:
    """It goes if what it covers was replaced. A cell that is not JSON has none."""
    rows = [goose_row(1, "assistant", content_json=cell), goose_row(2, "user", content_json=b"\xff")]
    found = read_one(goose, write_database(tmp_path / "s", GOOSE, sessions=[GOOSE_SESSION], messages=rows))
    (entry, _) = found.session.path()
    assert isinstance(entry, MessageEntry)
    assert entry.message["content"] == expected
    assert found.codes[0] == "value_replaced"


def test_importing_a_database_twice_adds_nothing(tmp_path: Path) -> None:
    """The same records again, from the file itself."""
    path = opencode_database(tmp_path / "o.db")
    session = read_one(opencode, path).session
    assert (read_again(opencode, path, session), len(entries_of(session))) == (0, 7)


# --- what comes seldom ---


def test_an_archived_session_of_goose_with_pictures(tmp_path: Path) -> None:
    """Images and thoughts that were made unreadable are as Anthropic has them."""
    picture = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
    rows = [goose_row(1, "user", picture), goose_row(2, "assistant", {"type": "redactedThinking", "data": "x"}, "ok")]
    own = GOOSE_SESSION | {"archived_at": "2026-01-02 00:00:00"}
    session = read_one(goose, write_database(tmp_path / "s", GOOSE, sessions=[own], messages=rows)).session
    first, second = session.build_context().messages
    assert first["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    ]
    assert second["content"][0] == {"type": "redacted_thinking", "data": "x"}
    assert session.archived


def test_a_goose_file_whose_first_line_was_lost_meanwhile(tmp_path: Path) -> None:
    """It was recognised by it; what is read later begins with a message, and that is one."""
    said = {"id": "m", "role": "user", "created": 1767225600, "content": [{"type": "text", "text": "hi"}]}
    about = {"working_dir": "/home", "description": "Trip", "message_count": 1}
    path = write_lines(tmp_path / "s.jsonl", [about, said])
    source = source_of(path)
    write_lines(path, [said])
    ((header, records, _),) = all_records(goose, source)
    assert [(record.id, type(record)) for record in records] == [("m", MessageEntry)]
    assert header.cwd is None


def test_metadata_of_kubectl_that_is_none_is_reported(tmp_path: Path) -> None:
    """A line that is no name and value, with its place; what is nested is not looked at."""
    write_lines(tmp_path / "s" / "history.json", KUBECTL)
    (tmp_path / "s" / "metadata.yaml").write_text("---\nmodelID: m\nlabels:\n{broken\n")
    ((_, records, findings),) = all_records(kubectl_ai, source_of(tmp_path / "s"))
    assert len(records) == 7
    found = [(each.code, each.line, each.offset, each.length) for each in findings if each.about is None]
    assert found == [("source_bad_line", 4, 23, 8)]


def test_a_legacy_file_of_picoclaw_that_is_damaged(tmp_path: Path) -> None:
    """What is whole behind the damage is read, in the file and in the metadata of a newer one."""
    legacy = {"key": "a:b", "messages": [{"role": "user", "content": "hi"}], "created": "x", "updated": "y"}
    (tmp_path / "s.json").write_text('[{"key" "messages": ' + json.dumps(legacy) + "]")
    source = source_of(tmp_path / "s.json")
    ((header, records, findings),) = all_records(picoclaw, source)
    assert (header.id, [record.type for record in records]) == ("a:b", ["message", "session_info"])
    assert [finding.code for finding in findings] == ["source_bad_line"]
    path = write_lines(tmp_path / "t.jsonl", CLAW)
    (tmp_path / "t.meta.json").write_text('{"key": "broken, {"key": "t:1", "summary": "S", "skip": 3}')
    damaged = read_one(picoclaw, path)
    assert (damaged.session.id, damaged.codes) == ("t:1", ["source_bad_line"])


def test_zeros_in_the_metadata_of_picoclaw_are_reported(tmp_path: Path) -> None:
    """As they are everywhere."""
    path = write_lines(tmp_path / "t.jsonl", CLAW)
    (tmp_path / "t.meta.json").write_bytes(b'{"key": "t:1"}\0\0')
    found = read_one(picoclaw, path)
    assert (found.session.id, found.codes) == ("t:1", ["source_nul_bytes"])


def test_responses_of_llm_without_conversations(tmp_path: Path) -> None:
    """Where there are none at all, or not even the table, each response is a session, and nothing is missing."""
    alone = [response("r1", "a", "b", conversation_id=None), response("r2", None, "c", conversation_id=None)]
    path = write_database(tmp_path / "l", LLM_OLD, responses=alone)
    assert [(each.session.id, shown(each.session), each.codes) for each in read(llm, path)] == [
        ("r1", ["user: a", "assistant: b"], []),
        ("r2", ["assistant: c"], []),
    ]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("drop table conversations")
    assert [header.id for header, records, _ in all_records(llm, source_of(path)) if records] == ["r1", "r2"]


def test_parts_of_every_kind_of_llm(tmp_path: Path) -> None:
    """Thoughts, attachments by their path, and one that is not there, which is reported; no turn needs to be."""
    more = "create table attachments(id text primary key, type text, path text, url text, content blob);"
    more += 'create table part_attachments(part_id integer, attachment_id text, "order" integer); drop table turns;'
    path = write_database(
        tmp_path / "l",
        LLM_NEW + more,
        messages=[{"hash": "m1", "role": "user"}, {"hash": "m2", "parent_hash": "m1", "role": "assistant"}],
        parts=[
            part("m1", None, "attachment", id=1),
            part("m2", "hm", "reasoning", id=2),
            part("m2", "yes", id=3, position=1),
        ],
        attachments=[{"id": "a", "type": "application/pdf", "path": "/x.pdf"}],
        part_attachments=[{"part_id": 1, "attachment_id": id, "order": at} for at, id in enumerate(("a", "gone"))],
        threads=[{"id": "t", "tip_message_hash": "m2"}],
    )
    found = read_one(llm, path)
    assert [message["content"] for message in found.session.build_context().messages] == [
        [{"type": "document", "source": {"type": "path", "path": "/x.pdf"}}],
        [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}],
    ]
    assert found.codes == ["source_bad_target"]


def test_a_thread_of_llm_whose_beginning_is_gone(tmp_path: Path) -> None:
    """The messages that are there are read, the first as an orphan; a turn that ended nowhere changes nothing."""
    path = write_database(
        tmp_path / "l",
        LLM_NEW,
        messages=[{"hash": "m2", "parent_hash": "m1", "role": "user"}],
        parts=[part("m2", "hi")],
        threads=[{"id": "t", "tip_message_hash": "m2"}],
        turns=[{"id": "u1", "thread_id": "t", "parent_message_hash": "m2", "model": "gpt"}],
    )
    found = read_one(llm, path)
    assert (tree_of(found.session), shown(found.session), found.codes) == (
        {"m2": None},
        ["user: hi"],
        ["source_orphan"],
    )


def test_an_opencode_compaction_that_keeps_what_is_not_there(tmp_path: Path) -> None:
    """It keeps nothing, and that is reported."""
    path = opencode_database(tmp_path / "o.db")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update part set data = replace(data, '\"m2\"', '\"gone\"')")
    found = read_one(opencode, path)
    compaction = found.session.entry("m4")
    assert isinstance(compaction, CompactionEntry)
    assert (compaction.first_kept_entry_id, found.codes) == (None, ["source_bad_target"])


def test_rows_that_lost_their_key_are_found_again_in_order(tmp_path: Path) -> None:
    """A page of a table is destroyed; rows without a time come first, as SQLite has them."""
    rows = [goose_row(at, "user", f"word {at}" + "x" * 300) for at in range(400)]
    rows[399]["created_timestamp"] = None
    path = write_database(tmp_path / "s", GOOSE, sessions=[GOOSE_SESSION], messages=rows)
    data = bytearray(path.read_bytes())
    at = data.index(b"word 200") // 4096 * 4096
    data[at : at + 4096] = bytes(4096)
    path.write_bytes(data)
    found = read(goose, path)
    numbers = [int(each.split()[-1].rstrip("x")) for each in shown(found[0].session)]
    assert (numbers[:3], found[0].codes) == ([399, 0, 1], ["source_database"])
    assert numbers[1:] == sorted(numbers[1:])
