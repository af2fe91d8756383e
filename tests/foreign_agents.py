"""Samples of more formats, of the same kind as those in `foreign_whole`: everything that is counted, and its sum."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import test_formats_agents as agents
import test_formats_cline as cline
import test_formats_continue as continue_dev
import test_formats_crush as crush
import test_formats_messages as messages
import test_formats_qwen as qwen
import test_formats_sillytavern as sillytavern
from foreign import TIME, gemini_answered, gemini_said
from foreign_adk import adk_database
from foreign_stores import write_database, write_json, write_lines
from foreign_sums import Counts, Sample, kinds, leaves_of, lines_of, rows_of, total, words
from test_formats_aider import FIRST, SECOND
from test_formats_vscode import CHAT

# --- files ---


def write_aider(folder: Path) -> Path:
    """One chat, in which the model was changed. The second answer used a cache."""
    path = folder / "history.md"
    path.write_text(FIRST + "\n" + SECOND.split("\n\n", 1)[1])
    return path


def count_aider(path: Path) -> Counts:
    """By the numbers that aider shows. What is sent includes the cache; every question has an answer."""
    shown = "\n".join(line for line in path.read_text().splitlines() if line.startswith("> "))

    def tokens(name: str) -> int:
        found = re.findall(rf"([0-9.,]+)(k?) {name}", shown)
        return sum(int(float(number.replace(",", "")) * (1000 if thousands else 1)) for number, thousands in found)

    read, written = tokens("cache hit"), tokens("cache write")
    cost = sum(float(each) for each in re.findall(r"\$([0-9.]+) message", shown))
    asked = len(re.findall(r"(?:^#### .*  \n)+", path.read_text(), re.MULTILINE))
    return Counts(tokens("sent") - read - written, tokens("received"), read, written, cost, 2 * asked)


def write_cline(folder: Path) -> Path:
    """Three requests on the screen, of which the second has the result of a call."""
    asked, answered = cline.said(8, "user", "Thanks", shade="viridian"), cline.said(9, "assistant", "Welcome.")
    paid = cline.asked(7, 444, facts={"shade": 4711, "cost": 0.25})
    return cline.write(folder, [*cline.HISTORY, asked, answered], [*cline.SCREEN, paid])


def count_cline(path: Path) -> Counts:
    """By what the screen shows."""
    (screen,) = path.rglob("ui_messages.json")
    shown = [json.loads(each["text"]) for each in json.loads(screen.read_text()) if each["say"] == "api_req_started"]
    said = json.loads(screen.with_name("api_conversation_history.json").read_text())
    blocks = [block for message in said for block in message["content"]]
    return Counts(
        total(shown, "tokensIn"),
        total(shown, "tokensOut"),
        total(shown, "cacheReads"),
        total(shown, "cacheWrites"),
        sum(each["cost"] for each in shown),
        len(said),
        kinds(blocks, "tool_use"),
        kinds(blocks, "tool_result"),
    )


def write_continue(folder: Path) -> Path:
    """A file in the context, a call with its result in the same item."""
    last = continue_dev.item("user", "Thanks", shade="viridian", message={"metadata": {"number": 4711}})
    return continue_dev.write(folder, [*continue_dev.HISTORY, last], shade="cerulean")


def count_continue(path: Path) -> Counts:
    """By its items, which have what is in the context and the results of calls, too."""
    items = json.loads(path.read_text())["history"]
    paid = [item["message"]["usage"] for item in items if "usage" in item["message"]]
    cached = sum(usage["promptTokensDetails"]["cachedTokens"] for usage in paid)
    calls = sum(len(item["message"].get("toolCalls", ())) for item in items)
    results = sum("output" in state for item in items for state in item.get("toolCallStates", ()))
    return Counts(
        total(paid, "promptTokens") - cached,
        total(paid, "completionTokens"),
        cached,
        messages=len(items),
        calls=calls,
        results=results,
    )


def write_sillytavern(folder: Path) -> Path:
    """Two messages with swipes."""
    last = sillytavern.said("And you?", is_user=True, shade="viridian", number=4711)
    lines = [sillytavern.HEADER, sillytavern.GREETING, sillytavern.ASKED, sillytavern.ANSWERS, last]
    return write_lines(folder / "chat.jsonl", lines)


def count_sillytavern(path: Path) -> Counts:
    """By its lines. A swipe that was not chosen is a leaf."""
    said = lines_of(path)[1:]
    return Counts(messages=len(said), leaves=1 + sum(len(line.get("swipes", ".")) - 1 for line in said))


def write_vscode(folder: Path) -> Path:
    """A request with rounds, and one with an answer only."""
    return write_json(folder / "chat.json", CHAT | {"shade": "viridian", "number": 4711})


def count_vscode(path: Path) -> Counts:
    """By its requests, which have all that was said."""
    requests = json.loads(path.read_text())["requests"]
    about = [request["result"].get("metadata", {}) for request in requests]
    rounds = [each for facts in about for each in facts.get("toolCallRounds", ())]
    paid = [request["result"].get("usage", {}) for request in requests]
    return Counts(
        total(paid, "promptTokens") + total(about, "promptTokens"),
        total(paid, "completionTokens") + total(about, "outputTokens"),
        messages=len(requests),
        calls=sum(len(each["toolCalls"]) for each in rounds),
        results=sum(len(facts.get("toolCallResults", ())) for facts in about),
    )


def write_qwen(folder: Path) -> Path:
    """A call, and another question in the place of what followed it."""
    more = [
        qwen.said("u6", "u1", "Say beta", shade="viridian"),
        qwen.answered("u7", "u6", {"text": "beta"}, number=4711),
    ]
    return write_lines(folder / "qwen.jsonl", [*qwen.LINES, *more])


def count_qwen(path: Path) -> Counts:
    """By its lines with a message. The prompt includes the cache; thoughts are beside the answer."""
    lines = lines_of(path)
    said = [line for line in lines if "message" in line]
    paid = [line["usageMetadata"] for line in said if "usageMetadata" in line]
    parts = [part for line in said for part in line["message"]["parts"]]
    cached = total(paid, "cachedContentTokenCount")
    return Counts(
        total(paid, "promptTokenCount") - cached,
        total(paid, "candidatesTokenCount") + total(paid, "thoughtsTokenCount"),
        cached,
        messages=len(said),
        calls=sum("functionCall" in part for part in parts),
        results=sum("functionResponse" in part for part in parts),
        leaves=leaves_of({line["uuid"]: line["parentUuid"] for line in lines}),
    )


def write_gemini(folder: Path) -> Path:
    """An answer that is written twice, and an undo."""
    response = {"id": "call_7", "name": "bash", "response": {"output": "alpha"}}
    call = {"id": "call_7", "name": "bash", "args": {"cmd": "echo alpha"}, "result": [{"functionResponse": response}]}
    tokens = {"input": 444, "output": 222, "cached": 333, "thoughts": 120, "tool": 0, "total": 786}
    return write_lines(
        folder / "gemini.jsonl",
        [
            {"sessionId": "gemini_session", "projectHash": "hash", "startTime": TIME, "lastUpdated": TIME},
            gemini_said("m_1", "Say alpha") | {"shade": "viridian"},
            gemini_answered("m_2", "Look"),
            gemini_answered("m_2", "Look", toolCalls=[call | {"displayName": "Shell"}], tokens=tokens, number=4711),
            gemini_said("m_3", "Thanks"),
            {"$rewindTo": "m_3"},
            {"$set": {"shade": "cerulean"}},
            gemini_said("m_4", "Say beta"),
            gemini_answered("m_5", "beta", tokens=tokens),
        ],
    )


def count_gemini(path: Path) -> Counts:
    """By the last record of each message. A result follows its call as a message, with the same id."""
    last = {line["id"]: line for line in lines_of(path) if "id" in line}
    paid = [line["tokens"] for line in last.values() if "tokens" in line]
    calls = [call for line in last.values() for call in line.get("toolCalls", ())]
    return Counts(
        total(paid, "input") - total(paid, "cached"),
        total(paid, "output") + total(paid, "thoughts"),
        total(paid, "cached"),
        messages=len(last),
        calls=len(calls),
        results=sum(len(call["result"]) for call in calls),
        leaves=2,
    )


def write_checkpoint(folder: Path) -> Path:
    """A call with its result. A checkpoint has no usage."""
    call = {"functionCall": {"id": "call_7", "name": "bash", "args": {"cmd": "echo alpha"}}}
    result = {"functionResponse": {"id": "call_7", "name": "bash", "response": {"output": "alpha"}}}
    said: list[tuple[str, dict[str, Any]]]
    said = [("user", {"text": "Say alpha"}), ("model", call), ("user", result), ("model", {"text": "Done"})]
    contents = [{"role": role, "parts": [part]} for role, part in said]
    return write_json(folder / "checkpoint.json", {"history": contents, "authType": "cerulean", "number": 4711})


def count_checkpoint(path: Path) -> Counts:
    """By its contents."""
    contents = json.loads(path.read_text())["history"]
    parts = [part for content in contents for part in content["parts"]]
    calls, results = (sum(name in part for part in parts) for name in ("functionCall", "functionResponse"))
    return Counts(messages=len(contents), calls=calls, results=results)


def write_pydantic(folder: Path) -> Path:
    """A call with its result."""
    return write_json(folder / "pydantic.json", messages.PYDANTIC)


def count_pydantic(path: Path) -> Counts:
    """By its messages; the input includes the cache."""
    said = json.loads(path.read_text())
    paid = [message["usage"] for message in said if "usage" in message]
    found = [part["part_kind"] for message in said for part in message["parts"]]
    read, written = total(paid, "cache_read_tokens"), total(paid, "cache_write_tokens")
    counted = len(said), found.count("tool-call"), found.count("tool-return")
    return Counts(
        total(paid, "input_tokens") - read - written, total(paid, "output_tokens"), read, written, 0.0, *counted
    )


def write_messages(folder: Path) -> Path:
    """A dump of a request with its answer."""
    function = {"name": "bash", "arguments": '{"cmd":"echo alpha"}'}
    said = [
        *messages.PLAIN[:2],
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_7", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_7", "content": "alpha"},
    ]
    request = {"model": "model-x", "messages": said, "shade": "viridian"}
    return write_lines(folder / "dump.jsonl", [{"body": request, "response": messages.CHAT_ANSWER, "number": 4711}])


def count_messages(path: Path) -> Counts:
    """By its messages, and the answer."""
    (dump,) = lines_of(path)
    said, usage = dump["body"]["messages"], dump["response"]["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return Counts(
        usage["prompt_tokens"] - cached,
        usage["completion_tokens"],
        cached,
        messages=len(said) + len(dump["response"]["choices"]),
        calls=sum(len(message.get("tool_calls", ())) for message in said),
        results=sum(message["role"] == "tool" for message in said),
    )


# --- databases ---


def write_crush(folder: Path) -> Path:
    """What a session has cost is known as a whole only, which is no usage here."""
    last = crush.row(5, "user", crush.text("Thanks"), ("finish", {"shade": "viridian", "number": 4711}))
    rows = [*crush.ROWS, last | {"updated_at": crush.TIME + 4712, "finished_at": crush.TIME + 4713}]
    return write_database(folder / "crush.db", crush.SCHEMA, sessions=[crush.SESSION], messages=rows)


def count_crush(path: Path) -> Counts:
    """By its rows."""
    said = [json.loads(parts) for (parts,) in rows_of(path, "select parts from messages")]
    parts = [part for each in said for part in each]
    return Counts(messages=len(said), calls=kinds(parts, "tool_call"), results=kinds(parts, "tool_result"))


def write_openai_agents(folder: Path) -> Path:
    """Two branches that share a turn. A branch has the call."""
    more = [agents.item(7, agents.CALL | {"shade": "viridian"}), agents.item(8, agents.RESULT | {"number": 4711})]
    places = [agents.place(9, 7, "other", 2), agents.place(10, 8, "other", 2)]
    tables = agents.AGENT_TABLES | {
        "agent_messages": agents.AGENT_TABLES["agent_messages"] + more,
        "message_structure": agents.AGENT_TABLES["message_structure"] + places,
    }
    return write_database(folder / "agents.db", agents.ADVANCED, **tables)


def count_openai_agents(path: Path) -> Counts:
    """By its rows; the input includes the cache."""
    items = [json.loads(data) for (data,) in rows_of(path, "select message_data from agent_messages")]
    paid = rows_of(path, "select input_tokens, output_tokens, input_tokens_details from turn_usage")
    cached = sum(json.loads(details)["cached_tokens"] for *_, details in paid)
    ((branches,),) = rows_of(path, "select count(distinct branch_id) from message_structure")
    return Counts(
        sum(row[0] for row in paid) - cached,
        sum(row[1] for row in paid),
        cached,
        messages=len(items),
        calls=kinds(items, "function_call"),
        results=kinds(items, "function_call_output"),
        leaves=branches,
    )


def write_langgraph(folder: Path) -> Path:
    """A thread that was forked, with a call on one branch."""
    last = agents.checkpoint(
        7, agents.HELLO, agents.HI, agents.human("h4", "Say alpha"), agents.ai("a4", "alpha", 111, shade="viridian")
    )
    last |= {"metadata": '{"source": "loop", "step": 4711}'}
    write = {"thread_id": "t1", "checkpoint_id": "007", "task_id": "cerulean", "idx": 0, "channel": "messages"}
    return write_database(
        folder / "graph.db", agents.CHECKPOINTS + agents.WRITES, checkpoints=[*agents.GRAPH, last], writes=[write]
    )


def messages_of(data: bytes) -> list[dict[str, Any]]:
    """The messages of a checkpoint."""
    value = msgspec.msgpack.decode(data, ext_hook=lambda _, inside: msgspec.msgpack.decode(inside)[2])
    found: list[dict[str, Any]] = value["channel_values"]["messages"]
    return found


def count_langgraph(path: Path) -> Counts:
    """By the messages of all checkpoints; each has an id, and follows one other."""
    parents: dict[str, str | None] = {}
    said: dict[str, dict[str, Any]] = {}
    for (data,) in rows_of(path, "select checkpoint from checkpoints"):
        last = None
        for message in messages_of(data):
            said[message["id"]], parents[message["id"]] = message, last
            last = message["id"]
    paid = [message["usage_metadata"] for message in said.values() if "usage_metadata" in message]
    return Counts(
        total(paid, "input_tokens"),
        total(paid, "output_tokens"),
        messages=len(said),
        calls=sum(len(message.get("tool_calls", ())) for message in said.values()),
        results=sum(message["type"] == "tool" for message in said.values()),
        leaves=leaves_of(parents),
    )


def write_atif(folder: Path) -> Path:
    """A prompt, a call that used a cache, its result, and an answer that was counted where it comes from."""
    metrics = {"prompt_tokens": 1110, "completion_tokens": 222, "cached_tokens": 333, "cost_usd": 0.25}
    call = {"tool_call_id": "call_7", "function_name": "bash", "arguments": {"cmd": "echo alpha"}}
    result = {"source_call_id": "call_7", "content": "alpha", "extra": {"shade": "viridian"}}
    event = {"content": "The machine was restarted"}
    picture = {"type": "image", "source": {"media_type": "image/png", "path": "shots/one.png"}}
    steps: list[dict[str, Any]] = [
        {"step_id": 1, "source": "system", "message": "Be brief", "timestamp": TIME},
        {"step_id": 2, "source": "user", "message": [{"type": "text", "text": "Say alpha"}, picture]},
        {
            "step_id": 3,
            "source": "agent",
            "model_name": "model-y",
            "reasoning_content": "Hm, alpha",
            "reasoning_effort": "high",
            "message": "Right away",
            "tool_calls": [call | {"extra": {"timeout": 4711}}],
            "observation": {"results": [result, event]},
            "metrics": metrics | {"extra": {"cache_creation_input_tokens": 444, "shade": "cerulean"}},
            "extra": {"shade": "crimson"},
        },
        {"step_id": 4, "source": "agent", "message": "Done", "metrics": metrics, "is_copied_context": True},
    ]
    agent = {"name": "robot", "version": "2.5.1", "model_name": "model-x", "extra": {"shade": "indigo"}}
    document = {"schema_version": "ATIF-v1.8", "session_id": "run_4711", "agent": agent, "steps": steps}
    document |= {"notes": "nothing special", "final_metrics": {"total_steps": 4712}}
    return write_json(folder / "trajectory.json", document)


def count_atif(path: Path) -> Counts:
    """By its steps; the prompt's tokens include those of the cache."""
    steps = json.loads(path.read_text())["steps"]
    paid = [step["metrics"] for step in steps if "metrics" in step and not step.get("is_copied_context")]
    cached = total(paid, "cached_tokens")
    written = sum(each["extra"]["cache_creation_input_tokens"] for each in paid)
    return Counts(
        total(paid, "prompt_tokens") - cached - written,
        total(paid, "completion_tokens"),
        cached,
        written,
        sum(each["cost_usd"] for each in paid),
        len(steps),
        sum(len(step.get("tool_calls", ())) for step in steps),
        sum("source_call_id" in each for step in steps for each in step.get("observation", {}).get("results", ())),
    )


