"""What the messages of each framework say: every kind of part, and what is odd about it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from said_parts import Message, parts, places, raws, source_of

from convtree import Session, plan_compaction
from convtree._messages.frameworks.table import FRAMEWORKS, framework_of

DATA_URL = "data:image/png;base64,iVBORw0KGgo="
IMAGE = ("media", "user", "image", "image/png", "iVBORw0KGgo=", None, None)


def facts(message: Message) -> Message:
    framework = framework_of(message)
    assert framework is not None
    return framework.facts(message)


def unknown(value: Any, kind: str, role: str = "user") -> tuple[Any, ...]:
    return "unknown", role, value, f"a part of kind {kind!r}"


# --- pydantic-ai ---


def request(*given: Any, **fields: Any) -> Message:
    return {"kind": "request", "parts": list(given)} | fields


def response(*given: Any, **fields: Any) -> Message:
    return {"kind": "response", "parts": list(given)} | fields


def test_a_request_of_pydantic_ai_has_parts_of_several_roles() -> None:
    """The system, the user and tools speak in one message. It is the tool's if nobody else speaks."""
    result = {"part_kind": "tool-return", "tool_name": "look", "tool_call_id": "1", "content": "seen"}
    mixed = request(
        {"part_kind": "system-prompt", "content": "Be brief."}, {"part_kind": "user-prompt", "content": "Hi"}, result
    )
    assert parts(mixed) == [
        ("text", "system", "Be brief."),
        ("text", "user", "Hi"),
        ("result", "1", "look", [("seen",)], False),
    ]
    assert places(mixed) == [("parts", 0), ("parts", 1, "content"), ("parts", 2)]
    assert [source_of(each).role for each in (mixed, request(result), request())] == ["user", "tool", "user"]


def test_a_prompt_of_pydantic_ai_has_texts_and_files() -> None:
    """Base64 of the URL-safe alphabet becomes standard. A mark for caches says nothing."""
    content = [
        *("Look:", {"kind": "binary", "data": "__79", "media_type": "image/png"}, {"kind": "cache-point"}),
        {"kind": "audio-url", "url": "https://a.b/c.mp3", "_media_type": "audio/mpeg"},
        {"kind": "uploaded-file", "file_id": "file-1", "media_type": "video/mp4"},
        {"kind": "text-content", "content": "words"},
        *({"kind": "hologram"}, {"kind": "binary"}, 7),
    ]
    message = request({"part_kind": "user-prompt", "content": content})
    assert parts(message) == [
        ("text", "user", "Look:"),
        ("media", "user", "image", "image/png", "//79", None, None),
        ("media", "user", "audio", "audio/mpeg", None, "https://a.b/c.mp3", None),
        ("media", "user", "video", "video/mp4", None, None, "file-1"),
        ("text", "user", "words"),
        unknown({"kind": "hologram"}, "hologram"),
        unknown({"kind": "binary"}, "binary"),
        ("text", "user", "7"),
    ]
    assert places(message)[1] == ("parts", 0, "content", 1)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text", [("text",)]),
        (None, []),
        ({"a": [1]}, [('{"a":[1]}',)]),
        (["a", "b"], [('["a","b"]',)]),
        ({"kind": "binary", "data": "aaaa", "media_type": "image/png"}, [("image", "image/png", "aaaa", None, None)]),
        (["a", {"kind": "image-url", "url": "u"}, {"b": 1}], [("a",), ("image", None, None, "u", None), ('{"b":1}',)]),
        ({"kind": "image-url"}, [('{"kind":"image-url"}',)]),
    ],
)
def test_what_a_tool_of_pydantic_ai_returned(content: Any, expected: list[Any]) -> None:
    """Files stay files. What looks like a file and is none is JSON text."""
    part = {"part_kind": "tool-return", "tool_name": "t", "tool_call_id": "1", "content": content}
    assert parts(request(part)) == [("result", "1", "t", expected, False)]


def test_errors_of_tools_of_pydantic_ai() -> None:
    """A retry is the error of a call, if it names a tool; a refusal is not an error."""
    failed = {"part_kind": "tool-return", "tool_name": "t", "tool_call_id": "1", "content": "no", "outcome": "failed"}
    retry = {"part_kind": "retry-prompt", "tool_name": "t", "tool_call_id": "2", "content": [{"msg": "bad"}]}
    advice = {"part_kind": "retry-feedback", "content": "Say more."}
    again = "\n\nFix the errors and try again."
    assert parts(request(failed, failed | {"outcome": "denied"}, retry, advice)) == [
        ("result", "1", "t", [("no",)], True),
        ("result", "1", "t", [("no",)], False),
        ("result", "2", "t", [('[{"msg":"bad"}]' + again,)], True),
        ("text", "user", "Say more." + again),
    ]


def test_what_pydantic_ai_records_for_itself_says_nothing() -> None:
    """Changes of tools and settings are not for the model; a part of a new kind is unknown."""
    silent = [{"part_kind": f"{name}-delta"} for name in ("tool-availability", "capability-load", "model-settings")]
    delta = {"part_kind": "instruction-delta", "content": "Now in French."}
    new = {"part_kind": "dream", "content": "?"}
    assert parts(request(*silent, delta, new, "odd")) == [
        ("text", "system", "Now in French."),
        unknown(new, "dream"),
        ("unknown", "user", "odd", "a part without a kind"),
    ]
    assert parts(response(*silent, new)) == [unknown(new, "dream", "assistant")]


