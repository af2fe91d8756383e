"""Sessions to export, and what is the same of one that comes back: for the tests of all exports to tools."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
    Session,
)
from convtree._model.entries import Entry
from convtree._providers.writing import as_object
from convtree.exchange import export_lines, read_foreign

Fields = dict[str, Any]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def call(id: str, name: str = "ls") -> Fields:
    """A call in the shape of chat completions."""
    return {"id": id, "type": "function", "function": {"name": name, "arguments": '{"path":"/"}'}}


def chat_session(**more: Any) -> Session:
    """A conversation with a prompt, parallel calls, a picture and a branch; the leaf is not the last entry."""
    session = Session.memory(**more)
    session.append({"role": "system", "content": "Be brief"})
    session.append({"role": "user", "content": "Look"})
    session.append(
        {"role": "assistant", "content": "I look", "tool_calls": [call("c1"), call("c2", "pwd")]},
        provider="openai",
        model="gpt-5",
        usage={"prompt_tokens": 50, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 20}},
    )
    session.append({"role": "tool", "tool_call_id": "c1", "content": "a.txt"})
    session.append({"role": "tool", "tool_call_id": "c2", "content": "/"})
    session.append({"role": "assistant", "content": "Done"}, provider="openai", model="gpt-5")
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    question = session.append({"role": "user", "content": [{"type": "text", "text": "And this?"}, picture]})
    answer = session.append({"role": "assistant", "content": "One pixel"}, provider="openai", model="gpt-5")
    session.append({"role": "assistant", "content": "A dot"}, provider="x", model="other", parent_id=question.id)
    session.branch(answer.id)
    return session


def exported(session: Session, format: str) -> list[Fields]:
    """The lines of an exported session."""
    return [json.loads(line) for line in b"".join(export_lines(session, format)).splitlines()]


def read_back(session: Session, format: str) -> Session:
    """The session that an import makes of an export, which has nothing to complain of."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "exported.jsonl"
        place.write_bytes(b"".join(export_lines(session, format)))
        again, report = read_foreign(place)
    assert (format, []) == (report.format, [each for each in report.findings if each.severity != "info"])
    return again


def said(session: Session) -> list[str]:
    """What the context says, a text or a call or a result each."""
    found: list[str] = []
    for source in session.build_context().said:
        found += [source.text] if source.text else []
        found += [f"{each.name}({as_object(each)})" for each in source.calls]
        found += ["\n".join(part.text or "" for part in each.content) for each in source.results]
    return found


def asked(session: Session) -> list[tuple[Any, Any]]:
    """What a request for the context says: the role and the text of a message; a call; what a result says."""
    request = session.build_context().to("openai-responses", unknown="text")
    first = request.get("instructions")
    found: list[tuple[Any, Any]] = [("developer", [text]) for text in (first.split("\n\n") if first else [])]
    for item in request["input"]:
        if item.get("type", "message") == "message":
            content = item["content"]
            blocks = [{"text": content}] if isinstance(content, str) else content
            found.append((item["role"], [block.get("text") or block["image_url"] for block in blocks]))
        elif item["type"] == "function_call":
            found.append((item["name"], json.loads(item["arguments"])))
        else:
            found.append((item["type"], item.get("output")))
    return found


def parents(session: Session, known: set[str]) -> dict[str, str | None]:
    """The nearest ancestor of every known entry that is known, too."""
    above = {entry.id: entry.parent_id for _, entry in session.records() if isinstance(entry, Entry)}
    found: dict[str, str | None] = {}
    for id in above.keys() & known:
        at = above[id]
        while at is not None and at not in known:
            at = above[at]
        found[id] = at
    return found


_TEXTS = st.sampled_from(["a", "two words", "ü\u2028\n", "# x"])


def _block(kind: str, text: str, number: int) -> Fields:
    if kind == "image":
        return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    if kind == "thinking":
        return {"type": "thinking", "thinking": text, "signature": "c2ln"}
    return {"type": "text", "text": f"{text}{number}"}


@st.composite
def _messages(draw: st.DrawFn, number: int) -> list[Fields]:
    """One message, or a call and its result."""
    text, shape = draw(_TEXTS), draw(st.sampled_from(["plain", "anthropic", "chat call", "call", "gemini call"]))
    model = draw(st.sampled_from([{}, {"provider": "anthropic", "model": "m"}, {"provider": "q", "model": "n"}]))
    seen = {"visible_to": draw(st.sampled_from(["all", "all", "model", "user", "nobody"]))}
    usage = draw(st.sampled_from([{}, {"usage": {"input_tokens": 3, "output_tokens": 4}}]))
    if shape == "plain":
        role = draw(st.sampled_from(["user", "assistant"]))
        more = model | usage if role == "assistant" else {}
        return [{"message": {"role": role, "content": f"{text}{number}"}} | seen | more]
    if shape == "anthropic":
        blocks = [_block(kind, text, number) for kind in draw(st.lists(st.sampled_from(["text", "image"]), min_size=1))]
        return [{"message": {"role": "user", "content": blocks}, "shape": "anthropic"} | seen]
    if shape == "chat call":
        asked = {"role": "assistant", "content": text, "tool_calls": [call(f"c{number}")]}
        return [
            {"message": asked} | model,
            {"message": {"role": "tool", "tool_call_id": f"c{number}", "content": text}},
        ]
    if shape == "call":
        use = {"type": "tool_use", "id": f"t{number}", "name": "ls", "input": {}}
        result = {"type": "tool_result", "tool_use_id": f"t{number}", "content": text}
        thought = _block("thinking", text, number)
        return [
            {"message": {"role": "assistant", "content": [thought, use]}} | model | usage,
            {"message": {"role": "user", "content": [result]}},
        ]
    parts = [{"text": text}, {"functionCall": {"name": "f", "args": {"n": number}}}]
    answer = {"functionResponse": {"name": "f", "response": {"output": text}}}
    return [
        {"message": {"role": "model", "parts": parts}, "shape": "gemini"} | model,
        {"message": {"role": "user", "parts": [answer]}, "shape": "gemini"},
    ]


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    """Any tree of messages, summaries and what no tool has a word for; the leaf is any entry."""
    session = Session.memory(id=draw(st.sampled_from(["s", "6f2c0d9e-8f5a-4d6e-9f10-1f2a3b4c5d6e"])))
    ends: list[str] = []
    for number in range(draw(st.integers(1, 10))):
        kind = draw(st.sampled_from(["messages"] * 5 + ["compaction", "summary", "model", "data"]))
        above = draw(st.sampled_from(ends[-3:])) if ends and draw(st.integers(0, 3)) == 0 else None
        if above is not None:
            session.branch(above)
        entries: list[Entry]
        if kind == "compaction" and (path := session.path()):
            kept = draw(st.sampled_from([None, *(each.id for each in path)]))
            entries = [CompactionEntry(summary=f"S{number}", first_kept_entry_id=kept, tokens_before=9)]
        elif kind == "summary":
            entries = [BranchSummaryEntry(from_id=None, summary=draw(st.sampled_from(["", f"B{number}"])))]
        elif kind == "model":
            entries = [ModelChangeEntry(provider="p", model=f"m{number}", settings={"x": number})]
        elif kind == "data":
            entries = [ExtensionDataEntry(ext_type="app.x", data={"n": number})]
        else:
            entries = [MessageEntry(**each) for each in draw(_messages(number))]
        ends += [session.append(entry).id for entry in entries]
    session.branch(draw(st.sampled_from(ends)))
    return session
