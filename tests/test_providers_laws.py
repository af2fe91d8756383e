"""Whatever was said, in whichever shapes, however it was cut: every provider takes the next request."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from request_checker import MAIN, check_types, faults, unsigned

from convtree import CompactionEntry, MessageEntry, ModelChangeEntry, OpenCalls, Session
from convtree._providers import Shape

SHAPES: list[Shape] = ["openai-chat", "openai-responses", "anthropic", "gemini"]
MODELS = [("openai", "gpt"), ("anthropic", "claude"), ("google", "gemini"), (None, None)]
IDS = ["c1", "c2", "call_3", "a|b", "é", "x" * 70, "t-4"]
PNG = "iVBORw0KGgo="

texts = st.sampled_from(["Hi", "Look\n", " ", "", "ends with space "])
names = st.sampled_from(["f", "g"])
odd_names = st.sampled_from(["f", "files.read", "g:1"])  # which Gemini takes, and some tools
ids = st.sampled_from(IDS)
arguments = st.sampled_from([{}, {"a": 1}, {"a": [1, "é"]}])
kinds = st.sampled_from([*SHAPES, "pi"])
Messages = list[dict[str, Any]]


MARK: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}
SEARCH: dict[str, Any] = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}
FOUND: dict[str, Any] = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
SEARCHED: dict[str, Any] = {
    "type": "web_search_call",
    "id": "ws",
    "status": "completed",
    "action": {"type": "search", "query": "q"},
}
CODE: dict[str, Any] = {"executableCode": {"language": "PYTHON", "code": "1"}}
RAN: dict[str, Any] = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}


def user_message(shape: str, text: str, image: bool) -> dict[str, Any]:
    if shape == "gemini":
        more: list[Any] = [{"inlineData": {"mimeType": "image/png", "data": PNG}}] if image else []
        return {"role": "user", "parts": [{"text": text}, *more]}
    if shape == "openai-responses":
        link = f"data:image/png;base64,{PNG}"
        more = [{"type": "input_image", "image_url": link, "detail": "auto"}] if image else []
        return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}, *more]}
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    pictures: dict[str, dict[str, Any]] = {
        "anthropic": {"type": "image", "source": source},
        "openai-chat": {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        "pi": {"type": "image", "data": PNG, "mimeType": "image/png"},
    }
    words: dict[str, Any] = {"type": "text", "text": text}
    if shape == "anthropic" and text.strip():
        words |= MARK
    return {"role": "user", "content": [words, pictures[shape]] if image else text}


def calls(shape: str, text: str, made: list[tuple[str, str, Any]], thinks: bool, searches: int) -> Messages:
    """An assistant's words and calls, as each provider gives them; a search of the provider's own may be half done."""
    if shape == "openai-chat":
        listed = [{"id": id, "type": "function", "function": {"name": n, "arguments": "{"}} for id, n, _ in made]
        tail: dict[str, Any] = {"tool_calls": listed} if listed else {}
        return [{"role": "assistant", "content": text or None, **tail, **({"reasoning": "hm"} if thinks else {})}]
    if shape == "openai-responses":
        said = [{"type": "output_text", "text": text, "annotations": []}]
        message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": said}
        reasoning = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "e"}
        items = [
            {"type": "function_call", "id": "fc", "call_id": id[:64], "name": name, "arguments": "{}"}
            for id, name, _ in made
        ]
        searched = [SEARCHED] if searches else []
        return [*([reasoning] if thinks else []), *searched, *([message] if text else []), *items]
    if shape == "gemini":
        parts: list[dict[str, Any]] = [{"text": "hm", "thought": True}] if thinks else []
        parts += [CODE, RAN][:searches]
        parts += [{"text": text}] if text else []
        parts += [
            {"functionCall": {"name": name, "args": given}, "thoughtSignature": "c2ln"} for _, name, given in made
        ]
        return [{"role": "model", "parts": parts or [{"text": "Hi"}]}]
    key = {"anthropic": "input", "pi": "arguments"}[shape]
    kind = {"anthropic": "tool_use", "pi": "toolCall"}[shape]
    blocks: list[dict[str, Any]] = [{"type": "thinking", "thinking": "hm", "signature": "s"}] if thinks else []
    if shape == "anthropic":
        blocks += [SEARCH, FOUND][2 - searches :] if thinks else [SEARCH, FOUND][:searches]
    blocks += [{"type": "text", "text": text}]
    return [{"role": "assistant", "content": blocks + [{"type": kind, "id": i, "name": n, key: a} for i, n, a in made]}]


def results(shape: str, made: list[tuple[str, str, Any]], image: bool, fails: bool) -> Messages:
    """What the tools gave, as each provider wants it."""
    if shape == "openai-chat":
        return [{"role": "tool", "tool_call_id": id, "content": "42"} for id, _, _ in made]
    if shape == "openai-responses":
        shown: list[dict[str, Any]] = [{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]
        output: Any = [{"type": "input_text", "text": "42"}, *shown] if image else "42"
        return [{"type": "function_call_output", "call_id": id[:64], "output": output} for id, _, _ in made]
    if shape == "gemini":
        seen = {"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]} if image else {}
        parts = [{"functionResponse": {"name": name, "response": {"output": "42"}, **seen}} for _, name, _ in made]
        return [{"role": "user", "parts": parts}] if parts else []
    if shape == "anthropic":
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        content = [{"type": "text", "text": "42"}, *([{"type": "image", "source": source}] if image else [])]
        failed = {"is_error": True} if fails else {}
        blocks = [{"type": "tool_result", "tool_use_id": id, "content": content, **failed} for id, _, _ in made]
        return [{"role": "user", "content": [{"type": "text", "text": "and"}, *blocks]}]
    return [
        {
            "role": "toolResult",
            "toolCallId": id,
            "toolName": name,
            "isError": fails,
            "content": [
                {"type": "text", "text": "42"},
                *([{"type": "image", "data": PNG, "mimeType": "image/gif"}] * image),
            ],
        }
        for id, name, _ in made
    ]


@st.composite
def turns(draw: st.DrawFn) -> Messages:
    """Some messages of a conversation; calls may stay open, results may come late, twice, or in disorder."""
    shape = draw(kinds)
    if draw(st.integers(0, 9)) == 0:
        return [{"role": draw(st.sampled_from(["system", "developer"])), "content": draw(texts)}]
    said = [user_message(shape, draw(texts), draw(st.booleans()))] if draw(st.booleans()) else []
    called = odd_names if shape in ("gemini", "pi") else names
    made = draw(st.lists(st.tuples(ids, called, arguments), max_size=3))
    answered = draw(st.permutations(made))[: draw(st.integers(0, 6))]
    between = [user_message(shape, draw(texts), False)] if draw(st.integers(0, 5)) == 0 else []
    spoken = calls(shape, draw(texts), made, draw(st.booleans()), draw(st.sampled_from([0, 0, 0, 1, 2])))
    other = shape if draw(st.integers(0, 5)) else draw(kinds)  # a caller who changed his mind between
    given = results(other, answered, draw(st.booleans()), draw(st.booleans()))
    return [*said, *spoken, *between, *given]


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    """A conversation with models, compactions and other branches on its way, and messages that not all see."""
    session = Session.memory()
    for turn in draw(st.lists(turns(), min_size=1, max_size=6)):
        provider, model = draw(st.sampled_from(MODELS))
        for message in turn:
            if draw(st.integers(0, 19)) == 0:
                provider, model = draw(st.sampled_from(MODELS))
            speaks = message.get("role") == "user"
            hidden = speaks and draw(st.integers(0, 19)) == 0
            session.append(
                message,
                provider=provider,
                model=model,
                visible_to="user" if hidden else "all",
                pinned=True if draw(st.integers(0, 9)) == 0 else None,
            )
        what = draw(st.integers(0, 11))
        if what == 0:
            session.append(ModelChangeEntry(provider="anthropic", model="claude"))
        elif what <= 2 and (path := session.path()):
            kept = draw(st.sampled_from([None, *(entry.id for entry in path)]))
            session.append(CompactionEntry(summary="S", first_kept_entry_id=kept))
        elif what == 3 and (path := session.path()):
            session.branch(draw(st.sampled_from([entry.id for entry in path])), summary="B")
    return session


@pytest.mark.parametrize("shape", SHAPES)
@given(sessions())
def test_every_provider_takes_every_conversation(shape: Any, session: Session) -> None:
    """It has the SDK's types, its calls and results are paired, and it is always the same."""
    context = session.build_context()
    request = context.to(shape)
    check_types(shape, copy.deepcopy(request))
    assert faults(shape, request) == []
    assert shape != "gemini" or unsigned(request["contents"]) == []
    assert session.build_context().to(shape) == request