def test_speech_and_summaries_of_pydantic_ai() -> None:
    """A transcript is what was said; without one it is the sound. OpenAI's summary is encrypted."""
    sound = {"kind": "binary", "data": "aaaa", "media_type": "audio/wav"}
    heard = {"part_kind": "speech", "speaker": "user", "transcript": "Hi", "audio": sound}
    spoken = {"part_kind": "speech", "speaker": "assistant", "audio": sound}
    sealed = {"part_kind": "compaction", "id": "cmp_1", "provider_details": {"encrypted_content": "x"}}
    assert parts(request(heard, {"part_kind": "compaction", "content": "So far."})) == [
        ("text", "user", "Hi"),
        ("text", "user", "So far."),
    ]
    message = response(spoken, sealed, {"part_kind": "compaction"})
    assert parts(message) == [
        ("media", "assistant", "audio", "audio/wav", "aaaa", None, None),
        ("hosted", "assistant", ""),
    ]
    raw = {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}
    assert raws(message) == [(None, None), ("openai-responses", raw)]


def test_a_response_of_pydantic_ai() -> None:
    """Arguments stay as they came. What ran at the provider is told as text."""
    message = response(
        {"part_kind": "text", "content": "Hi"},
        {"part_kind": "text", "content": " "},
        {"part_kind": "tool-call", "tool_name": "t", "args": '{"a":1}', "tool_call_id": "1"},
        {"part_kind": "builtin-tool-call", "tool_name": "web_search", "args": {"q": "x"}},
        {"part_kind": "builtin-tool-return", "tool_name": "web_search", "content": None},
        {"part_kind": "file", "content": {"kind": "binary", "data": "aaaa", "media_type": "image/png"}},
        {"part_kind": "file"},
    )
    assert parts(message) == [
        ("text", "assistant", "Hi"),
        ("call", "1", "t", '{"a":1}'),
        ("hosted", "assistant", '[web_search] {"q":"x"}'),
        ("hosted", "assistant", "[web_search]"),
        ("media", "assistant", "image", "image/png", "aaaa", None, None),
        unknown({"part_kind": "file"}, "file", "assistant"),
    ]
    assert source_of(message).role == "assistant"


def test_whose_signature_reasoning_of_pydantic_ai_has() -> None:
    """A part names its provider, else the response does. Only that of a known maker is kept."""
    plain = {"part_kind": "thinking", "content": "Hm", "signature": "s"}
    anthropic = plain | {"provider_name": "anthropic"}
    redacted = {"part_kind": "thinking", "content": "", "id": "redacted_thinking", "signature": "d"}
    signed = {"type": "thinking", "thinking": "Hm", "signature": "s"}
    assert raws(response(plain, anthropic)) == [(None, None), ("anthropic", signed)]
    assert raws(response(plain, redacted, provider_name="anthropic")) == [
        ("anthropic", signed),
        ("anthropic", {"type": "redacted_thinking", "data": "d"}),
    ]
    assert parts(response({**redacted, "signature": None}, provider_name="anthropic")) == []
    assert parts(response(plain)) == [("thinking", "assistant", "Hm", False)]
    assert parts(response(anthropic)) == [("thinking", "assistant", "Hm", True)]


def test_encrypted_reasoning_of_openai_in_pydantic_ai() -> None:
    """It goes back as OpenAI's item; to another model without its id, which only its provider knows."""
    part = {"part_kind": "thinking", "content": "Hm", "id": "rs_1", "signature": "enc"}
    message = response(part, {**part, "content": "", "id": None}, provider_name="x", canonical_system="openai")
    item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": "enc"}
    bare = {"type": "reasoning", "summary": [], "encrypted_content": "enc"}
    assert raws(message) == [("openai-responses", item | {"id": "rs_1"}), ("openai-responses", bare)]
    assert raws(message, trusted=False) == [("openai-responses", item), ("openai-responses", bare)]
    assert parts(response({**part, "signature": None}, provider_name="openai")) == [
        ("thinking", "assistant", "Hm", False)
    ]


def test_signatures_of_gemini_in_pydantic_ai() -> None:
    """A signature belongs to its own part, or to the part after the reasoning that holds it."""
    details = {"provider_details": {"thought_signature": "own"}}
    message = response(
        {"part_kind": "thinking", "content": "Hm", "signature": "next"},
        {"part_kind": "text", "content": "Hi"},
        {"part_kind": "tool-call", "tool_name": "t", "args": '{"a":1}', "tool_call_id": "1"} | details,
        {"part_kind": "tool-call", "tool_name": "t", "args": {}} | details,
        {"part_kind": "tool-call", "tool_name": "t", "args": "no JSON"} | details,
        {"part_kind": "thinking", "content": "So"} | details,
        {"part_kind": "builtin-tool-call", "tool_name": "code"} | details,
        provider_name="google-gla",
    )
    call = {"functionCall": {"id": "1", "name": "t", "args": {"a": 1}}, "thoughtSignature": "own"}
    assert raws(message) == [
        (None, None),
        ("gemini", {"text": "Hi", "thoughtSignature": "next"}),
        ("gemini", call),
        ("gemini", {"functionCall": {"name": "t", "args": {}}, "thoughtSignature": "own"}),
        (None, None),
        ("gemini", {"text": "So", "thought": True, "thoughtSignature": "own"}),
        (None, None),
    ]
    assert raws(message, trusted=False) == [(None, None)] * 7


