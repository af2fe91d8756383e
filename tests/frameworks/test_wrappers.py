"""Answers of providers are stored as their message alone, however they come: as object, as dump, as JSON text."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from answers import ANSWERS, BLOCKS, CHAT_MESSAGE, ITEMS, PARTS, PNG, Json, fields
from hypothesis import example, given
from hypothesis import strategies as st

from convtree import InvalidMessage, MessageEntry, Session
from convtree._messages.parts import Call, Part, Source, Text, Thinking, Unknown
from convtree._messages.reading import read_for_model

SHAPES = ("openai-chat", "openai-responses", "anthropic", "gemini")


def parts_of(message: Json, **more: Any) -> list[Part]:
    source = Source(message=message, **more)
    return list(read_for_model(source))


@pytest.mark.parametrize("name", ANSWERS)
def test_json_of_an_answer_is_stored_as_its_message(name: str) -> None:
    """Provider, model and usage go to the entry."""
    given = ANSWERS[name]
    entry = Session.memory().append(json.loads(json.dumps(given.answer)))
    assert fields(entry) == given[1:]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_stored_answer_is_read_as_its_message(name: str) -> None:
    """A log from before may hold the whole answer. It says the same, to every provider."""
    kept, whole = Session.memory(), Session.memory()
    for session, message in ((kept, ANSWERS[name].message), (whole, ANSWERS[name].answer)):
        session.append({"role": "user", "content": "Hi"})
        session.append(MessageEntry(message=message))
    for shape in SHAPES:
        sent: list[Any] = [
            session.build_context().to(shape)  # type: ignore[arg-type]  # one of the shapes
            for session in (whole, kept)
        ]
        assert sent[0] == sent[1]


def test_arguments_win() -> None:
    """What the caller says counts more than what the answer states."""
    session = Session.memory()
    answer = ANSWERS["ChatCompletion"].answer
    entry = session.append(answer, provider="azure", model="mine", usage={"input_tokens": 1}, shape="openai-chat")
    assert fields(entry)[2:] == ("azure", "mine", {"input_tokens": 1})


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-5", "openai"),
        ("ft:gpt-4o:org::1", "openai"),
        ("o3", "openai"),
        ("claude-opus-4", "anthropic"),
        ("models/gemini-3-pro", "google"),
        ("deepseek-chat", "deepseek"),
        ("grok-4", "xai"),
        ("gpt-oss-120b", None),
        ("deepseek-r1:8b", None),
        ("llama-3.3-70b", None),
        (None, None),
        (5, None),
    ],
)
def test_a_chat_completion_is_from_the_maker_of_its_model(model: Any, provider: str | None) -> None:
    """Many servers answer as OpenAI does. Where the model's name does not tell, the provider is not known."""
    entry = Session.memory().append(ANSWERS["ChatCompletion"].answer | {"model": model})
    assert (entry.provider, entry.model) == (provider, model if isinstance(model, str) else None)


def test_a_response_is_sent_back_item_by_item() -> None:
    """To the model that made it, every item as it came; its items may also be appended one by one."""
    for whole in (True, False):
        session = Session.memory()
        session.append({"role": "user", "content": "Hi"})
        if whole:
            session.append(ANSWERS["Response"].answer)
        else:
            session.append_many(ITEMS, provider="openai", model="o4-mini")
        output = {"type": "function_call_output", "call_id": "call_1", "output": "sun"}
        session.append(output)
        sent = session.build_context().to("openai-responses")
        assert sent == {"input": [{"role": "user", "content": "Hi"}, *ITEMS, output]}


def test_the_items_of_a_response_are_sources_of_their_own() -> None:
    """A part of one item does not keep the others from being sent as they are."""
    source = Source(message=ANSWERS["Response"].message, trusted=True)
    read = read_for_model(source)
    assert [type(part) for part in read] == [Thinking, Text, Call]
    assert [part.source.message for part in read] == ITEMS
    assert [part.source.parts for part in read] == [(part,) for part in read]
    assert source.role == "assistant"


def test_an_item_that_is_no_object_is_unknown() -> None:
    """It is not dropped, and neither is an answer in an answer, which nobody makes by chance."""
    nested = {"object": "response", "output": [ITEMS[1], ITEMS[2]]}
    odd = {"object": "response", "output": [5, nested, ITEMS[1]]}
    first, second, third = parts_of(odd)
    assert isinstance(first, Unknown)
    assert (first.value, first.why, first.place) == (5, "an item that is not an object", ("output", 0))
    assert isinstance(second, Unknown)
    assert (second.value, second.why, second.place) == (nested, "an answer in an answer", ("output", 1))
    assert isinstance(third, Text)


