"""What no reader knows: kept, listed, and never left out of a request in silence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from helpers import assistant, user
from test_providers_laws import PNG, SHAPES

from convtree import InvalidMessage, LeftOut, ModelChangeEntry, Session, UnknownMessage, open_store, shapes
from convtree._messages.custom import CUSTOM

Message = dict[str, Any]

#: a message, the text that is certainly for people, why it is not known, and where
UNKNOWN: list[tuple[Message, str, str, tuple[str | int, ...]]] = [
    ({"role": "user", "content": 42}, "", "a number as content", ("content", 0)),
    ({"role": "user", "content": {"x": 1}}, "", "an object of an unknown kind as content", ("content", 0)),
    ({"role": "user", "content": [{"type": "odd"}]}, "", "a block of the type 'odd'", ("content", 0)),
    ({"role": "user", "content": ["a", [1]]}, "a", "a list as content", ("content", 1)),
    ({"role": "user", "parts": [{"text": "a"}, {"odd": 1}]}, "a", "a part with 'odd'", ("parts", 1)),
    ({"role": "narrator", "content": "Once"}, "Once", "a message of the role 'narrator'", ()),
    ({"content": "Who?"}, "Who?", "a message without a role", ()),
    (
        {"role": "user", "said": "hello"},
        "",
        "a message without a content that is known, but with 'said'",
        (),
    ),
    ({"anything": {"at": "all"}}, "", "a message without a content that is known, but with 'anything'", ()),
    ({"type": "odd_item", "x": "y"}, "", "an item of the type 'odd_item'", ()),
]


@pytest.mark.parametrize(("message", "text", "why", "place"), UNKNOWN)
def test_what_no_reader_knows_is_said(message: Message, text: str, why: str, place: Any) -> None:
    """`append` takes it; `to` names the entry and the place, or does what the caller chose."""
    session = Session.memory()
    session.append(user("q"))
    entry = session.append(message)
    session.append(assistant("A"))
    context = session.build_context()
    assert (entry.message, entry.text) == (message, text)
    assert context.unknown == (LeftOut(entry.id, "unknown", why, place),)
    for shape in SHAPES:
        if message.get("parts") and shape == "gemini":
            continue  # Gemini may know its own parts
        if message.get("type") == "odd_item" and shape == "openai-responses":
            continue
        with pytest.raises(UnknownMessage, match=entry.id) as caught:
            context.to(shape)
        assert (caught.value.entry_id, caught.value.why, caught.value.place) == (entry.id, why, place)
        dropped = context.to(shape, unknown="drop")
        assert dropped.left_out == context.unknown
        value: Any = message
        for step in place:
            value = (
                value[step] if isinstance(value, dict | list) and not (step == 0 and isinstance(value, dict)) else value
            )
        sent = json.dumps(context.to(shape, unknown="text"))
        assert json.dumps(orjson.dumps(value).decode())[1:-1] in sent
        assert context.to(shape, unknown="text").left_out == ()


def test_what_the_own_provider_may_know_is_sent_to_it() -> None:
    """A block or an item that came from a provider goes back to it, however new it is."""
    session = Session.memory()
    block = {"role": "assistant", "content": [{"type": "new_block", "x": 1}, {"type": "text", "text": "A"}]}
    session.append_many([user("q"), block], shape="anthropic", model="m")
    assert session.build_context().to("anthropic")["messages"][1] == block
    with pytest.raises(UnknownMessage):
        session.build_context().to("gemini")


def test_a_message_that_says_nothing_is_not_unknown() -> None:
    """Empty content is no content that is not understood."""
    for message in (
        user(""),
        {"role": "user"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": []},
    ):
        session = Session.memory()
        session.append_many([user("q"), message, user("r")])
        assert session.build_context().unknown == ()
        assert len(session.build_context().to("gemini")["contents"][0]["parts"]) == 2


@pytest.mark.parametrize("word", ["ai", "bot", "model", "chatbot", "Assistant", "AI", "ASSISTANT"])
def test_words_for_the_assistant(word: str) -> None:
    """What it said never becomes the user's."""
    session = Session.memory()
    reply = session.append_many([user("q"), {"role": word, "content": "A"}, user("r")])[1]
    assert reply.role == "assistant"  # type: ignore[attr-defined]
    for shape in ("openai-chat", "openai-responses", "anthropic"):
        (sent,) = (value for value in session.build_context().to(shape).values())
        assert sent == [user("q"), assistant("A"), user("r")]
    assert session.build_context().to("gemini")["contents"][1] == {"role": "model", "parts": [{"text": "A"}]}


@pytest.mark.parametrize(
    ("word", "role"), [("human", "user"), ("User", "user"), ("SYSTEM", "system"), ("Developer", "developer")]
)
def test_words_for_other_roles(word: str, role: str) -> None:
    """One table, in any case."""
    session = Session.memory()
    entry = session.append({"role": word, "content": "A"})
    assert (entry.role, entry.pinned) == (role, True if role in ("system", "developer") else None)
    assert session.build_context().to("openai-chat") == {"messages": [{"role": role, "content": "A"}]}


