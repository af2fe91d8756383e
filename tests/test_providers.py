"""A conversation as each provider wants it, case by case; the laws are in test_providers_laws."""

import copy
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from helpers import assistant, system, user
from request_checker import check_types, faults

from convtree import CompactionEntry, MessageEntry, ModelChangeEntry, OpenCall, OpenCalls, Session

SHAPES = ["openai-chat", "openai-responses", "anthropic", "gemini"]
PNG = "iVBORw0KGgo="
Message = dict[str, Any]

CHAT = [
    user("Weather?"),
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":"Rome"}'}},
            {"id": "c2", "type": "function", "function": {"name": "look", "arguments": '{"at":"Oslo"}'}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sun"},
    {"role": "tool", "tool_call_id": "c2", "content": "snow"},
    assistant("Sun, snow."),
]
RESPONSES = [
    user("Weather?"),
    assistant("I look."),
    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at":"Rome"}'},
    {"type": "function_call", "call_id": "c2", "name": "look", "arguments": '{"at":"Oslo"}'},
    {"type": "function_call_output", "call_id": "c1", "output": "sun"},
    {"type": "function_call_output", "call_id": "c2", "output": "snow"},
    assistant("Sun, snow."),
]
ANTHROPIC = [
    user("Weather?"),
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "Rome"}},
            {"type": "tool_use", "id": "c2", "name": "look", "input": {"at": "Oslo"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "c1", "content": "sun"},
            {"type": "tool_result", "tool_use_id": "c2", "content": "snow"},
        ],
    },
    assistant("Sun, snow."),
]
GEMINI: list[Message] = [
    {"role": "user", "parts": [{"text": "Weather?"}]},
    {
        "role": "model",
        "parts": [
            {"text": "I look."},
            {"functionCall": {"name": "look", "args": {"at": "Rome"}}},
            {"functionCall": {"name": "look", "args": {"at": "Oslo"}}},
        ],
    },
    {
        "role": "user",
        "parts": [
            {"functionResponse": {"name": "look", "response": {"output": "sun"}}},
            {"functionResponse": {"name": "look", "response": {"output": "snow"}}},
        ],
    },
    {"role": "model", "parts": [{"text": "Sun, snow."}]},
]
PI = [
    user("Weather?"),
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "I look."},
            {"type": "toolCall", "id": "c1", "name": "look", "arguments": {"at": "Rome"}},
            {"type": "toolCall", "id": "c2", "name": "look", "arguments": {"at": "Oslo"}},
        ],
    },
    {"role": "toolResult", "toolCallId": "c1", "toolName": "look", "content": [{"type": "text", "text": "sun"}]},
    {"role": "toolResult", "toolCallId": "c2", "toolName": "look", "content": [{"type": "text", "text": "snow"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "Sun, snow."}]},
]
SAMPLES: dict[str, list[Message]] = {
    "openai-chat": CHAT,
    "openai-responses": RESPONSES,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "pi": PI,
}
MAIN = {"openai-chat": "messages", "openai-responses": "input", "anthropic": "messages", "gemini": "contents"}


def texts(*said: str) -> list[Message]:
    return [{"type": "text", "text": text} for text in said]


def session_of(*messages: Message, **fields: Any) -> Session:
    session = Session.memory()
    for message in messages:
        if "." in fields.get("shape", ""):  # the names of importers are for entries only
            session.append(MessageEntry(message=message, **fields))
        else:
            session.append(message, **fields)
    return session


def request(shape: Any, /, *messages: Message, unknown: Any = "raise", **fields: Any) -> Message:
    """What goes to a provider; checked against its SDK and for pairing on the way."""
    written = session_of(*messages, **fields).build_context().to(shape, unknown=unknown)
    check_types(shape, copy.deepcopy(written))
    assert faults(shape, written) == []
    return written


def body(shape: Any, /, *messages: Message, **fields: Any) -> list[Message]:
    """The messages of a request."""
    written: list[Message] = request(shape, *messages, **fields)[MAIN[shape]]
    return written


def gemini_without_ids(contents: list[Message]) -> list[Message]:
    """Calls that come from elsewhere carry Gemini's constant in the current turn."""
    contents = copy.deepcopy(contents)
    contents[1]["parts"][1]["thoughtSignature"] = "skip_thought_signature_validator"
    return contents