@pytest.mark.parametrize("shape", SHAPES)
@given(sessions())
def test_open_calls_are_those_that_are_refused(shape: Any, session: Session) -> None:
    """The strict form gives the same request, or names the open calls, each once."""
    context = session.build_context()
    if context.open_calls:
        with pytest.raises(OpenCalls) as caught:
            context.to(shape, open_calls="raise")
        assert sorted(map(repr, caught.value.calls)) == sorted(map(repr, context.open_calls))
    else:
        assert context.to(shape) == context.to(shape, open_calls="raise")


def said_in(shape: str, request: dict[str, Any]) -> Messages:
    """What a request says, piece by piece with who says it: what a provider's cache compares."""
    pieces: Messages = []
    for message in request[MAIN[shape]]:
        content = message.get("content", message.get("parts", [message]))
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        pieces += [{"by": message.get("role"), **block} for block in blocks]
        pieces += [{"by": "assistant", **call} for call in message.get("tool_calls", ())]
    return [{name: value for name, value in piece.items() if name != "cache_control"} for piece in pieces]


@pytest.mark.parametrize("shape", SHAPES)
@given(sessions(), kinds, st.booleans())
def test_what_was_sent_stays_as_it_was(shape: Any, session: Session, kind: str, thinks: bool) -> None:
    """The next turns, of the same model, change nothing before them, or no prompt cache would ever be hit.

    An assistant's last words may change: what led to nothing yet is left out when the user goes on.
    """
    session.append({"role": "user", "content": "So?"})
    context = session.build_context()
    before = context.to(shape)
    made = [("z1", "zz", {}), ("z2", "zz", {"a": 1})]
    tooled = [*calls(kind, "Well.", made, thinks, 2), *results(kind, made, image=True, fails=False)]
    for said in (tooled, calls(kind, "Done.", [], thinks, 0), [{"role": "user", "content": "And now?"}]):
        session.append_many(said, provider=context.provider, model=context.model)
        after = session.build_context().to(shape)
        old, new = said_in(shape, before), said_in(shape, after)
        trusted = old if old[-1]["by"] == "user" else old[:-1]
        assert new[: len(trusted)] == trusted
        assert {name: after[name] for name in after.keys() - {MAIN[shape]}} == {
            name: before[name] for name in before.keys() - {MAIN[shape]}
        }
        before = after