def count_adk(path: Path) -> Counts:
    """By its events."""
    events = [json.loads(data) for (data,) in rows_of(path, "select event_data from events")]
    paid = [event["usage_metadata"] for event in events if "usage_metadata" in event]
    parts = [part for event in events for part in event.get("content", {}).get("parts", ())]
    cached = total(paid, "cached_content_token_count")
    return Counts(
        total(paid, "prompt_token_count") - cached,
        total(paid, "candidates_token_count"),
        cached,
        0,
        0.0,
        len(events),
        sum("functionCall" in part for part in parts),
        sum("functionResponse" in part for part in parts),
        2,
    )


AGENTS = {
    "atif": Sample(write_atif, count_atif, words("agent", "image/png")),
    "aider": Sample(write_aider, count_aider),
    "cline": Sample(write_cline, count_cline),
    "continue": Sample(write_continue, count_continue, words("function", "file:///home/a%20b")),
    "sillytavern": Sample(write_sillytavern, count_sillytavern, words("2024-05-01@12h30m05s", "May 1, 2024 2:05pm")),
    "vscode": Sample(write_vscode, count_vscode, words("copilot/gpt-5")),
    "qwen-code": Sample(write_qwen, count_qwen, words("assistant", "tool_result")),
    "gemini-cli": Sample(write_gemini, count_gemini),
    "gemini-checkpoint": Sample(write_checkpoint, count_checkpoint),
    "pydantic-ai": Sample(write_pydantic, count_pydantic),
    "message-list": Sample(write_messages, count_messages),
    "crush": Sample(write_crush, count_crush, words("reasoning", "binary", "tool_call")),
    "google-adk": Sample(lambda folder: adk_database(folder / "adk.db"), count_adk),
    "openai-agents": Sample(write_openai_agents, count_openai_agents),
    "langgraph": Sample(write_langgraph, count_langgraph, words("msgpack", "some.module", "model_validate_json")),
}
