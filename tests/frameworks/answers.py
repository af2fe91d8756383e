"""Answers of providers, as their documentation shows them, what is stored of each, and the law for real objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from law import SHAPES

from convtree import MessageEntry, Session

Json = dict[str, Any]

PNG = "iVBORw0KGgr/+w=="
CALL: Json = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":null}'}}
CHAT_MESSAGE: Json = {"role": "assistant", "content": "I look.", "tool_calls": [CALL]}
ITEMS: list[Json] = [
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"},
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
    },
    {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}"},
]
RESPONSE_FRAME = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "created_at": 1}
RESPONSE_USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 5,
}
BLOCKS: list[Json] = [
    {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
    {
        "type": "text",
        "text": "I look.",
        "citations": [
            {
                "type": "char_location",
                "cited_text": "a",
                "document_index": 0,
                "document_title": "T",
                "start_char_index": 0,
                "end_char_index": 1,
            }
        ],
    },
    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": None}},
]
PARTS: list[Json] = [
    {"text": "hm", "thought": True},
    {"text": "I look."},
    {"inlineData": {"mimeType": "image/png", "data": PNG}},
    {"functionCall": {"name": "look", "args": {"at_place": None}}, "thoughtSignature": "c2ln+/8="},
]
BEDROCK_MESSAGE: Json = {
    "role": "assistant",
    "content": [{"text": "I look."}, {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"at": None}}}],
}
OLLAMA_MESSAGE: Json = {
    "role": "assistant",
    "content": "I look.",
    "thinking": "hm",
    "tool_calls": [{"function": {"name": "look", "arguments": {"at": None}}}],
}
COHERE_MESSAGE: Json = {
    "role": "assistant",
    "tool_plan": "I look.",
    "tool_calls": [{"id": "look_0", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}


class Answer(NamedTuple):
    """An answer, and the fields of the entry that it becomes."""

    answer: Json
    message: Json
    shape: str | None
    provider: str | None = None
    model: str | None = None
    usage: Json | None = None


ANSWERS: dict[str, Answer] = {
    "ChatCompletion": Answer(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-5",
            "choices": [{"index": 0, "finish_reason": "tool_calls", "logprobs": None, "message": CHAT_MESSAGE}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        },
        CHAT_MESSAGE,
        "openai-chat",
        "openai",
        "gpt-5",
        {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    ),
    "ModelResponse of LiteLLM": Answer(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "claude-opus-4",
            "choices": [{"index": 0, "finish_reason": "tool_calls", "message": CHAT_MESSAGE}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        },
        CHAT_MESSAGE,
        "openai-chat",
        "anthropic",
        "claude-opus-4",
        {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    ),
    "Choice": Answer({"index": 0, "finish_reason": "tool_calls", "message": CHAT_MESSAGE}, CHAT_MESSAGE, "openai-chat"),
    "Response": Answer(
        {
            "id": "resp_1",
            "object": "response",
            "model": "o4-mini",
            "output": ITEMS,
            "usage": RESPONSE_USAGE,
            **RESPONSE_FRAME,
        },
        {"object": "response", "output": ITEMS},
        "openai-responses",
        "openai",
        "o4-mini",
        RESPONSE_USAGE,
    ),
    "Response of one item": Answer(
        {"id": "resp_1", "object": "response", "model": "grok-4", "output": ITEMS[1:2], **RESPONSE_FRAME},
        ITEMS[1],
        "openai-responses",
        "xai",
        "grok-4",
    ),
    "Message": Answer(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-4",
            "content": BLOCKS,
            "stop_reason": "tool_use",
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 2},
        },
        {"role": "assistant", "content": BLOCKS},
        "anthropic",
        "anthropic",
        "claude-opus-4",
        {"input_tokens": 3, "output_tokens": 2},
    ),
    "GenerateContentResponse": Answer(
        {
            "candidates": [{"content": {"role": "model", "parts": PARTS}, "finishReason": "STOP", "index": 0}],
            "modelVersion": "gemini-3-pro",
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
        },
        {"role": "model", "parts": PARTS},
        "gemini",
        "google",
        "gemini-3-pro",
        {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
    ),
    "Candidate": Answer(
        {"content": {"role": "model", "parts": PARTS}, "finishReason": "STOP"},
        {"role": "model", "parts": PARTS},
        "gemini",
    ),
    "Converse": Answer(
        {
            "ResponseMetadata": {"HTTPStatusCode": 200},
            "output": {"message": BEDROCK_MESSAGE},
            "stopReason": "tool_use",
            "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
            "metrics": {"latencyMs": 9},
        },
        BEDROCK_MESSAGE,
        "bedrock",
        "amazon-bedrock",
        None,
        {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
    ),
    "ChatResponse of Ollama": Answer(
        {
            "model": "qwen3:8b",
            "created_at": "2026-01-01T00:00:00Z",
            "message": OLLAMA_MESSAGE,
            "done": True,
            "done_reason": "stop",
            "total_duration": 9,
            "prompt_eval_count": 3,
            "eval_count": 2,
        },
        OLLAMA_MESSAGE,
        "ollama",
        "ollama",
        "qwen3:8b",
        {"prompt_eval_count": 3, "eval_count": 2, "total_duration": 9},
    ),
    "V2ChatResponse without usage": Answer(
        {"id": "c1", "finish_reason": "COMPLETE", "message": {"role": "assistant", "content": []}, "usage": None},
        {"role": "assistant", "content": []},
        "cohere",
        "cohere",
    ),
    "NonStreamedChatResponse": Answer(
        {
            "text": "I look.",
            "generation_id": "g",
            "finish_reason": "COMPLETE",
            "chat_history": [{"role": "USER", "message": "Sky?"}, {"role": "CHATBOT", "message": "I look."}],
            "tool_calls": [{"name": "look", "parameters": {"at": None}}],
            "meta": {"tokens": {"input_tokens": 3.0, "output_tokens": 2.0}},
        },
        {"role": "CHATBOT", "message": "I look.", "tool_calls": [{"name": "look", "parameters": {"at": None}}]},
        "cohere",
        "cohere",
        None,
        {"tokens": {"input_tokens": 3.0, "output_tokens": 2.0}},
    ),
    "a message and its end": Answer(
        {"message": {"role": "assistant", "content": "Rome."}, "finish_reason": "stop", "model": "m"},
        {"role": "assistant", "content": "Rome."},
        "openai-chat",
        None,
        "m",
    ),
    "V2ChatResponse": Answer(
        {
            "id": "c1",
            "finish_reason": "TOOL_CALL",
            "message": COHERE_MESSAGE,
            "usage": {"tokens": {"input_tokens": 3.0, "output_tokens": 2.0}},
        },
        COHERE_MESSAGE,
        "cohere",
        "cohere",
        None,
        {"tokens": {"input_tokens": 3.0, "output_tokens": 2.0}},
    ),
}


def fields(entry: MessageEntry) -> tuple[Any, ...]:
    return entry.message, entry.shape, entry.provider, entry.model, entry.usage


def routes(made: Any) -> Iterator[Any]:
    """Every way in which an SDK's object comes to a program."""
    yield made
    yield made.model_dump()
    yield made.model_dump(mode="json")
    yield made.model_dump(mode="json", by_alias=True)
    yield made.model_dump(mode="json", exclude_none=True)
    yield made.model_dump(mode="json", exclude_unset=True)
    yield json.loads(made.model_dump_json())
    yield json.loads(made.model_dump_json(by_alias=True, exclude_unset=True))


def request_of(messages: list[Any], shape: Any) -> Json:
    """Returns the request for messages that were appended one after the other."""
    with Session.memory() as session:
        for message in messages:
            session.append(message)
        return session.build_context().to(shape)


def check_ways(ways: Mapping[str, list[Any]], texts: list[str]) -> None:
    """However the messages come, the request is the same, and has every text."""
    for shape in SHAPES:
        requests = {way: json.dumps(request_of(messages, shape)) for way, messages in ways.items()}
        assert len(set(requests.values())) == 1
        assert [text for text in texts if text not in next(iter(requests.values()))] == []
        assert "No result" not in next(iter(requests.values()))