def test_the_choices_of_to_are_checked() -> None:
    """Each error lists what is possible."""
    context = Session.memory().build_context()
    with pytest.raises(ValueError, match=r"shape is one of 'openai-chat', .* not 'openai'"):
        context.to("openai")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"open_calls is one of 'answer', 'raise', not 'heal'"):
        context.to("anthropic", open_calls="heal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"unknown is one of 'raise', 'text', 'drop', not None"):
        context.to("anthropic", unknown=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"shape is one of .* not \[\]"):
        context.to([])  # type: ignore[arg-type]


def test_a_request_is_a_dictionary_with_a_report() -> None:
    """It can be passed on, copied and encoded like any other."""
    session = Session.memory()
    session.append({"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}]})
    request = session.build_context().to("openai-chat")
    assert dict(**request) == request
    assert orjson.loads(orjson.dumps(request)) == request
    assert ([call.name for call in request.answered], request.left_out) == (["f"], ())


def test_the_size_of_a_request_in_bytes() -> None:
    """Pictures count with all their data."""
    session = Session.memory()
    session.append(user("q"))
    assert session.build_context().count_bytes("openai-chat") == len('{"messages":[{"role":"user","content":"q"}]}')
    session.append({"role": "user", "content": [{"type": "image", "data": PNG * 1000, "mimeType": "image/png"}]})
    assert session.build_context().count_bytes("anthropic") > len(PNG) * 1000
    session.append({"role": "user", "content": 42})
    assert session.build_context().count_bytes("anthropic") > 0


# --- readers of an application ---


@pytest.fixture
def no_readers() -> Iterator[None]:
    """Takes the readers away that a test has added."""
    yield
    CUSTOM.clear()


@pytest.mark.usefixtures("no_readers")
def test_an_application_adds_a_reader() -> None:
    """By the shape that the message was appended with, and for what nothing else knows."""
    shapes.register("my-agent", lambda message: user(message["said"]) if "said" in message else None)
    assert "my-agent" in shapes.names()
    with open_store("memory:") as store:
        session = store.create()
        first = session.append({"said": "hello"}, shape="my-agent")
        second = session.append({"said": "there"})
        session.append({"other": "x"}, shape="my-agent")
        assert (first.role, first.text, second.text) == ("user", "hello", "there")
        assert [hit.entry_id for hit in store.search("hello")] == [first.id]
        context = session.build_context()
        assert [each.why for each in context.unknown] == ["a message without a content that is known, but with 'other'"]
        request = context.to("anthropic", unknown="drop")
        assert request == {
            "messages": [{"role": "user", "content": [{"type": "text", "text": each} for each in ("hello", "there")]}]
        }


@pytest.mark.usefixtures("no_readers")
def test_a_reader_may_make_several_messages_of_one() -> None:
    """A call and its result, say."""
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}]}
    shapes.register("steps", lambda message: [call, {"role": "tool", "tool_call_id": "c", "content": message["step"]}])
    session = Session.memory()
    session.append_many([user("q")])
    session.append({"step": "42"}, shape="steps")
    context = session.build_context()
    assert (context.open_calls, context.to("openai-chat")["messages"][2]["content"]) == ((), "42")


def fails(_: Message) -> Any:
    raise LookupError("no such key")


NO_MESSAGES = "a message of which the reader 'bad' made a {}, not messages"
SAID = "a message without a content that is known, but with 'said'"


@pytest.mark.usefixtures("no_readers")
@pytest.mark.parametrize(
    ("reader", "why"),
    [
        (fails, "a message for which the reader 'bad' raised LookupError: no such key"),
        (lambda _: 42, NO_MESSAGES.format("int")),
        (lambda _: "hello", NO_MESSAGES.format("str")),
        (lambda _: [user("a"), 42], NO_MESSAGES.format("list")),
        (lambda _: {}, NO_MESSAGES.format("dict")),
        (lambda message: message, SAID),
        (lambda message: {"said": message}, SAID),
        (lambda message: {"said": message.pop("said")}, SAID),
        (
            lambda _: {"role": "user", "content": {1, object}},
            "a message for which the reader 'bad' raised TypeError: Encoding objects of type type is unsupported",
        ),
    ],
)
def test_a_reader_that_fails(reader: Any, why: str) -> None:
    """The message is stored, listed and unknown; the others are not concerned."""
    shapes.register("bad", reader)
    with open_store("memory:") as store:
        session = store.create()
        session.append(user("q"))
        entry = session.append({"said": "hello"}, shape="bad")
        assert (entry.message, entry.role, entry.text) == ({"said": "hello"}, None, "")
        assert [info.id for info in store.list()] == [session.id]
        context = session.build_context()
        with pytest.raises(UnknownMessage) as caught:
            context.to("anthropic")
        assert (caught.value.entry_id, caught.value.why) == (entry.id, why)
        assert context.to("openai-chat", unknown="drop") == {"messages": [user("q")]}


