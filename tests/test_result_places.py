"""A tool result whose call is on another branch than the leaf goes to its call. Over each kind of log."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import assistant, user
from hypothesis import given
from hypothesis import strategies as st

import convtree
from convtree import CompactionEntry, ExtensionDataEntry, Session, SessionStore, StaleLeaf


def call(*ids: str) -> dict[str, Any]:
    """Returns a message with calls in the shape of Anthropic."""
    return {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": id, "name": "bash", "input": {}} for id in ids],
    }


def result(*ids: str) -> dict[str, Any]:
    """Returns a message with results in the shape of Anthropic."""
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "Done."} for id in ids]}


CHAT_CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "bash", "arguments": "{}"}}],
}
CHAT_RESULT = {"role": "tool", "tool_call_id": "t1", "content": "Done."}
RESPONSES_CALL = {"type": "function_call", "call_id": "t1", "name": "bash", "arguments": "{}"}
RESPONSES_RESULT = {"type": "function_call_output", "call_id": "t1", "output": "Done."}


@pytest.fixture(params=["memory", "folder", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionStore]:
    """Returns a store of each kind."""
    places: dict[str, str | Path] = {
        "memory": "memory:",
        "folder": tmp_path / "store",
        "sqlite": f"sqlite:///{tmp_path / 'store.sqlite'}",
    }
    with convtree.open_store(places[request.param]) as opened:
        yield opened


def begun(session: Session, said: dict[str, Any]) -> tuple[str, str]:
    """Appends a message with calls and goes back to the answer above it. Returns the ids of the answer and the call."""
    session.append(user("Hi."))
    answer = session.append(assistant("Hello."))
    caller = session.append(said)
    session.branch(answer.id)
    return answer.id, caller.id


def named_call(*names: str, **more: Any) -> dict[str, Any]:
    """Returns a message with calls that have no ids, in the shape of Gemini."""
    return {"role": "model", "parts": [{"functionCall": {"name": name, "args": {}, **more}} for name in names]}


def named_result(name: str, said: str = "Done.", **more: Any) -> dict[str, Any]:
    """Returns a message with a result in the shape of Gemini."""
    return {"role": "user", "parts": [{"functionResponse": {"name": name, "response": {"output": said}, **more}}]}


OLLAMA_CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "bash", "arguments": {}}}]}
OLLAMA_RESULT = {"role": "tool", "tool_name": "bash", "content": "Done."}
FUNCTION_CALL = {"role": "assistant", "content": None, "function_call": {"name": "bash", "arguments": "{}"}}
FUNCTION_RESULT = {"role": "function", "name": "bash", "content": "Done."}


@pytest.mark.parametrize(
    ("said", "late"),
    [
        (call("t1"), result("t1")),
        (CHAT_CALL, CHAT_RESULT),
        (RESPONSES_CALL, RESPONSES_RESULT),
        (named_call("bash"), named_result("bash")),
        (named_call("bash", id="t1"), named_result("bash")),
        (named_call("bash"), named_result("bash", id="t1")),
        (OLLAMA_CALL, OLLAMA_RESULT),
        (OLLAMA_CALL, {"role": "tool", "content": "Done."}),
        (FUNCTION_CALL, FUNCTION_RESULT),
    ],
    ids=[
        "anthropic",
        "chat",
        "responses",
        "gemini",
        "only the call has an id",
        "only the result has an id",
        "ollama",
        "neither an id nor a name",
        "function",
    ],
)
def test_a_late_result_goes_to_its_call(store: SessionStore, said: dict[str, Any], late: dict[str, Any]) -> None:
    """The user went back while the tool ran. The result answers the call, and the leaf stays where the user is."""
    with store.create() as session:
        answer_id, caller_id = begun(session, said)
        stored = session.append(late)
        assert (stored.parent_id, session.leaf_id) == (caller_id, answer_id)
        assert session.build_context(leaf=stored.id).open_calls == ()
    with store.open(session.id) as session:
        assert session.leaf_id == answer_id


def test_a_result_for_an_empty_leaf_goes_to_its_call() -> None:
    """The user went back to the place before the first entry."""
    session = Session.memory()
    _, caller_id = begun(session, call("t1"))
    session.branch(None)
    assert (session.append(result("t1")).parent_id, session.leaf_id) == (caller_id, None)


def test_results_of_one_message_follow_each_other(store: SessionStore) -> None:
    """Three calls are made, the results come one by one, and a note is stored between them."""
    with store.create() as session:
        _, caller_id = begun(session, call("t1", "t2", "t3"))
        first = session.append(result("t1"))
        note = session.append(ExtensionDataEntry(ext_type="x.y", data=1), parent_id=first.id, move_leaf=False)
        second = session.append(result("t2"))
        third = session.append(result("t3"))
        assert (first.parent_id, second.parent_id, third.parent_id) == (caller_id, first.id, second.id)
        assert session.children(first.id) == [note, second]
        assert session.build_context(leaf=third.id).open_calls == ()


def test_a_result_passes_a_note_that_leads_to_others(store: SessionStore) -> None:
    """A note between two results is passed. One with nothing below it is not."""
    with store.create() as session:
        _, caller_id = begun(session, call("t1", "t2", "t3"))
        note = session.append(ExtensionDataEntry(ext_type="x.y", data=1), parent_id=caller_id, move_leaf=False)
        first = session.append(result("t1"), parent_id=note.id, move_leaf=False)
        second = session.append(result("t2"))
        assert (first.parent_id, second.parent_id) == (note.id, first.id)
        session.append(ExtensionDataEntry(ext_type="x.y", data=2), parent_id=second.id, move_leaf=False)
        assert session.append(result("t3")).parent_id == second.id


def test_a_message_below_the_call_is_passed_by() -> None:
    """The call is left without a result and somebody spoke below it. A late result is a sibling of that message."""
    session = Session.memory()
    answer_id, caller_id = begun(session, call("t1"))
    session.append(user("Never mind."), parent_id=caller_id, move_leaf=False)
    assert (session.append(result("t1")).parent_id, session.leaf_id) == (caller_id, answer_id)


def test_a_call_above_the_leaf_keeps_the_result(store: SessionStore) -> None:
    """A call id that comes again on each branch belongs to the call that is above the leaf."""
    with store.create() as session:
        answer_id, _ = begun(session, call("t1"))
        session.append(call("t1"))
        session.append(CompactionEntry(summary="S", first_kept_entry_id=answer_id))
        leaf_id = session.leaf_id
        stored = session.append(result("t1"))
        assert (stored.parent_id, session.leaf_id) == (leaf_id, stored.id)


def test_a_call_far_above_the_leaf_keeps_the_result() -> None:
    """The call is a hundred messages above the leaf, and another branch has a newer one with its id."""
    session = Session.memory()
    _, caller_id = begun(session, call("t1"))
    session.append(call("t1"))
    session.branch(caller_id)
    session.append_many([user(str(number)) for number in range(100)])
    leaf_id = session.leaf_id
    assert session.append(result("t1")).parent_id == leaf_id


def test_the_newest_of_several_calls_elsewhere_gets_the_result() -> None:
    """Two branches have a call with the id, the leaf is on a third."""
    session = Session.memory()
    answer_id, _ = begun(session, call("t1"))
    newest = session.append(call("t1"))
    session.branch(answer_id)
    assert session.append(result("t1")).parent_id == newest.id


def test_a_call_that_is_made_after_the_first_search_is_found() -> None:
    """A first result has no call anywhere. The call of a second one is made after that was looked for."""
    session = Session.memory()
    first = session.append(user("Hi."))
    assert session.append(result("t1")).parent_id == first.id
    caller = session.append(call("t2"))
    session.branch(first.id)
    assert session.append(result("t2")).parent_id == caller.id


def test_a_result_without_an_id_goes_to_a_call_that_waits() -> None:
    """A call of that name above the leaf has its result. The newest one elsewhere is not of that name."""
    session = Session.memory()
    session.append(user("Hi."))
    session.append(named_call("bash"))
    answered = session.append(named_result("bash", "before"))
    caller = session.append(named_call("bash", "bash"))
    session.branch(answered.id)
    session.append(named_call("grep"))
    session.branch(answered.id)
    first = session.append(named_result("bash", "one"))
    second = session.append(named_result("bash", "two"))
    assert (first.parent_id, second.parent_id, session.leaf_id) == (caller.id, first.id, answered.id)
    assert session.build_context(leaf=second.id).open_calls == ()
    assert session.append(named_result("bash", "three")).parent_id == answered.id


@pytest.mark.parametrize("between", [0, 100])
def test_a_call_above_the_leaf_that_waits_keeps_a_result_without_an_id(between: int) -> None:
    """However far above. Another branch has a newer call of that name that waits, too."""
    session = Session.memory()
    caller = session.append(named_call("bash"))
    session.append(named_call("bash"))
    session.branch(caller.id)
    session.append_many([user(str(number)) for number in range(between)])
    leaf_id = session.leaf_id
    assert session.append(named_result("bash")).parent_id == leaf_id


def test_an_id_that_comes_again_in_every_turn() -> None:
    """Some servers count calls from zero. The call above the leaf has its result, the one elsewhere waits."""
    session = Session.memory()
    session.append(call("t1"))
    answered = session.append(result("t1"))
    caller = session.append(call("t1"))
    session.branch(answered.id)
    assert session.append(result("t1")).parent_id == answered.id  # the same once more
    other = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "Other."}]}
    session.branch(answered.id)
    assert session.append(other).parent_id == caller.id


def test_a_result_that_nobody_waits_for_continues_the_leaf() -> None:
    """Its call has another id than those elsewhere, or its name is another."""
    session = Session.memory()
    answer_id, _ = begun(session, named_call("bash", id="t1"))
    for late in (named_result("bash", id="t2"), named_result("grep"), {"role": "user", "parts": [{"text": "x"}]}):
        session.branch(answer_id)
        assert session.append(late).parent_id == answer_id


def test_the_place_that_is_named_counts(store: SessionStore) -> None:
    """With `parent_id` the result is where the caller wants it."""
    with store.create() as session:
        answer_id, _ = begun(session, call("t1"))
        assert session.append(result("t1"), parent_id=answer_id).parent_id == answer_id


def test_a_chain_goes_where_its_first_result_belongs(store: SessionStore) -> None:
    """All results are stored together, and a repeated call stores nothing."""
    with store.create() as session:
        answer_id, caller_id = begun(session, call("t1", "t2"))
        results = [convtree.MessageEntry(id=f"r{n}", message=result(f"t{n}")) for n in (1, 2)]
        stored = session.append_many(results)
        assert [entry.parent_id for entry in stored] == [caller_id, "r1"]
        records = list(session.records())
        assert (session.append_many(results), list(session.records())) == (stored, records)
        assert session.leaf_id == answer_id


def test_a_result_of_a_session_that_is_stale_is_refused(store: SessionStore) -> None:
    """Another session moved the leaf. After a refresh the result goes to its call."""
    with store.create(id="x") as session:
        session.append(user("Hi."))
        caller = session.append(call("t1"))
        with store.open("x") as other:
            other.branch(session.path()[0].id)
            other.append(user("Else."))
        with pytest.raises(StaleLeaf):
            session.append(result("t1"))
        session.refresh()
        assert session.append(result("t1")).parent_id == caller.id


def test_a_damaged_call_is_passed_over(tmp_path: Path) -> None:
    """The line of the call cannot be read, so nobody knows where the result belongs: it continues the leaf."""
    path = tmp_path / "log.jsonl"
    with Session.open(path) as session:
        answer_id, _ = begun(session, call("t1"))
    path.write_bytes(path.read_bytes().replace(b'"name":"bash"', b'"name":"base"'))
    with Session.open(path) as session:
        session.branch(answer_id)
        assert session.append(result("t1")).parent_id == answer_id


@given(
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["say", "call", "result"]), st.integers(0, 2)), max_size=25)
)
def test_no_result_lands_off_the_path_of_a_call_that_exists(steps: list[tuple[int, str, int]]) -> None:
    """Whatever was said where: if any entry made the call, the path to a result has such an entry."""
    session = Session.memory()
    made: set[str] = set()
    for at, what, number in steps:
        entries = [record.id for _, record in session.records() if isinstance(record, convtree.MessageEntry)]
        if entries:
            session.branch(entries[at % len(entries)])
        leaf_id = session.leaf_id
        said = {"say": user("x"), "call": call(f"t{number}"), "result": result(f"t{number}")}[what]
        stored = session.append(said)
        above = [entry for entry in session.path(stored.id)[:-1] if isinstance(entry, convtree.MessageEntry)]
        calls = {block["id"] for entry in above for block in entry.message["content"] if "name" in block}
        if what == "result" and f"t{number}" in made:
            assert f"t{number}" in calls
        else:
            assert stored.parent_id == leaf_id
        made |= {f"t{number}"} if what == "call" else set()
