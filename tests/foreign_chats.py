"""Samples of still more formats, of the same kind as those in `foreign_whole`."""

from __future__ import annotations

import json
from pathlib import Path

import test_formats_copilot_cli as copilot
import test_formats_cursor as cursor
import test_formats_kimi as kimi
import test_formats_lmstudio as lmstudio
import test_formats_zed as zed
from foreign_stores import write_json, write_lines
from foreign_sums import Counts, Sample, kinds, lines_of, rows_of, total, words


def write_lmstudio(folder: Path) -> Path:
    """An answer with a call, and another version of it."""
    other = [lmstudio.step(5, lmstudio.text("A file."), **lmstudio.made(555, 222))]
    asked = lmstudio.user("What is in a?", shade="viridian", number=4711)
    messages = [asked, lmstudio.answers(lmstudio.WITH_TOOL, other)]
    about = {"name": "About a", "createdAt": lmstudio.BEGUN, "messages": messages, "preset": "cerulean"}
    return write_json(folder / "1.conversation.json", about)


def count_lmstudio(path: Path) -> Counts:
    """By its versions; a generation may have several steps."""
    messages = json.loads(path.read_text())["messages"]
    versions = [version for message in messages for version in message["versions"]]
    steps = [step for version in versions for step in version.get("steps", ())]
    paid = {json.dumps(step["genInfo"]["stats"]) for step in steps if "genInfo" in step}
    stats = [json.loads(each) for each in paid]
    parts = [part for step in steps for part in step.get("content", ())]
    return Counts(
        total(stats, "promptTokensCount"),
        total(stats, "predictedTokensCount"),
        messages=len(messages),
        calls=kinds(parts, "toolCallRequest"),
        results=kinds(parts, "toolCallResult"),
        leaves=1 + sum(len(message["versions"]) - 1 for message in messages),
    )


def write_kimi_cli(folder: Path) -> Path:
    """A turn with a call, and one of a sub-agent beside it."""
    notice = kimi.wire("Notification", title="viridian", created_at=4711.5, body="")
    event = {"type": "StatusUpdate", "payload": kimi.status(555, 222)["message"]["payload"]}
    return kimi.cli(folder, [*kimi.TURN, notice, kimi.wire("SubagentEvent", agent_id="a1b2c3", event=event)])


def count_kimi_cli(path: Path) -> Counts:
    """By the lines of its wire."""
    (wire,) = path.rglob("wire.jsonl")
    lines = [line["message"] for line in lines_of(wire)[1:]]
    events = [line["payload"]["event"] if line["type"] == "SubagentEvent" else line for line in lines]
    paid = [event["payload"]["token_usage"] for event in events if event["type"] == "StatusUpdate"]
    names = [line["type"] for line in lines]
    return Counts(
        total(paid, "input_other"),
        total(paid, "output"),
        total(paid, "input_cache_read"),
        messages=sum(names.count(each) for each in ("TurnBegin", "ContentPart", "ToolCall", "ToolResult")),
        calls=names.count("ToolCall"),
        results=names.count("ToolResult"),
    )


def write_kimi_code(folder: Path) -> Path:
    """A turn with a call that was taken back, and another one."""
    undone = [kimi.record("context.undo", count=1), kimi.said("Say beta", shade="viridian"), *kimi.step(3)]
    return kimi.code(folder, [*kimi.TALK, *undone], custom={"number": 4711})


def count_kimi_code(path: Path) -> Counts:
    """By the records of its wire; the system prompt is a message, and what was taken back is a branch."""
    (wire,) = path.rglob("wire.jsonl")
    lines = lines_of(wire)
    paid = [line["usage"] for line in lines if line["type"] == "usage.record"]
    events = [line["event"]["type"] for line in lines if line["type"] == "context.append_loop_event"]
    calls, results = events.count("tool.call"), events.count("tool.result")
    said = kinds(lines, "context.append_message", "profile.bind") + events.count("content.part")
    return Counts(
        total(paid, "inputOther"),
        total(paid, "output"),
        total(paid, "inputCacheRead"),
        messages=said + calls + results,
        calls=calls,
        results=results,
        leaves=1 + kinds(lines, "context.undo"),
    )


def write_copilot(folder: Path) -> Path:
    """A turn with a call, and a call to the model that the sums alone tell."""
    more = [copilot.asked("f1", "e9", "Thanks", shade="cerulean"), copilot.sums("f2", "f1", 5555, 4711, 333)]
    return write_lines(folder / "events.jsonl", [*copilot.TALK, *more])


