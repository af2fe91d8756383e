"""Files of messages without a tool around them: arrays, lines, data sets, dumps of requests, pydantic-ai.

The forms are those of the providers' documentation; that of pydantic-ai is what its version 2.68 writes.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign_stores import entries_of

from convtree import ExtensionDataEntry, MessageEntry, NotALog, Session, SessionStore, open_store
from convtree._messages.custom import CUSTOM
from convtree._model.usage import Usage
from convtree.exchange import import_file, import_into, read_foreign

ASKED, ANSWERED = {"role": "user", "content": "Name a city"}, {"role": "assistant", "content": "Rome"}
PLAIN: list[dict[str, Any]] = [{"role": "system", "content": "Be brief"}, ASKED, ANSWERED]
LONG = [{"role": role, "content": "word " * 200} for role in ("user", "assistant")] * 1_000
CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at":"it"}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
CHAT_ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-5",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Rome"}}],
    "usage": {"prompt_tokens": 30, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 7}},
}
PYDANTIC: list[dict[str, Any]] = [
    {
        "parts": [
            {"content": "Be brief", "timestamp": "2026-11-29T08:49:17.000000Z", "part_kind": "system-prompt"},
            {"content": "Look it up", "timestamp": "2026-11-29T08:49:17.000000Z", "part_kind": "user-prompt"},
        ],
        "kind": "request",
        "conversation_id": "01a2267e-8d7e-7419-bd49-0f8940723dcd",
    },
    {
        "parts": [{"tool_name": "look", "args": {"at": "it"}, "tool_call_id": "c1", "part_kind": "tool-call"}],
        "usage": {"input_tokens": 52, "cache_read_tokens": 20, "cache_write_tokens": 4, "output_tokens": 5},
        "model_name": "gpt-5",
        "provider_name": "openai",
        "timestamp": "2026-11-29T08:49:18.000000Z",
        "kind": "response",
    },
    {
        "parts": [{"tool_name": "look", "content": "sunny", "tool_call_id": "c1", "part_kind": "tool-return"}],
        "timestamp": "2026-11-29T08:49:19.000000Z",
        "kind": "request",
    },
    {
        "parts": [{"content": "It is sunny", "part_kind": "text"}],
        "usage": {"input_tokens": 54, "cache_read_tokens": 0, "cache_write_tokens": 0, "output_tokens": 10},
        "model_name": "gpt-5",
        "provider_name": "openai",
        "timestamp": "2026-11-29T08:49:20.000000Z",
        "kind": "response",
    },
]


def lines(*values: Any) -> str:
    """JSON, a value on each line."""
    return "".join(json.dumps(value) + "\n" for value in values)


def spoken(session: Session) -> list[tuple[str | None, str]]:
    """Role and text of the messages up to the leaf."""
    return [(each.role, each.text) for each in session.path() if isinstance(each, MessageEntry)]


def read_all(folder: Path, text: str, name: str = "any.json") -> list[Session]:
    """The sessions of a file, imported twice: the second time adds nothing."""
    path = folder / name
    path.write_text(text)
    store: SessionStore = open_store("memory:")
    reports = import_into(path, store)
    assert [(each.status, each.written) for each in import_into(path, store)] == [("imported", 0) for _ in reports]
    return [store.open(each.session_id or "", read_only=True) for each in reports if each.session_id]


def usage_of(path: Path) -> Usage:
    """The tokens of the only session of a file, as a store sums them up."""
    store: SessionStore = open_store("memory:")
    (report,) = import_into(path, store)
    return store.info(report.session_id or "").usage


TALK = [("system", "Be brief"), ("user", "Name a city"), ("assistant", "Rome")]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(PLAIN),
        json.dumps(PLAIN, indent=2),
        "\ufeff" + json.dumps(PLAIN, indent=0),
        lines(*PLAIN),
        "[\n" + ",\n".join(map(json.dumps, PLAIN)) + "\n]\n",
        lines({"messages": PLAIN}),
        json.dumps({"messages": PLAIN}, indent=2),
        json.dumps([{"messages": PLAIN}]),
        json.dumps([PLAIN]),
        lines({"model": "m", "max_tokens": 9, "system": "Be brief", "messages": PLAIN[1:]}),
        lines({"model": "m", "system": [{"type": "text", "text": "Be brief"}], "messages": PLAIN[1:]}),
        lines({"model": "m", "instructions": "Be brief", "input": PLAIN[1:]}),
        lines({"custom_id": "1", "params": {"model": "m", "system": "Be brief", "messages": PLAIN[1:]}}),
        lines({"body": {"model": "m", "messages": PLAIN[:2]}, "response": {"status": 200, "body": CHAT_ANSWER}}),
        lines({"request": {"messages": PLAIN[:2]}, "response": CHAT_ANSWER}),
        lines({"messages": PLAIN[:2]} | CHAT_ANSWER),
        lines(
            {
                "system": "Be brief",
                "conversations": [{"from": "human", "value": "Name a city"}, {"from": "gpt", "value": "Rome"}],
            }
        ),
        lines(
            {
                "systemInstruction": {"parts": [{"text": "Be brief"}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "Name a city"}]},
                    {"role": "model", "parts": [{"text": "Rome"}]},
                ],
            }
        ),
        lines(
            {"type": "system", "content": "Be brief", "additional_kwargs": {}, "response_metadata": {}},
            {"type": "human", "content": "Name a city", "additional_kwargs": {}, "response_metadata": {}},
            {"type": "ai", "content": "Rome", "additional_kwargs": {}, "response_metadata": {}, "tool_calls": []},
        ),
    ],
)  # fmt: skip
def test_the_same_conversation_in_every_form(text: str, tmp_path: Path) -> None:
    """One session, the same words."""
    (session,) = read_all(tmp_path, text)
    assert spoken(session) == TALK
    assert session.metadata["import"]["format"] == "message-list"


@pytest.mark.parametrize(
    "text",
    [
        lines({"messages": PLAIN}, {"messages": PLAIN[:2]}),
        lines(PLAIN, PLAIN[:2]),
        json.dumps([PLAIN, PLAIN[:2]]),
        json.dumps([{"messages": PLAIN}, {"messages": PLAIN[:2]}], indent=1),
    ],
)
def test_several_conversations_are_several_sessions(text: str, tmp_path: Path) -> None:
    """Also if they begin alike."""
    assert [spoken(each) for each in read_all(tmp_path, text)] == [TALK, TALK[:2]]


def test_an_answer_has_its_model_and_its_tokens(tmp_path: Path) -> None:
    """What is beside the message stays; the tokens are those that the provider counted."""
    request = {"custom_id": "c-7", "body": {"model": "gpt-5", "tools": [{"name": "look"}], "messages": PLAIN[:2]}}
    (session,) = read_all(tmp_path, lines(request | {"response": {"status_code": 200, "body": CHAT_ANSWER}}))
    answer = session.path()[-1]
    assert isinstance(answer, MessageEntry)
    assert (answer.message, answer.provider, answer.model) == (ANSWERED, "openai", "gpt-5")
    assert answer.timestamp == "2023-11-14T22:13:20.000000Z"
    assert answer.extra == {
        "message-list": {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "choices": [{"index": 0, "finish_reason": "stop"}],
        }
    }
    usage = usage_of(tmp_path / "any.json")
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (30 - 7, 2, 7)
    assert session.metadata["message-list"] == {
        "custom_id": "c-7",
        "body": {"model": "gpt-5", "tools": [{"name": "look"}]},
        "response": {"status_code": 200},
    }


def test_calls_of_a_responses_input_are_paired(tmp_path: Path) -> None:
    """The items go out again as they came."""
    (session,) = read_all(tmp_path, lines({"model": "gpt-5", "input": [ASKED, CALL, RESULT], "title": "Weather"}))
    assert session.name == "Weather"
    assert session.build_context().open_calls == ()
    assert session.build_context().to("openai-responses")["input"][1:] == [CALL, RESULT]


@pytest.mark.parametrize(
    "record",
    [
        {
            "input": {"messages": [ASKED]},
            "preferred_output": [ANSWERED],
            "non_preferred_output": [{"role": "assistant", "content": "Paris, France"}],
        },
        {"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [{"role": "assistant", "content": "Paris, France"}]},
        {
            "chosen": [ASKED, ANSWERED],
            "rejected": [ASKED, {"role": "assistant", "content": "Paris, France"}],
        },
    ],
)
def test_preferences_are_two_branches(record: dict[str, Any], tmp_path: Path) -> None:
    """The question is there once; the leaf is the answer that was preferred."""
    (session,) = read_all(tmp_path, lines(record))
    assert [each.text for each in entries_of(session) if isinstance(each, MessageEntry)] == [
        "Name a city",
        "Paris, France",
        "Rome",
    ]
    assert spoken(session) == [("user", "Name a city"), ("assistant", "Rome")]
    assert len(session.leaves()) == 2


def test_what_is_preferred_may_be_the_beginning_of_the_other(tmp_path: Path) -> None:
    """Then it is in the middle of the only branch, and the leaf is there."""
    longer = [ANSWERED, {"role": "user", "content": "Why?"}]
    (session,) = read_all(tmp_path, lines({"prompt": [ASKED], "chosen": [ANSWERED], "rejected": longer}))
    assert spoken(session) == [("user", "Name a city"), ("assistant", "Rome")]
    assert [each.text for each in session.leaves() if isinstance(each, MessageEntry)] == ["Why?"]


@pytest.mark.parametrize(
    "text", [json.dumps, lambda values: lines(*values), lambda values: lines({"messages": values})]
)
def test_what_is_no_message_is_kept_and_reported(text: Any, tmp_path: Path) -> None:
    """In its place; a choice among several answers is none, and a node of a foreign tree neither."""
    several = CHAT_ANSWER | {"choices": [{"message": ANSWERED}, {"message": ANSWERED}]}
    odd = [{"note": "w1"}, several, {"id": "b", "parent_id": "a", "role": "user", "content": "w2"}]
    (tmp_path / "any").write_text(text([ASKED, *odd, ANSWERED]))
    session, report = read_foreign(tmp_path / "any")
    kept = [each for each in session.path() if isinstance(each, ExtensionDataEntry)]
    assert [(each.ext_type, each.data) for each in kept] == [("message-list.message", each) for each in odd]
    assert [each.code for each in report.findings] == ["source_bad_record"] * 3
    assert spoken(session) == [("user", "Name a city"), ("assistant", "Rome")]


def test_an_answer_that_only_an_application_reads_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader may choose among several answers, an import may not."""
    several = CHAT_ANSWER | {"choices": [{"message": ANSWERED}, {"message": ANSWERED}]}
    monkeypatch.setitem(CUSTOM, "first", lambda message: message["choices"][0]["message"])
    (tmp_path / "any").write_text(lines(ASKED, several))
    session, report = read_foreign(tmp_path / "any")
    last = session.path()[-1]
    assert isinstance(last, ExtensionDataEntry)
    assert (last.data, [each.code for each in report.findings]) == (several, ["source_bad_record"])


