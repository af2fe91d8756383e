"""What messages of Bedrock, Strands, Ollama, Cohere, Vercel's AI SDK and ShareGPT say, without their packages."""

from __future__ import annotations

import json
from typing import Any

import pytest
import test_providers
from answers import PNG
from hypothesis import given
from hypothesis import strategies as st
from law import SAMPLES as RECORDED
from messages import CASES, IMAGE, Case, Json, told

from convtree import Session
from convtree._messages.frameworks.table import framework_of
from convtree._messages.parts import Source, Thinking, Unknown
from convtree._messages.reading import read_for_model

SHAPES: tuple[Any, ...] = ("openai-chat", "openai-responses", "anthropic", "gemini")


@pytest.mark.parametrize("case", CASES, ids=lambda case: json.dumps(case.message)[:60])
def test_messages_say(case: Case) -> None:
    """Every part is read, and what nobody knows is told. Places lead to the blocks."""
    source = Source(message=case.message)
    parts = read_for_model(source)
    assert (source.shape, source.role) == (case.framework, case.role)
    assert [told(part) for part in parts] == case.parts
    for part in parts:
        value: Any = case.message
        for step in part.place:
            value = value[step]
        assert part.place or source.role == "tool" or isinstance(part, Unknown)


@pytest.mark.parametrize("case", CASES, ids=lambda case: json.dumps(case.message)[:60])
def test_frameworks_know_their_own_messages_only(case: Case) -> None:
    """No message of one is taken for one of another."""
    found = framework_of(case.message)
    assert found is not None
    assert found.name == case.framework


def test_messages_of_providers_are_not_of_a_framework() -> None:
    """Those of OpenAI chat, Responses, Anthropic, Gemini, pi and kit are left to their own readers."""
    samples = [*test_providers.SAMPLES.values(), *test_providers.OWN.values(), test_providers.KIT]
    messages = [message for sample in samples for message in sample]
    assert len(messages) > 20
    assert [message for message in messages if framework_of(message) is not None] == []


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: path.stem)
def test_recorded_messages_are_of_their_framework(path: Any) -> None:
    """None of those readers claims a message that another framework made."""
    messages = json.loads(path.read_text("utf-8"))["messages"]
    names = {found.name for message in messages if (found := framework_of(message)) is not None}
    assert names <= {path.stem}


def test_a_signature_stays_usable_for_its_own_model() -> None:
    """Thinking that a model of Anthropic signed at Bedrock goes back to it, and to no other model."""
    block = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}
    reply = {"role": "assistant", "content": [block, {"text": "Rome."}]}
    (thinking, _) = read_for_model(Source(message=reply))
    assert isinstance(thinking, Thinking)
    assert (thinking.sealed, thinking.shape) == (True, "anthropic")
    for model in ("claude", "gpt"):
        with Session.memory() as session:
            session.append({"role": "user", "content": "Hi"})
            session.append(reply, model="claude")
            session.append({"role": "user", "content": "And?"}, model=model)
            sent = session.build_context().to("anthropic")["messages"][1]["content"]
        signed = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
        assert (isinstance(sent, list) and signed in sent) == (model == "claude")


