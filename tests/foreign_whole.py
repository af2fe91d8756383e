"""One source of each format with everything that is counted: usage with caches, calls, results, branches.

Each sample has the sum of itself, made with plain json or sqlite3, and nothing of convtree. `shade` and numbers like
4711 stand for fields that no reader knows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from foreign import TIME, call, claude_answered, claude_said, codex_line, codex_said, encoded, kit_line, pi_line
from foreign import result as claude_result
from foreign_agents import AGENTS
from foreign_chats import CHATS
from foreign_stores import write_database, write_json, write_lines
from foreign_sums import Counts, Sample, kinds, leaves_of, lines_of, rows_of, total, words
from test_formats_exports import (
    CLAUDE_ROOT,
    LIBRE_ROOT,
    claude_chat,
    claude_message,
    gpt_chat,
    gpt_node,
    libre_export,
    libre_message,
    webui_chat,
    webui_message,
)
from test_formats_opencode import TALK, answered, asked, called, database, text
from test_formats_stores import (
    ATUIN,
    GOOSE,
    GOOSE_CALL,
    GOOSE_RESULT,
    GOOSE_SESSION,
    KUBECTL,
    LLM_NEW,
    LLM_OLD,
    YAML,
    claw_line,
    event,
    goose_row,
    part,
    response,
)

# --- pi, kit ---


def write_pi(folder: Path) -> Path:
    """A call, a summary that was paid for, and two branches."""
    usage = {"input": 111, "output": 222, "cacheRead": 333, "cacheWrite": 444, "cost": {"total": 0.5}}
    called = {"type": "toolCall", "id": "call_7", "name": "bash", "arguments": {"cmd": "echo alpha"}}
    answer = {"role": "assistant", "content": [called], "provider": "prov", "model": "model-x", "usage": usage}
    brought = {"role": "toolResult", "toolCallId": "call_7", "content": [{"type": "text", "text": "alpha"}]}
    lines = [
        {"type": "session", "version": 3, "id": "pi_session", "timestamp": TIME, "cwd": "/home/me/dir"},
        pi_line("message", "a1", None, message={"role": "user", "content": "Say alpha", "shade": "viridian"}),
        pi_line("message", "a2", "a1", message=answer | {"stopReason": "toolUse", "timestamp": 4711}),
        pi_line("message", "a3", "a2", message=brought),
        pi_line("compaction", "a4", "a3", summary="Short", firstKeptEntryId="a3", usage=usage, provider="prov"),
        pi_line("message", "a5", "a1", message={"role": "user", "content": "Say beta"}, shade="cerulean"),
    ]
    (folder / "pi.jsonl").write_bytes(encoded(*lines))
    return folder / "pi.jsonl"


def count_pi(path: Path) -> Counts:
    """By its entries."""
    lines = lines_of(path)[1:]
    said = [line["message"] for line in lines if line["type"] == "message"]
    paid = [each["usage"] for each in (*said, *lines) if "usage" in each]
    blocks = [block for message in said if isinstance(message["content"], list) for block in message["content"]]
    return Counts(
        total(paid, "input"),
        total(paid, "output"),
        total(paid, "cacheRead"),
        total(paid, "cacheWrite"),
        sum(usage["cost"]["total"] for usage in paid),
        len(said),
        kinds(blocks, "toolCall"),
        sum(message["role"] == "toolResult" for message in said),
        leaves_of({line["id"]: line["parentId"] for line in lines}),
    )


def write_kit(folder: Path) -> Path:
    """kit stores no usage."""
    called = {"type": "tool_call", "data": {"id": "call_7", "name": "bash", "input": '{"cmd":"echo alpha"}'}}
    brought = {"type": "tool_result", "data": {"tool_call_id": "call_7", "name": "bash", "content": "alpha"}}
    said = {"type": "text", "data": {"text": "Say alpha"}}
    lines = [
        {"type": "session", "version": 3, "id": "0123456789abcdef", "timestamp": TIME, "cwd": "/home/me/dir"},
        kit_line("message", "k1", role="user", parts=[said], shade="cerulean"),
        kit_line("message", "k2", "k1", role="assistant", parts=[called], model="model-x", provider="prov"),
        kit_line("message", "k3", "k2", role="tool", parts=[brought]),
        kit_line("message", "k4", "k1", role="assistant", parts=[said]),
    ]
    (folder / "kit.jsonl").write_bytes(encoded(*lines))
    return folder / "kit.jsonl"


def count_kit(path: Path) -> Counts:
    """By its entries."""
    lines = lines_of(path)[1:]
    parts = [each for line in lines for each in line["parts"]]
    leaves = leaves_of({line["id"]: line.get("parent_id") for line in lines})
    counted = len(lines), kinds(parts, "tool_call"), kinds(parts, "tool_result"), leaves
    return Counts(0, 0, 0, 0, 0.0, *counted)


# --- agents in JSONL ---


def write_claude(folder: Path) -> Path:
    """A message of two lines, of which the last has the usage; two answers to one question."""
    final = {"input_tokens": 111, "output_tokens": 222, "cache_read_input_tokens": 333}
    first = claude_answered("u2", "u1", "msg_1", {"type": "text", "text": "Look"}, requestId="req_4711")
    second = claude_answered("u3", "u2", "msg_1", call("toolu_7"), requestId="req_4711")
    second["message"] |= {"usage": final | {"cache_creation_input_tokens": 444}, "stop_reason": "tool_use"}
    lines = [
        claude_said("u1", None, "Say alpha", shade="viridian"),
        first,
        second,
        claude_said("u4", "u3", claude_result("toolu_7", "alpha"), toolUseResult={"stdout": "alpha", "shade": 4711}),
        claude_said("u5", "u1", "Say beta"),
    ]
    (folder / "claude.jsonl").write_bytes(encoded(*lines))
    return folder / "claude.jsonl"


def count_claude(path: Path) -> Counts:
    """The last line of a message counts."""
    lines = lines_of(path)
    last = {line["message"]["id"]: line["message"]["usage"] for line in lines if line["type"] == "assistant"}
    blocks = [block for line in lines for block in line["message"]["content"] if isinstance(block, dict)]
    return Counts(
        total(last.values(), "input_tokens"),
        total(last.values(), "output_tokens"),
        total(last.values(), "cache_read_input_tokens"),
        total(last.values(), "cache_creation_input_tokens"),
        0.0,
        len(lines),
        kinds(blocks, "tool_use"),
        kinds(blocks, "tool_result"),
        leaves_of({line["uuid"]: line["parentUuid"] for line in lines}),
    )


def write_codex(folder: Path) -> Path:
    """The usage is a line of its own; its input includes what the cache had."""
    usage = {"input_tokens": 444, "cached_input_tokens": 333, "output_tokens": 222, "reasoning_output_tokens": 120}
    item = {"type": "function_call", "name": "shell", "arguments": '{"cmd":"echo alpha"}', "call_id": "call_7"}
    lines = [
        codex_line(
            "session_meta", {"id": "codex_session", "timestamp": TIME, "cwd": "/home/me/dir", "shade": "viridian"}
        ),
        codex_line("turn_context", {"turn_id": "turn_4711", "model": "model-x"}),
        codex_said("user", "Say alpha"),
        codex_line("response_item", item | {"metadata": {"shade": 4711}}),
        codex_line("token_usage_record", {"response_id": "resp_1", "usage": usage}),
        codex_line("response_item", {"type": "function_call_output", "call_id": "call_7", "output": "alpha"}),
        codex_said("assistant", "Done.") | {"shade": "cerulean"},
    ]
    (folder / "codex.jsonl").write_bytes(encoded(*lines))
    return folder / "codex.jsonl"


def count_codex(path: Path) -> Counts:
    """By its records and items."""
    lines = lines_of(path)
    paid = [line["payload"]["usage"] for line in lines if line["type"] == "token_usage_record"]
    items = [line["payload"] for line in lines if line["type"] == "response_item"]
    cached = sum(usage["cached_input_tokens"] for usage in paid)
    whole, output = (sum(usage[name] for usage in paid) for name in ("input_tokens", "output_tokens"))
    found = len(items), kinds(items, "function_call"), kinds(items, "function_call_output")
    return Counts(whole - cached, output, cached, 0, 0.0, *found)


# --- exports ---


def write_chatgpt(folder: Path) -> Path:
    """No usage, and calls without ids, which are no calls here."""
    more: dict[str, Any] = {
        "metadata": {"model_slug": "model-x", "shade": "viridian"},
        "status": "finished_successfully",
    }
    code = {"content_type": "code", "language": "python", "text": "print('alpha')"}
    nodes = [
        gpt_node("a", "root", "user", "Say alpha", children=("b", "c")),
        gpt_node("b", "a", "assistant", content=code, recipient="python", end_turn=False, **more),
        gpt_node("c", "a", "assistant", "alpha", weight=4711, **more),
    ]
    return write_json(folder / "gpt.json", [gpt_chat("chat_4711", nodes, "c", default_model_slug="model-y")])


def count_chatgpt(path: Path) -> Counts:
    """By the nodes with a message."""
    nodes = [node for chat in json.loads(path.read_text()) for node in chat["mapping"].values() if node["message"]]
    return Counts(messages=len(nodes), leaves=leaves_of({node["id"]: node["parent"] for node in nodes}))


def write_claude_ai(folder: Path) -> Path:
    """A call with its result inside one message; two answers."""
    used = {"type": "tool_use", "id": "toolu_7", "name": "bash", "input": {"cmd": "echo alpha"}, "shade": "cerulean"}
    content = [used, *claude_result("toolu_7", "alpha"), {"type": "text", "text": "Done"}]
    chat = claude_chat(
        claude_message("a", CLAUDE_ROOT, "human", "Say alpha", 1, files=[{"file_name": "picture.png"}]),
        claude_message("b", "a", "assistant", "Done", 2, content=content, shade="viridian"),
        claude_message("c", "a", "assistant", "alpha", 3),
    )
    return write_json(folder / "claude.json", [chat | {"summary": "About alpha"}])


def count_claude_ai(path: Path) -> Counts:
    """By its messages."""
    said = [message for chat in json.loads(path.read_text()) for message in chat["chat_messages"]]
    blocks = [block for message in said for block in message.get("content", ())]
    leaves = leaves_of({message["uuid"]: message["parent_message_uuid"] for message in said})
    return Counts(0, 0, 0, 0, 0.0, len(said), kinds(blocks, "tool_use"), kinds(blocks, "tool_result"), leaves)


def write_webui(folder: Path) -> Path:
    """OpenAI's usage, whose prompt includes what the cache had."""
    usage = {"prompt_tokens": 444, "completion_tokens": 222, "prompt_tokens_details": {"cached_tokens": 333}}
    output = [
        {"type": "function_call", "call_id": "call_7", "name": "bash", "arguments": '{"cmd":"echo alpha"}'},
        {"type": "function_call_output", "call_id": "call_7", "output": [{"type": "input_text", "text": "alpha"}]},
        {"type": "message", "id": "item_4711", "content": [{"type": "output_text", "text": "Done"}]},
    ]
    messages = [
        webui_message("a", None, "user", "Say alpha", "b", "c", models=["model-x"]),
        webui_message("b", "a", "assistant", "<details>", output=output, usage=usage, shade="viridian"),
        webui_message("c", "a", "assistant", "alpha", model="model-x"),
    ]
    return write_json(folder / "webui.json", [webui_chat(messages, "c") | {"user_id": "user_4711"}])


