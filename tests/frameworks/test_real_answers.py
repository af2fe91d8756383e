"""Objects of the SDKs of OpenAI, Anthropic, Google, Ollama, Cohere and AWS. Without its package a test is skipped."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest
from answers import ANSWERS, Json, check_ways, fields, routes

from convtree import Session

CLASSES = {
    "ChatCompletion": "openai.types.chat:ChatCompletion",
    "Choice": "openai.types.chat.chat_completion:Choice",
    "Response": "openai.types.responses:Response",
    "Response of one item": "openai.types.responses:Response",
    "Message": "anthropic.types:Message",
    "GenerateContentResponse": "google.genai.types:GenerateContentResponse",
    "Candidate": "google.genai.types:Candidate",
    "ChatResponse of Ollama": "ollama:ChatResponse",
    "V2ChatResponse": "cohere.v2.types:V2ChatResponse",
    "NonStreamedChatResponse": "cohere.types:NonStreamedChatResponse",
}
PICTURE = b"\x89PNG\r\n\x1a\n\xff\xfb\x00"
PICTURE_TEXT = "iVBORw0KGgr/+wA="


@pytest.mark.parametrize("name", CLASSES)
def test_every_way_of_an_sdk_object_gives_the_same_entry(name: str) -> None:
    """The object itself, every dump of it, and its JSON text parsed again."""
    module, _, made = CLASSES[name].partition(":")
    pytest.importorskip(module.partition(".")[0])
    answer = getattr(import_module(module), made).model_validate(ANSWERS[name].answer)
    for each in routes(answer):
        assert fields(Session.memory().append(each)) == ANSWERS[name][1:]


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
    check_ways(ways, ["Be kind.", "Sky?", PICTURE_TEXT, "I look.", "Rome", "sun"])
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
    check_ways(ways, ["Be kind.", "Sky?", "I look.", "sun"])


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
    check_ways(
        {"object": objects, "JSON": json.loads(json.dumps(stored))}, ["Sky?", PICTURE_TEXT, "I look.", "Rome", "sun"]
    )
    entry = Session.memory().append(reply)
    assert (entry.provider, entry.shape) == ("amazon-bedrock", "bedrock")
    assert entry.usage == {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