def test_bytes_of_boto3_become_base64() -> None:
    """A message as it is given to `converse` can be appended."""
    picture = {"image": {"format": "png", "source": {"bytes": b"\x89PNG\r\n\x1a\n\xff\xfb\x00"}}}
    entry = Session.memory().append({"role": "user", "content": [picture, {"text": "?"}]})
    assert entry.message["content"][0] == {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgr/+wA="}}}
    (image, _) = read_for_model(Source(message=entry.message))
    assert told(image) == ("image", {"mime": "image/png", "data": "iVBORw0KGgr/+wA="})


def test_strands_states_its_usage() -> None:
    """It notes the tokens beside a reply; a user's message has no such note."""
    usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
    reply = {"role": "assistant", "content": [{"text": "a"}], "tracking_id": "u", "metadata": {"usage": usage}}
    assert Session.memory().append(reply).usage == usage
    assert Session.memory().append(reply, usage={"input_tokens": 1}).usage == {"input_tokens": 1}
    assert Session.memory().append({"role": "user", "content": [], "tracking_id": "u"}).usage is None


def test_messages_of_strands_sessions_are_unwrapped() -> None:
    """Its session files hold a message beside its number, and another one if it was redacted."""
    said, redacted = ({"role": "user", "content": [{"text": text}]} for text in ("secret", "[redacted]"))
    reply = {
        "role": "assistant",
        "content": [{"text": "a"}],
        "tracking_id": "u",
        "metadata": {"usage": {"inputTokens": 3}},
    }
    entry = Session.memory().append({"type": "agent_result", "message": reply, "stop_reason": "end_turn"})
    assert (entry.message, entry.shape, entry.usage) == (reply, "strands", {"inputTokens": 3})
    stored = {"message": said, "message_id": 0, "redact_message": None, "created_at": "t", "updated_at": "t"}
    assert Session.memory().append(stored).message == said
    assert Session.memory().append(stored | {"redact_message": redacted}).message == redacted


@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_reach_every_provider(shape: Any) -> None:
    """In the alphabet that all of them take."""
    messages: list[Json] = [
        {"role": "user", "content": [{"image": IMAGE}]},
        {"role": "user", "content": "?", "images": [PNG]},
        {"role": "user", "content": [{"type": "image", "image": PNG}]},
        {"role": "user", "parts": [{"type": "file", "mediaType": "image/png", "url": f"data:image/png;base64,{PNG}"}]},
    ]
    for message in messages:
        with Session.memory() as session:
            session.append(message)
            assert PNG in json.dumps(session.build_context().to(shape))


KEYS = [
    *("role", "content", "parts", "type", "text", "from", "value", "message", "thinking", "images", "tool_calls"),
    *("tool_name", "tool_plan", "citations", "tool_results", "call", "name", "outputs", "function", "arguments"),
    *("toolUse", "toolResult", "image", "document", "video", "reasoningContent", "reasoningText", "signature"),
    *("guardContent", "citationsContent", "searchResult", "cachePoint", "source", "bytes", "format", "json"),
    *("tracking_id", "metadata", "usage", "redactedContent", "s3Location", "uri", "status", "toolUseId", "title"),
    *("toolCallId", "toolName", "state", "input", "output", "errorText", "approval", "reason", "mediaType", "data"),
    *("url", "toolInvocation", "providerMetadata", "providerOptions", "anthropic", "redactedData", "filename"),
]
WORDS = [
    *("user", "assistant", "tool", "system", "USER", "CHATBOT", "TOOL", "human", "gpt", "function_call", "observation"),
    *("text", "reasoning", "file", "image", "document", "thinking", "tool-call", "tool-result", "tool-look", "json"),
    *("dynamic-tool", "tool-invocation", "output-available", "output-error", "output-denied", "content", "media"),
    *("step-start", "source-url", "data-x", "execution-denied", "error-json", "server_tool_use", "error", "data:,x"),
    *("data:image/png;base64,AAAA", "https://a", "image_url"),
]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=10,
)
BLOCKS = st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=4)
ODD: st.SearchStrategy[Json] = st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=5) | st.builds(
    lambda role, key, blocks, more: more | {"role": role, key: blocks},
    st.sampled_from(WORDS),
    st.sampled_from(["content", "parts", "images", "tool_calls", "tool_results"]),
    st.lists(BLOCKS | VALUES, max_size=3),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3),
)


@given(ODD)
def test_no_json_makes_a_reader_raise(message: Json) -> None:
    """Whatever is stored can be read, and every part can be told."""
    source = Source(message=message)
    for part in read_for_model(source):
        told(part)


@given(st.sampled_from(CASES), st.data())
def test_no_damaged_message_makes_a_reader_raise(case: Case, data: st.DataObject) -> None:
    """Any value of a message may be another one."""
    message = json.loads(json.dumps(case.message))
    value: Any = message
    while True:
        places = list(value) if isinstance(value, dict) else list(range(len(value)))
        place = data.draw(st.sampled_from(places))
        inner = value[place]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            value[place] = data.draw(VALUES)
            break
        value = inner
    for part in read_for_model(Source(message=message)):
        told(part)
