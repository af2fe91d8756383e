"""Messages whose words stand under other keys than their format has: each is in the request, or named as unknown."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.genai.types import Content, Part
from helpers import user
from openai.types.chat import ChatCompletionMessage
from openai.types.responses.response_output_item import LocalShellCall
from request_checker import check_types, faults
from test_providers_laws import PNG, SHAPES

from convtree import MessageEntry, ModelChangeEntry, OpenCalls, Session, UnknownMessage

Message = dict[str, Any]


def session_of(*messages: Any, **fields: Any) -> Session:
    session = Session.memory()
    session.append(user("Start"))
    session.append_many(messages, **fields)
    session.append(user("End"))
    return session


def first(*messages: Any, **fields: Any) -> MessageEntry:
    """The entry of the first of some messages."""
    entry = session_of(*messages, **fields).path()[1]
    assert isinstance(entry, MessageEntry)
    return entry


def blocks(*said: Any, role: str = "assistant") -> Message:
    return {"role": role, "content": list(said)}


FUNCTION = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALL: Message = {"role": "assistant", "content": None, "tool_calls": [FUNCTION]}
ASKED = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}

READ: list[list[Message]] = [
    [{"role": "assistant", "content": "", "text": "WORD1"}],
    [{"role": "assistant", "content": [], "text": "WORD1"}],
    [{"role": "assistant", "content": "WORD1", "text": "WORD2"}],
    [{"role": "user", "content": "WORD1", "parts": [{"text": "WORD2"}]}],
    [blocks({"type": "text", "text": {"value": "WORD1", "annotations": []}})],
    [blocks({"type": "text", "content": "WORD1"})],
    [blocks({"type": "text", "text": None, "value": "WORD1"}, {"type": "text", "text": "WORD2"})],
    [blocks({"type": "refusal", "text": "WORD1"})],
    [CALL, {"role": "tool", "tool_call_id": "a", "output": "WORD1"}],
    [CALL, {"role": "tool", "tool_call_id": "a", "content": None, "result": "WORD1"}],
    [
        blocks({"type": "tool_use", "id": "a", "name": "f", "arguments": {"x": "WORD1"}}),
        blocks({"type": "tool_result", "tool_use_id": "a", "output": "WORD2"}, role="user"),
    ],
    [blocks({"type": "toolCall", "id": "a", "name": "f", "input": {"x": "WORD1"}})],
    [{"role": "assistant", "content": "", "tool_calls": [{"id": "a", "name": "WORD1", "args": {"x": "WORD2"}}]}],
    [{"role": "assistant", "content": "", "tool_calls": {"id": "a", "name": "WORD1", "arguments": '"WORD2"'}}],
    [{"role": "model", "parts": [{"text": "WORD1", "functionCall": {"name": "f", "args": {"x": "WORD2"}}}]}],
    [
        {"role": "model", "parts": [{"functionCall": {"id": "", "name": "f", "args": "WORD1"}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": "WORD2"}}]},
    ],
    [ASKED, {"type": "function_call_output", "call_id": "a", "output": {"x": "WORD1"}}],
    [ASKED, {"type": "function_call_output", "call_id": "a", "output": [{"type": "output_text", "text": "WORD1"}]}],
    [{"type": "function_call", "call_id": "a", "name": None, "arguments": {"x": "WORD1"}}],
    [
        {
            "role": "system",
            "content": [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "WORD1"}}],
        }
    ],
    [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://x.org/WORD1.png"}}]}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": "https://x.org/WORD1.png"}]}],
    [
        blocks(
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "WORD1"},
                "context": "WORD2",
            },
            role="user",
        )
    ],
    [blocks({"type": "tool_use", "id": "a", "name": "f", "input": {"x": "WORD1"}}, role="user")],
    [{"type": "ai", "data": {"content": "WORD1"}}],
    [{"role": "assistant", "content": [{"type": "text", "text": "  ", "value": "WORD1"}]}],
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("messages", READ, ids=lambda each: json.dumps(each)[:60])
def test_words_under_another_key_are_in_the_request(messages: list[Message], shape: Any) -> None:
    """And the request has the types of the provider's SDK."""
    request = session_of(*messages).build_context().to(shape)
    said = json.dumps(request)
    assert [word for word in ("WORD1", "WORD2") if word in json.dumps(messages) and word not in said] == []
    if "parts" not in json.dumps(messages) or shape != "gemini":
        check_types(shape, json.loads(said))
    assert faults(shape, request) == []