@pytest.mark.parametrize("target", SHAPES)
@pytest.mark.parametrize("source", SAMPLES)
def test_one_conversation_in_every_shape_for_every_provider(source: str, target: Any) -> None:
    """The same words, calls and results, wherever they come from and go to."""
    expected = SAMPLES[target]
    if target == "gemini" and source != "gemini":
        expected = gemini_without_ids(expected)
    written = body(target, *SAMPLES[source])
    if source == "gemini" and target != "gemini":
        assert len(ids_of(written)) == 2
        assert without_ids(written) == without_ids(expected)
    else:
        assert written == expected


def ids_of(value: Any) -> set[str]:
    """Every id of a call or result."""
    if isinstance(value, list):
        return set().union(*map(ids_of, value))
    if not isinstance(value, dict):
        return set()
    own = {value[name] for name in ("id", "call_id", "tool_call_id", "tool_use_id") if name in value}
    return own | ids_of(list(value.values()))


def without_ids(value: Any) -> Any:
    """The same without the ids of calls and results."""
    if isinstance(value, list):
        return [without_ids(each) for each in value]
    if not isinstance(value, dict):
        return value
    names = ("id", "call_id", "tool_call_id", "tool_use_id")
    return {name: without_ids(each) for name, each in value.items() if name not in names}


# --- what is in the shape already ---