def test_values_among_messages_that_are_no_objects_are_kept(tmp_path: Path) -> None:
    """A list may hold anything."""
    (tmp_path / "any").write_text(lines({"messages": ["w1", ASKED]}))
    session, report = read_foreign(tmp_path / "any")
    first = session.path()[0]
    assert isinstance(first, ExtensionDataEntry)
    assert (first.data, [each.code for each in report.findings]) == ({"value": "w1"}, ["source_bad_record"])


def test_objects_beside_conversations_are_reported(tmp_path: Path) -> None:
    """A line that holds no conversation belongs to none."""
    (tmp_path / "any").write_text(lines({"messages": PLAIN}, {"note": "w1"}))
    report = import_file(tmp_path / "any", tmp_path / "log")
    assert [(each.code, each.line) for each in report.findings] == [("source_bad_record", 2)]
    found = import_into(tmp_path / "any", open_store("memory:"))
    assert [[each.code for each in one.findings] for one in found] == [[], ["source_bad_record"]]


def test_bare_messages_between_conversations_are_one_session(tmp_path: Path) -> None:
    """In the order of the file."""
    found = read_all(tmp_path, lines(ASKED, {"messages": PLAIN}, ANSWERED))
    assert [spoken(each) for each in found] == [TALK[1:], TALK]


