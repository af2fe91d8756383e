"""Signatures: they go when what they cover was redacted, cut or replaced, and stay when it was not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from foreign import PI_HEAD, encoded, pi_line
from foreign_stores import GOOSE, GOOSE_SESSION, goose_row, write_database
from hypothesis import given
from hypothesis import strategies as st
from planted import GITHUB, OPENAI

from convtree import ExtensionDataEntry, MessageEntry, Redactor, Session, open_store, redact
from convtree._engine.signatures import drop_broken
from convtree._tools.redact_log import RedactedSession, redact_log
from convtree.exchange import export_lines, import_file

MARK = "[REDACTED:openai_key]"
SEAL = "EqQBCkYIBxgC" * 8
Make = Callable[[str, str], dict[str, Any]]


def _anthropic(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def _model(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


#: name -> a message with a text that a signature covers: from the text and the signature
COVERED: dict[str, Make] = {
    "anthropic": lambda text, seal: _anthropic({"type": "thinking", "thinking": text, "signature": seal}),
    "pi": lambda text, seal: _anthropic({"type": "thinking", "thinking": text, "thinkingSignature": seal}),
    "pi, item": lambda text, seal: _anthropic(
        {"type": "thinking", "thinking": text, "thinkingSignature": json.dumps({"id": "rs_1", "of": seal})}
    ),
    "pi, call": lambda text, seal: _anthropic(
        {"type": "toolCall", "id": "c", "name": "f", "arguments": {"a": [text]}, "thoughtSignature": seal}
    ),
    "pi, text": lambda text, seal: _anthropic({"type": "text", "text": text, "textSignature": seal}),
    "kit": lambda text, seal: {
        "role": "assistant",
        "parts": [{"type": "reasoning", "data": {"thinking": text, "signature": seal}}],
    },
    "kit, item": lambda text, seal: {
        "role": "assistant",
        "parts": [{"type": "reasoning", "data": {"thinking": text, "responses_data": {"item_id": seal}}}],
    },
    "responses, summary": lambda text, seal: {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": text}],
        "encrypted_content": seal,
    },
    "responses, content": lambda text, seal: {
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": text}],
        "encrypted_content": seal,
    },
    "responses, stored": lambda text, seal: {
        "type": "reasoning",
        "id": seal,
        "summary": [{"type": "summary_text", "text": text}],
    },
    "gemini, thought": lambda text, seal: _model({"text": text, "thought": True, "thoughtSignature": seal}),
    "gemini, call": lambda text, seal: _model(
        {"functionCall": {"name": "f", "args": {"deep": [{"er": text}]}}, "thoughtSignature": seal}
    ),
    "gemini, snake case": lambda text, seal: _model(
        {"function_call": {"name": "f", "args": {"a": text}}, "thought_signature": seal}
    ),
    "gemini, streamed": lambda text, seal: _model({"text": text}, {"text": "", "thoughtSignature": seal}),
    "adk": lambda text, seal: {"author": "a", "content": _model({"text": text, "thought_signature": seal})},
    "bedrock": lambda text, seal: _anthropic({"reasoningContent": {"reasoningText": {"text": text, "signature": seal}}}),
    "openrouter": lambda text, seal: {
        "role": "assistant",
        "content": "",
        "reasoning_details": [{"type": "reasoning.text", "text": text, "signature": seal}],
    },
    "openrouter, encrypted": lambda text, seal: {
        "role": "assistant",
        "content": "",
        "reasoning_details": [
            {"type": "reasoning.summary", "summary": text},
            {"type": "reasoning.encrypted", "data": seal},
        ],
    },
    "openrouter, text beside": lambda text, seal: {
        "role": "assistant",
        "reasoning": text,
        "reasoning_details": [{"type": "reasoning.encrypted", "data": seal}],
    },
    "litellm": lambda text, seal: {
        "role": "assistant",
        "tool_calls": [
            {"function": {"name": "f", "arguments": text}, "provider_specific_fields": {"thought_signature": seal}}
        ],
    },
    "copilot": lambda text, seal: {"role": "assistant", "reasoning_text": text, "reasoning_opaque": seal},
    "pydantic-ai": lambda text, seal: {
        "kind": "response",
        "parts": [{"part_kind": "thinking", "content": text, "id": "rs_1", "signature": seal}],
    },
    "pydantic-ai, one item": lambda text, seal: {
        "kind": "response",
        "parts": [
            {"part_kind": "thinking", "content": "first", "id": "rs_1", "signature": seal},
            {"part_kind": "thinking", "content": text, "id": "rs_1"},
        ],
    },
    "pydantic-ai, call": lambda text, seal: {
        "kind": "response",
        "parts": [{"part_kind": "tool-call", "args": {"a": text}, "provider_details": {"thought_signature": seal}}],
    },
    "langchain": lambda text, seal: {
        "type": "ai",
        "data": {"content": [{"type": "reasoning", "reasoning": text, "extras": {"signature": seal}}]},
    },
    "langchain, text": lambda text, seal: {
        "type": "ai",
        "content": [{"type": "text", "text": text, "extras": {"signature": seal}}],
    },
    "langchain, calls": lambda text, seal: {
        "type": "ai",
        "content": "",
        "tool_calls": [{"id": "c", "name": "f", "args": {"a": text}}],
        "additional_kwargs": {"__gemini_function_call_thought_signatures__": {"c": seal}},
    },
    "llamaindex": lambda text, seal: {
        "role": "assistant",
        "blocks": [{"block_type": "thinking", "content": text, "additional_information": {"signature": seal}}],
    },
    "vercel": lambda text, seal: {
        "role": "assistant",
        "parts": [{"type": "reasoning", "text": text, "providerMetadata": {"anthropic": {"signature": seal}}}],
    },
    "vercel, tool": lambda text, seal: {
        "role": "assistant",
        "parts": [
            {"type": "tool-f", "input": {"a": text}, "callProviderMetadata": {"google": {"thoughtSignature": seal}}}
        ],
    },
    "vercel, openai": lambda text, seal: {
        "role": "assistant",
        "parts": [
            {"type": "reasoning", "text": text, "providerMetadata": {"openai": {"itemId": "rs_1"}}},
            {
                "type": "reasoning",
                "text": "",
                "providerMetadata": {"openai": {"itemId": "rs_1", "reasoningEncryptedContent": seal}},
            },
        ],
    },
    "vercel, earlier": lambda text, seal: {
        "role": "assistant",
        "parts": [{"type": "reasoning", "details": [{"type": "text", "text": text, "signature": seal}]}],
    },
    "agent framework": lambda text, seal: {
        "role": "assistant",
        "contents": [{"type": "text_reasoning", "text": text, "protected_data": seal}],
    },
    "claude code": lambda text, seal: {
        "type": "assistant",
        "uuid": "u",
        "message": _anthropic({"type": "thinking", "thinking": text, "signature": seal}),
    },
    "opencode": lambda text, seal: {
        "role": "assistant",
        "parts": [{"id": "prt_1", "type": "reasoning", "text": text, "metadata": {"anthropic": {"signature": seal}}}],
    },
    "goose": lambda text, seal: _anthropic(
        {"type": "toolRequest", "id": "c", "toolCall": {"value": text}, "metadata": {"thoughtSignature": seal}}
    ),
}

#: name -> a message with a signature that does not cover the text
UNCOVERED: dict[str, Make] = {
    "redacted thinking": lambda text, seal: _anthropic(
        {"type": "redacted_thinking", "data": seal}, {"type": "tool_use", "id": "c", "name": "f", "input": {"a": text}}
    ),
    "another block": lambda text, seal: _anthropic(
        {"type": "thinking", "thinking": text, "signature": "x"},
        {"type": "thinking", "thinking": "so", "signature": seal},
    ),
    "another part": lambda text, seal: _model({"text": text}, {"text": "so", "thoughtSignature": seal}),
    "omitted thinking": lambda text, seal: _anthropic(
        {"type": "thinking", "thinking": "", "signature": seal}, {"type": "text", "text": text}
    ),
    "an argument": lambda text, seal: _anthropic(
        {"type": "tool_use", "id": "c", "name": "f", "input": {"signature": seal, "encrypted_content": seal, "a": text}}
    ),
    "a result": lambda text, seal: {"role": "tool", "content": [{"type": "text", "text": text, "signature": seal}]},
    "a response": lambda text, seal: {
        "role": "user",
        "parts": [{"functionResponse": {"name": "f", "response": {"thinking": text, "signature": seal}}}],
    },
    "a search": lambda text, seal: _anthropic(
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s",
            "content": [{"type": "web_search_result", "url": text, "encrypted_content": seal}],
        }
    ),
    "a part's own id": lambda text, seal: {
        "role": "assistant",
        "parts": [{"id": seal, "type": "reasoning", "text": text}],
    },
    "a field's name": lambda text, seal: {"parts": [{"part_kind": "thinking", "content": text, "id": seal}]},
    "a message's id": lambda text, seal: {
        "type": "message",
        "id": seal,
        "role": "assistant",
        "content": [{"type": "output_text", "text": text}],
    },
    "a compaction": lambda text, seal: {"type": "compaction", "id": "cmp_1", "encrypted_content": seal},
}


@pytest.mark.parametrize("kind", COVERED)
def test_a_signature_goes_with_what_it_covers(kind: str) -> None:
    """While writing, afterwards, on export and by a call of `redact`; a text without a secret keeps it."""
    message = COVERED[kind](f"my key {OPENAI}", SEAL)
    given_message = json.dumps(message)
    expected = redact(message)
    assert SEAL not in json.dumps(expected)
    assert MARK in json.dumps(expected)
    assert redact(expected) == expected
    with Session.memory(redact=redact) as session, Session.memory() as plain:
        assert session.append(message, id="a").message == expected
        assert session.append(message, id="a").message == expected
        plain.append(message)
        viewed = RedactedSession(plain, redact)
        assert viewed.path(plain.leaf_id)[0].message == expected  # type: ignore[attr-defined]
        assert viewed.build_context(leaf=plain.leaf_id).messages == [expected]
    assert json.dumps(message) == given_message
    untouched = COVERED[kind]("no key", SEAL)
    assert redact(untouched) == untouched


@pytest.mark.parametrize("kind", UNCOVERED)
def test_a_signature_of_something_else_stays(kind: str) -> None:
    """So does data of the user, whatever it is called."""
    message = UNCOVERED[kind](f"my key {OPENAI}", SEAL)
    assert json.dumps(redact(message)).count(SEAL) == json.dumps(message).count(SEAL) > 0


def test_the_id_of_redacted_reasoning_goes_too() -> None:
    """By it, the provider would find the original."""
    summary = [{"type": "summary_text", "text": OPENAI}]
    item = {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": SEAL, "status": "completed"}
    expected = {"type": "reasoning", "summary": [{"type": "summary_text", "text": MARK}], "status": "completed"}
    assert redact(item) == expected
    with Session.memory(redact=redact) as session:
        session.append(item, provider="openai", model="m")
        sent = json.dumps(session.build_context().to("openai-responses"))
        assert "rs_1" not in sent
        assert SEAL not in sent


def test_a_signature_that_was_changed_goes() -> None:
    """With the others of its object; what it covers stays."""
    shout = {"redact": lambda value: json.loads(json.dumps(value).replace("EqQB", "x"))}
    kinds: list[tuple[Make, Any]] = [
        (COVERED["anthropic"], [{"type": "thinking", "thinking": "a"}]),
        (UNCOVERED["redacted thinking"], [{"type": "redacted_thinking"}, UNCOVERED["an argument"]("a", "")["content"]]),
    ]
    with Session.memory(**shout) as session:  # type: ignore[arg-type]
        assert session.append(kinds[0][0]("a", SEAL)).message["content"] == kinds[0][1]
        assert session.append(kinds[1][0]("a", SEAL)).message["content"][0] == {"type": "redacted_thinking"}
        assert session.append(UNCOVERED["a compaction"]("", SEAL)).message == {"type": "compaction"}
        called = session.append(COVERED["langchain, calls"]("a", SEAL)).message
        assert called["additional_kwargs"] == {}
        assert called["tool_calls"] == [{"id": "c", "name": "f", "args": {"a": "a"}}]
