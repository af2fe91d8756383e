"""Out as messages of chat completions: lines for fine-tuning, and files that picoclaw takes over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from exported import PIXEL, chat_session, exported, said, sessions
from foreign import SAMPLES, encoded
from hypothesis import given

from convtree import CompactionEntry, Session
from convtree.exchange import export_file, export_lines, import_into, read_foreign
from convtree.stores._open import open_store

Fields = dict[str, Any]
PICTURE: Fields = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}


def tool(id: str, content: str) -> Fields:
    """A result."""
    return {"role": "tool", "tool_call_id": id, "content": content}


def test_every_leaf_is_a_line_for_fine_tuning() -> None:
    """With calls, results and pictures, and nothing that OpenAI refuses."""
    session = chat_session()
    first, second = exported(session, "openai-jsonl")
    assert first.keys() == second.keys() == {"messages"}
    assert first["messages"][:-1] == second["messages"][:-1]
    assert first["messages"][0] == {"role": "system", "content": "Be brief"}
    assert first["messages"][3:5] == [tool("c1", "a.txt"), tool("c2", "/")]
    assert first["messages"][6] == {"role": "user", "content": [{"type": "text", "text": "And this?"}, PICTURE]}
    assert [each["messages"][-1] for each in (first, second)] == [
        {"role": "assistant", "content": "One pixel"},
        {"role": "assistant", "content": "A dot"},
    ]


def test_a_line_ends_with_what_is_learned(tmp_path: Path) -> None:
    """A question without an answer is left out, a leaf without any answer as well, and what is the same twice."""
    with Session.memory() as session:
        question = session.append({"role": "user", "content": "a"})
        answer = session.append({"role": "assistant", "content": "b", "reasoning_content": "hm"})
        session.append({"role": "user", "content": "c"})
        session.append({"role": "user", "content": "d"}, parent_id=answer.id)
        session.append({"role": "user", "content": "alone"}, parent_id=question.id)
        findings = export_file(session, tmp_path / "out", "openai-jsonl")
    assert [json.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()] == [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    ]
    assert [(each.about, each.times) for each in findings] == [
        ("reasoning_content of a message", 2),
        ("message behind the last one of the assistant", 4),
    ]


def test_lines_for_fine_tuning_come_back(tmp_path: Path) -> None:
    """Each as a session that says what the branch said."""
    session = chat_session()
    export_file(session, tmp_path / "out.jsonl", "openai-jsonl")
    with open_store("memory:") as store:
        reports = import_into(tmp_path / "out.jsonl", store)
        found = [said(store.open(each.session_id or "", read_only=True)) for each in reports]
    expected = []
    for leaf in session.leaves():
        session.branch(leaf.id)
        expected.append(said(session))
    assert found == expected


def test_picoclaw_takes_over_the_context(tmp_path: Path) -> None:
    """The summary apart, as picoclaw keeps it; content as text, pictures as media, a prompt as the user's."""
    with chat_session(id="a:b") as session:
        question = session.path()[-2]
        session.append(CompactionEntry(summary="They looked.", first_kept_entry_id=question.id))
        session.append({"role": "user", "content": "Go on"})
        findings = export_file(session, tmp_path, "picoclaw")
    document = json.loads((tmp_path / "a_b.json").read_bytes())
    assert (document["key"], document["summary"]) == ("a:b", "They looked.")
    assert document["messages"] == [
        {"role": "user", "content": "Be brief"},
        {"role": "user", "content": "And this?", "media": [PICTURE["image_url"]["url"]]},
        {"role": "assistant", "content": "One pixel"},
        {"role": "user", "content": "Go on"},
    ]
    assert [(each.code, each.about, each.times) for each in findings] == [
        ("export_left_out", "message that is not in the context", 6),
        ("export_reworded", "system message, as the user's", 1),
    ]


def test_picoclaw_gets_what_a_person_repeats_of_a_summary() -> None:
    """Only the message that stands for the compaction is left out."""
    with Session.memory() as session:
        first = session.append({"role": "user", "content": "Look"})
        session.append(CompactionEntry(summary="They looked.", first_kept_entry_id=first.id))
        [summary, asked] = session.build_context().messages
        session.append(summary)
        document = json.loads(b"".join(export_lines(session, "picoclaw")))
    assert [each["content"] for each in document["messages"]] == [asked["content"], summary["content"]]


def test_a_file_for_picoclaw_comes_back(tmp_path: Path) -> None:
    """Under its key, with the same words, calls and results."""
    with chat_session(id="a:b") as session:
        session.branch(session.path()[5].id)  # in front of the picture
        document = b"".join(export_lines(session, "picoclaw"))
        (tmp_path / "claw.json").write_bytes(document)
        again, report = read_foreign(tmp_path / "claw.json")
        assert (report.format, again.id, said(again)) == ("picoclaw", "a:b", said(session))
        assert json.loads(b"".join(export_lines(again, "picoclaw")))["messages"] == json.loads(document)["messages"]


@pytest.mark.parametrize("format", ["openai-jsonl", "picoclaw"])
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_import_can_go_out_as_messages(name: str, format: str, tmp_path: Path) -> None:
    """With contents and roles that the target takes."""
    (tmp_path / "source").write_bytes(encoded(*SAMPLES[name]))
    session, _ = read_foreign(tmp_path / "source")
    for document in exported(session, format):
        roles = {message["role"] for message in document["messages"]}
        assert roles <= {"system", "developer", "user", "assistant", "tool"}
        assert all("content" in message for message in document["messages"])


@given(sessions())
def test_any_line_says_what_its_leaf_says(session: Session) -> None:
    """Whatever the tree: the lines are the requests for its leaves, up to the last answer."""
    lines = {json.dumps(each["messages"]) for each in exported(session, "openai-jsonl")}
    expected = set()
    for leaf in session.leaves():
        session.branch(leaf.id)
        messages = list(session.build_context().to("openai-chat")["messages"])
        while messages and messages[-1]["role"] != "assistant":
            messages.pop()
        expected |= {json.dumps(messages)} if messages else set()
    assert lines == expected