def count_webui(path: Path) -> Counts:
    """By its messages."""
    said = [each for chat in json.loads(path.read_text()) for each in chat["chat"]["history"]["messages"].values()]
    paid = [message["usage"] for message in said if "usage" in message]
    cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in paid)
    items = [item for message in said for item in message.get("output", ())]
    return Counts(
        sum(usage["prompt_tokens"] for usage in paid) - cached,
        sum(usage["completion_tokens"] for usage in paid),
        cached,
        messages=len(said),
        calls=kinds(items, "function_call"),
        results=kinds(items, "function_call_output"),
        leaves=leaves_of({message["id"]: message["parentId"] for message in said}),
    )


def write_libre(folder: Path) -> Path:
    """A call with its output; two answers. The token count of a message is one number, which is no usage."""
    called = {"id": "call_7", "name": "bash", "args": '{"cmd":"echo alpha"}', "output": "alpha", "progress": 1}
    parts = [{"type": "tool_call", "tool_call": called}, {"type": "text", "text": {"value": "Done"}}]
    messages = [
        libre_message("a", LIBRE_ROOT, "Say alpha", 1, user=True, tokenCount=4711),
        libre_message("b", "a", "", 2, content=parts, model="model-x", endpoint="openAI", shade="viridian"),
        libre_message("c", "a", "alpha", 3),
    ]
    return write_json(folder / "libre.json", libre_export(messages=messages))