@pytest.mark.parametrize("end", [1, 2, 3])
@pytest.mark.parametrize(
    "text", [json.dumps, lambda values: lines(*values), lambda values: lines({"messages": values})]
)
def test_growth_adds_what_is_new(text: Any, end: int, tmp_path: Path) -> None:
    """The ids of what was there stay."""
    talk = [*PLAIN, {"role": "user", "content": "Another"}]
    (tmp_path / "any").write_text(text(talk[:end]))
    first = import_file(tmp_path / "any", tmp_path / "log")
    (tmp_path / "any").write_text(text(talk))
    second = import_file(tmp_path / "any", tmp_path / "log")
    assert (first.written, second.written, second.already_there) == (end, 4 - end, end)


def test_an_edited_message_is_a_branch(tmp_path: Path) -> None:
    """Nothing that was imported is changed."""
    (tmp_path / "any").write_text(json.dumps(PLAIN))
    import_file(tmp_path / "any", tmp_path / "log")
    (tmp_path / "any").write_text(json.dumps([*PLAIN[:2], {"role": "assistant", "content": "Oslo"}]))
    import_file(tmp_path / "any", tmp_path / "log")
    with Session.open(tmp_path / "log", mode="r") as session:
        assert [each.text for each in session.leaves() if isinstance(each, MessageEntry)] == ["Rome", "Oslo"]


