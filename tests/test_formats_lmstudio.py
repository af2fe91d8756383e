"""Chats of LM Studio. Their form is that of the sources that the reader names."""

from pathlib import Path
from typing import Any

import pytest
from foreign_stores import shown, write_json

from convtree import ExtensionDataEntry, MessageEntry, NotALog, SessionStore, open_store
from convtree.exchange import import_into, read_foreign

BEGUN = 1_780_959_551_824


def step(number: int, *content: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A step of an answer."""
    about = {"defaultShouldIncludeInContext": True, "shouldIncludeInContext": True}
    id = f"{BEGUN + 1000 * number}-0.{number}"
    return {"type": "contentBlock", "stepIdentifier": id, "content": list(content), **about, **more}


def text(said: str) -> dict[str, Any]:
    """A text in a step."""
    return {"type": "text", "text": said}


def made(prompt: int, predicted: int, model: str = "qwen3") -> dict[str, Any]:
    """What is known of a generation."""
    stats = {"promptTokensCount": prompt, "predictedTokensCount": predicted, "totalTokensCount": prompt + predicted}
    return {"genInfo": {"identifier": model, "stats": {"stopReason": "eosFound", **stats}}}


def user(said: str, **more: Any) -> dict[str, Any]:
    """A message of the user."""
    version = {"type": "singleStep", "role": "user", "content": [text(said)], **more}
    return {"versions": [version], "currentlySelected": 0}


def answers(*versions: list[Any], selected: int = 0) -> dict[str, Any]:
    """A message of the assistant."""
    made = [{"type": "multiStep", "role": "assistant", "steps": steps} for steps in versions]
    return {"versions": made, "currentlySelected": selected}


THOUGHT = step(1, text("Hm."), style={"type": "thinking"}, shouldIncludeInContext=False, **made(100, 7))
CALL = {"type": "toolCallRequest", "callId": 42, "toolCallRequestId": "r1", "name": "read", "parameters": {"path": "a"}}
RESULT = {"type": "toolCallResult", "callId": 42, "toolCallRequestId": "r1", "content": "text of a"}
STATUS = {"type": "toolStatus", "callId": 42, "statusState": {"status": {"type": "toolCallSucceeded"}}}
WITH_TOOL = [
    THOUGHT,
    step(2, CALL, **made(100, 7)),
    STATUS,
    step(3, RESULT, roleOverride="tool"),
    step(4, text("It says a."), **made(130, 5)),
]


@pytest.fixture
def store() -> SessionStore:
    """An empty store."""
    return open_store("memory:")


def imported(folder: Path, messages: list[Any], store: SessionStore, **more: Any) -> tuple[str, int]:
    """Imports a chat; returns its session, and how many records were new."""
    path = folder / f"{BEGUN}.conversation.json"
    write_json(path, {"name": "About a", "createdAt": BEGUN, "messages": messages, **more})
    (report,) = import_into(path, store)
    assert report.format == "lmstudio"
    return str(report.session_id), report.written


def test_versions_are_siblings(tmp_path: Path, store: SessionStore) -> None:
    """The conversation goes on below the one that is selected. A generation is counted once."""
    versions = answers([step(1, text("A file."), **made(50, 3, "gemma"))], WITH_TOOL, selected=1)
    chat = [user("What is in a?"), versions, user("Thanks")]
    id, new = imported(tmp_path, chat, store, systemPrompt="Be kind.", tokenCount=135)
    assert (id, new) == (str(BEGUN), 1 + (1 + 3) + 1 + 2)
    assert imported(tmp_path, chat, store, systemPrompt="Be kind.", tokenCount=135) == (id, 0)
    with store.open(id) as session:
        assert shown(session) == [
            *("user: What is in a?", "assistant: <thinking> <tool_use>", "user: <tool_result>"),
            *("assistant: It says a.", "user: Thanks"),
        ]
        first = session.path()[0]
        other, answer = session.children(first.id)
        assert isinstance(other, MessageEntry)
        assert isinstance(answer, MessageEntry)
        assert [each.model for each in (other, answer)] == ["gemma", "qwen3"]
        assert answer.timestamp == "2026-06-08T22:59:12.824000Z"
        assert answer.message["content"][1] == {"type": "tool_use", "id": "r1", "name": "read", "input": {"path": "a"}}
        assert answer.message["lmstudio"]["steps"][2] == STATUS
        assert session.metadata["lmstudio"] == {"systemPrompt": "Be kind.", "tokenCount": 135}
    usage = store.info(id).usage
    assert (usage.input_tokens, usage.output_tokens) == (50 + 100 + 130, 3 + 7 + 5)
    assert (store.info(id).name, store.info(id).first_user_message) == ("About a", "What is in a?")


def test_a_chat_grows(tmp_path: Path, store: SessionStore) -> None:
    """By a message, by another version, by another selection, by what is taken out of the context."""
    id, _ = imported(tmp_path, [user("Hello")], store)
    hi, hey = [step(1, text("Hi!"))], [step(2, text("Hey!"))]
    assert imported(tmp_path, [user("Hello"), answers(hi)], store) == (id, 1)
    assert imported(tmp_path, [user("Hello"), answers(hi, hey, selected=1)], store) == (id, 1)
    assert imported(tmp_path, [user("Hello"), answers(hi, hey)], store) == (id, 1)
    with store.open(id) as session:
        assert shown(session) == ["user: Hello", "assistant: Hi!"]
    hidden = [hi[0] | {"shouldIncludeInContext": False}]
    assert imported(tmp_path, [user("Hello"), answers(hidden, hey)], store) == (id, 1)
    with store.open(id) as session:
        assert shown(session) == ["user: Hello"]


def test_what_is_hidden_is_a_message_of_its_own(tmp_path: Path, store: SessionStore) -> None:
    """Texts of one generation, of which the model sees the second only."""
    steps = [step(1, text("Draft."), shouldIncludeInContext=False, **made(9, 4)), step(2, text("Final."))]
    id, _ = imported(tmp_path, [user("Write"), answers(steps)], store)
    with store.open(id) as session:
        assert shown(session) == ["user: Write", "assistant: Final."]
        assert len(session.path()) == 3


def test_other_shapes(tmp_path: Path, store: SessionStore) -> None:
    """A file beside a text, the call of the SDK, a message without versions, an answer without steps, a draft."""
    file = {"type": "file", "fileIdentifier": "photo.png", "fileType": "image", "sizeBytes": 4711}
    call = {"type": "toolCallRequest", "toolCallRequest": {"id": "c9", "name": "now", "arguments": {"zone": "UTC"}}}
    chat = [
        {"versions": [{"type": "singleStep", "role": "user", "content": [text("See"), file]}]},
        answers([step(1, call), step(2, {"type": "toolCallResult", "toolCallId": "c9", "content": "noon"})]),
        answers([], ["stray", step(3, text("Done."))], selected=1),
        {"versions": [{"type": "singleStep", "role": "user", "content": "As text"}], "currentlySelected": 3},
        {"role": "user", "content": "lonely"},
        answers([{"type": "debugInfoBlock", "debugInfo": "why"}, step(4, text("End."))]),
    ]
    id, _ = imported(tmp_path, chat, store)
    with store.open(id) as session:
        assert shown(session) == [
            *("user: See", "assistant: <tool_use>", "user: <tool_result>", "assistant: Done."),
            *("user: As text", "assistant: End."),
        ]
        path = session.path()
        assert isinstance(path[0], MessageEntry)
        assert path[0].message["lmstudio"] == {"steps": [{"type": "contentBlock", "content": [file]}]}
        lonely = [each for each in path if isinstance(each, ExtensionDataEntry)]
        assert [each.data for each in lonely] == [{"role": "user", "value": {"role": "user", "content": "lonely"}}]
    (report,) = import_into(tmp_path / f"{BEGUN}.conversation.json", open_store("memory:"))
    assert [finding.code for finding in report.findings] == ["source_bad_record"]


def test_it_is_recognised_by_a_message(tmp_path: Path) -> None:
    """The keys of a chat without messages are those of many tools."""
    path = write_json(tmp_path / "chat.json", {"name": "A", "createdAt": BEGUN, "messages": [], "systemPrompt": ""})
    with pytest.raises(NotALog, match="lmstudio"):
        list(read_foreign(path))