OWN: dict[str, list[Message]] = {
    "openai-chat": [
        {"role": "user", "content": "Hi", "name": "bob"},
        {"role": "assistant", "content": None, "refusal": "No."},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "https://x.org/a.png", "detail": "low"}}],
        },
        {"role": "assistant", "content": "", "tool_calls": CHAT[1]["tool_calls"], "reasoning_content": "hm"},
        *CHAT[2:4],
    ],
    "openai-responses": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "42"}]},
        {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "hm"}]},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "A", "annotations": []}],
        },
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "free text"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "ok"},
    ],
    "anthropic": [
        {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "redacted_thinking", "data": "zzz"},
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
                {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
                {"type": "text", "text": "A", "citations": None},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "no"}],
        },
    ],
    "gemini": [
        {"role": "user", "parts": [{"text": "Hi"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]},
        {
            "role": "model",
            "parts": [
                {"text": "hm", "thought": True},
                {"functionCall": {"id": "g1", "name": "f", "args": {}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"id": "g2", "name": "g", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "g1", "name": "f", "response": {"result": "42"}}},
                {"functionResponse": {"id": "g2", "name": "g", "response": {"a": 1, "b": 2}}},
            ],
        },
        {"role": "model", "parts": [{"text": "", "thoughtSignature": "c2ln"}]},
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_in_the_shape_goes_out_as_it_came(shape: Any) -> None:
    """To the model that made it, every key, signature and id is there."""
    assert body(shape, *OWN[shape], provider="p", model="m") == OWN[shape]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_only_one_model_reads_is_not_sent_to_another(shape: Any) -> None:
    """After a change of model no signature, no encrypted reasoning and no item id is left."""
    session = session_of(*OWN[shape], provider="p", model="m")
    session.append(ModelChangeEntry(provider="p", model="other"))
    written = session.build_context().to(shape)
    check_types(shape, copy.deepcopy(written))
    assert faults(shape, written) == []
    text = repr(written)
    for secret in ("sig", "zzz", "encrypted", "rs_", "fc_", "msg_", "c2ln", "server_tool_use"):
        assert f"'{secret}" not in text
    left_out = {each.what for each in written.left_out}
    plain = shape == "openai-chat"  # plain reasoning goes to another model of its provider
    assert ("hm" in text, "reasoning" in left_out) == (plain, not plain)
    assert left_out <= {"reasoning", "sealed"}


def test_the_model_set_before_a_reply_made_it() -> None:
    """A reply that names no model is trusted if the model change before it still holds, else not."""
    thinking = OWN["anthropic"][1]["content"][0]
    session = Session.memory()
    session.append(ModelChangeEntry(provider="p", model="m"))
    session.append(user("Hi"))
    reply = session.append({"role": "assistant", "content": [thinking, {"type": "text", "text": "A"}]})
    assert session.build_context().to("anthropic")["messages"][1] == reply.message
    session.append(ModelChangeEntry(provider="p", model="n"))
    assert session.build_context().to("anthropic")["messages"][1]["content"] == "A"
    session.append(ModelChangeEntry(provider=None, model="m"))
    assert session.build_context().to("anthropic")["messages"][1] == reply.message


# --- the system ---


def test_the_system_speaks_where_each_provider_wants_it() -> None:
    """In the list, before it, or beside it; nothing is left out."""
    said = [system("Be kind."), {"role": "developer", "content": "Be brief."}, user("Hi"), system("Now rhyme.")]
    hi = {"role": "user", "content": "Hi"}
    assert request("openai-chat", *said) == {"messages": said}
    later = {"role": "system", "content": "Now rhyme."}
    assert request("openai-responses", *said) == {"instructions": "Be kind.\n\nBe brief.", "input": [hi, later]}
    whole = "Be kind.\n\nBe brief.\n\nNow rhyme."
    assert request("anthropic", *said) == {"system": whole, "messages": [hi]}
    contents = [{"role": "user", "parts": [{"text": "Hi"}]}]
    assert request("gemini", *said) == {"system_instruction": whole, "contents": contents}


def test_a_cache_mark_on_the_system_prompt_is_kept() -> None:
    """Then the system's words are blocks."""
    block = {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}
    assert request("anthropic", {"role": "system", "content": [block]}, user("Hi"))["system"] == [block]


# --- roles ---


def test_neighbours_of_one_role_become_one_message() -> None:
    """For those who want turns; a summary is a user's, and the user is first."""
    session = session_of(user("1"), assistant("2"), assistant("3"), user("4"), user("5"))
    assert session.build_context().to("anthropic")["messages"] == [
        user("1"),
        {"role": "assistant", "content": texts("2", "3")},
        {"role": "user", "content": texts("4", "5")},
    ]
    path = session.path()
    session.append(CompactionEntry(summary="S", first_kept_entry_id=path[2].id))
    roles = [content["role"] for content in session.build_context().to("gemini")["contents"]]
    assert roles == ["user", "model", "user"]


def test_a_conversation_that_an_assistant_begins_gets_an_opening() -> None:
    """Anthropic and Gemini refuse it otherwise."""
    opening = "(The conversation begins here.)"
    assert body("anthropic", assistant("Hi ")) == [user(opening), assistant("Hi")]
    assert body("gemini", assistant("Hi"))[0] == {"role": "user", "parts": [{"text": opening}]}
    assert body("openai-chat", assistant("Hi")) == [assistant("Hi")]


@pytest.mark.parametrize("shape", SHAPES)
def test_empty_texts_are_left_out(shape: Any) -> None:
    """A message in which there is nothing is not there."""
    blank = {"role": "assistant", "content": [{"type": "text", "text": " "}]}
    gemini = {"role": "model", "parts": [{"text": ""}]}
    assert body(shape, user("Hi"), blank, gemini, {"role": "user", "content": ""}) == body(shape, user("Hi"))
    assert body(shape) == []


# --- calls and results ---


@pytest.mark.parametrize("shape", SHAPES)
def test_an_open_call_is_answered_or_named(shape: Any) -> None:
    """After a crash: a result that says so, or an error that says which."""
    session = session_of(*CHAT[:3])
    entry = session.path()[1]
    with pytest.raises(OpenCalls) as caught:
        session.build_context().to(shape, open_calls="raise")
    assert caught.value.calls == (OpenCall("c2", "look", entry.id),)
    written = session.build_context().to(shape)
    assert faults(shape, written) == []
    assert repr(written).count("No result: the conversation was interrupted") == 1
    assert (written.answered, written.left_out) == ((OpenCall("c2", "look", entry.id),), ())


def test_an_answered_call_has_failed() -> None:
    """Where a provider has a word for it."""
    note = "No result: the conversation was interrupted before this tool call returned one."
    block = {"type": "tool_result", "tool_use_id": "c2", "content": note, "is_error": True}
    assert body("anthropic", *CHAT[:3])[2]["content"][1] == block
    answer = {"functionResponse": {"name": "look", "response": {"error": note}}}
    assert body("gemini", *CHAT[:3])[2]["parts"][1] == answer
    assert body("openai-chat", *CHAT[:3])[3]["content"] == f"Error: {note}"


@pytest.mark.parametrize("shape", SHAPES)
def test_results_come_right_behind_their_calls(shape: Any) -> None:
    """In the order of the calls, whatever came between."""
    disorder = [CHAT[0], CHAT[1], CHAT[3], user("Hurry"), CHAT[2], CHAT[4]]
    order = [*CHAT[:4], user("Hurry"), CHAT[4]]
    assert request(shape, *disorder) == request(shape, *order)


def test_a_result_without_its_call_becomes_text() -> None:
    """Its call was cut off, or another result of the same call is there. The same result once more is none."""
    session = session_of(*CHAT)
    session.append(CompactionEntry(summary="S", first_kept_entry_id=session.path()[3].id))
    told = "Result of a tool call that is not shown any more:\nsnow"
    for shape in SHAPES:
        written = session.build_context().to(shape)  # type: ignore[arg-type]  # one of the four
        assert faults(shape, written) == []
        assert repr(told)[1:-1] in repr(written)
    assert session.build_context().to("openai-chat")["messages"][1] == user(told)
    assert body("openai-chat", *CHAT[:4], CHAT[3]) == CHAT[:4]
    told = "Another result of a tool call above:\nrain"
    assert body("openai-chat", *CHAT[:4], CHAT[3] | {"content": "rain"}) == [*CHAT[:4], user(told)]


def test_ids_are_renamed_where_a_provider_demands_it() -> None:
    """The same for call and result, the same each time, different for different calls."""
    long = "call_abc|fc_" + "x" * 60
    call = {"type": "toolCall", "id": long, "name": "f", "arguments": {}}
    result = {"role": "toolResult", "toolCallId": long, "toolName": "f", "content": "42"}
    said = [user("Hi"), {"role": "assistant", "content": [call]}, result]
    for shape in ("openai-chat", "openai-responses", "anthropic"):
        (id,) = ids_of(body(shape, *said))
        assert id == "call_" + sha256(b"0\0" + long.encode()).hexdigest()[:24]
        assert ids_of(body(shape, *said)) == {id}
    twice = body("anthropic", *said, *said[1:])
    assert len(ids_of(twice)) == 2


def test_arguments_are_text_or_objects_as_each_provider_wants() -> None:
    """Text that is no JSON is kept as it is, or inside an object."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}
    said = [user("Hi"), {"role": "assistant", "tool_calls": [call]}, CHAT[2]]
    assert body("openai-chat", *said)[1]["tool_calls"] == [call]
    assert body("openai-responses", *said)[1]["arguments"] == '{"a": '
    assert body("anthropic", *said)[1]["content"][0]["input"] == {"arguments": '{"a": '}
    assert body("gemini", *said)[1]["parts"][0]["functionCall"]["args"] == {"arguments": '{"a": '}


def test_custom_calls_stay_custom_where_there_are_such() -> None:
    """Free text as input: OpenAI has it in both shapes, for others it is an argument."""
    said = [user("Hi"), *OWN["openai-responses"][6:]]
    custom = {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "free text"}}
    written = body("openai-chat", *said)
    assert written[1:] == [
        {"role": "assistant", "content": None, "tool_calls": [custom]},
        {"role": "tool", "tool_call_id": "c2", "content": "ok"},
    ]
    assert body("openai-responses", *written) == said
    assert body("anthropic", *said)[1]["content"][0]["input"] == {"input": "free text"}


def test_an_image_that_a_tool_gave_goes_where_it_may() -> None:
    """Into the result, or behind all results where a result is text only."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    content = [{"type": "text", "text": "Here"}, picture]
    said = [*ANTHROPIC[:2], copy.deepcopy(ANTHROPIC[2]), ANTHROPIC[3]]
    said[2]["content"][0]["content"] = content
    url = f"data:image/png;base64,{PNG}"
    assert body("openai-chat", *said)[2:5] == [
        {"role": "tool", "tool_call_id": "c1", "content": "Here"},
        {"role": "tool", "tool_call_id": "c2", "content": "snow"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Returned by the tools above:"},
                {"type": "image_url", "image_url": {"url": url}},
            ],
        },
    ]
    assert body("openai-responses", *said)[4]["output"] == [
        {"type": "input_text", "text": "Here"},
        {"type": "input_image", "image_url": url, "detail": "auto"},
    ]
    assert body("gemini", *said)[2]["parts"] == [
        {"functionResponse": {"name": "look", "response": {"output": "Here"}}},
        {"functionResponse": {"name": "look", "response": {"output": "snow"}}},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
    ]
    assert body("anthropic", *said)[2] == said[2]


def test_half_a_reply_is_not_sent() -> None:
    """pi keeps replies that failed; their calls were never run."""
    failed = PI[1] | {"stopReason": "aborted"}
    assert body("anthropic", user("Hi"), failed, user("Again")) == [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "Again"}]}
    ]


