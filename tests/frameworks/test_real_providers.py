"""Conversations of real objects: boto3, Strands, Ollama and Cohere. Each package that is not installed is skipped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from answers import ANSWERS, PNG, Json
from law import SHAPES

from convtree import Session

PICTURE = b"\x89PNG\r\n\x1a\n\xff\xfb\x00"
PICTURE_TEXT = "iVBORw0KGgr/+wA="


def request_of(messages: list[Any], shape: Any) -> Json:
    """Returns the request for messages that were appended one after the other."""
    with Session.memory() as session:
        for message in messages:
            session.append(message)
        return session.build_context().to(shape, heal=True)


def check(ways: Mapping[str, list[Any]], texts: list[str]) -> None:
    """However the messages come, the request is the same, and has every text."""
    for shape in SHAPES:
        requests = {way: json.dumps(request_of(messages, shape)) for way, messages in ways.items()}
        assert len(set(requests.values())) == 1
        assert [text for text in texts if text not in next(iter(requests.values()))] == []
        assert "No result" not in next(iter(requests.values()))


def test_ollama() -> None:
    """Its calls have no ids, and its results name their tool."""
    ollama: Any = pytest.importorskip("ollama")
    call = ollama.Message.ToolCall(function=ollama.Message.ToolCall.Function(name="look", arguments={"at": "Rome"}))
    reply = ollama.ChatResponse(
        model="qwen3",
        done=True,
        prompt_eval_count=3,
        eval_count=2,
        message=ollama.Message(role="assistant", content="I look.", tool_calls=[call]),
    )
    objects = [
        ollama.Message(role="system", content="Be kind."),
        ollama.Message(role="user", content="Sky?", images=[ollama.Image(value=PICTURE)]),
        reply,
        ollama.Message(role="tool", content="sun", tool_name="look"),
    ]
    ways = {
        "object": objects,
        "dump": [each.model_dump() for each in objects],
        "without nulls": [each.model_dump(exclude_none=True) for each in objects],
        "JSON": [json.loads(each.model_dump_json()) for each in objects],
    }
    check(ways, ["Be kind.", "Sky?", PICTURE_TEXT, "I look.", "Rome", "sun"])
    entry = Session.memory().append(reply)
    assert (entry.provider, entry.model, entry.usage) == ("ollama", "qwen3", {"prompt_eval_count": 3, "eval_count": 2})


def test_cohere() -> None:
    """Its plan is text, and its results are documents."""
    v2: Any = pytest.importorskip("cohere.v2.types")
    cohere: Any = pytest.importorskip("cohere")
    document = cohere.DocumentToolContent(document=cohere.Document(data={"sky": "sun"}))
    objects = [
        cohere.SystemChatMessageV2(content="Be kind."),
        cohere.UserChatMessageV2(content="Sky?"),
        v2.V2ChatResponse.model_validate(ANSWERS["V2ChatResponse"].answer),
        cohere.ToolChatMessageV2(tool_call_id="look_0", content=[document]),
    ]
    ways = {
        "object": objects,
        "dump": [each.model_dump() for each in objects],
        "JSON": [json.loads(each.model_dump_json()) for each in objects],
    }
    check(ways, ["Be kind.", "Sky?", "I look.", "sun"])


def test_boto3() -> None:
    """An answer of Converse, checked by boto3 against the service's own description."""
    boto3: Any = pytest.importorskip("boto3")
    from botocore.stub import Stubber  # type: ignore[import-not-found, unused-ignore]  # comes with boto3

    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "k"}
    client = boto3.client("bedrock-runtime", region_name="us-east-1", **keys)
    reasoning = {"reasoningText": {"text": "hm", "signature": "c2ln"}}
    content: list[Json] = [
        {"reasoningContent": reasoning},
        {"text": "I look."},
        {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"at": "Rome"}}},
        {"image": {"format": "png", "source": {"bytes": PICTURE}}},
    ]
    answer = ANSWERS["Converse"].answer | {"output": {"message": {"role": "assistant", "content": content}}}
    asked: list[Json] = [
        {"role": "user", "content": [{"text": "Sky?"}, {"image": {"format": "png", "source": {"bytes": PICTURE}}}]}
    ]
    with Stubber(client) as stub:
        stub.add_response("converse", {key: answer[key] for key in answer if key != "ResponseMetadata"})
        reply = client.converse(modelId="anthropic.claude", messages=asked)
    result = {"toolResult": {"toolUseId": "t1", "status": "success", "content": [{"json": {"sky": "sun"}}]}}
    objects = [*asked, reply, {"role": "user", "content": [result]}]
    stored = [Session.memory().append(each).message for each in objects]
    check({"object": objects, "JSON": json.loads(json.dumps(stored))}, ["Sky?", PICTURE_TEXT, "I look.", "Rome", "sun"])
    entry = Session.memory().append(reply)
    assert (entry.provider, entry.shape) == ("amazon-bedrock", "bedrock")
    assert entry.usage == {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}


def test_strands() -> None:
    """A result of an agent, and the messages of its sessions."""
    results: Any = pytest.importorskip("strands.agent.agent_result")
    from strands.telemetry.metrics import EventLoopMetrics  # type: ignore[import-not-found, unused-ignore]  # as above
    from strands.types.session import SessionMessage  # type: ignore[import-not-found, unused-ignore]  # as above

    asked: Json = {
        "role": "user",
        "content": [{"text": "Sky?"}, {"image": {"format": "png", "source": {"bytes": PICTURE}}}],
    }
    said: Json = {
        "role": "assistant",
        "content": [{"text": "I look."}, {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"at": "Rome"}}}],
        "metadata": {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}},
    }
    answered = {"toolResult": {"toolUseId": "t1", "status": "success", "content": [{"text": "sun"}]}}
    last: Json = {"role": "user", "content": [answered], "tracking_id": "u"}
    reply = results.AgentResult(stop_reason="tool_use", message=said, metrics=EventLoopMetrics(), state={})
    ways = {
        "objects": [SessionMessage.from_message(asked, 0), reply, SessionMessage.from_message(last, 2)],
        "messages": [asked, said, last],
        "dicts": [
            SessionMessage.from_message(asked, 0).to_dict(),
            json.loads(json.dumps(reply.to_dict())),
            SessionMessage.from_message(last, 2).to_dict(),
        ],
    }
    check(ways, ["Sky?", PICTURE_TEXT, "I look.", "Rome", "sun"])
    assert PNG != PICTURE_TEXT
    assert Session.memory().append(reply).usage == {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