def count_libre(path: Path) -> Counts:
    """By its messages."""
    said = json.loads(path.read_text())["messages"]
    called = [each["tool_call"] for message in said for each in message.get("content", ()) if "tool_call" in each]
    leaves = leaves_of({message["messageId"]: message["parentMessageId"] for message in said})
    return Counts(
        messages=len(said), calls=len(called), results=sum("output" in each for each in called), leaves=leaves
    )


# --- databases and folders ---

LEDGER = f"""{GOOSE}
create table if not exists usage_ledger(id integer primary key autoincrement, session_id text,
    created_timestamp integer, model text, input_tokens integer, output_tokens integer, total_tokens integer,
    cache_read_tokens integer, cache_write_tokens integer, cost real, cost_source text, is_compaction integer);
"""


def write_goose(folder: Path) -> Path:
    """What a session has cost is in a ledger, whose input includes the cache. A message has one number only."""
    paid = {"session_id": GOOSE_SESSION["id"], "created_timestamp": 1767225602, "model": "model-x", "cost": 0.25}
    paid |= {"input_tokens": 999, "output_tokens": 222, "total_tokens": 1221, "cost_source": "estimated"}
    paid |= {"cache_read_tokens": 333, "cache_write_tokens": 444}
    rows = [
        goose_row(1, "user", "Say alpha", tokens=4711),
        goose_row(2, "assistant", GOOSE_CALL),
        goose_row(3, "user", GOOSE_RESULT),
        goose_row(4, "assistant", {"type": "text", "text": "Done", "shade": "viridian"}),
    ]
    path = folder / "goose.db"
    return write_database(path, LEDGER, sessions=[GOOSE_SESSION], messages=rows, usage_ledger=[paid, paid])