def test_nested_answers_are_not_opened() -> None:
    """A hostile line cannot make the reader go deep."""
    message: Json = {"role": "user", "content": "Hi"}
    for _ in range(500):
        message = {"message": message, "done": True, "content": "a"}
    (part,) = parts_of(message)
    assert isinstance(part, Unknown)
    assert part.why == "an answer in an answer"


@pytest.mark.parametrize(
    ("answer", "place", "words"),
    [
        (ANSWERS["ChatCompletion"].answer | {"choices": [{"message": CHAT_MESSAGE}] * 2}, "choices", "[i].message"),
        (
            {"candidates": [{"content": {"parts": PARTS}}] * 3, "modelVersion": "gemini-3-pro"},
            "candidates",
            "[i].content",
        ),
    ],
)
def test_several_alternatives_are_refused(answer: Json, place: str, words: str) -> None:
    """Nothing is dropped in silence: the error says what to append. A reader that meets them says that, too."""
    session = Session.memory()
    with pytest.raises(InvalidMessage, match="goes on from one") as caught:
        session.append(answer)
    assert (caught.value.place, session.leaf_id) == (place, None)
    assert f"append {place}{words}" in str(caught.value)
    (part,) = parts_of(answer)
    assert isinstance(part, Unknown)
    assert (part.value, part.why) == (answer, f"{len(answer[place])} {place}, of which a conversation has one")


def test_one_of_several_choices_is_a_message() -> None:
    """What the error says to do works."""
    choices = [{"index": 0, "finish_reason": "stop", "message": CHAT_MESSAGE}] * 2
    entry = Session.memory().append(choices[1], model="gpt-5")
    assert (entry.message, entry.model) == (CHAT_MESSAGE, "gpt-5")


NO_WRAPPERS: list[Json] = [
    {"choices": []},
    {"choices": [5]},
    {"choices": [{"message": {"text": "a"}}]},
    {"choices": [{"delta": {"content": "a"}}], "object": "chat.completion.chunk"},
    {"candidates": []},
    {"candidates": ["Ann"]},
    {"candidates": [{"name": "Ann"}]},
    {"output": "text"},
    {"output": {"text": "a"}},
    {"output": {"message": {"text": "a"}}},
    {"message": {"text": "a"}, "done": True},
    {"output": [{"type": "file"}]},
    {"output": [5]},
    {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "a"}]},
    {"message": "a", "done": True},
    {"message": {"role": "user", "content": "a"}},
    {"type": "assistant", "message": {"role": "assistant", "content": []}, "stop_reason": None},
    {"type": "other", "stop_reason": "end", "role": "assistant", "content": []},
    {"type": "message", "stop_reason": "end", "content": []},
    {"content": {"title": "a"}},
    {"generation_id": "g", "text": "a"},
    {"generation_id": "g", "text": 5, "chat_history": []},
    {"role": "assistant", "content": "a", "choices": [{"message": {"content": "b"}}]},
    {"role": "assistant", "content": [], "stopReason": "stop", "message": {}},
]


@pytest.mark.parametrize("value", NO_WRAPPERS, ids=json.dumps)
def test_other_objects_are_stored_as_they_are(value: Json) -> None:
    """A key that answers have is not enough."""
    entry = Session.memory().append(value)
    assert fields(entry) == (value, None, None, None, None)


def test_an_answer_without_content_is_an_empty_message() -> None:
    """Gemini answers so where it stopped before the first word; OpenAI where a request failed."""
    session = Session.memory()
    empty: Json = {"role": "model", "parts": []}
    stopped: list[Json] = [{"finishReason": "SAFETY"}, {"finish_reason": "SAFETY", "content": None}, {"content": {}}]
    for candidate in stopped:
        assert session.append({"candidates": [candidate]}).message == empty
    failed = {"object": "response", "output": []}
    assert session.append(failed).message == failed
    assert parts_of(failed) == []


def test_items_without_a_frame_are_a_response() -> None:
    """As the Agents SDK of OpenAI keeps them."""
    entry = Session.memory().append({"output": ITEMS, "usage": {"input_tokens": 3}, "response_id": None})
    assert fields(entry) == (
        {"object": "response", "output": ITEMS},
        "openai-responses",
        "openai",
        None,
        {"input_tokens": 3},
    )
    items = Session.memory().append({"object": "response", "output": [5]})
    assert items.message == {"object": "response", "output": [5]}