UNKNOWN: list[tuple[Message, str, tuple[str | int, ...]]] = [
    (
        {"role": "assistant", "content": "", "output": "WORD"},
        "a message without a content that is known, but with 'output'",
        (),
    ),
    ({"role": "user", "parts": "WORD"}, "a message without a content that is known, but with 'parts'", ()),
    (blocks({"type": "text", "words": "WORD"}), "a block of the type 'text'", ("content", 0)),
    (blocks({"type": "text", "text": ["WORD"]}), "a block of the type 'text'", ("content", 0)),
    (
        {"role": "assistant", "content": "", "tool_calls": ["WORD"]},
        "a tool call without a name and an id",
        ("tool_calls", 0),
    ),
    ({"role": "system", "content": [{"type": "odd", "x": "WORD"}]}, "a block of the type 'odd'", ("content", 0)),
    ({"role": "model", "parts": [{"functionCall": {}, "x": "WORD"}]}, "a part with 'functionCall'", ("parts", 0)),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("message", "why", "place"), UNKNOWN)
def test_what_no_key_tells_is_unknown(message: Message, why: str, place: Any, shape: Any) -> None:
    """A block of a known type is not empty because its text is elsewhere."""
    context = session_of(message).build_context()
    with pytest.raises(UnknownMessage) as caught:
        context.to(shape)
    assert (caught.value.why, caught.value.place) == (why, place)
    assert "WORD" in json.dumps(context.to(shape, unknown="text"))


@pytest.mark.parametrize(
    "message",
    [
        blocks({"type": "text", "text": ""}),
        blocks({"type": "text", "text": None, "annotations": [{"type": "x"}]}),
        blocks({"type": "text", "text": " ", "provider_options": {"id": "m"}}),
        {"role": "assistant", "content": "", "stop_reason": "end_turn", "finish_reason": "stop", "text": " "},
        {"role": "model", "parts": [], "content": " "},
        {"role": "assistant", "content": None, "function_call": {}},
    ],
)
def test_what_says_nothing_is_not_unknown(message: Message) -> None:
    """An empty reply keeps no conversation from going on."""
    for shape in SHAPES:
        assert session_of(message).build_context().to(shape) == session_of().build_context().to(shape)


@pytest.mark.parametrize("content", ["the same words", "before the same words"])
def test_a_text_that_repeats_the_content_is_one(content: str) -> None:
    """Many stores keep the plain text next to the blocks."""
    message = {"role": "user", "content": content, "text": "the same words"}
    assert first(message).text == content
    split = blocks({"type": "text", "text": "the same"}, {"type": "text", "text": "words"}, role="user")
    assert first(split | {"text": "the same\nwords"}).text == "the same\nwords"


@pytest.mark.parametrize("audio", [{"data": "aGk="}, {"id": "a"}])
def test_audio_without_a_transcript_is_named_as_left_out(audio: Message) -> None:
    """Its id alone is all that the same model needs."""
    context = session_of({"role": "assistant", "content": None, "audio": audio}).build_context()
    left = [each.what for each in context.to("anthropic").left_out]
    assert left == (["media"] if "data" in audio else [])


def test_pictures_next_to_the_content_are_read() -> None:
    """As servers that imitate OpenAI chat return them."""
    block = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    request = session_of({"role": "assistant", "content": "", "images": [block]}).build_context().to("gemini")
    data = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    assert request["contents"][1] == {"role": "model", "parts": [data]}


