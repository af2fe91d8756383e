"""Signatures: they go when what they cover was redacted, cut or replaced, and stay when it was not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import GITHUB, OPENAI

from convtree import ExtensionDataEntry, InvalidMessage, Session, open_store, redact
from convtree._engine.signatures import drop_broken
from convtree._tools.redact_log import RedactedSession, redact_log
from convtree.exchange import export_lines

MARK = "[REDACTED:openai_key]"
SEAL = "EqQBCkYIBxgC" * 8
Make = Callable[[str, str], dict[str, Any]]


def _anthropic(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def _sent(session: Session, shape: Any) -> str:
    return json.dumps(session.build_context().to(shape, unknown="text"))


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
    "bedrock": lambda text, seal: _anthropic(
        {"reasoningContent": {"reasoningText": {"text": text, "signature": seal}}}
    ),
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
    "reasoning_signature": lambda text, seal: {"role": "assistant", "reasoning": text, "reasoning_signature": seal},
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
    "langchain, beside": lambda text, seal: {
        "type": "ai",
        "content": "so",
        "additional_kwargs": {"reasoning_content": {"text": text, "signature": seal}},
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
    "reasoning beside": lambda text, seal: {
        "type": "ai",
        "content": text,
        "additional_kwargs": {"reasoning_content": {"text": "so", "signature": seal}},
    },
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
        sent = _sent(session, "openai-responses")
        assert "rs_1" not in sent
        assert SEAL not in sent


def _shouting(value: Any) -> Any:
    return json.loads(json.dumps(value).replace("EqQB", "x"))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (COVERED["anthropic"]("a", SEAL), _anthropic({"type": "thinking", "thinking": "a"})),
        (
            _anthropic({"type": "redacted_thinking", "data": SEAL}, {"type": "text", "text": "a"}),
            _anthropic({"type": "redacted_thinking"}, {"type": "text", "text": "a"}),
        ),
        ({"type": "compaction", "id": "cmp_1", "encrypted_content": SEAL}, {"type": "compaction"}),
        (
            COVERED["langchain, calls"]("a", SEAL),
            COVERED["langchain, calls"]("a", SEAL) | {"additional_kwargs": {}},
        ),
    ],
)
def test_a_signature_that_was_changed_goes(message: dict[str, Any], expected: dict[str, Any]) -> None:
    """With the others of its object; what it covers stays."""
    with Session.memory(redact=_shouting) as session:
        assert session.append(message).message == expected


def _without_thinking(message: Any) -> Any:
    kept = [block for block in message["content"] if block["type"] != "tool_use"]
    return message | {"content": kept}


def _in_place(message: Any) -> Any:
    message["content"][0]["thinking"] = "-"
    return message


def _as_text(message: Any) -> Any:
    first, *others = message["content"]
    return message | {"content": [first | {"type": "text", "text": first["thinking"]}, *others]}


def _nested(message: Any) -> Any:
    return message | {"content": {"parts": message["content"]}}


def _reordered(message: Any) -> Any:
    return message | {"content": tuple(dict(reversed(block.items())) for block in message["content"])}


def _stripped(message: Any) -> Any:
    return message | {"content": [{k: v for k, v in b.items() if k != "signature"} for b in message["content"]]}


@pytest.mark.parametrize(
    ("change", "stays"),
    [
        (_without_thinking, True),
        (_in_place, False),
        (_as_text, False),
        (_nested, False),
        (_reordered, True),
        (_stripped, False),
        (lambda message: message | {"content": None}, False),
        (lambda message: message, True),
    ],
)
def test_any_function_may_redact(change: Callable[[Any], Any], stays: bool) -> None:
    """It may change its argument, or the structure. The caller's message stays as it was."""
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    message = _anthropic({"type": "thinking", "thinking": "a", "signature": SEAL}, call)
    given_message = json.dumps(message)
    with Session.memory(redact=change) as session:
        stored = session.append(message, id="m")
        assert (SEAL in json.dumps(stored.message)) is stays
        assert session.append(message, id="m") == stored
    assert json.dumps(message) == given_message


def test_a_fork_by_a_function_that_changes_its_argument(tmp_path: Path) -> None:
    """Lines that are copied are redacted all the same."""
    with open_store(tmp_path) as store, store.create(id="a") as session:
        session.append(COVERED["anthropic"]("a", SEAL))
        session.append(user_said := {"role": "user", "content": [{"type": "text", "thinking": "b"}]})
    with open_store(tmp_path, redact=_in_place) as store, store.fork("a", new_id="b") as fork:
        said = [entry.message for entry in fork.path()]  # type: ignore[attr-defined]
    assert said == [
        _anthropic({"type": "thinking", "thinking": "-"}),
        user_said | {"content": [{"type": "text", "thinking": "-"}]},
    ]