# --- reasoning of OpenAI's Responses ---


def test_reasoning_that_leads_to_nothing_is_left_out() -> None:
    """A crash, or a branch, right behind it."""
    reasoning, call, output = OWN["openai-responses"][1:4]
    assert body("openai-responses", user("Hi"), reasoning, user("Again")) == [user("Hi"), user("Again")]
    twice = [user("Hi"), reasoning, call, output, reasoning]
    assert body("openai-responses", *twice) == twice[:4]


def test_a_call_cut_off_from_its_reasoning_loses_its_item_id() -> None:
    """Its provider would ask for the reasoning; the call itself stays."""
    session = session_of(user("Hi"), *OWN["openai-responses"][1:4])
    session.append(CompactionEntry(summary="S", first_kept_entry_id=session.path()[2].id))
    written = session.build_context().to("openai-responses")["input"]
    assert [item.get("id") for item in written] == [None, None, None]
    assert written[1]["call_id"] == written[2]["call_id"] == "c1"


def test_a_tool_of_openais_own_stays_with_its_result() -> None:
    """A shell call with a shell's output as it came; without, it is told as any call."""
    shell = {"type": "shell_call", "call_id": "s1", "action": {"commands": ["ls"]}, "status": "completed"}
    outcome = {"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}
    output = {"type": "shell_call_output", "call_id": "s1", "output": [outcome]}
    said = [user("Hi"), shell, output]
    assert body("openai-responses", *said) == said
    healed = body("openai-responses", *said[:2])
    assert [item.get("type") for item in healed] == [None, "function_call", "function_call_output"]
    assert healed[1]["arguments"] == '{"action":{"commands":["ls"]}}'
    assert body("anthropic", *said)[2]["content"][0]["content"].startswith('[{"stdout":"a"')


def test_reasoning_before_another_models_words_is_left_out() -> None:
    """It led to something that is not there: what follows was said by someone else."""
    session = session_of(user("Hi"), OWN["openai-responses"][1], provider="p", model="m")
    session.append(assistant("A"), provider="q", model="n")
    session.append(ModelChangeEntry(provider="p", model="m"))
    assert session.build_context().to("openai-responses")["input"] == [user("Hi"), assistant("A")]


def test_a_strangers_signature_is_taken_off_a_call() -> None:
    """The call itself stays, with Google's constant, in earlier turns too: what was sent stays as it was."""
    session = session_of(*OWN["gemini"][:3], provider="p", model="m")
    session.append({"role": "user", "parts": [{"text": "And?"}]}, model="other")
    (_, calling, *_) = session.build_context().to("gemini")["contents"]
    assert calling["parts"] == [
        {
            "functionCall": {"id": "g1", "name": "f", "args": {}},
            "thoughtSignature": "skip_thought_signature_validator",
        },
        {"functionCall": {"id": "g2", "name": "g", "args": {}}},
    ]


def test_an_id_that_is_used_twice_is_renamed_the_second_time() -> None:
    """Some providers count their calls anew in every turn."""
    written = body("anthropic", *ANTHROPIC, *ANTHROPIC)
    assert written[:4] == ANTHROPIC
    again = written[5]["content"][1]["id"]
    assert again == "call_" + sha256(b"0\0c1").hexdigest()[:24]
    assert written[6]["content"][0]["tool_use_id"] == again


# --- the rest ---


def test_media_of_one_provider_are_made_anew_for_another() -> None:
    """Sounds and files of Gemini, what one of its models painted, a picture that a tool of Anthropic's gave."""
    sound = {"inlineData": {"mimeType": "audio/mpeg", "data": "UklG"}}
    page = {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}}
    said = {"role": "user", "parts": [{"text": "Hear"}, sound, page]}
    link = "data:application/pdf;base64,JVBE"
    assert body("openai-chat", said)[0]["content"][1:] == [
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "mp3"}},
        {"type": "file", "file": {"filename": "file.pdf", "file_data": link}},
    ]
    assert body("openai-responses", said)[0]["content"][1:] == [
        {"type": "input_text", "text": "[audio]"},
        {"type": "input_file", "filename": "file.pdf", "file_data": link},
    ]
    painted = {"role": "model", "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}
    assert body("openai-responses", user("Paint"), painted)[1] == assistant("[image]")
    call = {"type": "toolCall", "id": "c1", "name": "see", "arguments": {}}
    content = [{"type": "text", "text": "x"}, {"type": "image", "data": PNG, "mimeType": "image/png"}]
    seen = {"role": "toolResult", "toolCallId": "c1", "toolName": "see", "content": content}
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    assert body("anthropic", user("See"), {"role": "assistant", "content": [call]}, seen)[2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "c1",
            "content": [{"type": "text", "text": "x"}, {"type": "image", "source": source}],
        }
    ]