def test_instructions_of_pydantic_ai_are_said_once() -> None:
    """Every request repeats them. Other instructions are said, too."""
    with Session.memory() as session:
        session.append(request({"part_kind": "user-prompt", "content": "Hi"}, instructions="Be brief."))
        session.append(response({"part_kind": "text", "content": "Hi!"}))
        session.append(request({"part_kind": "user-prompt", "content": "Go"}, instructions="Be brief."))
        session.append(request({"part_kind": "user-prompt", "content": "On"}, instructions="Be long."))
        assert session.build_context().to("anthropic")["system"] == "Be brief.\n\nBe long."


def test_instructions_that_are_said_once_count_once() -> None:
    """Or a context would be compacted long before it is full. They pin no request: each of those that stay has them."""
    with Session.memory() as session:
        for number in range(3):
            session.append(request({"part_kind": "user-prompt", "content": "Go, "}, instructions="a" * 400))
            assert session.build_context().count_tokens() == 100 + number + 1
        plan = plan_compaction(session, keep_tokens=0)
        assert plan is not None
        assert (plan.tokens_before, plan.tokens_kept, len(plan.messages)) == (103, 0, 3)
        session.append({"role": "assistant", "content": "Done"}, usage={"input_tokens": 200, "output_tokens": 1})
        session.append(request({"part_kind": "user-prompt", "content": "Go, "}, instructions="a" * 400))
        assert session.build_context().count_tokens() == 201 + 1


def test_what_a_response_of_pydantic_ai_states() -> None:
    """Provider, model and usage; a request states nothing."""
    stated = {"provider_name": "anthropic", "model_name": "claude-sonnet-4-5", "usage": {"input_tokens": 1}}
    assert facts(response(**stated)) == {
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "usage": {"input_tokens": 1},
    }
    assert facts(request()) == {}


# --- LangChain ---


def ai(content: Any = "", **fields: Any) -> Message:
    return {"type": "ai", "content": content} | fields


@pytest.mark.parametrize(
    ("kind", "role"),
    [
        *(("ai", "assistant"), ("AIMessageChunk", "assistant"), ("human", "user"), ("system", "system")),
        *(("HumanMessageChunk", "user"), ("tool", "tool"), ("function", "tool")),
    ],
)
def test_the_types_of_langchain_are_roles(kind: str, role: str) -> None:
    """Bare, in the envelope of `message_to_dict`, and in that of `dumpd`."""
    bare = {"type": kind, "content": "Hi", "additional_kwargs": {}, "response_metadata": {}}
    name = {"ai": "AIMessage", "human": "HumanMessage"}.get(kind)
    forms: list[Message] = [
        bare,
        {"type": kind, "data": bare},
        {"lc": 1, "type": "constructor", "id": ["x"], "kwargs": bare},
    ]
    if name is not None:  # an older version left out the type
        kwargs = {"content": "Hi"}
        forms.append({"lc": 1, "type": "constructor", "id": ["langchain", name], "kwargs": kwargs})
    assert [source_of(each).role for each in forms] == [role] * len(forms)
    assert [parts(each) for each in forms] == [parts(bare)] * len(forms)
    assert [places(each)[0][:1] for each in forms[1:3]] == [("data",), ("kwargs",)]


def test_roles_of_langchain_that_a_field_says() -> None:
    """A chat message says its role, and a system message that it is a developer's; a removal says nothing."""
    chat = {"type": "chat", "content": "Hi", "role": "AI", "additional_kwargs": {}}
    developer = {"type": "system", "content": "Hi", "additional_kwargs": {"__openai_role__": "developer"}}
    assert [(source_of(each).role, parts(each)) for each in (chat, developer)] == [
        ("assistant", [("text", "assistant", "Hi")]),
        ("developer", [("text", "system", "Hi")]),
    ]
    assert parts({"type": "remove", "content": "", "id": "1"}) == []


def test_what_is_almost_a_message_of_langchain() -> None:
    """An envelope must hold a message of its own type."""
    assert framework_of({"type": "ai", "data": {"type": "human", "content": "Hi"}}) is None
    assert framework_of({"lc": 1, "type": "constructor", "kwargs": {"content": "Hi"}}) is None
    assert (
        framework_of({"lc": 1, "type": "constructor", "id": ["x", "PromptTemplate"], "kwargs": {"content": ""}}) is None
    )


def test_files_of_langchain_of_both_standards() -> None:
    """Where the data is depends on the standard, and on the provider for its own blocks."""
    content = [
        {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"},
        {"type": "image", "source_type": "base64", "data": "iVBORw0KGgo=", "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": DATA_URL}, "index": 0},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "audio", "source_type": "url", "url": "https://a.b/c.wav"},
        {"type": "file", "source_type": "text", "text": "words"},
        {"type": "file", "source_type": "text", "data": "more words"},
        {"type": "file", "source_type": "id", "id": "file-1"},
        {"type": "file", "file_id": "file-2", "mime_type": "application/pdf"},
        {"type": "file", "base64": "aaaa", "mime_type": "application/pdf", "extras": {"filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,aaaa", "filename": "a.pdf"}},
        {"type": "text-plain", "text": "a text"},
        {"type": "video"},
        {"type": "image_url"},
    ]
    message = {"type": "human", "content": content}
    pdf = ("media", "user", "document", "application/pdf", "aaaa", None, "a.pdf")
    assert parts(message) == [
        *[IMAGE] * 4,
        ("media", "user", "audio", None, None, "https://a.b/c.wav", None),
        *(("text", "user", "words"), ("text", "user", "more words")),
        ("media", "user", "document", None, None, None, "file-1"),
        ("media", "user", "document", "application/pdf", None, None, "file-2"),
        *(pdf, pdf, ("text", "user", "a text")),
        *(unknown({"type": "video"}, "video"), unknown({"type": "image_url"}, "image_url")),
    ]
    assert raws(message)[2] == ("openai-chat", {"type": "image_url", "image_url": {"url": DATA_URL}})