def test_a_function_may_make_json_of_what_is_none() -> None:
    """Then nothing is known of what the signatures covered, so they go."""
    message = COVERED["anthropic"]("\ud800", SEAL)
    with Session.memory(redact=lambda value: json.loads(json.dumps(value).replace("\\ud800", "?"))) as session:
        assert session.append(message).message == _anthropic({"type": "thinking", "thinking": "?"})
    with Session.memory(redact=redact) as session, pytest.raises(InvalidMessage, match="lone surrogate"):
        session.append(message)


def test_what_is_no_json_is_refused_as_without_redaction() -> None:
    """It is not made into JSON on the way to the function."""
    for value in (float("nan"), {1: "a"}, object(), 2**70, (1, float("inf"))):
        for said in ("a", OPENAI):
            with Session.memory(redact=redact) as session, pytest.raises(InvalidMessage):
                session.append({"role": "user", "content": said, "more": value, "none": None})


class Block:
    """What an SDK makes of a block."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return self.fields


def test_objects_of_an_sdk_inside_a_message_are_redacted() -> None:
    """`{"content": response.content}` is how most programs store a reply."""
    blocks = [Block(type="thinking", thinking=OPENAI, signature=SEAL), Block(type="text", text=OPENAI)]
    message = {"role": "assistant", "content": blocks}
    expected = _anthropic({"type": "thinking", "thinking": MARK}, {"type": "text", "text": MARK})
    assert redact(message) == expected
    assert redact(Block) is Block
    for function in (redact, _dumping):
        with Session.memory(redact=function) as session:
            stored = session.append(message, extra=Block(note=OPENAI))
            assert (stored.message, stored.extra) == (expected, {"note": MARK})


def _dumping(value: Any) -> Any:
    return json.loads(json.dumps(value).replace(OPENAI, MARK))


def test_data_of_a_framework_beside_a_message() -> None:
    """What stands there without a place of its own is about the message; its parts are about themselves."""
    whole = {"type": "ai", "content": [{"type": "thinking", "thinking": "a", "signature": SEAL}]}
    said = {"role": "assistant", "content": OPENAI}
    with Session.memory(redact=redact) as session:
        stored = session.append(said, extra={"thoughtSignature": SEAL, "signature": "me", "message": whole})
        assert stored.extra == {"signature": "me", "message": whole}
        data = [{"id": 5, "thinking": OPENAI, "signature": SEAL}, {"type": "thinking", "signature": SEAL}]
        kept = session.append(ExtensionDataEntry(ext_type="a.b", data=data))
        assert kept.data == [{"id": 5, "thinking": MARK}, data[1]]


def test_a_whole_log_is_redacted_with_its_signatures(tmp_path: Path) -> None:
    """The counts are those of the secrets; a line without one keeps its bytes, and its signatures."""
    path = tmp_path / "log"
    with Session.open(path, durability="process") as session:
        for make in COVERED.values():
            session.append(make(OPENAI, SEAL))
            session.append(make("none", "stays" * 20))
        session.append(
            ExtensionDataEntry(ext_type="a.b", data={"big": 2**64 - 1, "encrypted_content": SEAL, "k": OPENAI})
        )
    before = path.read_bytes()
    secrets = before.count(OPENAI.encode())
    done = redact_log(path)
    assert (done.kinds, done.lines) == ({"openai_key": secrets}, len(COVERED) + 1)
    after = Path(str(done.copy)).read_bytes()
    assert SEAL.encode() not in after
    assert after.count(b"staysstays") == before.count(b"staysstays")
    assert after.count(b'"big":18446744073709551615') == 1
    assert redact_log(done.copy or "").lines == 0


def test_a_function_that_only_orders_members_changes_no_line(tmp_path: Path) -> None:
    """The payload is equal by value, so it is copied as it is."""
    with open_store(tmp_path) as store, store.create(id="a") as session:
        session.append(COVERED["anthropic"]("a", SEAL))
    with open_store(tmp_path, redact=_reordered) as store:
        store.fork("a", new_id="b").close()
    lines = [(tmp_path / f"{id}.jsonl").read_bytes().split(b"\n")[1][:-36] for id in "ab"]
    assert lines[0] == lines[1]


def test_exports_have_no_signature_of_redacted_text() -> None:
    """In the formats that can hold one."""
    with Session.memory() as session:
        session.append(COVERED["anthropic"](OPENAI, SEAL), provider="anthropic", model="m")
        session.append(COVERED["anthropic"]("none", "stays" * 20), provider="anthropic", model="m")
        for format in ("json", "pi", "kit"):
            written = b"".join(export_lines(session, format, redact=redact)).decode()
            assert (SEAL in written, "staysstays" in written) == (False, True)


# --- laws ---

SHAPES = {"openai-chat": "openai", "openai-responses": "openai", "anthropic": "anthropic", "gemini": "google"}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(COVERED)), st.booleans()), max_size=6), st.sampled_from(sorted(SHAPES))
)
def test_no_signature_is_sent_whose_content_changed(said: list[tuple[str, bool]], shape: str) -> None:
    """To no provider, not even to the model that made it. Redacting twice is redacting once."""
    secret = {"redact": redact}
    with Session.memory(**secret) as once, Session.memory(**secret) as twice:  # type: ignore[arg-type]
        broken = []
        for number, (kind, is_changed) in enumerate(said):
            seal = f"seal{number}" + SEAL
            made = COVERED[kind](f"so {GITHUB if is_changed else number}", seal)
            stored = once.append(made, provider=SHAPES[shape], model="m")
            assert twice.append(stored.message, provider=SHAPES[shape], model="m").message == stored.message
            assert (seal in json.dumps(stored.message)) is not is_changed
            broken += [seal] if is_changed else []
        sent = _sent(once, shape)
        assert not any(seal in sent for seal in broken)
        assert GITHUB not in sent


#: shape -> kinds whose signature goes back to their model
SENT_BACK = {
    "anthropic": ["anthropic", "pi"],
    "gemini": ["gemini, thought", "gemini, call", "gemini, snake case", "gemini, streamed"],
    "openai-chat": ["openrouter", "openrouter, encrypted", "openrouter, text beside"],
    "openai-responses": ["responses, summary", "responses, content", "responses, stored"],
}
ANSWERS: dict[str, dict[str, Any]] = {
    kind: {"content": [*COVERED[kind]("so", SEAL)["content"], {"type": "text", "text": "said"}]}
    for kind in SENT_BACK["anthropic"]
} | {kind: {"content": "said"} for kind in SENT_BACK["openai-chat"]}


@pytest.mark.parametrize(("shape", "kind"), [(shape, kind) for shape in SENT_BACK for kind in SENT_BACK[shape]])
def test_the_signature_of_what_was_not_redacted_goes_back(shape: str, kind: str) -> None:
    """To its own model, although the message before it was redacted."""
    with Session.memory(redact=redact) as session:
        session.append({"role": "user", "content": OPENAI})
        session.append(COVERED[kind]("so", SEAL) | ANSWERS.get(kind, {}), provider="p", model="m")
        if shape == "openai-responses":
            session.append(UNCOVERED["a message's id"]("said", "msg_1"), provider="p", model="m")
        assert SEAL in _sent(session, shape)


NAMES = "type part_kind thinking reasoning signature thoughtSignature text data id summary encrypted_content metadata"
NAMES += " extras itemId reasoning_details input"
KINDS = ["thinking", "reasoning", "reasoning.encrypted", "redacted_thinking", "rs_1"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["a", SEAL]),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES.split()), values | st.sampled_from(KINDS), max_size=5)
    ),
    max_leaves=20,
)


@given(JSON, JSON)
def test_removing_is_idempotent_and_only_removes(before: Any, after: Any) -> None:
    """What is left is part of what was there; against itself, nothing goes; a second time, nothing more goes."""
    whole = json.dumps(after, sort_keys=True)
    assert drop_broken(after, json.loads(whole)) is False
    gone = drop_broken(before, after)
    assert gone is (json.dumps(after, sort_keys=True) != whole)
    assert drop_broken(before, after) is False


@pytest.mark.no_cover
def test_it_takes_linear_time_and_no_recursion() -> None:
    """For many parts, and for ones deep inside each other."""
    started = perf_counter()
    parts = [{"type": "thinking", "thinking": str(number), "signature": SEAL} for number in range(20_000)]
    changed = [part | {"thinking": "-"} for part in parts]
    assert drop_broken(parts, changed) is True
    assert changed[0] == changed[-1] == {"type": "thinking", "thinking": "-"}
    deep: Any = {"thinking": "a", "signature": SEAL}
    other: Any = {"thinking": "b", "signature": SEAL}
    for _ in range(20_000):
        deep, other = {"thinking": deep, "signature": SEAL}, {"thinking": other, "signature": SEAL}
    assert drop_broken(deep, other) is True
    assert perf_counter() - started < 20
    while "signature" not in other and isinstance(other["thinking"], dict):
        other = other["thinking"]
    assert other == {"thinking": "b"}