KEYS = (
    *("role", "content", "parts", "type", "text", "data", "source", "id", "args", "functionCall", "functionResponse"),
    *("tool_calls", "function", "arguments", "image_url", "summary", "output", "call_id", "name", "input", "thinking"),
    *("signature", "tool_use_id", "tool_call_id", "toolCallId", "inlineData", "response", "refusal", "phase", "url"),
    *("reasoning_content", "function_call", "stopReason", "encrypted_content", "annotations", "a_tool"),
)
JSON = st.recursive(
    st.sampled_from([None, True, 0, -1.5, 2**60, "", " ", "a", "{}", "[1]"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
WORDS = ["user", "assistant", "model", "system", "tool", "toolResult", "function", "bashExecution"]
TYPES = (
    *("text", "thinking", "tool_use", "tool_result", "toolCall", "image", "reasoning", "tool_call", "input_text"),
    *("output_text", "function_call", "function_call_output", "message", "refusal", "image_url", "document", "file"),
)
blocks = st.dictionaries(st.sampled_from(KEYS), JSON | st.sampled_from(TYPES), max_size=5)
odd_messages = st.dictionaries(
    st.sampled_from(KEYS),
    JSON | st.sampled_from([*WORDS, *TYPES]) | st.lists(blocks, max_size=3),
    min_size=1,
    max_size=6,
) | st.builds(
    lambda role, content, more: more | {"role": role, "content": content},
    st.sampled_from(WORDS),
    JSON | st.lists(blocks, max_size=3),
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3),
)


@given(st.lists(odd_messages, max_size=4), st.sampled_from(["a.b", "kit.message", "pi.message"]))
def test_whatever_a_tool_has_stored_every_provider_takes(messages: Messages, shape: str) -> None:
    """Nothing is required of a message: what nobody knows is left out, and what is left is in order."""
    with Session.memory() as session:
        for message in messages:
            session.append(MessageEntry(message=message, shape=shape))
        for target in SHAPES:
            request = session.build_context().to(target, unknown="text")
            check_types(target, request)
            assert faults(target, request) == []


@given(st.lists(st.tuples(odd_messages, st.sampled_from([None, *SHAPES])), max_size=4))
def test_whatever_is_stored_there_is_a_request(messages: list[tuple[dict[str, Any], str | None]]) -> None:
    """What only pretends to be of a shape is the caller's own, but nothing breaks."""
    with Session.memory() as session:
        for message, shape in messages:
            session.append(message, shape=shape)
        for target in SHAPES:
            request = session.build_context().to(target, unknown="text")
            assert isinstance(request, dict)


SPOKEN = ("text", "content", "output", "refusal")  # members that hold words, in every shape of the samples
UNSPOKEN = ("thinking", "reasoning", "redacted_thinking")


def words_in(value: Any) -> set[str]:
    """The texts of a message, by a walk that knows nothing of shapes: not those of reasoning."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if each.get("type") not in UNSPOKEN and each.get("thought") is not True:
                found |= {each[name].strip() for name in SPOKEN if isinstance(each.get(name), str)}
                waiting += [inner for name, inner in each.items() if isinstance(inner, dict | list)]
        elif isinstance(each, list):
            waiting += each
    return found - {""}


def strings_in(value: Any) -> list[str]:
    """Every text of a request, whatever it is."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            found.append(each)
        else:
            waiting += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
    return found


@pytest.mark.parametrize("shape", SHAPES)
@given(sessions())
def test_every_text_is_in_the_request(shape: Any, session: Session) -> None:
    """Nothing that was said is dropped in silence. Only reasoning, media and sealed items may be named as left out."""
    context = session.build_context()
    request = context.to(shape)
    sent = "\0".join(strings_in(request))
    for entry, message in zip(context.entries, context.messages, strict=True):
        assert {text for text in words_in(message) if text not in sent} == set(), entry.id
    assert {each.what for each in request.left_out} <= {"reasoning", "media", "sealed"}
    assert {each.entry_id for each in request.left_out} <= {entry.id for entry in context.entries}
    assert context.unknown == ()


@pytest.mark.parametrize("shape", SHAPES)
@given(sessions())
def test_a_request_that_is_stored_gives_the_same_request(shape: Any, session: Session) -> None:
    """With its system text, its shape, its provider and its model."""
    context = session.build_context()
    request = context.to(shape)
    again = Session.memory()
    said = {"provider": context.provider, "model": context.model, "shape": shape}
    system = request.get("system", request.get("instructions", request.get("system_instruction")))
    again.append_many([*([{"role": "system", "content": system}] if system else []), *request[MAIN[shape]]], **said)
    assert again.build_context().to(shape) == request