def test_reasoning_of_langchain() -> None:
    """Whose signature it has, the metadata say."""
    thinking = {"type": "thinking", "thinking": "Hm", "signature": "s", "index": 0}
    standard = {"type": "reasoning", "reasoning": "Hm", "extras": {"signature": "s"}}
    redacted = {"type": "redacted_thinking", "data": "d", "index": 1}
    signed = ("anthropic", {"type": "thinking", "thinking": "Hm", "signature": "s"})
    claude = {"response_metadata": {"model_name": "claude-sonnet-4-5"}}
    gemini = {"response_metadata": {"model_provider": "google_genai"}}
    assert raws(ai([thinking, standard, redacted], **claude)) == [
        *(signed, signed, ("anthropic", {"type": "redacted_thinking", "data": "d"})),
    ]
    assert raws(ai([thinking, standard])) == [signed, (None, None)]
    assert parts(ai([thinking, standard], **gemini)) == [("thinking", "assistant", "Hm", False)] * 2


def test_reasoning_of_other_providers_in_langchain() -> None:
    """OpenAI's items, Bedrock's blocks, and reasoning beside the content."""
    item = {"type": "reasoning", "id": "rs_1", "summary": [{"text": "Hm"}, {}], "encrypted_content": "x", "index": 0}
    standard = {"type": "reasoning", "id": "rs_1", "reasoning": "Hm", "encrypted_content": "x"}
    bedrock = {"type": "reasoning_content", "reasoning_content": {"text": "So", "signature": "s"}}
    summary = [{"type": "summary_text", "text": "Hm"}]
    kept = {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "x"}
    message = ai([item, bedrock, {"type": "reasoning", "summary": [{"text": "Summed"}]}, {"type": "reasoning"}])
    assert raws(message)[0] == raws(ai([standard]))[0] == ("openai-responses", kept)
    assert "id" not in raws(message, trusted=False)[0][1]
    assert parts(message) == [
        ("thinking", "assistant", "Hm", True),
        ("thinking", "assistant", "So", False),
        ("thinking", "assistant", "Summed", False),
    ]
    beside = {"reasoning_content": "Hm", "reasoning": {"id": "rs_1", "summary": [{"text": "So"}]}}
    assert parts(ai("Hi", additional_kwargs=beside)) == [
        ("thinking", "assistant", "Hm", False),
        ("thinking", "assistant", "So", False),
        ("text", "assistant", "Hi"),
    ]


def test_a_call_of_langchain_is_read_once() -> None:
    """It is in `tool_calls`, and once more among the blocks, where it keeps its place."""
    blocks = [
        {"type": "tool_use", "id": "1", "name": "t", "input": {}},
        {"type": "input_json_delta", "partial_json": "{"},
        {"type": "function_call", "id": "fc_2", "call_id": "2", "name": "t", "arguments": '{"b":2}'},
        {"type": "custom_tool_call", "call_id": "3", "name": "t", "input": "free"},
        {"type": "tool_call", "name": "nameless", "args": {}},
        {"type": "text", "text": "Hi"},
    ]
    calls = [{"name": "t", "args": {"a": 1}, "id": "1"}, {"name": "nameless", "args": {}, "id": None}]
    calls += [{"name": "t", "args": {}, "id": "4"}]
    broken = [{"name": "t", "args": "{", "id": "5", "error": "no JSON"}]
    message = ai(blocks, tool_calls=calls, invalid_tool_calls=broken)
    assert parts(message) == [
        ("call", "1", "t", {"a": 1}),
        ("call", "2", "t", '{"b":2}'),
        ("call", "3", "t", "free"),
        ("call", None, "nameless", {}),
        ("text", "assistant", "Hi"),
        ("call", "4", "t", {}),
        ("call", "5", "t", "{"),
    ]
    assert places(message)[-2:] == [("tool_calls", 2), ("invalid_tool_calls", 0)]


def test_older_calls_of_langchain() -> None:
    """They stand beside the content, as OpenAI's."""
    raw = {"id": "1", "type": "function", "function": {"name": "t", "arguments": "{}"}}
    assert parts(ai(additional_kwargs={"tool_calls": [raw]})) == [("call", "1", "t", "{}")]
    message = ai(additional_kwargs={"function_call": {"name": "t", "arguments": "{}"}})
    assert parts(message) == [("call", None, "t", "{}")]
    assert places(message) == [("additional_kwargs", "function_call")]


def test_what_ran_at_the_provider_in_langchain() -> None:
    """It is told as text; a block of Anthropic goes back to it."""
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": "x"}, "index": 3}
    blocks = [
        {"type": "server_tool_call", "id": "1", "name": "web_search", "args": {"q": "x"}},
        {
            "type": "server_tool_result",
            "output": [{"url": "https://a.b", "title": "A"}, {"url": "https://c.d", "x": 1}],
        },
        {"type": "image_generation_call", "result": "iVBORw0KGgo="},
        {"type": "image_generation_call"},
        *(search, {"type": "web_search_call", "id": "ws_1", "status": "completed"}),
        {"type": "executable_code", "executable_code": "1+1", "language": "python"},
        *({"type": "non_standard", "value": {"type": "text", "text": "Hi"}}, {"type": "hologram"}, {"no": "type"}),
    ]
    message = ai(blocks, additional_kwargs={"tool_outputs": [{"type": "mcp_call", "output": "done"}]})
    assert parts(message) == [
        ("hosted", "assistant", '[web_search] {"q":"x"}'),
        ("hosted", "assistant", "[server_tool_result] A https://a.b\nhttps://c.d"),
        ("media", "assistant", *IMAGE[2:]),
        ("hosted", "assistant", "[image_generation_call]"),
        ("hosted", "assistant", '[web_search] {"q":"x"}'),
        ("hosted", "assistant", "[web_search_call]"),
        ("hosted", "assistant", "[executable_code] 1+1"),
        ("text", "assistant", "Hi"),
        unknown({"type": "hologram"}, "hologram", "assistant"),
        ("unknown", "assistant", {"no": "type"}, "a part without a kind"),
        ("hosted", "assistant", "[mcp_call] done"),
    ]
    assert raws(message)[4] == ("anthropic", {key: value for key, value in search.items() if key != "index"})