@pytest.mark.usefixtures("no_readers")
def test_what_a_reader_made_can_be_hidden() -> None:
    """The places of its blocks are not those of the stored message."""
    made: Message = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "42"}]}
    shapes.register("steps", lambda message: made if "step" in message else None)
    session = Session.memory()
    call = session.append({"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]})
    step = session.append({"step": "42"}, shape="steps")
    session.hide(call)
    assert session.build_context().messages == []
    session.show(call)
    session.hide(step)
    assert session.build_context().to("openai-chat")["messages"][1]["content"] == "hidden"


def test_a_reader_needs_a_name_and_a_function() -> None:
    """A name of convtree's own is refused."""
    with pytest.raises(ValueError, match="convtree reads 'anthropic' itself"):
        shapes.register("anthropic", dict)
    with pytest.raises(ValueError, match="not 'No Name'"):
        shapes.register("No Name", dict)
    with pytest.raises(TypeError, match="reader: expected a function, not the str"):
        shapes.register("mine", "x")  # type: ignore[arg-type]


# --- reasoning ---

CALL: Message = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT: Message = {"role": "tool", "tool_call_id": "c1", "content": "ok"}


def chat(*messages: Message, then: tuple[str | None, str], provider: str = "deepseek") -> list[Message]:
    """The request to OpenAI chat after a change of the model."""
    session = Session.memory()
    session.append_many([user("q"), *messages], provider=provider, model="one")
    session.append(ModelChangeEntry(provider=then[0], model=then[1]))
    sent: list[Message] = session.build_context().to("openai-chat")["messages"]
    return sent


def test_plain_reasoning_goes_back_within_its_provider() -> None:
    """Never to another one, and never as spoken text."""
    thought = {"role": "assistant", "content": "A", "reasoning_content": "hm"}
    assert chat(thought, then=("deepseek", "two"))[1] == thought
    assert chat(thought, then=("openai", "gpt"))[1] == assistant("A")


def test_deepseek_wants_the_field_in_every_reply_with_calls() -> None:
    """Empty where there was no reasoning, or where it was another provider's."""
    thought = {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [CALL]}
    bare = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert chat(thought, RESULT, then=("deepseek", "two"))[1]["reasoning_content"] == "hm"
    assert chat(bare, RESULT, then=("deepseek", "two"))[1]["reasoning_content"] == ""
    assert chat(thought, RESULT, then=("deepseek", "two"), provider="moonshot")[1]["reasoning_content"] == ""
    assert "reasoning_content" not in chat(bare, RESULT, assistant("A"), then=("deepseek", "two"))[3]
    assert "reasoning_content" not in chat(thought, RESULT, then=("openai", "gpt"))[1]


def test_reasoning_of_several_messages_of_one_turn_is_joined() -> None:
    """Words before calls become one message with them if they came in another shape."""
    blocks = {"role": "assistant", "content": [{"type": "thinking", "thinking": "a"}, {"type": "text", "text": "A"}]}
    use = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    more = {"role": "assistant", "content": [{"type": "thinking", "thinking": "b"}, use]}
    sent = chat(blocks, more, RESULT, then=("deepseek", "two"))[1]
    assert (sent["content"], sent["reasoning_content"]) == ("A", "a\nb")


def test_what_only_a_page_shows_is_named() -> None:
    """A link to a source is; the mark of a step says nothing, so it is not."""
    session = Session.memory()
    parts = [{"type": "step-start"}, {"type": "source-url", "sourceId": "s", "url": "https://a"}]
    told = session.append({"role": "assistant", "parts": [*parts, {"type": "text", "text": "yo"}]})
    request = session.build_context().to("openai-chat")
    assert request == {"messages": [assistant("yo")]}
    assert request.left_out == (LeftOut(told.id, "sealed", "it has no content for a model", ("parts", 1)),)


def test_a_reply_of_reasoning_alone_is_left_out() -> None:
    """It is named: a reply that was cut off while its model thought."""
    session = Session.memory()
    cut = session.append_many([user("q"), {"role": "assistant", "content": None, "reasoning": "hm"}], model="m")[1]
    request = session.build_context().to("openai-chat")
    assert request["messages"] == [user("q")]
    assert request.left_out == (LeftOut(cut.id, "reasoning", "no reply follows the reasoning", ()),)


def test_a_shape_is_checked() -> None:
    """The names that `to` takes, and those of the other formats that convtree reads."""
    session = Session.memory()
    for name in shapes.names():
        session.append(user("q"), shape=name)
    with pytest.raises(InvalidMessage, match=r"no shape 'openai'; expected one of 'openai-chat'") as caught:
        session.append(user("q"), shape="openai")
    assert caught.value.place == "shape"
