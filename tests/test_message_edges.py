"""Rare messages: what is hidden inside a framework's message, new blocks of a provider, huge numbers."""

from __future__ import annotations

import base64
from typing import Any

import pydantic
import pytest
from helpers import assistant, user
from test_providers_laws import SHAPES

from convtree import InvalidMessage, ModelChangeEntry, Session
from convtree._engine.tokens import estimate_tokens

Message = dict[str, Any]
CALL: Message = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}


def claude_line(*blocks: Message) -> Message:
    """A line of Claude Code's transcript, of the user."""
    return {"type": "user", "uuid": "u1", "sessionId": "s1", "message": {"role": "user", "content": list(blocks)}}


def test_a_result_inside_a_frameworks_message_goes_with_its_hidden_call() -> None:
    """The words beside it stay, and so does the message in the log."""
    session = Session.memory()
    call = session.append_many([user("q"), CALL])[1]
    line = claude_line({"type": "tool_result", "tool_use_id": "t1", "content": "42"}, {"type": "text", "text": "And?"})
    entry = session.append(line)
    session.hide(call.id)
    context = session.build_context()
    assert context.messages[1] == claude_line({"type": "text", "text": "And?"})
    assert (entry.message, context.open_calls) == (line, ())
    for shape in SHAPES:
        assert ("42" in str(context.to(shape)), "And?" in str(context.to(shape))) == (False, True)


@pytest.mark.parametrize(
    "result",
    [
        {"type": "tool", "content": "42", "tool_call_id": "t1", "name": "f", "status": "success"},
        {"role": "tool", "blocks": [{"block_type": "text", "text": "42"}], "additional_kwargs": {"tool_call_id": "t1"}},
        claude_line({"type": "tool_result", "tool_use_id": "t1", "content": "42"}),
    ],
)
def test_a_hidden_result_of_a_framework_is_answered_by_hidden(result: Message) -> None:
    """The call keeps an answer in every shape."""
    session = Session.memory()
    session.append_many([user("q"), CALL])
    session.hide(session.append(result))
    session.append(assistant("A"))
    context = session.build_context()
    assert (context.open_calls, context.unknown) == ((), ())
    for shape in SHAPES:
        sent = context.to(shape)
        assert ("42" in str(sent), "hidden" in str(sent), sent.answered) == (False, True, ())


def test_new_blocks_stay_in_a_message_that_is_made_anew() -> None:
    """The provider whose shape the message has may know them."""
    made = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    blocks = [{"type": "new_block", "x": 1}, {"type": "text", "text": "A"}]
    session = Session.memory()
    session.append(user("q"))
    session.append({"role": "assistant", "content": blocks, "tool_calls": [made], "parsed": None}, model="m")
    sent = session.build_context().to("openai-chat")["messages"][1]
    assert sent == {"role": "assistant", "content": blocks, "tool_calls": [made]}
    asked = {"type": "message", "id": "m1", "role": "user", "content": [{"type": "new_input", "x": 1}]}
    session = Session.memory()
    session.append(asked, shape="openai-responses")
    session.append(ModelChangeEntry(provider=None, model="m"))
    assert session.build_context().to("openai-responses")["input"] == [
        {"role": "user", "content": [{"type": "new_input", "x": 1}]}
    ]


def test_an_approval_with_an_id_is_sent_without_it() -> None:
    """The user made it, whatever model asked."""
    asks = {"type": "mcp_approval_request", "id": "mcpr_1", "name": "f", "arguments": "{}", "server_label": "s"}
    approval = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    session = Session.memory()
    session.append(user("q"))
    session.append(asks, provider="openai", model="gpt")
    session.append(approval | {"id": "x"})
    assert session.build_context().to("openai-responses")["input"] == [user("q"), asks, approval]


def test_what_stands_beside_data_stays_where_it_is() -> None:
    """Only the data is written anew."""
    data = base64.urlsafe_b64encode(bytes(range(256))).decode()
    part = {"inlineData": {"mimeType": "video/mp4", "data": data}, "videoMetadata": {"fps": 1, "startOffset": "1s"}}
    session = Session.memory()
    session.append({"role": "user", "parts": [part]})
    (sent,) = session.build_context().to("gemini")["contents"][0]["parts"]
    assert sent == part | {"inlineData": {"mimeType": "video/mp4", "data": data.replace("-", "+").replace("_", "/")}}


def test_a_blank_document_says_nothing() -> None:
    """As a blank text."""
    blank = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": " "}}
    session = Session.memory()
    session.append({"role": "user", "content": [blank, {"type": "text", "text": "q"}]})
    assert session.build_context().to("openai-chat") == {"messages": [user("q")]}


def test_numbers_of_any_size_are_counted() -> None:
    """A log of another program may hold them."""
    assert estimate_tokens({"a": 2**70}) == 7  # {"a":1180591620717411303424}


def test_links_of_a_frameworks_dump_are_texts() -> None:
    """pydantic keeps them as objects in a dump for Python."""
    url = pydantic.AnyUrl("https://example.org/a.png")
    said = {"role": "user", "blocks": [{"block_type": "image", "url": url}], "additional_kwargs": {}}
    session = Session.memory()
    entry = session.append(said)
    assert entry.message["blocks"] == [{"block_type": "image", "url": "https://example.org/a.png"}]
    assert "https://example.org/a.png" in str(session.build_context().to("anthropic"))


def test_half_an_emoji_in_a_frameworks_message_is_refused_with_its_place() -> None:
    """Its role is read before it is checked, and a result with structure is read as JSON text."""
    result = {"part_kind": "tool-return", "tool_name": "look", "tool_call_id": "c", "content": {"found": ["\ud83d"]}}
    with pytest.raises(InvalidMessage) as caught:
        Session.memory().append({"kind": "request", "parts": [result]}, shape="pydantic-ai")
    assert caught.value.place == "message.parts[0].content.found[0]"