def test_what_mistral_thought_is_read() -> None:
    """Its thinking is made of blocks. Reasoning never becomes spoken text."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}, {"type": "text", "text": "so"}]}
    said = {"role": "assistant", "content": [thought, {"type": "text", "text": "A"}]}
    written = session_of(user("Hi"), said).build_context().to("openai-chat")
    assert written["messages"][1] == assistant("A")
    assert [each.what for each in written.left_out] == ["reasoning"]


def test_media_that_a_provider_does_not_take_are_named() -> None:
    """Nothing disappears without a word."""
    sound = {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}
    said = {"role": "user", "content": [sound, {"type": "file", "file": {"file_id": "f1", "filename": "a.pdf"}}]}
    blocks = [{"type": "text", "text": "[audio]"}, {"type": "text", "text": "[document: a.pdf]"}]
    assert body("anthropic", said)[0]["content"] == blocks
    painted = {"role": "model", "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}
    assert body("openai-chat", user("Paint"), painted)[1] == assistant("[image]")
    assert body("gemini", user("Paint"), painted)[1] == painted


DATA = f"data:image/png;base64,{PNG}"
MEDIA: list[tuple[Message, dict[str, Message]]] = [
    (
        {"type": "image", "source": {"type": "url", "url": "https://x.org/a.png"}},
        {
            "openai-chat": {"type": "image_url", "image_url": {"url": "https://x.org/a.png"}},
            "openai-responses": {"type": "input_image", "image_url": "https://x.org/a.png", "detail": "auto"},
            "anthropic": {"type": "image", "source": {"type": "url", "url": "https://x.org/a.png"}},
            "gemini": {"fileData": {"mimeType": "image/png", "fileUri": "https://x.org/a.png"}},
        },
    ),
    (
        {"type": "image_url", "image_url": {"url": DATA}},
        {
            "openai-chat": {"type": "image_url", "image_url": {"url": DATA}},
            "openai-responses": {"type": "input_image", "image_url": DATA, "detail": "auto"},
            "anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            "gemini": {"inlineData": {"mimeType": "image/png", "data": PNG}},
        },
    ),
    (
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"},
        {
            "openai-chat": {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"},
            },
            "openai-responses": {
                "type": "input_file",
                "filename": "a.pdf",
                "file_data": "data:application/pdf;base64,JVBE",
            },
            "anthropic": {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
            },
            "gemini": {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
        },
    ),
    (
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
        {
            "openai-chat": {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
            "openai-responses": {"type": "input_text", "text": "[audio]"},
            "anthropic": {"type": "text", "text": "[audio]"},
            "gemini": {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}},
        },
    ),
    (
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}, "title": "t"},
        {
            "openai-chat": {"type": "text", "text": "words"},
            "openai-responses": {"type": "input_text", "text": "words"},
            "anthropic": {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "words"},
                "title": "t",
            },
            "gemini": {"text": "words"},
        },
    ),
    (
        {"type": "document", "source": {"type": "url", "url": "https://x.org/a.pdf"}},
        {
            "openai-chat": {"type": "text", "text": "[document: https://x.org/a.pdf]"},
            "openai-responses": {"type": "input_file", "file_url": "https://x.org/a.pdf"},
            "anthropic": {"type": "document", "source": {"type": "url", "url": "https://x.org/a.pdf"}},
            "gemini": {"fileData": {"mimeType": "application/pdf", "fileUri": "https://x.org/a.pdf"}},
        },
    ),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("block", "expected"), MEDIA, ids=lambda each: str(each.get("type", "")))
def test_media_in_every_shape(block: Message, expected: dict[str, Message], shape: Any) -> None:
    """Links stay links, data become what each provider takes; beside them the words."""
    start = {"type": "text", "text": "Look"}
    picture = {"type": "image_url", "image_url": {"url": "https://x.org/b.jpg"}}
    said = {"role": "user", "content": [start, block, picture]}
    content = body(shape, said)[0]["parts" if shape == "gemini" else "content"]
    assert content[1] == expected[shape]


def test_pis_messages_that_no_provider_has() -> None:
    """Commands that its user ran, and summaries, are a user's words; what is excluded is not there."""
    ran = {"role": "bashExecution", "command": "ls", "output": "a", "exitCode": 1, "cancelled": False}
    assert body("openai-chat", ran) == [user("Ran `ls`\n```\na\n```\n\nCommand exited with code 1")]
    assert body("openai-chat", ran | {"output": "", "cancelled": True}) == [
        user("Ran `ls`\n(no output)\n\n(command cancelled)")
    ]
    assert body("openai-chat", ran | {"excludeFromContext": True}) == []
    assert body("openai-chat", {"role": "branchSummary", "summary": "left"}) == [user("left")]