def test_what_stands_beside_the_content_in_langchain() -> None:
    """A refusal, and the transcript of spoken words."""
    kwargs = {"refusal": "I will not.", "audio": {"id": "a", "transcript": "Spoken"}}
    assert parts(ai("", additional_kwargs=kwargs)) == [
        ("text", "assistant", "I will not."),
        ("text", "assistant", "Spoken"),
    ]
    assert parts(ai([{"type": "refusal", "refusal": "No."}, {"text": "bare"}, "plain"])) == [
        ("text", "assistant", "No."),
        ("text", "assistant", "bare"),
        ("text", "assistant", "plain"),
    ]


def test_results_of_langchain() -> None:
    """The artifact is not for the model. What is no text and no file is told as JSON text."""
    content = ["a", {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}, {"row": 1}]
    message = {"type": "tool", "tool_call_id": "1", "name": "t", "content": content, "status": "error", "artifact": [1]}
    result = ("result", "1", "t", [("a",), IMAGE[2:], ('{"row":1}',)], True)
    assert parts(message) == [result]
    assert parts({"type": "tool", "tool_call_id": "1", "content": {"row": 1}}) == [
        ("result", "1", "", [('{"row":1}',)], False)
    ]
    search = {"type": "web_search_call", "action": {"q": "x"}}
    inside = [{"type": "tool_use", "name": "n", "input": 1}, {"type": "reasoning", "reasoning": "Hm"}, {"type": "text"}]
    assert parts({"type": "function", "name": "t", "content": inside}) == [
        ("result", None, "t", [('{"name":"n","arguments":1}',), ("Hm",)], False)
    ]
    sealed = [{"type": "redacted_thinking", "data": "d"}]
    assert parts({"type": "function", "name": "t", "content": sealed}) == [("result", None, "t", [], False)]
    assert parts({"type": "function", "name": "t", "content": [search]}) == [
        ("result", None, "t", [('[web_search_call] {"q":"x"}',)], False)
    ]


def test_what_a_reply_of_langchain_states() -> None:
    """The model's name, and the usage of LangChain before that of the provider."""
    usage, own = {"input_tokens": 1}, {"prompt_tokens": 1}
    metadata = {"model_name": "m", "model_provider": "p", "token_usage": own}
    assert facts(ai("", response_metadata=metadata, usage_metadata=usage)) == {
        "provider": "p",
        "model": "m",
        "usage": usage,
    }
    assert facts({"type": "ai", "data": ai("", response_metadata={"model": "m", "usage": own})}) == {
        "model": "m",
        "usage": own,
    }
    assert facts(ai("")) == {}


# --- LlamaIndex ---


def test_blocks_of_llama_index() -> None:
    """Their `block_type` says what they are. A mark for caches says nothing."""
    blocks = [
        {"block_type": "text", "text": "Hi"},
        {"block_type": "image", "image": "iVBORw0KGgo=", "image_mimetype": "image/png"},
        {"block_type": "audio", "audio": "aaaa", "format": "wav"},
        {"block_type": "audio", "url": "https://a.b/c", "format": "audio/mpeg"},
        {"block_type": "document", "data": "YWJj", "title": "a.txt", "document_mimetype": "text/plain"},
        {"block_type": "video", "path": "/tmp/a.mp4"},
        *({"block_type": "cache", "cache_control": {}}, {"block_type": "image"}, {"block_type": "hologram"}),
        {"block_type": "citable", "title": "T", "source": "S", "content": [{"text": "quote"}, {"image": "x"}]},
        {"block_type": "citation", "cited_content": {"text": "quote"}, "title": "T"},
        {"block_type": "citation"},
    ]
    assert parts({"role": "user", "blocks": blocks, "additional_kwargs": {}}) == [
        *(("text", "user", "Hi"), IMAGE),
        ("media", "user", "audio", "audio/wav", "aaaa", None, None),
        ("media", "user", "audio", "audio/mpeg", None, "https://a.b/c", None),
        ("media", "user", "document", "text/plain", "YWJj", None, "a.txt"),
        ("media", "user", "video", None, None, None, "/tmp/a.mp4"),
        *(unknown({"block_type": "image"}, "image"), unknown({"block_type": "hologram"}, "hologram")),
        ("text", "user", "T\nS\nquote"),
        ("text", "user", "T\nquote"),
        unknown({"block_type": "citation"}, "citation"),
    ]


def test_base64_that_was_encoded_twice_by_llama_index() -> None:
    """It keeps base64 as bytes, so a dump with bytes has it twice."""
    twice = {"block_type": "image", "image": "aVZCT1J3MEtHZ289", "image_mimetype": "image/png"}
    assert parts({"role": "user", "blocks": [twice]}) == [IMAGE]