def test_what_an_sdk_adds_is_not_stored() -> None:
    """Parsed results are for the program; the provider refuses them."""
    answer = ANSWERS["ChatCompletion"].answer
    call = CHAT_MESSAGE["tool_calls"][0]
    function = call["function"] | {"parsed_arguments": {"at": None}}
    message = CHAT_MESSAGE | {"parsed": {"a": 1}, "refusal": None, "tool_calls": [call | {"function": function}]}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    assert Session.memory().append(answer | {"choices": [choice]}).message == CHAT_MESSAGE
    renamed = ITEMS[2] | {"async_": True, "id": None}
    entry = Session.memory().append({"object": "response", "output": [renamed]})
    assert entry.message == {name: value for name, value in ITEMS[2].items() if name != "id"} | {"async": True}
    block = {"type": "text", "text": "a", "parsed_output": {"a": 1}}
    answer = ANSWERS["Message"].answer | {"content": [block]}
    assert Session.memory().append(answer).message["content"] == [{"type": "text", "text": "a"}]


def test_parsed_results_do_not_warn() -> None:
    """OpenAI's SDK keeps them where its types have none. A warning would be an error in these tests."""
    completions = pytest.importorskip("openai.types.chat")
    made = completions.ParsedChatCompletion.model_validate(ANSWERS["ChatCompletion"].answer)
    made.choices[0].message.parsed = made.model_copy(deep=True)
    assert Session.memory().append(made).message == CHAT_MESSAGE


def test_the_title_of_a_citation_stays() -> None:
    """Anthropic requires it, even if it is null. Other nulls say nothing."""
    citation = {"type": "page_location", "cited_text": "a", "document_title": None}
    block = {"type": "text", "text": "a", "citations": [citation | {"file_id": None}]}
    entry = Session.memory().append(ANSWERS["Message"].answer | {"content": [block]})
    assert entry.message["content"] == [block | {"citations": [citation]}]


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"message": {"content": "a"}}]},
        {"message": {"content": "a"}, "done": False},
        {"message": {"content": "a"}, "finish_reason": "STOP"},
        {"message": {"content": "a"}, "stop_reason": "end"},
        {"output": {"message": {"content": "a"}}},
    ],
    ids=json.dumps,
)
def test_an_answer_is_the_assistants(answer: Json) -> None:
    """Some servers do not say so, and parts of a stream do not repeat it."""
    assert Session.memory().append(answer).message == {"role": "assistant", "content": "a"}


def test_what_lies_deep_is_kept_as_it_is() -> None:
    """No answer goes so deep, so nobody knows whether a null there says something."""
    deep: Any = {"a": None}
    for _ in range(12):
        deep = {"b": deep}
    message = {"role": "assistant", "content": "a", "extra": deep}
    assert Session.memory().append({"choices": [{"message": message}]}).message == message


def test_calls_without_text_have_a_content() -> None:
    """OpenAI requires the key, and some servers leave it out."""
    message = {"role": "assistant", "tool_calls": CHAT_MESSAGE["tool_calls"]}
    entry = Session.memory().append({"choices": [{"message": message}]})
    assert entry.message == message | {"content": None}


def test_bytes_of_google_are_standard_base64() -> None:
    """Other providers refuse the URL-safe alphabet, and text without padding."""
    types = pytest.importorskip("google.genai.types")
    picture = bytes(range(256))[::-1] + b"\xff"
    blob = types.Blob(mime_type="image/png", data=picture)
    content = types.Content(role="user", parts=[types.Part(inline_data=blob), types.Part(text="?")])
    expected = {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": None}}, {"text": "?"}]}
    expected["parts"][0]["inlineData"]["data"] = b64encode(picture).decode()  # type: ignore[index]  # dicts
    assert Session.memory().append(content).message == expected
    dumped = Session.memory().append(content.model_dump(exclude_none=True)).message
    assert dumped["parts"][0]["inline_data"]["data"] == b64encode(picture).decode()
    urlsafe = {"inline_data": {"mime_type": "image/png", "data": PNG.translate(str.maketrans("+/", "-_")).rstrip("=")}}
    answer = {"candidates": [{"content": {"parts": [urlsafe]}, "finish_reason": "STOP"}]}
    assert Session.memory().append(answer).message["parts"] == [PARTS[2]]


def test_bytes_in_an_answer_become_text() -> None:
    """As in an answer of boto3, or a dump of Google's SDK."""
    block = {"image": {"format": "png", "source": {"bytes": b"\xff\xfb\x00"}}}
    answer = {"output": {"message": {"role": "assistant", "content": [block]}}, "stopReason": "end_turn"}
    entry = Session.memory().append(answer)
    assert entry.message["content"] == [{"image": {"format": "png", "source": {"bytes": "//sA"}}}]


@pytest.mark.parametrize("shape", ["openai-chat", "openai-responses", "anthropic", "gemini", "pi", "kit"])
def test_known_shapes_are_taken(shape: str) -> None:
    """Those of `Context.to`, and those of tools and frameworks."""
    assert Session.memory().append({"role": "user", "content": "a"}, shape=shape).shape == shape


@pytest.mark.parametrize("shape", ["openai", "wrapper", "x.y", ""])
def test_an_unknown_shape_is_refused(shape: Any) -> None:
    """The error lists the known names. Entries of importers have names of their own, with a dot."""
    session = Session.memory()
    with pytest.raises(InvalidMessage, match="expected one of 'openai-chat', 'openai-responses', ") as caught:
        session.append_many([{"role": "user", "content": "a"}], shape=shape)
    assert (caught.value.place, session.leaf_id) == ("shape", None)
    assert session.append(MessageEntry(message={"role": "user", "content": "a"}, shape="x.y")).shape == "x.y"


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        *("choices", "candidates", "output", "message", "content", "role", "type", "object", "done"),
        *("finish_reason", "stop_reason", "usage", "model", "parts", "index", "finishReason", "modelVersion"),
    ]
)
WORDS = st.sampled_from(["response", "message", "assistant", "agent_result", "STOP", "stop"])
LIKE_ANSWERS = st.recursive(
    JSON | WORDS, lambda inner: st.dictionaries(KEYS, inner, max_size=5) | st.lists(inner, max_size=3), max_leaves=12
)


