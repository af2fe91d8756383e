"""What is made ready for a provider at the last step: texts of silent tools, standard base64, known fields only."""

from __future__ import annotations

import base64
import json
import typing
from typing import Any

import openai.types.responses as sdk
import pytest
from google.genai import types as genai
from helpers import assistant, user
from openai.types.responses.response_input_param import ResponseInputItemParam
from test_providers_laws import SHAPES

from convtree import ModelChangeEntry, Session
from convtree._messages.item_fields import BLOCK_FIELDS, ITEM_FIELDS

Message = dict[str, Any]
USE: Message = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}
PICTURE: Message = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}


def session_of(*messages: Any, **fields: Any) -> Session:
    session = Session.memory()
    session.append_many(messages, **fields)
    return session


# --- tools that say nothing ---


@pytest.mark.parametrize("content", ["", " ", None, [], [PICTURE], [{"type": "text", "text": ""}], ...])
def test_an_error_without_a_text_gets_one(content: Any) -> None:
    """Anthropic refuses it, and the conversation would be dead for ever. A picture stands behind it."""
    block = {"type": "tool_result", "tool_use_id": "t1", "is_error": True} | (
        {} if content is ... else {"content": content}
    )
    sent = session_of(user("q"), USE, {"role": "user", "content": [block]}).build_context().to("anthropic")
    expected = [{"type": "tool_result", "tool_use_id": "t1", "content": "Error (no output)", "is_error": True}]
    assert sent["messages"][2]["content"] == expected + ([PICTURE] if content == [PICTURE] else [])


def test_an_error_without_a_text_is_told_elsewhere_too() -> None:
    """Where there is no flag, or where the flag is the text."""
    block = {"type": "tool_result", "tool_use_id": "t1", "is_error": True}
    context = session_of(user("q"), USE, {"role": "user", "content": [block]}).build_context()
    assert context.to("openai-chat")["messages"][2]["content"] == "Error (no output)"
    answer = {"name": "f", "response": {"error": "Error (no output)"}}
    assert context.to("gemini")["contents"][2]["parts"] == [{"functionResponse": answer}]


def test_annotations_of_an_answer_are_not_sent() -> None:
    """Servers that imitate OpenAI refuse them; the log keeps them."""
    reply = assistant("A") | {"annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.org"}}]}
    context = session_of(user("q"), reply).build_context()
    assert context.to("openai-chat") == {"messages": [user("q"), assistant("A")]}
    assert context.messages[1] == reply


@pytest.mark.parametrize("content", ["", None, [], [{"type": "text", "text": ""}], [{"type": "text", "text": " \n"}]])
def test_a_silent_tool_is_not_shown_as_json(content: Any) -> None:
    """No text is no text, in every shape."""
    block = {"type": "tool_result", "tool_use_id": "t1", "content": content}
    context = session_of(user("q"), USE, {"role": "user", "content": [block]}).build_context()
    for shape in SHAPES:
        assert '\\"type\\"' not in json.dumps(context.to(shape))
    assert context.to("openai-chat")["messages"][2]["content"] == "(no output)"
    assert context.to("openai-responses")["input"][2]["output"] == ""


def test_what_a_tool_gives_besides_text_is_json() -> None:
    """An object, a list or a number that no block is."""
    for output, sent in (({"x": [1]}, '{"x":[1]}'), ([{"a": 1}, 2], '[{"a":1},2]'), (42, "42"), (False, "false")):
        context = session_of(user("q"), USE, {"role": "tool", "tool_call_id": "t1", "content": output}).build_context()
        assert context.to("openai-chat")["messages"][2]["content"] == sent
        assert context.to("anthropic")["messages"][2]["content"][0]["content"] == sent
    mixed = [{"type": "text", "text": "a"}, {"type": "odd", "x": 1}]
    context = session_of(user("q"), USE, {"role": "tool", "tool_call_id": "t1", "content": mixed}).build_context()
    assert context.to("openai-chat")["messages"][2]["content"] == 'a\n{"type":"odd","x":1}'


# --- base64 ---

DATA = bytes(range(256))
STANDARD, URL_SAFE = base64.b64encode(DATA).decode(), base64.urlsafe_b64encode(DATA).decode()