def test_the_first_version_of_openais_calls_is_understood() -> None:
    """`function_call` and the role `function` have no ids."""
    old = [
        user("Hi"),
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "42"},
    ]
    written = body("anthropic", *old)
    assert [block["type"] for message in written[1:] for block in message["content"]] == ["tool_use", "tool_result"]
    assert body("openai-chat", *old)[2]["role"] == "tool"


def test_a_summary_may_be_rendered_as_text() -> None:
    """What is no message at all is refused."""
    session = session_of(user("1"))
    session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
    assert session.build_context(render=lambda entry: entry.summary).to("anthropic") == {"messages": [user("S")]}
    context = session.build_context()
    assert msgspec.structs.replace(context, messages=["S"]).to("anthropic") == {"messages": [user("S")]}
    with pytest.raises(TypeError, match="was rendered as a int; render must return a message or a text"):
        msgspec.structs.replace(context, messages=[5]).to("anthropic")


KIT = [
    {"role": "user", "parts": [{"type": "text", "data": {"text": "Hi"}}]},
    {
        "role": "assistant",
        "parts": [
            {"type": "reasoning", "data": {"thinking": "hm", "signature": "sig"}},
            {"type": "text", "data": {"text": " "}},
            {"type": "tool_call", "data": {"id": "c1", "name": "f", "input": '{"a":1}', "finished": True}},
            {"type": "finish", "data": {"reason": "tool_use"}},
        ],
    },
    {
        "role": "tool",
        "parts": [
            {"type": "tool_result", "data": {"tool_call_id": "c1", "name": "f", "content": "no", "is_error": True}}
        ],
    },
    {
        "role": "user",
        "parts": [
            {"type": "image", "data": {"data": PNG, "media_type": "image/png"}},
            {"type": "odd", "data": {}},
            {"type": "text", "data": {"text": "And this?"}},
        ],
    },
]