def test_calls_of_llama_index() -> None:
    """Older versions keep calls beside the blocks, in the form of their provider."""
    call = {"block_type": "tool_call", "tool_call_id": "1", "tool_name": "t", "tool_kwargs": {"a": 1}}
    thinking = {"block_type": "thinking", "content": "Hm", "additional_information": {"signature": "s"}}
    beside = [
        {"id": "1", "function": {"name": "t", "arguments": '{"a":1}'}},
        {"id": "2", "type": "tool_use", "name": "t", "input": {"b": 2}},
        {"tool_id": "3", "tool_name": "t", "tool_kwargs": {}},
        {"name": "t"},
    ]
    kwargs = {"tool_calls": beside, "reasoning_content": "First"}
    message = {"role": "assistant", "blocks": [thinking, call], "additional_kwargs": kwargs}
    assert parts(message) == [
        ("thinking", "assistant", "First", False),
        ("thinking", "assistant", "Hm", False),
        ("call", "1", "t", {"a": 1}),
        ("call", "2", "t", {"b": 2}),
        ("call", "3", "t", {}),
        ("call", None, "t", None),
    ]
    assert places(message)[-1] == ("additional_kwargs", "tool_calls", 3)
    assert facts(message) == {}


def test_roles_of_llama_index() -> None:
    """An older message has a content and no blocks. A result has its call beside the content."""
    old = {"role": "chatbot", "content": "Hi", "additional_kwargs": {}}
    result = {"role": "tool", "content": "seen", "additional_kwargs": {"tool_call_id": "1", "name": "t"}}
    failed = {"role": "tool", "blocks": [], "additional_kwargs": {"tool_call_id": "1", "is_error": True}}
    assert [source_of(each).role for each in (old, result)] == ["assistant", "tool"]
    assert parts(old) == [("text", "assistant", "Hi")]
    assert parts(result) == [("result", "1", "t", [("seen",)], False)]
    assert parts(failed) == [("result", "1", "", [], True)]
    assert framework_of({"role": "user", "content": "Hi"}) is None


# --- Microsoft Agent Framework ---


def test_contents_of_agent_framework() -> None:
    """Their `type` says what they are. Usage and approvals say nothing to a model."""
    contents = [
        *("Hi", {"type": "text", "text": "there"}, {"type": "usage", "usage_details": {}}),
        {"type": "data", "uri": DATA_URL},
        {"type": "uri", "uri": "https://a.b/c.pdf", "media_type": "application/pdf"},
        {"type": "hosted_file", "file_id": "file-1"},
        {"type": "error", "message": "quota", "error_code": "429"},
        {"type": "function_approval_response", "id": "1"},
        *({"type": "uri"}, {"type": "hologram"}, {"no": "type"}, 7),
    ]
    message = {"role": "user", "contents": contents}
    assert parts(message) == [
        *(("text", "user", "Hi"), ("text", "user", "there"), IMAGE),
        ("media", "user", "document", "application/pdf", None, "https://a.b/c.pdf", None),
        ("media", "user", "document", None, None, None, "file-1"),
        ("text", "user", "Error: 429\nquota"),
        *(unknown({"type": "uri"}, "uri"), unknown({"type": "hologram"}, "hologram")),
        ("unknown", "user", {"no": "type"}, "a part without a kind"),
        ("unknown", "user", 7, "a part without a kind"),
    ]
    assert facts(message) == {}


def test_tools_of_agent_framework() -> None:
    """A result has a text, or items; an exception marks an error, and is all that is left of it."""
    call = {"type": "function_call", "call_id": "1", "name": "t", "arguments": '{"a":1}'}
    ran = {"type": "mcp_server_tool_call", "tool_name": "search", "arguments": {"q": "x"}}
    reply = {
        "role": {"type": "role", "value": "assistant"},
        "contents": [
            {"type": "text_reasoning", "text": "Hm", "protected_data": "p"},
            call,
            call | {"hosted": True},
            ran,
            {"type": "shell_command_output", "stdout": "ok"},
            {"type": "code_interpreter_tool_result"},
        ],
    }
    assert source_of(reply).role == "assistant"
    assert parts(reply) == [
        ("thinking", "assistant", "Hm", False),
        ("call", "1", "t", '{"a":1}'),
        ("hosted", "assistant", '[t] {"a":1}'),
        ("hosted", "assistant", '[search] {"q":"x"}'),
        ("hosted", "assistant", "[shell_command_output] ok"),
        ("hosted", "assistant", "[code_interpreter_tool_result]"),
    ]
    items = [{"type": "text", "text": "seen"}, {"type": "data", "uri": DATA_URL}]
    results = [
        {"type": "function_result", "call_id": "1", "result": "seen", "items": items},
        {"type": "function_result", "call_id": "1", "result": items},
        {"type": "function_result", "call_id": "2", "result": {"a": 1}},
        {"type": "function_result", "call_id": "3", "result": "", "exception": "it broke"},
        {"type": "function_result", "call_id": "4", "exception": True},
    ]
    assert parts({"role": "tool", "contents": results}) == [
        ("result", "1", "", [("seen",), IMAGE[2:]], False),
        ("result", "1", "", [("seen",), IMAGE[2:]], False),
        ("result", "2", "", [('{"a":1}',)], False),
        ("result", "3", "", [("it broke",)], True),
        ("result", "4", "", [("The tool failed.",)], True),
    ]