@pytest.mark.parametrize("spelled", [URL_SAFE, URL_SAFE.rstrip("="), STANDARD.rstrip("=")])
def test_data_leaves_in_the_standard_alphabet(spelled: str) -> None:
    """In every shape, whatever it came in: the other providers' decoders are strict."""
    url = f"data:image/png;base64,{spelled}"
    kinds: list[Any] = [
        {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": spelled}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]},
        {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": url, "detail": "auto"}]},
        {"role": "user", "content": [{"type": "image", "data": spelled, "mimeType": "image/png"}]},
        {
            "role": "user",
            "content": [PICTURE | {"source": PICTURE["source"] | {"data": spelled}}, {"type": "text", "text": "?"}],
        },
        genai.Content(role="user", parts=[genai.Part(inline_data=genai.Blob(mime_type="image/png", data=DATA))]),
    ]
    for message in kinds:
        for shape in SHAPES:
            sent = str(session_of(message).build_context().to(shape))
            assert (STANDARD in sent, "-" in sent.replace("image/png", "").replace("input_image", "")) == (True, False)


def test_data_in_results_leaves_in_the_standard_alphabet() -> None:
    """Also where the whole message would be sent as it was stored."""
    picture = PICTURE | {"source": PICTURE["source"] | {"data": URL_SAFE}}
    block = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "see"}, picture]}
    context = session_of(user("q"), USE, {"role": "user", "content": [block]}).build_context()
    for shape in SHAPES:
        assert (STANDARD in str(context.to(shape)), URL_SAFE in str(context.to(shape))) == (True, False)
    assert context.messages[2]["content"][0]["content"][1] == picture


def test_a_text_file_in_the_other_alphabet_is_read() -> None:
    """Its words, not its name."""
    said = "Grüße? »ÿÿÿ«"
    data = base64.urlsafe_b64encode(said.encode()).decode()
    assert "_" in data or "-" in data
    message = {"role": "user", "parts": [{"inlineData": {"mimeType": "text/plain", "data": data}}]}
    assert session_of(message).build_context().to("openai-chat") == {"messages": [user(said)]}


def test_what_is_no_base64_stays_as_it_is() -> None:
    """Nothing is guessed."""
    message = {"role": "user", "content": [{"type": "image", "data": "a-b c?", "mimeType": "image/png"}]}
    sent = session_of(message).build_context().to("anthropic")["messages"][0]["content"][0]
    assert sent["source"]["data"] == "a-b c?"


# --- OpenAI Responses ---


def fields_of_items() -> dict[str, set[str]]:
    """The fields of every item that the SDK's types name, by the item's type."""
    found: dict[str, set[str]] = {}
    for each in typing.get_args(ResponseInputItemParam):
        hints = typing.get_type_hints(each)
        waiting: list[Any] = [hints["type"]]
        while waiting:
            hint = waiting.pop()
            for inner in typing.get_args(hint):
                if isinstance(inner, str):
                    found.setdefault(inner, set()).update(hints)
                else:
                    waiting.append(inner)
    return found


def test_the_known_fields_are_those_of_the_sdk() -> None:
    """Item by item; `status` and `call_id` are there where it is harmless."""
    for kind, fields in fields_of_items().items():
        assert fields <= ITEM_FIELDS[kind] | {"call_id"}, kind
        assert ITEM_FIELDS[kind] <= fields | {"status"}, kind
    for kind, name in {
        "input_text": "ResponseInputTextParam",
        "input_image": "ResponseInputImageParam",
        "input_file": "ResponseInputFileParam",
        "output_text": "ResponseOutputTextParam",
        "refusal": "ResponseOutputRefusalParam",
    }.items():
        assert set(typing.get_type_hints(getattr(sdk, name))) == BLOCK_FIELDS[kind]


PRIVATE: Message = {"internal_chat_message_metadata_passthrough": {"x": 1}, "metadata": {"turn_id": "t"}, "_mine": 1}


