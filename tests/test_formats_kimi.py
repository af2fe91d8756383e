"""Sessions of Kimi CLI and Kimi Code. Their forms are those of the sources that the readers name."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from foreign_stores import shown, write_json, write_lines

from convtree import CompactionEntry, ExtensionDataEntry, MessageEntry, SessionStore, open_store
from convtree.exchange import import_into

TIME = 1_795_949_773
ID = "67950b19-5a75-4406-9c75-9a4a5c8dbe93"

# --- Kimi CLI ---


def wire(kind: str, second: int = 0, **payload: Any) -> dict[str, Any]:
    """A line of a wire."""
    return {"timestamp": TIME + second + 0.5, "message": {"type": kind, "payload": payload}}


def status(other: int, output: int, read: int = 0) -> dict[str, Any]:
    """The usage of a step."""
    usage = {"input_other": other, "output": output, "input_cache_read": read, "input_cache_creation": 0}
    return wire("StatusUpdate", 1, context_tokens=other + read, token_usage=usage, plan_mode=None)


META = {"type": "metadata", "protocol_version": "1.10"}
CALL = wire("ToolCall", type="function", id="c1", function={"name": "Shell", "arguments": '{"command": "ls"}'})
RESULT = wire("ToolResult", 2, tool_call_id="c1", return_value={"is_error": False, "output": "a\n", "message": "Done."})
TURN = [
    META,
    wire("TurnBegin", user_input="List"),
    wire("StepBegin", n=1),
    wire("ContentPart", type="think", think="Hm.", encrypted="sig"),
    CALL,
    status(906, 13, 101),
    RESULT,
    wire("StepBegin", n=2),
    wire("ContentPart", type="text", text="There is a."),
    status(930, 25),
    wire("TurnEnd"),
]
COMPACTED = [
    wire("TurnBegin", 9, user_input="/compact"),
    wire("CompactionBegin"),
    wire("CompactionEnd", 9),
    wire("ContentPart", type="text", text="The context has been compacted."),
    wire("TurnBegin", 10, user_input=[{"type": "text", "text": "Thanks"}]),
]
SUMMARY = "<system>Previous context has been compacted. Here is the compaction output:</system>"
OLD = [{"role": "_system_prompt", "content": "You are Kimi."}, {"role": "_checkpoint", "id": 0}]
NEW = [
    *OLD,
    {"role": "user", "content": [{"type": "text", "text": SUMMARY}, {"type": "text", "text": "They listed."}]},
    {"role": "assistant", "content": "There is a."},
    {"role": "_usage", "token_count": 44},
    {"role": "user", "content": "Thanks"},
]


@pytest.fixture
def store() -> SessionStore:
    """An empty store."""
    return open_store("memory:")


def cli(folder: Path, lines: list[Any], *, contexts: tuple[list[Any], ...] = ()) -> Path:
    """Writes a session; the last context is the newest."""
    place = folder / "sessions" / "12ba" / ID
    place.mkdir(parents=True, exist_ok=True)
    for number, context in enumerate(contexts, 1):
        name = "context" if number == len(contexts) else f"context_{number}"
        write_lines(place / f"{name}.jsonl", context)
    return write_lines(place / "wire.jsonl", lines)


def imported(path: Path, store: SessionStore) -> int:
    """Imports a folder or a file; returns how many records were new."""
    return sum(each.written for each in import_into(path, store))


def test_a_state_that_cannot_be_read_is_no_state(tmp_path: Path, store: SessionStore) -> None:
    """A pipe in its place, or a text that is not JSON: the session comes in all the same."""
    path = cli(tmp_path, TURN[:5])
    os.mkfifo(path.with_name("state.json"))
    assert imported(tmp_path, store) == 3
    path.with_name("state.json").unlink()
    path.with_name("state.json").write_text("{")
    assert [each.status for each in import_into(path, store)] == ["imported"]


def test_a_session_of_kimi_cli(tmp_path: Path, store: SessionStore) -> None:
    """Prompt, reasoning, call, result as it is sent, usage of each step, and it grows."""
    cli(tmp_path, TURN[:5], contexts=(OLD,))
    assert imported(tmp_path, store) == 4
    cli(tmp_path, TURN, contexts=(OLD,))
    assert imported(tmp_path, store) == 4
    assert imported(tmp_path, store) == 0
    info = store.info(ID)
    usage = info.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (906 + 930, 13 + 25, 101)
    with store.open(ID) as session:
        assert shown(session) == [
            *("system: You are Kimi.", "user: List", "assistant: <thinking>", "assistant: <tool_use>"),
            *("user: <tool_result>", "assistant: There is a."),
        ]
        result = session.path()[5]
        assert isinstance(result, MessageEntry)
        assert result.message["content"][0]["content"] == [
            {"type": "text", "text": "<system>Done.</system>"},
            {"type": "text", "text": "a\n"},
        ]
        assert session.header.timestamp == "2026-11-29T10:56:13.500000Z"


def test_a_compaction_of_kimi_cli(tmp_path: Path, store: SessionStore) -> None:
    """Its summary and what it keeps are in the context file. What was typed for Kimi itself is for the user."""
    path = cli(tmp_path, TURN + COMPACTED, contexts=(OLD, NEW))
    write_json(path.with_name("state.json"), {"custom_title": "Lists", "archived": True, "plan_slug": "viridian"})
    imported(tmp_path, store)
    with store.open(ID) as session:
        assert shown(session)[2:] == ["assistant: There is a.", "user: Thanks"]
        (compaction,) = [each for each in session.path() if isinstance(each, CompactionEntry)]
        assert compaction.summary == "They listed."
        hidden = [each.text for each in session.path() if isinstance(each, MessageEntry) and each.visible_to == "user"]
        assert hidden == ["/compact", "The context has been compacted."]
        assert session.metadata["kimi-cli"] == {"plan_slug": "viridian"}
    assert (store.info(ID).name, store.info(ID).archived) == ("Lists", True)


def test_a_clear_of_kimi_cli_begins_again(tmp_path: Path, store: SessionStore) -> None:
    """The model sees the system prompt and what is said from there on."""
    cleared = [
        wire("TurnBegin", 9, user_input="/clear"),
        wire("ContentPart", type="text", text="The context has been cleared."),
        wire("TurnEnd"),
        wire("TurnBegin", 10, user_input="Afresh"),
    ]
    cli(tmp_path, TURN + cleared, contexts=(OLD,))
    imported(tmp_path, store)
    with store.open(ID) as session:
        assert shown(session) == ["system: You are Kimi.", "user: Afresh"]
        assert len(session.leaves()) == 2


def test_a_wire_alone(tmp_path: Path, store: SessionStore) -> None:
    """Without the context files a compaction has no summary, which is said."""
    path = write_lines(tmp_path / "kept.jsonl", TURN + COMPACTED)
    (report,) = import_into(path, store)
    assert (report.session_id, [each.code for each in report.findings]) == ("kept", ["source_torn_off"])
    with store.open("kept") as session:
        kinds = [each.ext_type for each in session.path() if isinstance(each, ExtensionDataEntry)]
        assert kinds == ["kimi-cli.status_update"] * 2 + ["kimi-cli.compaction"]


def test_agents_of_kimi_cli(tmp_path: Path, store: SessionStore) -> None:
    """A sub-agent with a file of its own is a task; the usage of another one is that of the session."""
    events = [
        wire(
            "SubagentEvent",
            agent_id=agent,
            event={"type": "StatusUpdate", "payload": status(5, 7)["message"]["payload"]},
        )
        for agent in ("a1", "a2")
    ]
    path = cli(tmp_path, [*TURN, *events, wire("SubagentEvent", event={"type": "TurnEnd", "payload": {}})])
    place = path.with_name("subagents") / "a1"
    place.mkdir(parents=True)
    write_lines(place / "wire.jsonl", [wire("TurnBegin", user_input="Look"), status(5, 7)])
    imported(tmp_path, store)
    assert store.info(ID).usage.output_tokens == 13 + 25 + 7
    assert store.info(f"{ID}.a1").usage.output_tokens == 7
    with store.open(f"{ID}.a1") as session:
        assert session.header.parent_session is not None
        assert (session.header.parent_session.id, session.header.parent_session.kind) == (ID, "task")


def test_results_of_kimi_cli(tmp_path: Path, store: SessionStore) -> None:
    """A failure, silence, a picture; and records that are not understood."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    remote = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    failed = {"is_error": True, "output": "", "message": "Exit code: 1.", "display": [{"type": "brief", "text": "Bad"}]}
    lines = [
        wire("TurnBegin", user_input=["plain", image, {"shade": "viridian"}]),
        wire("ToolResult", tool_call_id="c2", return_value=failed),
        wire("ToolResult", tool_call_id="c3", return_value={"is_error": False, "output": [remote], "message": ""}),
        wire("ToolResult", tool_call_id="c4", return_value={"is_error": False, "output": "", "message": ""}),
        wire("ToolResult", tool_call_id="c5", return_value={"is_error": False, "output": remote, "message": ""}),
        {"timestamp": TIME, "message": "odd"},
    ]
    imported(write_lines(tmp_path / "a.jsonl", lines), store)
    with store.open("a") as session:
        said = [each for each in session.path() if isinstance(each, MessageEntry)]
        assert [each.message["content"][0].get("content") for each in said[1:]] == [
            [{"type": "text", "text": "<system>ERROR: Exit code: 1.</system>"}],
            [{"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}],
            [{"type": "text", "text": "<system>Tool output is empty.</system>"}],
            [{"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}],
        ]
        assert said[1].message["kimi-cli"] == {"display": [{"type": "brief", "text": "Bad"}]}
        assert said[0].message["content"][1]["source"]["media_type"] == "image/png"
        assert [each.data for each in session.path() if isinstance(each, ExtensionDataEntry)] == [lines[-1]]


def test_a_context_alone(tmp_path: Path, store: SessionStore) -> None:
    """As Kimi CLI wrote it before there was a wire."""
    function = {"name": "Shell", "arguments": '{"command": "ls"}'}
    lines = [
        *OLD,
        {"role": "user", "content": "List"},
        {"role": "assistant", "content": [], "tool_calls": [{"type": "function", "id": "c1", "function": function}]},
        {"role": "tool", "content": "a", "tool_call_id": "c1"},
        {"role": "_usage", "token_count": 4711},
    ]
    place = tmp_path / ID
    place.mkdir()
    write_lines(place / "context.jsonl", lines)
    (place / "wire.jsonl").write_bytes(b"")
    assert imported(tmp_path, store) == 6
    with store.open(ID) as session:
        assert shown(session) == [
            *("system: You are Kimi.", "user: List", "assistant: <tool_use>", "user: <tool_result>")
        ]
    (report,) = import_into(write_lines(tmp_path / "old.jsonl", lines), open_store("memory:"))
    assert report.session_id == "old"


# --- Kimi Code ---


def record(kind: str, second: int = 0, **fields: Any) -> dict[str, Any]:
    """A record of a wire."""
    return {"type": kind, **fields, "agentId": "main", "time": (TIME + second) * 1000}


def said(text: str, kind: str | None = "user", role: str = "user", **more: Any) -> dict[str, Any]:
    """A message."""
    origin = {} if kind is None else {"origin": {"kind": kind}}
    message = {"role": role, "content": [{"type": "text", "text": text}], "toolCalls": [], **origin, **more}
    return record("context.append_message", message=message)


def loop(kind: str, **fields: Any) -> dict[str, Any]:
    """An event of a turn."""
    return record("context.append_loop_event", event={"type": kind, **fields})


def step(number: int, *events: dict[str, Any]) -> list[dict[str, Any]]:
    """A step with its request and its usage."""
    usage = {"inputOther": 900 + number, "output": 10 + number, "inputCacheRead": 100, "inputCacheCreation": 0}
    return [
        loop("step.begin", uuid=f"s{number}", step=number),
        record("llm.request", provider="openai", model="kimi-k2", modelAlias="m"),
        record("usage.record", model="m", usage=usage, usageScope="turn"),
        *events,
        loop("step.end", uuid=f"s{number}", usage=usage, llmStreamDurationMs=4711),
    ]


def part(number: int, said: str) -> dict[str, Any]:
    """A text of a step."""
    return loop("content.part", stepUuid=f"s{number}", part={"type": "text", "text": said})


BEGIN = [
    {"type": "metadata", "protocol_version": "1.5", "created_at": TIME * 1000},
    record("profile.bind", modelAlias="m", systemPrompt="You are Kimi.", disallowedTools=[]),
]
TALK = [
    *BEGIN,
    said("List"),
    said("<system-reminder>A date.</system-reminder>", "injection"),
    *step(
        1,
        loop("tool.call", stepUuid="s1", toolCallId="c1", name="Bash", args={"command": "ls"}),
        loop("tool.result", toolCallId="c1", result={"output": "a\n", "durationMs": 68}),
    ),
    *step(2, part(2, "There is a.")),
]
CODE_ID = "session_a8fa2828"


def code(folder: Path, lines: list[Any], id: str = CODE_ID, agent: str = "main", **state: Any) -> Path:
    """Writes a session of Kimi Code."""
    place = folder / "wd_w_96e4" / id
    (place / "agents" / agent).mkdir(parents=True, exist_ok=True)
    write_json(place / "state.json", {"id": id, "cwd": "/w", "createdAt": TIME * 1000, **state})
    return write_lines(place / "agents" / agent / "wire.jsonl", lines)


def test_a_session_of_kimi_code(tmp_path: Path, store: SessionStore) -> None:
    """What is sent and what is paid, also if a step reports it again."""
    path = code(tmp_path, TALK[:6], title="Lists", archived=True, custom={"shade": "viridian"})
    imported(path, store)
    code(tmp_path, TALK, title="Lists", archived=True, custom={"shade": "viridian"})
    assert imported(path, store) == len(TALK) - 6
    assert imported(path, store) == 0
    info = store.info(CODE_ID)
    assert (info.usage.input_tokens, info.usage.output_tokens, info.usage.cache_read_tokens) == (1803, 23, 200)
    assert (info.name, info.archived, info.first_user_message) == ("Lists", True, "List")
    with store.open(CODE_ID) as session:
        assert shown(session) == [
            *("system: You are Kimi.", "user: List", "user: <system-reminder>A date.</system-reminder>"),
            *("assistant: <tool_use>", "user: <tool_result>", "assistant: There is a."),
        ]
        (result,) = [
            each
            for each in session.path()
            if isinstance(each, MessageEntry) and '"tool_result"' in json.dumps(each.message)
        ]
        assert result.message["content"][0]["content"] == [{"type": "text", "text": "Wall time: 0.068 seconds\na\n"}]
        assert (session.header.cwd, session.metadata["kimi-code"]) == ("/w", {"custom": {"shade": "viridian"}})
    (row,) = store.usage(CODE_ID, by="model")
    assert (row.provider, row.model) == ("openai", "kimi-k2")


def test_a_part_of_a_torn_record_is_no_record(tmp_path: Path, store: SessionStore) -> None:
    """A wire that is read while Kimi Code writes it: at every end of an object in it, only whole records come in."""
    path = code(tmp_path, TALK)
    whole = path.read_bytes()
    imported(tmp_path, store)
    for end in (place + 1 for place, byte in enumerate(whole) if byte == ord("}")):
        path.write_bytes(whole[:end])
        assert imported(tmp_path, store) == 0


def test_a_step_that_alone_has_its_usage(tmp_path: Path, store: SessionStore) -> None:
    """As it was before there were records of usage."""
    lines = [each for each in TALK if each["type"] != "usage.record"]
    imported(code(tmp_path, lines), store)
    assert store.info(CODE_ID).usage.output_tokens == 11 + 12


def test_undo_is_a_branch(tmp_path: Path, store: SessionStore) -> None:
    """Back to before the message of a person, and what was injected for it. A clear keeps the system prompt only."""
    owned = said("<system-reminder>For it.</system-reminder>", "injection")
    owned["message"]["origin"]["ownerPromptId"] = "p2"
    second = [owned, said("More", id="p2"), *step(3, part(3, "No."))]
    lines = [*TALK, *second, record("context.undo", count=1), said("Instead"), *step(4, part(4, "Yes."))]
    imported(code(tmp_path, lines), store)
    with store.open(CODE_ID) as session:
        assert shown(session)[-3:] == ["assistant: There is a.", "user: Instead", "assistant: Yes."]
        assert len(session.leaves()) == 2
    more = [record("context.undo", count=9), record("context.clear"), said("Afresh"), record("config.update", 5)]
    code(tmp_path, lines + more)
    imported(tmp_path, store)
    with store.open(CODE_ID) as session:
        assert shown(session) == ["system: You are Kimi.", "user: Afresh"]


def test_a_prompt_behind_a_clear_replaces_nothing(tmp_path: Path, store: SessionStore) -> None:
    """The one before is on another branch; the next one replaces it."""
    prompts = [record("config.update", systemPrompt=said) for said in ("You are back.", "Be short.")]
    (report,) = import_into(code(tmp_path, [*TALK, record("context.clear"), *prompts, said("Afresh")]), store)
    assert (report.status, report.reason) == ("imported", None)
    with store.open(CODE_ID) as session:
        assert shown(session) == ["system: Be short.", "user: Afresh"]


def test_compactions_of_kimi_code(tmp_path: Path, store: SessionStore) -> None:
    """Messages of the user that are kept come again after the summary. The older kind keeps the end."""
    new = record("context.apply_compaction", summary="They.", contextSummary="So: They.", compactedCount=4)
    head = new | {"keptUserMessageCount": 2, "keptHeadUserMessageCount": 1}
    lines = [*TALK, said("Two"), said("Three"), head, *step(5, part(5, "Go on."))]
    imported(code(tmp_path, lines), store)
    with store.open(CODE_ID) as session:
        assert shown(session)[2:] == ["user: List", "user: Three", "assistant: Go on."]
        (found,) = [each for each in session.path() if isinstance(each, CompactionEntry)]
        assert (found.summary, found.first_kept_entry_id) == ("So: They.", None)
        assert found.details is not None
        assert found.details["summary"] == "They."
    all_kept = new | {"keptUserMessageCount": 5}
    undone = [*lines[:-6], all_kept, record("context.undo", count=1), said("End")]
    imported(code(tmp_path, undone, "other"), store)
    with store.open("other") as session:
        assert shown(session)[-1] == "user: End"
    old = record("context.apply_compaction", summary=said("Sum.")["message"], count=4)
    imported(code(tmp_path, [*TALK, old, said("And?")], "old"), store)
    with store.open("old") as session:
        assert shown(session)[2:] == ["assistant: There is a.", "user: And?"]


def test_forks_and_agents(tmp_path: Path, store: SessionStore) -> None:
    """What a fork copied counts once. Other agents are tasks."""
    code(tmp_path, TALK)
    code(tmp_path, [*TALK, record("forked"), *step(7)], "fork", forkedFrom=CODE_ID)
    code(tmp_path, [*BEGIN, said("Look"), *step(8)], agent="explore-1")
    imported(tmp_path, store)
    assert store.info("fork").usage.output_tokens == 17
    assert store.info(f"{CODE_ID}.explore-1").usage.output_tokens == 18
    kinds = {}
    for id in ("fork", f"{CODE_ID}.explore-1"):
        with store.open(id) as session:
            assert session.header.parent_session is not None
            kinds[id] = (session.header.parent_session.id, session.header.parent_session.kind)
    assert kinds == {"fork": (CODE_ID, "fork"), f"{CODE_ID}.explore-1": (CODE_ID, "task")}
    code(tmp_path, TALK, "lost", forkedFrom=CODE_ID)
    imported(tmp_path, store)
    assert store.info("lost").usage.output_tokens == 11 + 12


def test_results_of_kimi_code(tmp_path: Path, store: SessionStore) -> None:
    """Failures, silence, pictures and notes, as events and as messages; an event that comes again."""
    image = {"type": "image_url", "imageUrl": {"url": "https://example.org/a.png"}}
    two = [{"type": "text", "text": "one"}, image]
    event = record("agent.message.appended", message={"message": {"role": "user"}, "meta": {"source": "viridian"}})
    lines = [
        *(loop("tool.call", stepUuid="s1", toolCallId=f"c{n}", name="Bash") for n in range(2)),
        loop("tool.result", toolCallId="c0", result={"output": "no", "isError": True, "note": "Careful."}),
        loop("tool.result", toolCallId="c1", result={"output": two, "durationMs": 1000, "note": "Careful."}),
        loop("tool.result", toolCallId="c2", result={"output": " ", "isError": True}),
        loop("tool.result", toolCallId="c3", result={"output": two, "isError": True}),
        said("Tool output is empty.", None, "tool", toolCallId="c4"),
        said(
            "I call", None, "assistant", toolCalls=[{"type": "function", "id": "c5", "name": "now", "arguments": None}]
        ),
        record("config.update", systemPrompt="You are new."),
        event,
        loop("tool.note", shade="cerulean"),
        record("context.append_message", message="odd"),
    ]
    path = write_lines(tmp_path / "wire.jsonl", lines)
    imported(path, store)
    shows = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    with store.open(tmp_path.name) as session:
        found = [each.message for each in session.path() if isinstance(each, MessageEntry)]
        results = [
            block["content"]
            for each in found
            for block in each["content"]
            if isinstance(block, dict) and block["type"] == "tool_result"
        ]
        failed = "<system>ERROR: Tool execution failed.</system>"
        empty = "<system>ERROR: Tool execution failed. Tool output is empty.</system>"
        assert [[part.get("text", part) for part in each] for each in results] == [
            [f"{failed}\nno\nCareful."],
            ["Wall time: 1.000 seconds\none", shows, "Careful."],
            [empty],
            [failed, "one", shows],
            ["<system>Tool output is empty.</system>"],
        ]
        others = [each.data for each in session.path() if isinstance(each, ExtensionDataEntry)]
        assert others[0] == {"message": {"meta": {"source": "viridian"}}, "agentId": "main"}
        assert others[1:] == [{"shade": "cerulean", "agentId": "main"}, {"message": "odd", "agentId": "main"}]