def test_a_call_of_agent_framework_that_waits_for_a_person() -> None:
    """The question holds the call. It is read once, where it also stands by itself."""
    call = {"type": "function_call", "call_id": "1", "name": "t", "arguments": {}}
    asking = {"type": "function_approval_request", "id": "a", "function_call": call}
    other = asking | {"function_call": call | {"call_id": "2"}}
    lost = {"type": "function_approval_request", "id": "a"}
    assert parts({"role": "assistant", "contents": [call, asking, other, lost]}) == [
        ("call", "1", "t", {}),
        ("call", "2", "t", {}),
        ("unknown", "assistant", lost, "a part without a kind"),
    ]


def test_agent_framework_of_dotnet() -> None:
    """Its names are in camel case, and the kind is under `$type`."""
    contents = [
        {"$type": "reasoning", "text": "Hm"},
        {"$type": "functionCall", "callId": "1", "name": "t", "arguments": {"a": 1}},
        {"$type": "data", "uri": DATA_URL, "mediaType": "image/png"},
    ]
    assert parts({"role": "assistant", "contents": contents, "authorName": "x"}) == [
        ("thinking", "assistant", "Hm", False),
        ("call", "1", "t", {"a": 1}),
        ("media", "assistant", *IMAGE[2:]),
    ]


# --- Google ADK ---


def event(*given: Any, role: str | None = "model", **fields: Any) -> Message:
    content = {"parts": list(given)} | ({"role": role} if role else {})
    return {"author": "guide", "invocationId": "i", "content": content} | fields


def test_an_event_of_adk_holds_a_content_of_gemini() -> None:
    """Both spellings and empty fields are the same content, with standard base64. Arguments stay as they are."""
    camel = event(
        {"text": "Hi"},
        {"functionCall": {"id": "1", "name": "t", "args": {"snake_case": None}}, "thoughtSignature": "-_8="},
        {"inlineData": {"mimeType": "image/png", "data": "-_8="}},
        {"functionResponse": {"id": "1", "name": "t", "response": {"result": "seen"}}},
    )
    snake = event(
        {"text": "Hi", "thought": None},
        {
            "function_call": {"id": "1", "name": "t", "args": {"snake_case": None}, "will_continue": None},
            "thought_signature": "+/8=",
        },
        {"inline_data": {"mime_type": "image/png", "data": "+/8="}},
        {"function_response": {"id": "1", "name": "t", "response": {"result": "seen"}}},
    )
    assert parts(camel) == [
        ("text", "assistant", "Hi"),
        ("call", "1", "t", {"snake_case": None}),
        ("media", "assistant", "image", "image/png", "+/8=", None, None),
        ("result", "1", "t", [("seen",)], False),
    ]
    assert raws(camel) == raws(snake)
    assert raws(camel)[1][1]["thoughtSignature"] == "+/8="


def test_who_speaks_in_an_event_of_adk() -> None:
    """The content says it, else the author does."""
    said = [
        event({"text": "Hi"}, author="user", role="model"),
        event({"text": "Hi"}, role="user"),
        event({"text": "Hi"}, author="user", role=None),
        event({"text": "Hi"}, role=None),
    ]
    assert [source_of(each).role for each in said] == ["assistant", "user", "user", "assistant"]
    assert source_of(event(content=None)).role == "assistant"


def test_events_of_adk_with_and_without_words() -> None:
    """A partial one says nothing, for the whole follows. A text, a transcript and a summary are words, too."""
    summary = {"compaction": {"compactedContent": {"role": "model", "parts": [{"text": "So far."}]}}}
    assert parts(event({"text": "Hi"}, partial=True)) == []
    assert parts(event(content="plain")) == [("text", "assistant", "plain")]
    assert parts(event(content=None, actions=summary)) == [("text", "assistant", "So far.")]
    assert parts(event(content=None, input_transcription={"text": "heard"}, outputTranscription={"text": "said"})) == [
        ("text", "user", "heard"),
        ("text", "assistant", "said"),
    ]


def test_what_an_event_of_adk_states() -> None:
    """Model and usage, in both spellings."""
    assert facts(event(usageMetadata={"promptTokenCount": 1}, modelVersion="gemini-3-pro")) == {
        "model": "gemini-3-pro",
        "usage": {"promptTokenCount": 1},
    }
    assert facts(event(usage_metadata={"prompt_token_count": 1})) == {"usage": {"prompt_token_count": 1}}


# --- Claude Code, Claude Agent SDK ---


def line(kind: str, content: Any, **fields: Any) -> Message:
    return {"type": kind, "uuid": "u", "sessionId": "s", "message": {"role": kind, "content": content}} | fields


def test_a_line_of_claude_code_holds_a_message_of_anthropic() -> None:
    """Its blocks go back as they came, with the signature."""
    thinking = {"type": "thinking", "thinking": "Hm", "signature": "s"}
    call = {"type": "tool_use", "id": "1", "name": "t", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "1", "content": "seen"}
    reply = line("assistant", [thinking, call])
    assert parts(reply) == [("thinking", "assistant", "Hm", True), ("call", "1", "t", {})]
    assert raws(reply) == [("anthropic", thinking), ("anthropic", call)]
    assert parts(line("user", [result])) == [("result", "1", "", [("seen",)], False)]
    assert parts(line("user", "Hi")) == [("text", "user", "Hi")]
    assert [source_of(each).role for each in (reply, line("user", "Hi"))] == ["assistant", "user"]