def count_goose(path: Path) -> Counts:
    """By its rows. The ledger is a branch of its own."""
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost")
    query = f"select {', '.join(f'sum({name})' for name in names)} from usage_ledger"
    ((whole, output, read, written, cost),) = rows_of(path, query)
    said = [json.loads(content) for (content,) in rows_of(path, "select content_json from messages")]
    blocks = [block for content in said for block in content]
    found = len(said), kinds(blocks, "toolRequest"), kinds(blocks, "toolResponse")
    return Counts(whole - read - written, output, read, written, cost, *found, leaves=2)


def write_atuin(folder: Path) -> Path:
    """No usage."""
    events = [
        event("event_1", None, "user_message", 1, content="Say alpha"),
        event("event_2", "event_1", "tool_call", 2, id="call_7", name="bash", input={"cmd": "echo alpha"}),
        event("event_3", "event_2", "tool_result", 3, tool_use_id="call_7", content="alpha", is_error=False),
        event("event_4", "event_3", "text", 4, content="Done", shade="viridian"),
        event("event_5", "event_1", "text", 5, content="alpha"),
    ]
    session = {"id": "s1", "head_id": "event_5", "directory": "/home/me/dir", "created_at": 1767225600}
    session |= {"updated_at": 1767225999}
    path = folder / "atuin.db"
    metadata = {"session_id": "s1", "key": "shade", "value": '"cerulean"', "updated_at": 1767225777}
    return write_database(path, ATUIN, sessions=[session], session_events=events, session_metadata=[metadata])


