"""Requests through the SDKs themselves: what their clients put on the wire, and what their answers become."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from google import genai
from helpers import user
from openai import OpenAI
from test_examples import ANTHROPIC, CHAT, GEMINI, RESPONSE, Provider
from test_providers import OWN, SAMPLES

from convtree import Session

Json = dict[str, Any]
HI = user("Hi")


def ask_chat(url: str, request: Json) -> Any:
    """Asks through OpenAI's client for chat completions."""
    with OpenAI(base_url=url, api_key="k") as client:
        return client.chat.completions.create(model="m", **request)


def ask_responses(url: str, request: Json) -> Any:
    """Asks through OpenAI's client for responses."""
    with OpenAI(base_url=url, api_key="k") as client:
        return client.responses.create(model="m", **request)


def ask_anthropic(url: str, request: Json) -> Any:
    """Asks through Anthropic's client."""
    with Anthropic(base_url=url, api_key="k") as client:
        return client.messages.create(model="m", max_tokens=9, **request)


def ask_gemini(url: str, request: Json) -> Any:
    """Asks through Google's client, which wants the system's words in its config."""
    client = genai.Client(api_key="k", http_options={"base_url": url})
    config = {key: value for key, value in request.items() if key == "system_instruction"}
    try:
        return client.models.generate_content(model="m", contents=request["contents"], config=config)  # type: ignore[arg-type]  # a dict is one
    finally:
        client.close()


ASK: dict[str, Callable[[str, Json], Any]] = {
    "openai-chat": ask_chat,
    "openai-responses": ask_responses,
    "anthropic": ask_anthropic,
    "gemini": ask_gemini,
}
ANSWERS: dict[str, Json] = {
    "openai-chat": CHAT,
    "openai-responses": RESPONSE,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Provider]:
    """One for all tests: it takes half a second to stop."""
    started = Provider()
    yield started
    started.close()


def camel(value: Any) -> Any:
    """Writes the keys of a request to Gemini as its documentation does; the SDK mixes both ways."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    names = {"mime_type": "mimeType", "file_uri": "fileUri", "inline_data": "inlineData"}
    return {names.get(name, name): camel(each) for name, each in value.items()}


def asked(server: Provider, shape: Any, session: Session) -> tuple[Json, Json, Any]:
    """Sends a context; returns the request, what came over the wire of it, and the SDK's answer."""
    request = session.build_context().to(shape)
    server.answer = ANSWERS[shape]
    answer = ASK[shape](server.url, request)
    return request, server.asked[-1], answer


@pytest.mark.no_cover
@pytest.mark.parametrize("shape", ASK)
@pytest.mark.parametrize("source", [*SAMPLES, *(f"own {name}" for name in OWN)])
def test_the_clients_send_what_was_written(server: Provider, source: str, shape: str) -> None:
    """Nothing is lost, doubled or encoded twice on its way."""
    session = Session.memory()
    session.append({"role": "system", "content": "Be kind."})
    session.append_many(OWN[source[4:]] if source.startswith("own ") else SAMPLES[source])
    request, sent, _ = asked(server, shape, session)
    if shape == "gemini":
        assert camel(sent["contents"]) == request["contents"]
        assert sent["systemInstruction"]["parts"] == [{"text": "Be kind."}]
    else:
        assert {name: sent[name] for name in request} == request


CHAT_ANSWER: Json = {
    "role": "assistant",
    "content": None,
    "refusal": None,
    "annotations": [],
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
ITEMS: list[Json] = [
    {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "abc", "status": None},
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "look",
        "arguments": "{}",
        "status": "completed",
    },
]
BLOCKS: list[Json] = [
    {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
    {"type": "text", "text": "I look.", "citations": None},
    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "Rome"}, "caller": {"type": "direct"}},
]
PARTS: list[Json] = [
    {"text": "hm", "thought": True},
    {"functionCall": {"id": "g1", "name": "look", "args": {"at": "Rome"}}, "thoughtSignature": "c2ln+/8="},
]


def test_a_chat_answer_goes_back(server: Provider) -> None:
    """Without the members that say nothing."""
    session = Session.memory()
    session.append(HI)
    choice = CHAT["choices"][0] | {"message": CHAT_ANSWER}  # type: ignore[index]  # a list of dicts
    server.answer = CHAT | {"choices": [choice]}
    session.append(ask_chat(server.url, session.build_context().to("openai-chat")))
    session.append({"role": "tool", "tool_call_id": "call_1", "content": "sun"})
    _, sent, _ = asked(server, "openai-chat", session)
    calling = {"role": "assistant", "content": None, "tool_calls": CHAT_ANSWER["tool_calls"]}
    assert sent["messages"] == [HI, calling, {"role": "tool", "tool_call_id": "call_1", "content": "sun"}]


def test_a_response_goes_back(server: Provider) -> None:
    """Item by item, with ids and encrypted reasoning, without nulls."""
    session = Session.memory()
    session.append(HI)
    server.answer = RESPONSE | {"output": ITEMS}
    response = ask_responses(server.url, session.build_context().to("openai-responses"))
    session.append_many(response.output, model=response.model, usage=response.usage)
    output = {"type": "function_call_output", "call_id": "call_1", "output": "sun"}
    session.append(output)
    _, sent, _ = asked(server, "openai-responses", session)
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "abc"}
    assert sent["input"] == [HI, reasoning, ITEMS[1], output]


def test_an_anthropic_answer_goes_back(server: Provider) -> None:
    """With its signed thinking, byte for byte, and without members that say nothing."""
    session = Session.memory()
    session.append(HI)
    server.answer = ANTHROPIC | {"content": BLOCKS}
    session.append(ask_anthropic(server.url, session.build_context().to("anthropic")))
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sun"}]}
    session.append(result)
    _, sent, _ = asked(server, "anthropic", session)
    blocks = [BLOCKS[0], {"type": "text", "text": "I look."}, BLOCKS[2]]
    assert sent["messages"] == [HI, {"role": "assistant", "content": blocks}, result]


def test_a_gemini_answer_goes_back(server: Provider) -> None:
    """With its signature, whose bytes are the same in either alphabet."""
    session = Session.memory()
    session.append(HI)
    content = {"role": "model", "parts": PARTS}
    server.answer = GEMINI | {"candidates": [{"content": content}]}
    session.append(ask_gemini(server.url, session.build_context().to("gemini")))
    answer = {"functionResponse": {"id": "g1", "name": "look", "response": {"output": "sun"}}}
    session.append({"role": "user", "parts": [answer]})
    _, sent, _ = asked(server, "gemini", session)
    expected = json.loads(json.dumps(PARTS).replace("+/8=", "-_8="))
    assert camel(sent["contents"][1:]) == [{"role": "model", "parts": expected}, {"role": "user", "parts": [answer]}]