def test_kits_messages_go_to_every_provider() -> None:
    """Its parts have what they say apart from their type; nothing else of it goes out."""
    made: dict[str, Any] = {"shape": "kit", "model": "claude", "provider": "anthropic", "unknown": "drop"}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    assert request("anthropic", *KIT, **made) == {
        "messages": [
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "no", "is_error": True},
                    image,
                    {"type": "text", "text": "And this?"},
                ],
            },
        ]
    }
    assert request("gemini", *KIT[:3], **made) == {
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            {
                "role": "model",
                "parts": [
                    {
                        "functionCall": {"name": "f", "args": {"a": 1}},
                        "thoughtSignature": "skip_thought_signature_validator",
                    },
                ],
            },
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"error": "no"}}}]},
        ]
    }


def test_of_a_tools_own_message_only_the_meaning_goes_out() -> None:
    """What picoclaw, say, has besides is no provider's business; a call gets the type that OpenAI wants."""
    said: list[Message] = [
        {"role": "user", "content": "Hi", "created_at": "2026"},
        {
            "role": "assistant",
            "content": "",
            "created_at": "2026",
            "reasoning_content": "hm",
            "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}, "extra": 1}],
            "model_name": "m",
        },
        {"role": "tool", "content": "ok", "tool_call_id": "c1", "created_at": "2026"},
    ]
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert request("openai-chat", *said, shape="picoclaw.message", model="m") == {
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "reasoning_content": "hm", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "ok"},
        ]
    }


