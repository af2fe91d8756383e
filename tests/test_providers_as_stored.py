"""A conversation in a provider's shape is sent as it is stored, and that is what the writer would make of it."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convtree import CompactionEntry, Context, ModelChangeEntry, Session
from convtree._providers import Shape, write

Message = dict[str, Any]
Turn = tuple[Message, str | None]  # a message, and the model that made it

PNG = "iVBORw0KGgo="
PICTURE = {"type": "base64", "media_type": "image/png", "data": PNG}
OWN, OTHER = "its model", "another model"


def said(content: Any, role: str = "user") -> Message:
    return {"role": role, "content": content}


#: pieces of a conversation in each shape; messages of the assistant come with its model
PIECES: dict[Shape, list[list[Message]]] = {
    "anthropic": [
        [said("Hi")],
        [said("Be brief.", "system")],
        [said("Hello. ", "assistant")],
        [said([{"type": "text", "text": "Look"}, {"type": "image", "source": PICTURE}])],
        [
            said(
                [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "toolu_{n}", "name": "read", "input": {"path": "a"}},
                    {"type": "tool_use", "id": "toolu_{n}b", "name": "list", "input": {}},
                ],
                "assistant",
            ),
            said(
                [
                    {"type": "tool_result", "tool_use_id": "toolu_{n}", "content": "text of a"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_{n}b",
                        "content": [{"type": "text", "text": "no"}],
                        "is_error": True,
                    },
                    {"type": "text", "text": "and now?"},
                ]
            ),
        ],
    ],
    "openai-chat": [
        [said("Hi")],
        [said("Be brief.", "system")],
        [said("Be polite.", "developer")],
        [said("Hello.", "assistant")],
        [said([{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "https://e.org/a.png"}}])],
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call_{n}", "type": "function", "function": {"name": "read", "arguments": '{"path": "a"}'}},
                    {"id": "call_{n}b", "type": "function", "function": {"name": "list", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_{n}", "content": "text of a"},
            {"role": "tool", "tool_call_id": "call_{n}b", "content": ""},
        ],
    ],
    "openai-responses": [
        [said("Hi")],
        [said("Be brief.", "system")],
        [said("Hello.", "assistant")],
        [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
        [
            {"id": "rs_{n}", "type": "reasoning", "summary": [], "encrypted_content": "e"},
            {
                "id": "msg_{n}",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
            },
        ],
        [
            {"type": "reasoning", "id": "rs_{n}", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "function_call", "id": "fc_{n}", "call_id": "call_{n}", "name": "read", "arguments": "{}"},
            {"type": "function_call", "call_id": "call_{n}b", "name": "list", "arguments": "", "status": "completed"},
            {"type": "function_call_output", "call_id": "call_{n}", "output": "text of a"},
            {"type": "function_call_output", "call_id": "call_{n}b", "output": ""},
        ],
    ],
    "gemini": [
        [{"role": "user", "parts": [{"text": "Hi"}]}],
        [said("Be brief.", "system")],
        [said("Hi")],
        [{"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "Hello.", "thoughtSignature": "c2ln"}]}],
        [{"role": "user", "parts": [{"text": "Look"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]}],
        [
            {
                "role": "model",
                "parts": [
                    {"functionCall": {"name": "read", "args": {"path": "a"}, "id": "{n}"}, "thoughtSignature": "c2ln"},
                    {"functionCall": {"name": "list", "args": {}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "{n}", "name": "read", "response": {"output": "text of a"}}},
                    {"functionResponse": {"name": "list", "response": {"error": "no"}}},
                ],
            },
        ],
    ],
}
SHAPES = list(PIECES)
REPLIES = ("assistant", "model")
VALUES: list[Any] = [
    None,
    "",
    " ",
    "x ",
    "toolu_1",
    "call_1",
    "a-b_",
    [],
    {},
    True,
    1,
    "assistant",
    "system",
    "https://x",
]
KEYS = [
    "logprobs",
    "cache_control",
    "name",
    "id",
    "status",
    "type",
    "text",
    "thought",
    "is_error",
    "citations",
    "annotations",
]


def numbered(messages: list[Message], number: int) -> list[Message]:
    found: list[Message] = json.loads(json.dumps(messages).replace("{n}", str(number)))
    return found


def made_by(message: Message, model: str) -> str | None:
    is_reply = message.get("role") in REPLIES or message.get("type") in ("reasoning", "function_call")
    return model if is_reply else None


def context_of(turns: list[Turn], shape: Shape | None) -> Context:
    session = Session.memory()
    session.append(ModelChangeEntry(provider="maker", model=OWN))
    for message, model in turns:
        more: dict[str, Any] = {} if model is None else {"model": model, "provider": "maker"}
        session.append(message, shape=shape, **more)
    session.append(ModelChangeEntry(provider="maker", model=OWN))
    return session.build_context()


def bytes_of(request: Any) -> tuple[str, Any, Any]:
    return json.dumps(request), request.left_out, request.answered


def is_as_stored(context: Context) -> bool:
    """Whether the request was made without reading the messages into parts, which are kept."""
    return "said" not in vars(context)


def places(value: Any) -> list[tuple[Any, Any]]:
    """All keys and indexes in a value, with what holds them."""
    found, waiting = [], [value]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    return found


@st.composite
def conversations(draw: st.DrawFn, shape: Shape) -> list[Turn]:
    """Pieces in any order, with any number of faults."""
    pieces = draw(st.lists(st.sampled_from(PIECES[shape]), min_size=1, max_size=5))
    messages = [message for number, piece in enumerate(pieces) for message in numbered(piece, number)]
    for _ in range(draw(st.integers(0, 2))):
        fault = draw(st.sampled_from(["drop", "repeat", "swap", "set", "add", "delete"]))
        place = draw(st.integers(0, len(messages) - 1))
        if fault == "drop":
            del messages[place]
        elif fault == "repeat":
            messages.insert(place, copy.deepcopy(messages[place]))
        elif fault == "swap":
            messages.append(messages.pop(place))
        else:
            holder, key = draw(st.sampled_from(places(messages[place])))
            if fault == "set":
                holder[key] = draw(st.sampled_from(VALUES))
            elif fault == "delete":
                del holder[key]
            elif isinstance(holder, dict):
                holder[draw(st.sampled_from(KEYS))] = draw(st.sampled_from(VALUES))
        if not messages:
            return []
    models = st.sampled_from([OWN, OWN, OWN, OTHER])
    return [(message, made_by(message, draw(models))) for message in messages if message]  # an empty one is not stored


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=max(200, settings().max_examples))
@given(data=st.data())
def test_a_request_is_what_the_writer_makes_of_the_messages(shape: Shape, data: st.DataObject) -> None:
    turns = data.draw(conversations(shape))
    context = context_of(turns, data.draw(st.sampled_from([None, shape])))
    stored = copy.deepcopy(context.messages)
    request = context.to(shape, unknown="text")
    assert bytes_of(request) == bytes_of(write(context.said, shape, unknown="text", provider=context.provider))
    assert context.messages == stored


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("given_shape", [True, False])
def test_a_conversation_in_the_shape_is_not_read(shape: Shape, given_shape: bool) -> None:
    """Each piece, behind words of the user."""
    for piece in PIECES[shape]:
        messages = [PIECES[shape][0][0], *numbered(piece, 1)]
        context = context_of([(message, made_by(message, OWN)) for message in messages], shape if given_shape else None)
        request = context.to(shape)
        is_leading = shape == "openai-responses" and piece[0].get("role") == "system"  # they belong to the beginning
        assert is_as_stored(context) is not is_leading, piece
        assert bytes_of(request) == bytes_of(write(context.said, shape, provider=context.provider))


@pytest.mark.parametrize(
    "blocks",
    [
        [{"type": "output_text", "text": "Hello.", "annotations": [], "logprobs": None}],  # as the SDK dumps it
        [{"type": "output_text", "text": "Hello.", "annotations": None}],
        [{"type": "output_text", "text": "Hello.", "annotations": [{"type": "url_citation", "title": None}]}],
    ],
)
def test_what_a_dump_of_the_sdk_adds_is_taken_out(blocks: list[Message]) -> None:
    reply = PIECES["openai-responses"][4][1] | {"content": blocks}
    context = context_of([(said("Hi"), None), (reply, OWN)], None)
    request = context.to("openai-responses")
    assert bytes_of(request) == bytes_of(write(context.said, "openai-responses", provider=context.provider))
    assert "null" not in json.dumps(request)


def test_a_result_of_gemini_without_an_id_has_none() -> None:
    call = {"role": "model", "parts": [{"functionCall": {"name": "list", "args": {}}}]}
    result = {"role": "user", "parts": [{"functionResponse": {"id": None, "name": "list", "response": {}}}]}
    context = context_of([(said("Hi"), None), (call, OWN), (result, None)], None)
    answer = {"functionResponse": {"name": "list", "response": {}}}
    assert context.to("gemini")["contents"][2] == {"role": "user", "parts": [answer]}


def test_a_summary_and_the_users_words_are_one_message_for_anthropic() -> None:
    session = Session.memory()
    session.append(said("Hi"))
    kept = session.append(said("And now?"))
    session.append(said("Hello.", "assistant"))
    session.append(CompactionEntry(summary="They met.", first_kept_entry_id=kept.id))
    context = session.build_context()
    summary, second, reply = context.messages
    request = context.to("anthropic")
    words = [{"type": "text", "text": summary["content"]}, {"type": "text", "text": "And now?"}]
    assert request == {"messages": [said(words), reply]}
    assert second == said("And now?")
    assert is_as_stored(context)


def test_a_request_can_be_changed_without_changing_the_context() -> None:
    context = context_of([(said("Hi"), None), (said("Hello.", "assistant"), OWN)], None)
    request = context.to("openai-chat")
    request["messages"][0]["content"] = "changed"
    request["messages"].append(said("more"))
    assert context.messages == [said("Hi"), said("Hello.", "assistant")]
    assert context.to("openai-chat") == {"messages": context.messages}


@pytest.mark.parametrize("shape", SHAPES)
def test_thoughts_of_another_model_are_read_and_left_out(shape: Shape) -> None:
    thoughts: dict[Shape, Message] = {
        "openai-chat": said("Hello.", "assistant") | {"reasoning_content": "hm"},
        "openai-responses": PIECES["openai-responses"][4][0],
        "anthropic": said(
            [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "Hello."}]
        ),
        "gemini": PIECES["gemini"][3][0],
    }
    message = thoughts[shape] | ({"role": "assistant"} if shape == "anthropic" else {})
    session = Session.memory()
    session.append(said("Hi"))
    session.append(message, model=OTHER, provider="another maker")
    session.append(ModelChangeEntry(provider="maker", model=OWN))
    context = session.build_context()
    request = context.to(shape)
    assert [each.what for each in request.left_out] == ["reasoning"]
    assert "hm" not in json.dumps(request)