@pytest.mark.parametrize(
    "message",
    [
        ChatCompletionMessage(role="assistant", content=None, refusal="No."),
        ChatCompletionMessage(role="assistant", content="a", annotations=[]),
        ChatCompletionMessage.model_validate(CALL),
        ChatCompletionMessage(role="assistant", content="a", refusal="No."),
        Content(role="model", parts=[Part.from_text(text="a"), Part.from_function_call(name="f", args={"x": None})]),
        Content(role="model", parts=[Part(text="a", thought_signature=b"\xfb\xff")]),
        Content(role="user", parts=[Part.from_bytes(data=b"\xfb\xff\xfe", mime_type="image/png")]),
        Content(role="user", parts=[Part.from_uri(file_uri="https://x.org/a.png", mime_type="image/png")]),
        LocalShellCall.model_validate(
            {
                "type": "local_shell_call",
                "id": "l",
                "call_id": "a",
                "status": "completed",
                "action": {"type": "exec", "command": ["ls"], "env": {}},
            }
        ),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_message_of_an_answer_and_its_dumps_are_one_request(message: Any) -> None:
    """What is taken out of an answer is as often stored as the answer."""
    options: list[Message] = [{}, {"exclude_none": True}, {"by_alias": True}, {"exclude_unset": True}]
    dumps = [message.model_dump(mode="json", **each) for each in options]
    for shape in SHAPES:
        expected = session_of(message, provider="p", model="m").build_context().to(shape)
        given = [session_of(each, provider="p", model="m").build_context().to(shape) for each in dumps]
        assert given == [expected] * len(dumps)


def test_the_documented_signature_of_no_model_is_kept() -> None:
    """It is no base64, although it has the letters of the URL-safe alphabet."""
    said = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "skip_thought_signature_validator"}
    request = session_of({"role": "model", "parts": [said]}).build_context().to("gemini")
    assert request["contents"][1]["parts"] == [said]
    spelled = {"function_call": said["functionCall"], "thought_signature": said["thoughtSignature"]}
    assert session_of({"role": "model", "parts": [spelled]}).build_context().to("gemini") == request


def test_pictures_inside_documents_and_screenshots_are_standard_base64() -> None:
    """The strict decoders of the providers refuse the URL-safe alphabet, wherever it is."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "-_-_"}}
    inside = [picture, {"type": "text", "text": "a"}, "b"]
    document = {"type": "document", "source": {"type": "content", "content": inside}}
    request = session_of(blocks(document, role="user")).build_context().to("anthropic")
    sent = request["messages"][0]["content"][1]["source"]["content"]
    assert sent == [picture | {"source": picture["source"] | {"data": "+/+/"}}, *inside[1:]]  # type: ignore[operator]  # an object
    asked = {"type": "computer_call", "id": "c", "call_id": "a", "action": {"type": "screenshot"}}
    shown = {"type": "computer_screenshot", "image_url": f"data:image/png;base64,{PNG}"}
    answer = {"type": "computer_call_output", "call_id": "a", "output": shown}
    context = session_of(asked, answer).build_context()
    data = base64.b64decode(PNG)
    result = context.to("anthropic")["messages"][2]["content"][0]["content"][0]
    assert base64.b64decode(result["source"]["data"]) == data


def test_a_shape_that_a_message_is_not_in() -> None:
    """A message said to be kit's, without its parts, is read by its own keys."""
    entry = first({"role": "user", "content": "a"}, shape="kit")
    assert (entry.role, entry.text) == ("user", "a")
    assert first({"role": "user", "content": [{"type": "text", "text": "a"}]}, shape="kit").text == "a"


def test_a_system_message_says_what_its_field_cannot_hold() -> None:
    """Anthropic's and Gemini's system text names a picture, and reasoning in it is left out."""
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    picture = {"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}
    session = Session.memory()
    session.append({"role": "system", "content": [picture, thought, {"type": "text", "text": "Be."}]})
    session.append(user("Hi"))
    for shape, key in (("anthropic", "system"), ("gemini", "system_instruction")):
        request = session.build_context().to(shape)  # type: ignore[arg-type]  # two of the shapes
        assert request[key] == "[image: https://x.org/a.png]\n\nBe."
        assert sorted(each.what for each in request.left_out) == ["media", "reasoning"]
    items = session.build_context().to("openai-responses")
    assert "a.png" in json.dumps(items)
    assert "instructions" not in items


@pytest.mark.parametrize("name", ["DeepSeek", "azure/deepseek"])
def test_deepseek_in_any_spelling(name: str) -> None:
    """A reply with calls has the field, and the reasoning of the provider's other model."""
    session = session_of(CALL | {"reasoning_content": "hm"}, provider=name, model="a")
    session.append(ModelChangeEntry(provider=name.upper(), model="b"))
    assert session.build_context().to("openai-chat")["messages"][1]["reasoning_content"] == "hm"


@pytest.mark.no_cover
@pytest.mark.parametrize("number", [2000])
def test_many_calls_with_one_id_and_results_that_name_none(number: int) -> None:
    """Each result is told apart, in time that grows with the conversation and not with its square."""
    made = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    session = Session.memory()
    for each in range(number):
        session.append({"role": "assistant", "content": None, "tool_calls": [made]})
        session.append_many([{"role": "tool", "tool_call_id": "c", "content": said} for said in ("a", "a", f"b{each}")])
    request = session.build_context().to("openai-chat")
    assert len({call["id"] for message in request["messages"] for call in message.get("tool_calls", ())}) == number
    further = [message for message in request["messages"] if str(message["content"]).startswith("Another result")]
    assert len(further) == number


def test_results_of_other_ids_than_the_calls_of_their_turn() -> None:
    """Each goes to an open call, one of its name first, and the same once more is no second one."""
    made = [{"id": f"a{n}", "type": "function", "function": {"name": f"f{n}", "arguments": "{}"}} for n in range(3)]
    given = [{"role": "tool", "tool_call_id": "x", "name": "f2", "content": "two"}]
    given += [{"role": "tool", "tool_call_id": "x", "content": said} for said in ("zero", "one", "more")]
    context = session_of({"role": "assistant", "content": None, "tool_calls": made}, *given).build_context()
    assert context.open_calls == ()
    sent = context.to("openai-chat")["messages"]
    assert [message["content"] for message in sent[2:5]] == ["zero", "one", "two"]
    assert "more" in sent[5]["content"]


def test_what_was_claimed_once_is_not_claimed_again() -> None:
    """A result without an id, whose calls have answers, repeats one of them or is without a call."""
    made = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    given = [{"role": "tool", "name": "f", "content": said} for said in ("r", "r", "s")]
    context = session_of({"role": "assistant", "content": None, "tool_calls": made}, *given).build_context()
    sent = [message["content"] for message in context.to("openai-chat")["messages"][2:]]
    assert sent == ["r", "Result of a tool call that is not shown any more (f):\ns", "End"]
    with pytest.raises(OpenCalls):
        session_of({"role": "assistant", "content": None, "tool_calls": made}).build_context().to(
            "openai-chat", open_calls="raise"
        )


def test_an_id_that_was_made_once_is_taken() -> None:
    """A request that is stored again may have calls without an id behind it."""
    bare = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", "function": FUNCTION["function"]}],
    }
    answered = {"role": "tool", "content": "r"}
    sent = session_of(bare, answered).build_context().to("openai-chat")["messages"]
    again = session_of(*sent[1:3], bare, answered).build_context().to("openai-chat")["messages"]
    ids = [call["id"] for message in again for call in message.get("tool_calls", ())]
    assert ids[0] == sent[1]["tool_calls"][0]["id"]
    assert len(set(ids)) == 2


def test_a_result_that_repeats_one_that_was_claimed() -> None:
    """The same answer under another name is no second answer, wherever the first one went."""
    made = [{"id": f"a{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in range(2)]
    given = [{"role": "tool", "tool_call_id": "a0", "content": "zero"}, {"role": "tool", "name": "g", "content": "one"}]
    given += [{"role": "tool", "name": "f", "content": "two"}, {"role": "tool", "name": "f", "content": "two"}]
    given += [{"role": "tool", "name": "g", "content": "one"}]
    context = session_of({"role": "assistant", "content": None, "tool_calls": made}, *given).build_context()
    said = [message["content"] for message in context.to("openai-chat")["messages"][2:]]
    assert (context.open_calls, said[:2]) == ((), ["zero", "two"])


def test_a_blank_document_says_nothing() -> None:
    """And an object of Gemini that is none is no part of its own."""
    blank = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": " "}}
    for shape in SHAPES:
        assert session_of(blocks(blank, role="user")).build_context().to(shape) == session_of().build_context().to(
            shape
        )
    assert first({"role": "model", "parts": [{"text": "a", "functionCall": "b"}]}).text == "a"


def test_blocks_that_only_their_provider_knows_stay_in_a_message_that_is_rebuilt() -> None:
    """An empty block next to them is left out."""
    odd = {"type": "odd", "x": 1}
    said = {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": ""}, odd]}
    session = session_of(said, shape="openai-chat", provider="p", model="m")
    sent = session.build_context().to("openai-chat")["messages"][1]
    assert sent == {"role": "assistant", "content": [{"type": "text", "text": "a"}, odd]}
    asked = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": ""}, odd]
    session = session_of({"type": "message", "role": "user", "content": asked}, provider="p", model="m")
    item = session.build_context().to("openai-responses")["input"][1]
    assert item == {"role": "user", "content": [asked[0], odd]}