def count_copilot(path: Path) -> Counts:
    """By its last sums."""
    lines = lines_of(path)
    usage = lines[-1]["data"]["modelMetrics"]["gpt-5.1"]["usage"]
    asked, said = kinds(lines, "user.message"), kinds(lines, "system.message", "assistant.message")
    results = kinds(lines, "tool.execution_complete")
    return Counts(
        usage["inputTokens"] - usage["cacheReadTokens"],
        usage["outputTokens"],
        usage["cacheReadTokens"],
        messages=asked + said + results,
        calls=sum(len(line["data"].get("toolRequests", ())) for line in lines),
        results=results,
    )


def write_zed(folder: Path) -> Path:
    """Two turns with their usage."""
    more = [zed.user("u2", {"Text": "Thanks"}), {"Agent": {"content": [{"Text": "Welcome."}], "tool_results": {}}}]
    usage = zed.PAID | {"u2": {"input_tokens": 555, "output_tokens": 222}}
    data = zed.thread([*zed.MESSAGES, *more], request_token_usage=usage, profile="viridian", number=4711)
    packed = json.dumps(data).encode()
    return zed.write(folder, zed.row(data, data_type="json", data=packed, folder_paths="/viridian"))


def count_zed(path: Path) -> Counts:
    """By the thread; each usage is a leaf beside the conversation."""
    ((data,),) = rows_of(path, "select data from threads")
    thread = json.loads(data)
    paid = list(thread["request_token_usage"].values())
    agents = [message["Agent"] for message in thread["messages"] if "Agent" in message]
    return Counts(
        total(paid, "input_tokens"),
        total(paid, "output_tokens"),
        total(paid, "cache_read_input_tokens"),
        messages=len(thread["messages"]),
        calls=sum("ToolUse" in part for agent in agents for part in agent["content"]),
        results=sum(len(agent["tool_results"]) for agent in agents),
        leaves=1 + len(paid),
    )


def write_cursor(folder: Path) -> Path:
    """A session, and a message that its order does not name."""
    lost = cursor.bubble("b9", 2, "viridian", number=4711)
    return cursor.write(folder, cursor.rows([*cursor.BUBBLES, lost], 4, shade="cerulean")[:-1])


def count_cursor(path: Path) -> Counts:
    """By its rows."""
    found = [json.loads(value) for _, value in rows_of(path, "select * from cursorDiskKV where key like 'bubbleId%'")]
    paid = [bubble["tokenCount"] for bubble in found]
    calls = [bubble["toolFormerData"] for bubble in found if "toolFormerData" in bubble]
    ((session,),) = rows_of(path, "select value from cursorDiskKV where key like 'composerData%'")
    lost = len(found) - len(json.loads(session)["fullConversationHeadersOnly"])
    return Counts(
        total(paid, "inputTokens"),
        total(paid, "outputTokens"),
        messages=len(found),
        calls=len(calls),
        results=sum("result" in call for call in calls),
        leaves=1 + lost,
    )


def write_cursor_agent(folder: Path) -> Path:
    """A transcript with a call."""
    return write_lines(folder / "1.jsonl", [*cursor.TRANSCRIPT, cursor.line("user", cursor.words("cerulean"), n=4711)])


def count_cursor_agent(path: Path) -> Counts:
    """By its lines."""
    said = [line for line in lines_of(path) if "role" in line]
    blocks = [block for line in said for block in line["message"]["content"]]
    return Counts(messages=len(said), calls=kinds(blocks, "tool_use"))


KIMI_WORDS = (
    "TurnBegin",
    "StepBegin",
    "TurnEnd",
    "ContentPart",
    "ToolCall",
    "ToolResult",
    "StatusUpdate",
    "Notification",
    "SubagentEvent",
    "function",
)
LOOP_WORDS = ("context.append_loop_event", "context.undo", "content.part", "tool.call", "tool.result", "step.begin")
CURSOR_KEYS = (f"composerData:{cursor.ID}", *(f"bubbleId:{cursor.ID}:b{number}" for number in (1, 2, 3, 4, 9)))
EVENTS = words("session.start", "user.message", "system.message", "assistant.message", "tool.execution_complete")
CHATS = {
    "copilot-cli": Sample(write_copilot, count_copilot, EVENTS),
    "cursor": Sample(write_cursor, count_cursor, words(*CURSOR_KEYS)),
    "cursor-agent": Sample(write_cursor_agent, count_cursor_agent),
    "zed": Sample(write_zed, count_zed, words("json", '{"path":"a"}')),
    "kimi-cli": Sample(write_kimi_cli, count_kimi_cli, words(*KIMI_WORDS)),
    "kimi-code": Sample(write_kimi_code, count_kimi_code, words("context.append_message", *LOOP_WORDS)),
    "lmstudio": Sample(
        write_lmstudio, count_lmstudio, words("multiStep", "singleStep", "toolCallRequest", "toolCallResult")
    ),
}