@example({"object": "response", "output": [{}]})
@given(st.dictionaries(KEYS, LIKE_ANSWERS, min_size=1, max_size=6))
def test_no_json_makes_the_reader_raise(message: Json) -> None:
    """Whatever is stored has parts, or says nothing."""
    parts_of(message)
    try:
        Session.memory().append(message)
    except InvalidMessage as error:
        if error.place not in ("choices", "candidates"):
            raise


@pytest.mark.parametrize("made", ["to_dict", "dataclass", "nested"])
def test_objects_of_other_kinds(made: str) -> None:
    """An object with `to_dict`, a dataclass, and objects in objects."""
    from dataclasses import dataclass

    message = {"role": "assistant", "content": BLOCKS}

    class Told:
        def __init__(self, value: Any) -> None:
            self.value = value

        def to_dict(self) -> Any:
            return self.value

    @dataclass
    class Data:
        role: str
        content: Any

    objects = {
        "to_dict": Told(message),
        "dataclass": Data(**message),  # type: ignore[arg-type]  # as above
        "nested": Told({"role": "assistant", "content": [Told(block) for block in BLOCKS]}),
    }
    given: Any = objects[made]  # there is no type for dataclasses
    assert Session.memory().append(given).message == message
    with pytest.raises(TypeError, match="Told is not a JSON object: it became a list"):
        Session.memory().append(Told([message]))
    with pytest.raises(TypeError, match="not type"):
        Session.memory().append(Data)  # type: ignore[call-overload]  # the class, not an object


def test_an_object_that_leads_back_to_itself_is_refused() -> None:
    """It ends in an error, not in a loop."""

    class Circle:
        def to_dict(self) -> Json:
            return {"role": "user", "content": [self]}

    with pytest.raises(InvalidMessage, match="levels of nesting"):
        Session.memory().append(Circle())


#: what was once lost on its way to every provider, each with a text of it
LOST: dict[str, tuple[Json, str]] = {
    "ChatCompletion.model_dump()": (ANSWERS["ChatCompletion"].answer, "I look."),
    "choices[0]": (ANSWERS["Choice"].answer, "I look."),
    "Response.model_dump()": (ANSWERS["Response"].answer, "I look."),
    "GenerateContentResponse.model_dump()": (ANSWERS["GenerateContentResponse"].answer, "I look."),
    "Bedrock Converse": (ANSWERS["Converse"].answer, "I look."),
    "Ollama": (ANSWERS["ChatResponse of Ollama"].answer, "I look."),
    "LlamaIndex": ({"role": "assistant", "blocks": [{"block_type": "text", "text": "I look."}]}, "I look."),
    "Cohere": (ANSWERS["V2ChatResponse"].answer, "I look."),
    "ShareGPT": ({"from": "gpt", "value": "I look."}, "I look."),
}


@pytest.mark.parametrize("stored", ["appended", "as an entry"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LOST)
def test_nothing_is_lost(name: str, shape: Any, stored: str) -> None:
    """Every provider is told what was said, also of a log in which the whole answer is stored."""
    message, text = LOST[name]
    session = Session.memory()
    session.append({"role": "user", "content": "Hi"})
    session.append(message if stored == "appended" else MessageEntry(message=message))
    assert text in json.dumps(session.build_context().to(shape))