def test_files_of_one_name_are_different_sessions(tmp_path: Path) -> None:
    """Two runs that begin with the same prompt are not one conversation."""
    store = open_store("memory:")
    for name, answer in (("run1", "Rome"), ("run2", "Oslo")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trace.jsonl").write_text(lines(ASKED, {"role": "assistant", "content": answer}))
    reports = import_into(tmp_path, store)
    assert [each.written for each in reports] == [2, 2]
    assert len({each.session_id for each in reports}) == 2


def test_an_id_that_is_used_twice_is_reported(tmp_path: Path) -> None:
    """The second conversation gets an id of its own."""
    (tmp_path / "any").write_text(lines({"id": 1, "messages": PLAIN}, {"id": 1, "messages": PLAIN}))
    reports = import_into(tmp_path / "any", open_store("memory:"))
    assert [[each.code for each in report.findings] for report in reports] == [[], ["source_duplicate"]]
    assert [each.written for each in reports] == [4, 4]


@pytest.mark.parametrize("text", [lines({"messages": LONG}), json.dumps({"messages": LONG}, indent=1)])
def test_an_object_longer_than_the_beginning_is_recognised(text: str, tmp_path: Path) -> None:
    """By the messages inside of it."""
    (tmp_path / "any").write_text(text)
    assert import_file(tmp_path / "any", tmp_path / "log", durability="process").written == 2_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "[]",
        "{}",
        '"user"',
        "[1, 2]",
        '{"name": "x", "version": "1"}',
        '{"role": "user"',
        '{"messages": []}',
        '{"messages": [{"id": 1}]}',
        '{"messages": "hello"}',
        '{"prompt": "Name a city", "completion": "Rome"}',
        '[{"from": "ann@example.com", "value": "hello"}]',
        '[{"role": "admin", "content": "hello"}]',
        '{"id": "a", "parentId": null, "role": "user", "content": "hello"}',
        '{"data": [{"role": "user", "content": "' + "x" * 2**20 + '"}]}',
    ],
)
def test_other_json_is_no_conversation(text: str, tmp_path: Path) -> None:
    """A message of a known shape is needed."""
    (tmp_path / "any").write_text(text)
    with pytest.raises(NotALog):
        read_foreign(tmp_path / "any")


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    """Also if it is the first one."""
    whole = lines(*PLAIN)
    (tmp_path / "any").write_text('{"role": "user", "con\n' + whole + '{"role": "user"')
    session, report = read_foreign(tmp_path / "any")
    assert spoken(session) == TALK
    assert [each.code for each in report.findings] == ["source_bad_line", "source_torn_tail"]


# --- pydantic-ai ---


def test_a_history_of_pydantic_ai(tmp_path: Path) -> None:
    """Calls, results, models, times and tokens are those that it wrote."""
    (session,) = read_all(tmp_path, json.dumps(PYDANTIC))
    found = [each for each in session.path() if isinstance(each, MessageEntry)]
    assert session.id == "01a2267e-8d7e-7419-bd49-0f8940723dcd"
    assert session.metadata["import"]["format"] == "pydantic-ai"
    assert [each.message for each in found] == PYDANTIC
    assert [each.model for each in found] == [None, "gpt-5", None, "gpt-5"]
    assert [(each.timestamp or "")[17:19] for each in found] == ["17", "18", "19", "20"]
    usage = usage_of(tmp_path / "any.json")
    assert (usage.input_tokens, usage.output_tokens) == (52 - 20 - 4 + 54, 5 + 10)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (20, 4)
    assert session.build_context().open_calls == ()
    request = session.build_context().to("openai-chat")["messages"]
    assert [each["role"] for each in request] == ["system", "user", "assistant", "tool", "assistant"]


def test_a_history_of_an_older_pydantic_ai_has_no_id(tmp_path: Path) -> None:
    """It is derived; the history may grow."""
    older = [{name: value for name, value in each.items() if name != "conversation_id"} for each in PYDANTIC]
    for end in (1, 2, 4):
        (tmp_path / "any").write_text(json.dumps(older[:end]))
        report = import_file(tmp_path / "any", tmp_path / "log")
    assert (report.format, report.written, report.already_there) == ("pydantic-ai", 2, 2)


def test_a_request_of_pydantic_ai_alone_is_no_history(tmp_path: Path) -> None:
    """Without parts of its kinds it is any JSON."""
    (tmp_path / "any").write_text('[{"kind": "request", "parts": [{"name": "bolt"}]}]')
    with pytest.raises(NotALog):
        read_foreign(tmp_path / "any")