def test_lines_of_claude_code_that_no_model_sees() -> None:
    """What is for the user alone, and what the program records, says nothing; a new kind of line is unknown."""
    hidden: list[Message] = [
        line("user", "Hi", isVisibleInTranscriptOnly=True),
        line("assistant", "Oops", isApiErrorMessage=True),
    ]
    records: list[Message] = [
        {"type": "system", "subtype": "info", "content": "Note", "uuid": "u", "sessionId": "s"},
        {"type": "summary", "summary": "A talk", "leafUuid": "u"},
        {"type": "file-history-snapshot", "messageId": "u", "snapshot": {}},
        {"type": "stream_event", "uuid": "u", "session_id": "s", "event": {}},
    ]
    assert [parts(each) for each in (*hidden, *records)] == [[]] * 6
    new = {"type": "attachment", "uuid": "u", "sessionId": "s", "attachment": {"file": "a"}}
    assert parts(new) == [("unknown", "user", new, "a line of kind 'attachment'")]


def test_objects_of_the_claude_agent_sdk() -> None:
    """Their blocks have no type, so the keys say it; empty fields are left out, because Anthropic refuses them."""
    reply = {
        "parent_tool_use_id": None,
        "model": "claude-sonnet-4-5",
        "content": [
            {"thinking": "Hm", "signature": "s"},
            {"text": "Hi"},
            {"id": "1", "name": "t", "input": {}},
            {"id": "srvtoolu_2", "name": "advisor", "input": {}},
            {"tool_use_id": "srvtoolu_2", "content": {"type": "advisor_result"}},
        ],
    }
    assert [raw for _, raw in raws(reply)] == [
        {"type": "thinking", "thinking": "Hm", "signature": "s"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "1", "name": "t", "input": {}},
        {"type": "server_tool_use", "id": "srvtoolu_2", "name": "advisor", "input": {}},
        {"type": "advisor_tool_result", "tool_use_id": "srvtoolu_2", "content": {"type": "advisor_result"}},
    ]
    result = {"tool_use_id": "1", "content": "seen", "is_error": None}
    asked = {"content": [result, {"odd": 1}, "bare"], "uuid": None, "parent_tool_use_id": None}
    assert source_of(asked).role == "user"
    assert raws(asked)[0][1] == {"type": "tool_result", "tool_use_id": "1", "content": "seen"}


def test_events_of_the_claude_agent_sdk_say_nothing() -> None:
    """They tell of the program, or repeat what follows."""
    assert [
        parts(each)
        for each in (
            {"subtype": "init", "data": {"tools": []}},
            {"uuid": "u", "session_id": "s", "event": {"type": "message_start"}, "parent_tool_use_id": None},
            {"uuid": "u", "session_id": "s", "rate_limit_info": {"status": "allowed"}},
        )
    ] == [[], [], []]


def test_the_outcome_of_a_query_is_said_once() -> None:
    """It repeats the last reply. Without that reply it is what was said."""
    outcome = {"subtype": "success", "num_turns": 1, "session_id": "s", "uuid": "u", "result": "Hi"}
    silent = outcome | {"type": "result", "result": None}
    assert parts(outcome) == [("text", "assistant", "Hi")]
    assert parts(silent) == []
    with Session.memory() as session:
        session.append_many([line("user", "Hello"), line("assistant", [{"type": "text", "text": "Hi"}]), outcome])
        said = session.build_context().to("openai-chat")["messages"]
    assert said == [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]


def test_what_a_reply_of_claude_code_states() -> None:
    """The model and its usage. A reply that Claude Code wrote itself has no model; an outcome has the sum of all."""
    message = {"role": "assistant", "content": [], "model": "claude-sonnet-4-5", "usage": {"input_tokens": 1}}
    stated = {"provider": "anthropic", "model": "claude-sonnet-4-5", "usage": {"input_tokens": 1}}
    assert facts({"type": "assistant", "uuid": "u", "message": message}) == stated
    of_sdk: Message = {"content": [], "parent_tool_use_id": None, "model": "claude-sonnet-4-5", "usage": None}
    assert facts(of_sdk) == {"provider": "anthropic", "model": "claude-sonnet-4-5"}
    assert facts({"type": "assistant", "message": message | {"model": "<synthetic>"}}) == {}
    assert facts({"subtype": "success", "num_turns": 1, "usage": {"input_tokens": 9}, "result": "Hi"}) == {}


ROLES_OF_ALL = ["user", "assistant", "system", "tool", "model", "ai", "human", "USER", "CHATBOT", "function"]
VALUES: Any = st.recursive(
    st.sampled_from([None, 1, "", "a", "text"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "text", "name", "arguments", "document"]), inner)
    ),
    max_leaves=4,
)
PLAIN_BLOCKS = (
    st.fixed_dictionaries({"type": st.just("text"), "text": VALUES})
    | st.fixed_dictionaries({"type": st.just("tool_use"), "id": VALUES, "name": VALUES, "input": VALUES})
    | st.fixed_dictionaries({"type": st.just("tool_result"), "tool_use_id": VALUES, "content": VALUES})
)
PLAIN_CALLS = st.fixed_dictionaries({"id": VALUES, "type": VALUES, "function": VALUES})
PROVIDERS_OWN = st.fixed_dictionaries(
    {"role": st.sampled_from(ROLES_OF_ALL), "content": st.lists(PLAIN_BLOCKS, max_size=3)}
) | st.fixed_dictionaries(
    {
        "role": st.sampled_from(ROLES_OF_ALL),
        "content": st.sampled_from([None, "", "a"]),
        "tool_calls": st.lists(PLAIN_CALLS, max_size=2),
    }
)


@given(PROVIDERS_OWN)
def test_no_framework_takes_a_message_that_is_not_shown_to_it(message: dict[str, Any]) -> None:
    """Messages of text, calls and results are no framework's, so none is asked."""
    assert framework_of(message) is None
    assert [each.name for each in FRAMEWORKS if each.fits(message)] == []