def test_an_answer_as_it_came_is_taken_apart() -> None:
    """Anthropic refuses its own answers' frame, OpenAI members without a value and blocks in another's mouth."""
    answer = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [{"type": "text", "text": "A", "citations": None}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    hi = {"role": "user", "content": "Hi"}
    text = {"type": "text", "text": "A"}
    assert request("anthropic", hi, answer) == {"messages": [hi, {"role": "assistant", "content": [text]}]}
    dumped = {"role": "assistant", "content": "A", "refusal": None, "tool_calls": None, "function_call": None}
    assert request("openai-chat", hi, dumped) == {"messages": [hi, {"role": "assistant", "content": "A"}]}
    untyped = {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}]}
    call = {"type": "function", "id": "c1", "function": {"name": "f", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "c1", "content": "ok"}
    sent = request("openai-chat", hi, untyped, result)["messages"]
    assert sent == [hi, {"role": "assistant", "content": None, "tool_calls": [call]}, result]
    swapped = {"type": "message", "role": "user", "content": [{"type": "output_text", "text": "Hi"}]}
    assert request("openai-responses", swapped) == {"input": [hi]}


def test_a_codex_message_without_an_id_keeps_its_phase() -> None:
    """Blocks of output belong to an output with an id; whether it was the final answer is told to the model again."""
    said: list[Message] = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {
            "type": "message",
            "role": "assistant",
            "phase": "final_answer",
            "content": [{"type": "output_text", "text": "A"}],
        },
    ]
    assert request("openai-responses", *said) == {
        "input": [said[0], {"role": "assistant", "content": "A", "phase": "final_answer"}]
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_a_message_that_is_not_of_the_shape_it_is_said_to_be(shape: Any) -> None:
    """Its keys decide."""
    hi = {"role": "user", "content": "Hi"}
    plain = {"gemini": {"role": "user", "parts": [{"text": "Hi"}]}}.get(shape, hi)
    for said in ("gemini", "anthropic", "openai-chat"):
        assert plain in next(iter(request(shape, hi, shape=said).values()))


def test_what_an_sdk_made_of_a_reply_stays_here() -> None:
    """OpenAI's parses content and arguments, and takes neither back."""
    function = {"name": "f", "arguments": '{"a":1}'}
    said = {"role": "assistant", "content": "{}", "parsed": {}}
    calls = [{"id": "c1", "type": "function", "function": function | {"parsed_arguments": {"a": 1}}}]
    result = {"role": "tool", "tool_call_id": "c1", "content": "ok"}
    sent = body("openai-chat", user("Hi"), said, user("Go"), {"role": "assistant", "tool_calls": calls}, result)
    call = {"id": "c1", "type": "function", "function": function}
    assert sent[1] == assistant("{}")
    assert sent[3] == {"role": "assistant", "content": None, "tool_calls": [call]}


def test_white_space_at_the_very_end_is_taken_off() -> None:
    """Anthropic refuses it, also in a block that says more than its text."""
    block = {"type": "text", "text": "A \n", "citations": None}
    sent = body("anthropic", user("Hi"), {"role": "assistant", "content": [block]})
    assert sent[1]["content"] == [block | {"text": "A"}]


def test_a_message_of_nothing_that_is_sent_is_none() -> None:
    """And no empty one."""
    odd = {"role": "user", "content": [{"type": "odd"}]}
    assert body("openai-responses", user("Hi"), odd, unknown="drop") == [user("Hi")]
    thought = {"role": "user", "parts": [{"text": "hm", "thought": True}]}
    assert body("openai-responses", user("Hi"), thought) == [user("Hi")]


def test_an_item_without_a_type_is_a_message() -> None:
    """A block in it that nobody knows is dropped on request, whoever's id it has."""
    odd = {"id": True, "role": "assistant", "content": [{"role": None}]}
    assert body("openai-responses", user("Hi"), odd, shape="openai-responses", unknown="drop") == [user("Hi")]


def test_what_should_be_a_list_and_is_none_is_empty() -> None:
    """Nothing is required of a message."""
    hi = user("Hi")
    thought = {"type": "reasoning", "summary": True, "content": 5}
    called = {"role": "model", "parts": [{"functionCall": {"name": "f"}}]}
    answer = {
        "role": "user",
        "parts": [{"functionResponse": {"name": "f", "parts": True, "response": {"output": "x"}}}],
    }
    assert body("openai-responses", hi, thought) == [hi]
    assert body("openai-chat", hi, called, answer)[2]["content"] == "x"


def test_an_unknown_shape_is_refused() -> None:
    """With the names of those there are."""
    with pytest.raises(ValueError, match="shape is one of 'openai-chat', "):
        session_of().build_context().to("cohere")  # type: ignore[arg-type]  # what the test is about