def test_private_fields_of_a_tool_are_not_sent() -> None:
    """In items and in their blocks. The log keeps them."""
    block = {"type": "output_text", "text": "A", "annotations": []}
    items: list[Message] = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "q"}]},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "e",
        },
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "42"}]},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [block]},
    ]
    stored: list[Message] = []
    for item in items:
        name = next((name for name in ("content", "output", "summary") if isinstance(item.get(name), list)), None)
        inner = {} if name is None else {name: [each | PRIVATE for each in item[name]]}
        stored.append(item | inner | PRIVATE)
    session = session_of(*stored, model="m")
    assert session.build_context().to("openai-responses") == {"input": items}
    assert session.build_context().messages == stored
    session.append(ModelChangeEntry(provider=None, model="n"))
    sent = session.build_context().to("openai-responses")["input"]
    assert [key for item in sent for key in PRIVATE if key in str(item)] == []


def test_items_whose_reasoning_was_redacted_go_without_their_ids() -> None:
    """OpenAI would look for the reasoning."""
    bare = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "[REDACTED:x]"}]}
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    session = session_of(user("q"), assistant("A"), user("r"), bare, call | {"id": "fc_1"}, output, model="m")
    request = session.build_context().to("openai-responses")
    assert request["input"] == [user("q"), assistant("A"), user("r"), call, output]
    assert [each.what for each in request.left_out] == ["reasoning"]


def test_a_generated_image_is_a_picture_for_others() -> None:
    """As an item for OpenAI, named for those who take no pictures of an assistant."""
    image = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": STANDARD}
    session = session_of(user("q"), image, model="m")
    assert session.build_context().to("openai-responses")["input"] == [user("q"), image]
    request = session.build_context().to("openai-chat")
    assert request["messages"] == [user("q"), assistant("[image]")]
    assert [each.what for each in request.left_out] == ["media"]
    assert STANDARD in str(session.build_context().to("gemini"))


def test_an_unsigned_thought_does_not_hide_the_shape_of_the_others() -> None:
    """A redaction took its signature; what Anthropic's own tools did is still Anthropic's."""
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    said = [{"type": "thinking", "thinking": "[REDACTED:x]"}, search, found, {"type": "text", "text": "A"}]
    session = session_of(user("q"), {"role": "assistant", "content": said}, model="m")
    assert session.build_context().to("anthropic")["messages"][1]["content"] == said[1:]


@pytest.mark.parametrize("id", [{"a": 1}, ["a"], 5, None])
def test_an_id_that_is_no_text_breaks_no_request(id: Any) -> None:
    """Of a call of Anthropic's own tools, and of an approval for OpenAI."""
    use: Message = {"type": "server_tool_use", "id": id, "name": "web_search", "input": {}}
    found: Message = {"type": "web_search_tool_result", "tool_use_id": id, "content": []}
    ask: Message = {"type": "mcp_approval_request", "id": id, "server_label": "s", "name": "f", "arguments": "{}"}
    may: Message = {"type": "mcp_approval_response", "approval_request_id": id, "approve": True}
    said = [{"role": "assistant", "content": [use, found, {"type": "text", "text": "A"}]}, ask, may]
    context = session_of(user("q"), *said, model="m").build_context()
    assert all("A" in json.dumps(context.to(shape)) for shape in SHAPES)


def test_encrypted_state_without_its_content_is_left_out() -> None:
    """It is of no use to anybody."""
    session = session_of(user("q"), {"type": "compaction", "id": "cmp_1"}, user("r"), model="m")
    request = session.build_context().to("openai-responses")
    assert (request["input"], [each.what for each in request.left_out]) == ([user("q"), user("r")], ["sealed"])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["thoughtSignature", "thought_signature"])
def test_a_part_that_is_a_signature_alone(name: str, shape: Any) -> None:
    """Gemini streams some. It goes back to its model, and another one gets the rest of the message."""
    said: Message = {"role": "model", "parts": [{"text": "A"}, {name: "c2ln"}]}
    session = session_of(user("q"), said, provider="google", model="gemini")
    sent = {"role": "model", "parts": [{"text": "A"}, {"thoughtSignature": "c2ln"}]}  # as Google spells it
    assert session.build_context().to("gemini")["contents"][1] == sent
    session.append(ModelChangeEntry(provider="google", model="other"))
    context = session.build_context()
    assert (context.said[1].text, context.unknown) == ("A", ())
    assert "c2ln" not in json.dumps(context.to(shape))