def count_atuin(path: Path) -> Counts:
    """By its events."""
    events = rows_of(path, "select id, parent_id, event_type from session_events")
    found = [kind for _, _, kind in events]
    leaves = leaves_of({id: parent for id, parent, _ in events})
    return Counts(0, 0, 0, 0, 0.0, len(events), found.count("tool_call"), found.count("tool_result"), leaves)


def write_kubectl(folder: Path) -> Path:
    """No usage, and calls that are texts, which are no calls here."""
    write_lines(folder / "session-1" / "history.json", [line | {"Shade": "viridian"} for line in KUBECTL])
    (folder / "session-1" / "metadata.yaml").write_text(YAML)
    return folder / "session-1"


def count_kubectl(path: Path) -> Counts:
    """By its lines; one kind is not known."""
    found = [line["Type"] for line in lines_of(path / "history.json")]
    return Counts(messages=len(found) - found.count("future"), results=found.count("tool-call-response"))


def write_claw(folder: Path) -> Path:
    """No usage."""
    function = {"name": "bash", "arguments": '{"cmd":"echo alpha"}'}
    lines = [
        claw_line("user", "Say alpha", 1, shade="viridian"),
        claw_line("assistant", "", 2, tool_calls=[{"id": "call_7", "function": function}], model_name="model-x"),
        claw_line("tool", "alpha", 3, tool_call_id="call_7"),
    ]
    meta = {"key": "telegram:4711", "skip": 0, "count": 3, "scope": {"channel": "telegram"}, "shade": "cerulean"}
    write_json(folder / "claw.meta.json", meta)
    return write_lines(folder / "claw.jsonl", lines)


def count_claw(path: Path) -> Counts:
    """By its lines."""
    lines = lines_of(path)
    calls = sum(len(line.get("tool_calls", ())) for line in lines)
    return Counts(messages=len(lines), calls=calls, results=sum(line["role"] == "tool" for line in lines))


def write_llm_old(folder: Path) -> Path:
    """The details of the tokens say what the cache had."""
    details = (
        '{"prompt_tokens_details": {"cached_tokens": 333}, "completion_tokens_details": {"reasoning_tokens": 120}}'
    )
    tokens = {"input_tokens": 444, "output_tokens": 222, "token_details": details, "duration_ms": 4711}
    return write_database(
        folder / "llm.db",
        LLM_OLD + "alter table responses add column token_details text;",
        conversations=[{"id": "conversation_1", "name": "A trip", "model": "model-x"}],
        responses=[
            response("response_1", "Say alpha", "", conversation_id="conversation_1", **tokens),
            response("response_2", None, "Done", conversation_id="conversation_1", **tokens),
        ],
        tool_calls=[
            {"response_id": "response_1", "name": "bash", "arguments": '{"p": "alpha"}', "tool_call_id": "t_77"}
        ],
        tool_results=[{"response_id": "response_2", "name": "bash", "output": "alpha", "tool_call_id": "t_77"}],
    )


def count_llm_old(path: Path) -> Counts:
    """By its responses; one is one node here, with its prompt."""
    rows = rows_of(path, "select input_tokens, output_tokens, token_details from responses")
    cached = sum(json.loads(details)["prompt_tokens_details"]["cached_tokens"] for *_, details in rows)
    ((calls,),) = rows_of(path, "select count(*) from tool_calls")
    ((results,),) = rows_of(path, "select count(*) from tool_results")
    tokens = sum(row[0] for row in rows) - cached, sum(row[1] for row in rows), cached
    return Counts(*tokens, messages=len(rows), calls=calls, results=results)


def write_llm_new(folder: Path) -> Path:
    """A turn has the usage of the message that it ends with."""
    call = json.dumps({"tool_call_id": "call_7", "arguments": {"cmd": "echo alpha"}, "shade": "viridian"})
    brought = json.dumps({"tool_call_id": "call_7", "output": "alpha"})
    turn = {"input_tokens": 111, "output_tokens": 222, "model": "model-x"}
    hashes = [("b2:1", None, "user"), ("b2:2", "b2:1", "assistant"), ("b2:3", "b2:2", "tool"), ("b2:4", "b2:1", "user")]
    return write_database(
        folder / "llm.db",
        LLM_NEW,
        messages=[{"hash": hash, "parent_hash": parent, "role": role} for hash, parent, role in hashes],
        parts=[
            part("b2:1", "Say alpha"),
            part("b2:2", None, "tool_call", tool_name="bash", payload=call),
            part("b2:3", None, "tool_result", tool_name="bash", payload=brought),
            part("b2:4", "Say beta"),
        ],
        threads=[{"id": "thread_1", "name": "A trip", "tip_message_hash": "b2:3"}],
        turns=[
            {"id": "t1", "thread_id": "thread_1", "tip_message_hash": "b2:2"} | turn,
            {"id": "t2", "thread_id": "thread_1", "tip_message_hash": "b2:4"},
        ],
    )


def count_llm_new(path: Path) -> Counts:
    """By its turns, messages and parts."""
    ((tokens, output),) = rows_of(path, "select sum(input_tokens), sum(output_tokens) from turns")
    parents = dict(rows_of(path, "select hash, parent_hash from messages"))
    found = [kind for (kind,) in rows_of(path, "select type from parts")]
    counted = len(parents), found.count("tool_call"), found.count("tool_result"), leaves_of(parents)
    return Counts(tokens, output, 0, 0, 0.0, *counted)


def write_opencode(folder: Path) -> Path:
    """Reasoning is beside the output."""
    more = answered("msg_4", called("prt_4", metadata={"shade": "viridian", "exit": 4711}), at=4, shade="cerulean")
    return database(folder / "opencode.db", [*TALK, asked("msg_3", text("prt_3", "List"), at=3), more])


def count_opencode(path: Path) -> Counts:
    """By its rows."""
    said = [json.loads(data) for (data,) in rows_of(path, "select data from message")]
    paid = [message["tokens"] for message in said if "tokens" in message]
    tools = kinds((json.loads(data) for (data,) in rows_of(path, "select data from part")), "tool")
    return Counts(
        sum(tokens["input"] for tokens in paid),
        sum(tokens["output"] + tokens["reasoning"] for tokens in paid),
        total((tokens["cache"] for tokens in paid), "read"),
        total((tokens["cache"] for tokens in paid), "write"),
        sum(message.get("cost", 0) for message in said),
        len(said),
        tools,
        tools,
    )


SAMPLES = (
    {
        "pi": Sample(write_pi, count_pi),
        "kit": Sample(write_kit, count_kit),
        "claude-code": Sample(write_claude, count_claude),
        "codex": Sample(write_codex, count_codex, words("turn_context", "response_item")),
        "picoclaw": Sample(write_claw, count_claw),
        "kubectl_ai": Sample(write_kubectl, count_kubectl, words("model", "tool-call-request", "tool-call-response")),
        "chatgpt": Sample(write_chatgpt, count_chatgpt, words("text", "root")),
        "claude_ai": Sample(write_claude_ai, count_claude_ai, words("human", "text", CLAUDE_ROOT)),
        "openwebui": Sample(write_webui, count_webui, words("function_call", "function_call_output", "output_text")),
        "librechat": Sample(write_libre, count_libre, words("tool_call", "text", LIBRE_ROOT)),
        "goose": Sample(write_goose, count_goose, words("toolRequest", "toolResponse", "success")),
        "atuin_ai": Sample(write_atuin, count_atuin, words("user_message", "tool_call", "text")),
        "llm": Sample(write_llm_old, count_llm_old),
        "llm, new": Sample(write_llm_new, count_llm_new, words("tool_call", "tool", "text")),
        "opencode": Sample(write_opencode, count_opencode),
    }
    | AGENTS
    | CHATS
)
