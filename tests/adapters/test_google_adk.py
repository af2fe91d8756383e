"""`ConvtreeSessionService` for Google's ADK: sessions as ADK's own services have them, and trees for everybody else."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from operator import methodcaller
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from guide import run_block
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import example, printed

import convtree
from convtree import InvalidMessage, MessageEntry, SessionNotFound, open_store
from convtree.exchange import import_into

pytest_plugins = ["stores"]

pytest.importorskip("google.adk")
adapter: Any = pytest.importorskip("convtree.adapters.google_adk")
Service: Any = adapter.ConvtreeSessionService
adk_errors: Any = pytest.importorskip("google.adk.errors")
Exists: Any = pytest.importorskip("google.adk.errors.already_exists_error").AlreadyExistsError
NotFound: Any = pytest.importorskip("google.adk.errors.session_not_found_error").SessionNotFoundError
Event: Any = pytest.importorskip("google.adk.events.event").Event
Actions: Any = pytest.importorskip("google.adk.events.event_actions").EventActions
Compaction: Any = pytest.importorskip("google.adk.events.event_actions").EventCompaction
platform_time: Any = pytest.importorskip("google.adk.platform.time")
base: Any = pytest.importorskip("google.adk.sessions.base_session_service")
Session: Any = pytest.importorskip("google.adk.sessions.session").Session
InMemory: Any = pytest.importorskip("google.adk.sessions.in_memory_session_service").InMemorySessionService
Database: Any = pytest.importorskip("google.adk.sessions.database_session_service").DatabaseSessionService
types: Any = pytest.importorskip("google.genai.types")

ONE = {"app_name": "trips", "user_id": "ada", "session_id": "s1"}


@pytest.fixture
def run(where: str) -> Callable[[Callable[[Any], Awaitable[None]]], None]:
    """Runs an async function with a service, and closes that."""

    def run(main: Callable[[Any], Awaitable[None]]) -> None:
        async def whole() -> None:
            service = Service(where)
            await main(service)
            await service.close()

        asyncio.run(whole())

    return run


def says(text: str, author: str = "user", invocation: str = "i1", **fields: Any) -> Any:
    role = "user" if author == "user" else "model"
    content = types.Content(role=role, parts=[types.Part(text=text)])
    return Event(author=author, invocation_id=invocation, content=content, **fields)


def changes(**state: Any) -> Any:
    return Event(author="guide", invocation_id="i1", actions=Actions(state_delta=state))


def texts(session: Any) -> list[str]:
    return [event.content.parts[0].text for event in session.events if event.content]


# --- a law: ADK's own services ---

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
STATES = st.dictionaries(st.sampled_from(["", "k", "app:k", "app:l", "user:k", "user:app:k", "temp:k", "x y"]), VALUES)
WHO = st.sampled_from([("a", "u", "s"), ("a", "u", "s"), ("a", "u@x", "s"), ("A b", "", "é/..")])
EVENTS = st.fixed_dictionaries(
    {"author": st.sampled_from(["user", "guide"]), "invocation_id": st.sampled_from(["i1", "i2", "i3"])},
    optional={
        "id": st.sampled_from(["e1", "e2", "half/..é"]),
        "text": st.text(max_size=8),
        "state": STATES,
        "rewind": st.sampled_from(["i1", "i2", "none"]),
        "partial": st.booleans(),
        "custom_metadata": st.dictionaries(st.text(max_size=3), VALUES, max_size=2),
        "blob": st.binary(max_size=4),
    },
)
CONFIGS = st.none() | st.builds(
    lambda last, after: base.GetSessionConfig(num_recent_events=last, after_timestamp=after),
    st.none() | st.integers(0, 4),
    st.none() | st.integers(0, 30).map(float),
)
STEPS = st.lists(
    st.tuples(st.just("create"), WHO, st.none() | STATES, st.none())
    | st.tuples(st.just("append"), WHO, EVENTS, st.integers(0, 3).map(float))
    | st.tuples(st.just("again"), WHO, st.none(), st.none())
    | st.tuples(st.just("get"), WHO, CONFIGS, st.none())
    | st.tuples(st.just("delete"), WHO, st.none(), st.none())
    | st.tuples(st.just("reopen"), WHO, st.none(), st.none()),
    max_size=20,
)


def event_of(fields: dict[str, Any], timestamp: float) -> Any:
    own = {name: value for name, value in fields.items() if name not in ("text", "blob", "state", "rewind")}
    parts = [types.Part(text=fields["text"])] if "text" in fields else []
    if "blob" in fields:
        parts.append(types.Part.from_bytes(data=fields["blob"], mime_type="image/png"))
    actions = Actions(state_delta=fields.get("state", {}), rewind_before_invocation_id=fields.get("rewind"))
    content = types.Content(role="user", parts=parts) if parts else None
    return Event(timestamp=timestamp, content=content, actions=actions, **own)


async def outcome(call: Awaitable[Any]) -> Any:
    """Returns what a call returns, or the name of the error that it raises."""
    try:
        return await call
    except (ValueError, Exists) as error:
        return type(error).__name__


def seen(session: Any) -> Any:
    return session.model_dump() if isinstance(session, Session) else session


class Both:
    """Two services that are told the same, and have to answer the same."""

    def __init__(self, mine: Any, theirs: Any, *, pads: bool = False) -> None:
        self.services = [mine, theirs]
        self.pads = pads  # ids come with white space around them, too
        self.live: dict[Any, list[Any]] = {}  # of each service the object of a session that goes on
        self.last: dict[Any, Any] = {}

    async def ask(self, call: Callable[[Any], Awaitable[Any]]) -> list[Any]:
        answers = [await outcome(call(service)) for service in self.services]
        assert seen(answers[0]) == seen(answers[1])
        return answers

    async def append(self, who: Any, event: Any) -> None:
        sessions = self.live.get(who)
        if sessions is None:
            return
        for service, session in zip(self.services, sessions, strict=True):
            await outcome(service.append_event(session, event.model_copy(deep=True)))
        assert seen(sessions[0]) == seen(sessions[1])
        self.last[who] = event

    async def check(self, app: str) -> None:
        for user in (None, "u", "u@x", ""):
            mine, theirs = [
                (await service.list_sessions(app_name=app, user_id=user)).sessions for service in self.services
            ]
            assert [*map(seen, mine)] == [*map(seen, theirs)]
        for user in ("u", "nobody"):
            await self.ask(methodcaller("get_user_state", app_name=app, user_id=user))


async def step(both: Both, kind: str, who: Any, given: Any, time: Any, now: float) -> None:
    padded = f" {who[2]}\n" if now % 2 else who[2]
    name = {"app_name": who[0], "user_id": who[1], "session_id": padded if both.pads else who[2]}
    platform_time.set_time_provider(lambda: now)
    if kind == "create":
        made = await both.ask(methodcaller("create_session", **name, state=given))
        if isinstance(made[0], Session):
            both.live[who] = made
    elif kind == "append":
        await both.append(who, event_of(given, now if time is None else time))
    elif kind == "again" and who in both.last:
        await both.append(who, both.last[who])
    elif kind == "get":
        await both.ask(methodcaller("get_session", **name, config=given))
    elif kind == "delete":
        await both.ask(methodcaller("delete_session", **name))


@settings(max_examples=int(os.environ.get("CONVTREE_EXAMPLES", "60")), deadline=None)
@given(steps=STEPS)
def test_sessions_are_those_of_the_service_in_memory(steps: list[tuple[str, Any, Any, Any]]) -> None:
    """Events in any order of time, delivered twice, with one id; rewinds; any keys of state, ids with spaces."""

    async def main() -> None:
        with open_store("memory:") as place:
            both = Both(Service(place), InMemory(), pads=True)
            for number, (kind, who, given_value, time) in enumerate(steps):
                if kind == "reopen":
                    await both.services[0].close()
                    both.services[0] = Service(place)
                await step(both, kind, who, given_value, time, 10.0 + number)
                await both.check(who[0])

    asyncio.run(main())


DATABASE_STEPS = st.lists(
    st.tuples(st.just("create"), WHO, st.none() | STATES)
    | st.tuples(st.just("append"), WHO, EVENTS.map(lambda fields: {**fields, "id": ""}))
    | st.tuples(st.just("stale"), WHO, st.none())
    | st.tuples(st.just("load"), WHO, CONFIGS)
    | st.tuples(st.just("delete"), WHO, st.none()),
    max_size=14,
)


@settings(max_examples=int(os.environ.get("CONVTREE_EXAMPLES", "25")), deadline=None)
@given(steps=DATABASE_STEPS)
def test_stale_sessions_are_those_of_the_service_on_a_database(steps: list[tuple[str, Any, Any]]) -> None:
    """Objects that have not seen the last event are refused, also those that came back from JSON."""

    async def main() -> None:
        database = Database("sqlite+aiosqlite:///:memory:")
        with open_store("memory:") as place:
            both = Both(Service(place), database)
            for number, (kind, who, given_value) in enumerate(steps):
                name = {"app_name": who[0], "user_id": who[1], "session_id": who[2]}
                if kind == "stale" and who in both.live:
                    both.live[who] = [each.model_copy(deep=True) for each in both.live[who]]
                    before = [Session.model_validate_json(each.model_dump_json()) for each in both.live[who]]
                    await both.append(who, event_of({"author": "user"}, 10.0 + number))
                    for objects in (before, [each.model_copy(deep=True) for each in before]):
                        answers = [
                            await outcome(service.append_event(each, event_of({"author": "guide"}, 10.5 + number)))
                            for service, each in zip(both.services, objects, strict=True)
                        ]
                        assert [answer == "StaleSessionError" for answer in answers] == [True, True], answers
                elif kind == "load":
                    both.live[who] = loaded = await both.ask(methodcaller("get_session", **name, config=given_value))
                    if loaded[0] is None:
                        del both.live[who]
                else:
                    await step(both, kind, who, given_value, None, 10.0 + number)
        await database.close()

    asyncio.run(main())


# --- what convtree reads ---


def test_the_contract_of_a_session_service(run: Callable[[Any], None]) -> None:
    """An id is made if none is given or it is blank; taken ones are refused; what is gone is not found."""

    async def main(service: Any) -> None:
        made = await service.create_session(app_name="trips", user_id="ada", session_id="  ")
        assert made.id == made.id.strip() != ""
        session = await service.create_session(**ONE, state={"k": {"a": 1}, "flag": False, "app:a": 1, "user:b": 2})
        with pytest.raises(Exists):
            await service.create_session(**(ONE | {"session_id": " s1\n"}), state={"app:a": 3})
        assert (await service.append_event(session, says("…", partial=True))).partial
        delta = {"k": {"b": 1}, "none": None, "app:a": None, "user:b": 3, "temp:t": 1}
        event = await service.append_event(session, changes(**delta))
        assert event.actions.state_delta == {"k": {"b": 1}, "none": None, "app:a": None, "user:b": 3}
        expected = {"k": {"b": 1}, "flag": False, "none": None, "app:a": None, "user:b": 3}
        assert session.state == expected | {"temp:t": 1}
        assert (session.last_update_time, len(session.events)) == (event.timestamp, 1)
        loaded = await service.get_session(**ONE)
        assert (loaded.state, loaded.events) == (expected, session.events)
        loaded.state["k"]["b"] = 2
        assert (await service.get_session(**ONE)).state == expected
        other = await service.create_session(app_name="trips", user_id="bob")
        assert other.state == {"app:a": None}
        assert await service.get_user_state(app_name="trips", user_id="ada") == {"b": 3}
        await service.delete_session(**ONE)
        await service.delete_session(**ONE)
        assert await service.get_session(**ONE) is None
        with pytest.raises(NotFound):
            await service.append_event(session, says("Hello?"))
        assert (await service.create_session(**ONE)).state == {"app:a": None, "user:b": 3}

    run(main)


def test_events_are_messages(run: Callable[[Any], None]) -> None:
    """Role, text, model, usage; an event without words says nothing; a compaction leaves the originals to others."""
    usage = types.GenerateContentResponseUsageMetadata(prompt_token_count=7, candidates_token_count=2)

    async def main(service: Any) -> None:
        session = await service.create_session(**ONE)
        await service.append_event(session, says("Where to?"))
        rome = says("Rome", "guide", model_version="gemini-2.5-pro", usage_metadata=usage, interrupted=True)
        await service.append_event(session, rome)
        await service.append_event(session, changes(k=1))
        summary = types.Content(role="model", parts=[types.Part(text="They go to Rome.")])
        compaction = Compaction(start_timestamp=0.0, end_timestamp=9e9, compacted_content=summary)
        await service.append_event(session, Event(author="user", actions=Actions(compaction=compaction)))
        with service.log(**ONE) as log:
            said = log.path(type=MessageEntry)
            assert [(entry.role, entry.text) for entry in said] == [
                *(("user", "Where to?"), ("assistant", "Rome"), ("assistant", ""), ("assistant", "They go to Rome."))
            ]
            assert [entry.id for entry in said] == [event.id for event in session.events]
            assert [entry.visible_to for entry in said] == ["all", "all", "nobody", "user"]
            assert (said[1].model, said[1].provider, said[1].status) == ("gemini-2.5-pro", "google", "interrupted")
            sent = log.build_context().to("anthropic")["messages"]
            assert ("Rome" in str(sent), "They go" in str(sent)) == (True, False)
        rows = service._sessions.engine.store.usage()
        assert [(row.usage.input_tokens, row.usage.output_tokens) for row in rows] == [(7, 2)]
        assert (await service.get_session(**ONE)).events == session.events

    run(main)


def test_a_rewind_is_a_branch(run: Callable[[Any], None]) -> None:
    """ADK has it at the end of its line of events; in the tree, it is beside what it takes back, with that state."""

    async def main(service: Any) -> None:
        session = await service.create_session(**ONE, state={"city": "?"})
        for event in (says("Where to?"), says("Rome", "guide"), changes(city="Rome")):
            await service.append_event(session, event)
        await service.append_event(session, says("When?", invocation="i2"))
        rewind = Event(author="user", actions=Actions(rewind_before_invocation_id="i1", state_delta={"city": "?"}))
        await service.append_event(session, rewind)
        await service.append_event(session, says("And by train?", invocation="i3"))
        loaded = await service.get_session(**ONE)
        assert (loaded.events, loaded.state) == (session.events, {"city": "?"})
        assert texts(loaded) == ["Where to?", "Rome", "When?", "And by train?"]
        with service.log(**ONE) as log:
            assert [entry.text for entry in log.path(type=MessageEntry)] == ["", "And by train?"]
        assert [branch.leaf.text for branch in await service.branches(**ONE)] == ["When?", "And by train?"]
        recent = await service.get_session(**ONE, config=base.GetSessionConfig(num_recent_events=3))
        assert recent.events == session.events[-3:]
        await service.append_event(session, changes(city="Bari"))
        await service.append_event(session, Event(author="user", actions=Actions(rewind_before_invocation_id="i3")))
        loaded = await service.get_session(**ONE)
        assert (loaded.events, loaded.state) == (session.events, {"city": "Bari"})  # ADK's rewinds say what changes

    run(main)


def test_runs_at_the_same_time_can_be_branches(tmp_path: Path) -> None:
    """Each session object has its own line and state. One of a session that was begun anew is stale."""

    async def main() -> None:
        async with adapter.ConvtreeSessionService(tmp_path, parallel="branch") as service:
            session = await service.create_session(**ONE, state={"n": 0})
            await service.append_event(session, says("Where to?"))
            one, two = await service.get_session(**ONE), await service.get_session(**ONE)
            for number, (run, text) in enumerate([(one, "Rome"), (two, "Oslo"), (one, "in May"), (two, "in July")]):
                event = says(text, "guide")
                event.actions.state_delta = {"n": number, "user:n": number}
                await service.append_event(run, event)
            assert (texts(one), one.state["n"]) == (["Where to?", "Rome", "in May"], 2)
            assert (texts(two), two.state["n"]) == (["Where to?", "Oslo", "in July"], 3)
            assert [branch.leaf.text for branch in await service.branches(**ONE)] == ["in May", "in July"]
            last = await service.get_session(**ONE)
            assert (texts(last), last.state) == (texts(two), {"n": 3, "user:n": 3})
            await service.checkout(**ONE, entry=one.events[1].id)
            assert (await service.get_session(**ONE)).state == {"n": 2, "user:n": 3}
            await service.delete_session(**ONE)
            anew = await service.create_session(**ONE)
            await service.append_event(anew, says("Hello"))
            with pytest.raises(adk_errors.StaleSessionError):
                await service.append_event(one, says("too late"))
        with pytest.raises(ValueError, match="parallel is one of 'line', 'branch', not 'both'"):
            adapter.ConvtreeSessionService(tmp_path, parallel="both")

    asyncio.run(main())


def test_an_event_that_was_cut_off_is_known_on_its_own_branch(tmp_path: Path) -> None:
    """The object that has not heard of its stored event goes on behind it, also if another run has written since."""

    async def main() -> None:
        async with adapter.ConvtreeSessionService(tmp_path, parallel="branch") as service:
            session = await service.create_session(**ONE)
            other, early, event = await service.get_session(**ONE), await service.get_session(**ONE), says("Where to?")
            event.actions.state_delta = {"n": 1}
            await service.append_event(session, event.model_copy(deep=True))
            await service.append_event(other, says("Hello"))
            await service.append_event(early, event)  # once more, by an object that has not heard of it
            await service.append_event(early, says("Rome", "guide"))
            assert texts(early) == ["Where to?", "Rome"]
            assert [branch.leaf.text for branch in await service.branches(**ONE)] == ["Hello", "Rome"]

    asyncio.run(main())


def test_an_event_of_another_branch_is_stored_on_each(tmp_path: Path) -> None:
    """The same event from three objects, each behind words of its own, and each once more."""

    async def main() -> None:
        async with adapter.ConvtreeSessionService(tmp_path, parallel="branch") as service:
            await service.create_session(**ONE)
            runs, event = [await service.get_session(**ONE) for _ in range(3)], says("Where to?")
            for number, run in enumerate(runs):
                await service.append_event(run, says(f"run {number}"))
                for _ in range(2):
                    await service.append_event(run, event.model_copy(deep=True))
                await service.append_event(run, says("Rome", "guide"))
            assert [texts(run) for run in runs] == [[f"run {number}", "Where to?", "Rome"] for number in range(3)]
            assert len(await service.branches(**ONE)) == 3
            assert texts(await service.get_session(**ONE)) == texts(runs[2])

    asyncio.run(main())


def test_edit_and_regenerate_keep_the_sibling(run: Callable[[Any], None]) -> None:
    """Each branch has its own state; shared state and later sessions are as they were. Old objects are stale."""

    async def main(service: Any) -> None:
        session = await service.create_session(**ONE, state={"n": 0})
        question, answer = says("Where to?"), says("Rome", "guide")
        answer.actions.state_delta = {"n": 1, "user:n": 1}
        for event in (question, answer, says("When?", invocation="i2")):
            await service.append_event(session, event)
        await service.branch(**ONE, entry=question.id)
        with pytest.raises(adk_errors.StaleSessionError):
            await service.append_event(session, says("too late"))
        again = await service.get_session(**ONE)
        assert (texts(again), again.state) == (["Where to?"], {"n": 0, "user:n": 1})
        await service.append_event(again, says("Oslo", "guide"))
        await service.branch(**ONE, entry=answer.id)
        third = await service.get_session(**ONE)
        assert (texts(third), third.state) == (["Where to?", "Rome"], {"n": 1, "user:n": 1})
        await service.append_event(third, says("How?", invocation="i2"))
        assert [branch.leaf.text for branch in await service.branches(**ONE)] == ["When?", "Oslo", "How?"]
        await service.checkout(**ONE, entry=session.events[2].id)
        assert texts(await service.get_session(**ONE)) == ["Where to?", "Rome", "When?"]
        (listed,) = (await service.list_sessions(app_name="trips")).sessions
        assert (listed.last_update_time, listed.state) == (session.events[2].timestamp, {"n": 1, "user:n": 1})
        await service.branch(**ONE, entry=None)
        anew = await service.get_session(**ONE)
        assert (anew.events, anew.state) == ([], {"n": 0, "user:n": 1})
        with pytest.raises(convtree.EntryNotFound):
            await service.branch(**ONE, entry="nowhere")
        with pytest.raises(SessionNotFound):
            await service.branches(**(ONE | {"session_id": "other"}))

    run(main)


def test_a_result_stays_where_adk_has_it(run: Callable[[Any], None]) -> None:
    """Also when the call that it answers was left by a branch."""

    async def main(service: Any) -> None:
        session = await service.create_session(**ONE)
        call = types.Part(function_call=types.FunctionCall(id="c1", name="look", args={}))
        result = types.Part(function_response=types.FunctionResponse(id="c1", name="look", response={"seen": 1}))
        question = await service.append_event(session, says("Look!"))
        content = types.Content(role="model", parts=[call])
        await service.append_event(session, Event(author="guide", invocation_id="i1", content=content))
        await service.branch(**ONE, entry=question.id)
        again = await service.get_session(**ONE)
        await service.append_event(again, Event(author="guide", content=types.Content(role="user", parts=[result])))
        await service.append_event(again, says("Seen", "guide"))
        assert (await service.get_session(**ONE)).events == again.events
        assert len(again.events) == 3

    run(main)


def test_what_others_appended_is_read(run: Callable[[Any], None]) -> None:
    """A message of another tool and a compaction of convtree are events as well."""

    async def main(service: Any) -> None:
        session = await service.create_session(**ONE)
        await service.append_event(session, says("Where to?"))
        with service.log(**ONE) as log:
            log.append({"role": "assistant", "content": "Rome"})
            log.append({"role": "user", "content": "When?"})
        loaded = await service.get_session(**ONE)
        assert texts(loaded) == ["Where to?", "Rome", "When?"]
        assert [event.author for event in loaded.events] == ["user", "trips", "user"]
        await service.append_event(loaded, says("In May", "guide"))
        assert texts(await service.get_session(**ONE)) == ["Where to?", "Rome", "When?", "In May"]
        last = await service.get_session(**ONE, config=base.GetSessionConfig(num_recent_events=2))
        assert texts(last) == ["When?", "In May"]

    run(main)


# --- what is stored ---


def test_what_json_cannot_hold_is_cleaned(run: Callable[[Any], None]) -> None:
    """Half an emoji, an object, an integer of 70 bits, bytes: the event is stored. Too much is refused, whole."""

    async def main(service: Any) -> None:
        session = await service.create_session(**ONE, state={"half": "\ud83d", "app:f": print, "n": float("nan")})
        assert session.state == {"half": "\ufffd", "app:f": repr(print), "n": None}
        event = says("half \ud83d", "guide", custom_metadata={"n": 2**70, "o": object, "b": b"\xff"})
        event.actions.state_delta = {"k": print, "user:n": 2**70}
        await service.append_event(session, event)
        loaded = await service.get_session(**ONE)
        assert texts(loaded) == ["half \ufffd"]
        assert (loaded.state["k"], loaded.state["user:n"]) == (repr(print), str(2**70))
        with service.log(**ONE) as log:
            (entry,) = log.path(type=MessageEntry)
            assert {change.partition(": ")[0] for change in (entry.extra or {})["cleaned"][2:]} == {
                *("content.parts[0].text", "custom_metadata.n", "actions.state_delta.user:n")
            }
        await service.append_event(session, event.model_copy(deep=True))  # delivered twice
        with pytest.raises(InvalidMessage, match="limit"):
            await service.append_event(session, says("x" * 17_000_000))
        await service.append_event(session, says("short"))
        assert texts(await service.get_session(**ONE)) == ["half \ufffd", "short"]

    run(main)


def test_names_that_json_cannot_hold_are_cleaned(run: Callable[[Any], None]) -> None:
    """Half an emoji in names, at any level, and of two that become one both stay. The entry says so."""

    async def main(service: Any) -> None:
        odd, clean = {"k\ud83d": 1, "k\\ud83d": {"\udc00": 2}}, {"k\\ud83d_": 1, "k\\ud83d": {"\\udc00": 2}}
        session = await service.create_session(**ONE, state={"s": odd})
        assert session.state == {"s": clean}
        result = types.Part(function_response=types.FunctionResponse(id="c1", name="look", response=odd))
        event = Event(author="guide", content=types.Content(role="user", parts=[result]))
        event.actions.state_delta = {"\ud83d": odd, "user:\udc00": [odd]}
        await service.append_event(session, event)
        loaded = await service.get_session(**ONE)
        assert loaded.events[0].content.parts[0].function_response.response == clean
        assert loaded.state == {"s": clean, "\\ud83d": clean, "user:\\udc00": [clean]}
        with service.log(**ONE) as log:
            begun, stored = log.path()[:2]
        assert begun.data["cleaned"] == [
            *("s: a name with a lone surrogate was escaped", "s.k\\ud83d: a name with a lone surrogate was escaped")
        ]
        assert "actions.state_delta: a name with a lone surrogate was escaped" in stored.extra["cleaned"]
        await service.append_event(session, event.model_copy(deep=True))  # delivered twice
        assert len((await service.get_session(**ONE)).events) == 1

    run(main)


def test_a_value_without_an_end_is_refused(run: Callable[[Any], None]) -> None:
    """One that contains itself, or is nested too deep: the error names the place, and nothing is stored."""

    async def main(service: Any) -> None:
        circle: list[Any] = [1]
        circle.append({"x": circle})
        deep: Any = 1
        for _ in range(5000):
            deep = [deep]
        with pytest.raises(InvalidMessage, match=r"^s\[1\]\.x: the value contains itself"):
            await service.create_session(**ONE, state={"s": circle})
        session = await service.create_session(**ONE)
        with pytest.raises(InvalidMessage, match=r"^actions\.state_delta\.s\[1\]\.x: the value contains itself"):
            await service.append_event(session, changes(s=circle))
        with pytest.raises(InvalidMessage, match=r"^actions\.state_delta\.s\[0\].*more than 128 levels"):
            await service.append_event(session, changes(s=deep))
        assert (await service.get_session(**ONE)).events == []

    run(main)


@pytest.mark.parametrize("odd", ["a b", "日本", "C0|1699.12", "../x", "x" * 3000, "k-", "\x00", "google-adk"])
def test_ids_are_any_text(odd: str, where: str) -> None:
    """Of the app, the user, the session and the event; no two sessions are mixed up."""

    async def main() -> None:
        service = Service(where)
        names = [ONE | {part: odd} for part in ONE] + [dict.fromkeys(ONE, odd)]
        for number, name in enumerate(names):
            session = await service.create_session(**name, state={"n": number, "user:n": number})
            await service.append_event(session, says(f"in {number}", id=odd))
        for number, name in enumerate(names):
            loaded = await service.get_session(**name)
            assert (texts(loaded), loaded.state["n"], loaded.events[0].id) == ([f"in {number}"], number, odd)
            await service.branch(**name, entry=odd)
            listed = (await service.list_sessions(app_name=name["app_name"], user_id=name["user_id"])).sessions
            assert name["session_id"] in [each.id for each in listed]
        with pytest.raises(ValueError, match="surrogate"):
            await service.create_session(**(ONE | {"session_id": "\ud83d"}))
        await service.close()

    asyncio.run(main())


def test_shared_state_is_kept(tmp_path: Path) -> None:
    """The logs of apps and users are in no list, and a prune leaves them."""

    async def main() -> None:
        with open_store(tmp_path) as store:
            service = Service(store)
            session = await service.create_session(**ONE, state={"app:a": 1, "user:b": 2})
            await service.append_event(session, says("Where to?"))
            assert [info.owner for info in store.list()] == ["ada"]
            store.prune(keep=0, dry_run=False)
            assert await service.get_session(**ONE) is None
            assert (await service.create_session(**ONE)).state == {"app:a": 1, "user:b": 2}
            for owner in ("x", "y"):
                part = Service(store.scoped(owner=owner))
                name = ONE | {"session_id": owner}
                assert (await part.create_session(**name, state={f"app:{owner}": 1})).state == {f"app:{owner}": 1}
                assert await part.get_session(**ONE) is None
            store.hold(store.list(owner="ada")[0].id)
            with pytest.raises(convtree.SessionHeld):
                await service.delete_session(**ONE)

    asyncio.run(main())


def test_a_session_that_began_anew_is_another_one(where: str) -> None:
    """With the same ids as the deleted one, and seen by a service that knew that one."""

    async def main() -> None:
        service = Service(where)
        other = Service(service._sessions.engine.store)
        for number in range(2):
            session = await service.create_session(**ONE, state={"n": number})
            await service.append_event(session, says(f"{number}", id="e1", timestamp=float(number)))
            loaded = await other.get_session(**ONE)
            assert (texts(loaded), loaded.state) == ([f"{number}"], {"n": number})
            (listed,) = (await other.list_sessions(app_name="trips", user_id="ada")).sessions
            assert (listed.state, listed.last_update_time) == ({"n": number}, float(number))
            await service.delete_session(**ONE)
            await asyncio.sleep(0.002)
        await service.close()

    asyncio.run(main())


def test_the_last_events(run: Callable[[Any], None]) -> None:
    """So many, and not older than a time; both conditions hold. What somebody has hidden is not among them."""

    async def main(service: Any) -> None:
        session = await service.create_session(**ONE)
        for number in range(5):
            await service.append_event(session, says(f"{number}", timestamp=float(number), id=f"e{number}"))
        for last, after, expected in (
            (None, None, "01234"),
            (0, None, ""),
            (2, None, "34"),
            (9, None, "01234"),
            (None, 3.0, "34"),
            (1, 3.0, "4"),
            (4, 3.5, "4"),
            (None, 9.0, ""),
        ):
            config = base.GetSessionConfig(num_recent_events=last, after_timestamp=after)
            loaded = await service.get_session(**ONE, config=config)
            assert ("".join(texts(loaded)), loaded.last_update_time) == (expected, 4.0)
        with service.log(**ONE) as log:
            log.hide("e3")
        last_two = await service.get_session(**ONE, config=base.GetSessionConfig(num_recent_events=2))
        assert texts(last_two) == ["2", "4"]
        await service.append_event(session, says("5"))

    run(main)


def test_a_store_that_was_given_stays_open(tmp_path: Path) -> None:
    """A closed object says so; one that was opened by path is closed with its last user."""

    async def main() -> None:
        with open_store(tmp_path) as given_store:
            service = Service(given_store)
            session = await service.create_session(**ONE)
            await service.close()
            await service.close()
            assert len(given_store.list().sessions) == 1
            for asked in (
                service.get_session(**ONE),
                service.create_session(**ONE),
                service.list_sessions(app_name="trips"),
                service.append_event(session, says("x")),
                service.branches(**ONE),
            ):
                with pytest.raises(RuntimeError, match="ConvtreeSessionService is closed"):
                    await asked
        one, two = Service(tmp_path), Service(tmp_path)
        await one.close()
        await two.append_event(session, says("x"))
        del two
        assert texts(await Service(tmp_path).get_session(**ONE)) == ["x"]

    asyncio.run(main())


# --- at the same time, crashes and cancelling ---


def test_one_of_two_racing_appends_is_refused(where: str) -> None:
    """Both have seen the same session. Nothing of the other one is stored, its shared state included."""

    async def main() -> None:
        service = Service(where)
        other = Service(service._sessions.engine.store if where == "memory:" else open_store(where))
        await service.create_session(**ONE)
        for number in range(8):
            loaded = await service.get_session(**ONE)
            copies = [loaded.model_copy(deep=True), loaded.model_copy(deep=True)]
            done = await asyncio.gather(
                service.append_event(copies[0], changes(**{f"{number}-0": 1, f"app:{number}-0": 1})),
                other.append_event(copies[1], changes(**{f"{number}-1": 1, f"app:{number}-1": 1})),
                return_exceptions=True,
            )
            errors = [each for each in done if isinstance(each, Exception)]
            assert [type(error) for error in errors] == [adk_errors.StaleSessionError]
            assert "modified in storage" in str(errors[0])
        final = await service.get_session(**ONE)
        assert len(final.events) == 8
        assert len(final.state) == 16
        for number in range(8):
            assert len({f"{number}-0", f"{number}-1"} & set(final.state)) == 1
        await other.close()
        await service.close()

    asyncio.run(main())


def test_appends_to_one_session_object_follow_each_other(run: Callable[[Any], None]) -> None:
    """As agents that run in parallel do; and sessions of one app change its state at the same time."""

    async def main(service: Any) -> None:
        session = await service.create_session(**ONE)
        others = [await service.create_session(app_name="trips", user_id=f"u{number}") for number in range(6)]
        appends = [service.append_event(session, says(f"{number}")) for number in range(12)]
        appends += [service.append_event(each, changes(**{f"app:{each.id}": 1})) for each in others]
        await asyncio.gather(*appends)
        loaded = await service.get_session(**ONE)
        assert sorted(texts(loaded), key=int) == [f"{number}" for number in range(12)]
        assert loaded.events == session.events
        assert {f"app:{each.id}" for each in others} == set(loaded.state)

    run(main)


def in_threads(main: Callable[[int], Awaitable[None]], count: int = 4) -> None:
    """Runs an async function in threads at the same time, each with an event loop of its own, as `Runner.run` does."""
    barrier, done = Barrier(count), list[int]()

    def whole(number: int) -> None:
        barrier.wait()
        asyncio.run(main(number))  # type: ignore[arg-type]
        done.append(number)

    threads = [Thread(target=whole, args=(number,), daemon=True) for number in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=60)
    assert sorted(done) == [*range(count)]


def test_event_loops_share_a_service(where: str) -> None:
    """Runs in threads, each with a loop of its own: every append is stored, or refused as stale, and none hangs."""
    service = Service(where, parallel="branch")
    asyncio.run(service.create_session(**ONE))

    async def branches(number: int) -> None:
        for turn in range(3):
            loaded = await service.get_session(**ONE)
            await asyncio.gather(*(service.append_event(loaded, says(f"{number}.{turn}.{part}")) for part in range(3)))

    in_threads(branches)
    with service.log(**ONE) as log:
        assert len([each for _, each in log.records() if isinstance(each, MessageEntry)]) == 36
    line = Service(service._sessions.engine.store if where == "memory:" else where)
    name = ONE | {"session_id": "s2"}
    asyncio.run(line.create_session(**name))
    stored: list[str] = []

    async def race(number: int) -> None:
        for turn in range(3):
            loaded = await line.get_session(**name)
            with suppress(adk_errors.StaleSessionError):
                await line.append_event(loaded, says(f"{number}.{turn}"))
                stored.append(f"{number}.{turn}")

    in_threads(race)
    assert sorted(texts(asyncio.run(line.get_session(**name)))) == sorted(stored)
    assert stored
    asyncio.run(line.close())
    asyncio.run(service.close())


@pytest.mark.parametrize("parallel", ["line", "branch"])
def test_event_loops_share_a_session_object(parallel: str, where: str) -> None:
    """Appends to it follow each other, whatever loop they are made in: one line, and none is stale."""
    service = Service(where, parallel=parallel)
    session = asyncio.run(service.create_session(**ONE))

    async def append(number: int) -> None:
        await asyncio.gather(*(service.append_event(session, says(f"{number}.{part}")) for part in range(5)))

    in_threads(append)
    said = texts(asyncio.run(service.get_session(**ONE)))
    assert sorted(said) == sorted(texts(session)) == [f"{number}.{part}" for number in range(4) for part in range(5)]
    for number in range(4):  # those of a loop in the order in which they were made
        assert [each for each in said if each.startswith(f"{number}.")] == [f"{number}.{part}" for part in range(5)]
    asyncio.run(service.close())


def test_what_a_caller_changes_nobody_else_sees(run: Callable[[Any], None]) -> None:
    """A change of what was returned is stored by no call, so it is in no other session, of whatever kind of state."""

    async def main(service: Any) -> None:
        state = {"own": [1], "user:cart": ["milk"], "app:limits": {"a": {"b": [1]}}}
        await service.create_session(**ONE, state=state)
        await service.create_session(**ONE | {"session_id": "s2"})
        event = changes(own=[2])
        event.custom_metadata = {"m": [1]}
        await service.append_event(await service.get_session(**ONE), event)
        event.custom_metadata["m"].append("mine")
        loaded = await service.get_session(**ONE)
        listed = (await service.list_sessions(app_name="trips", user_id="ada")).sessions
        for each in (loaded, *listed):
            each.state.get("own", []).append("mine")
            each.state["user:cart"].append("mine")
            each.state["app:limits"]["a"]["b"].append("mine")
        loaded.events[0].custom_metadata["m"].append("mine")
        loaded.events[0].actions.state_delta["own"].append("mine")
        (await service.get_user_state(app_name="trips", user_id="ada"))["cart"].append("mine")
        shared = {"user:cart": ["milk"], "app:limits": {"a": {"b": [1]}}}
        again = await service.get_session(**ONE)
        assert again.state == {"own": [2], **shared}
        assert (again.events[0].custom_metadata, again.events[0].actions.state_delta) == ({"m": [1]}, {"own": [2]})
        assert (await service.get_session(**ONE | {"session_id": "s2"})).state == shared
        listed = (await service.list_sessions(app_name="trips", user_id="ada")).sessions
        assert {each.id: each.state for each in listed} == {"s1": {"own": [2], **shared}, "s2": shared}

    run(main)


PROCESS = """
import asyncio, sys
from google.adk.errors import StaleSessionError
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions
from convtree.adapters.google_adk import ConvtreeSessionService
async def main(where, process, count):
    service, name = ConvtreeSessionService(where), {"app_name": "trips", "user_id": "ada", "session_id": "s1"}
    for number in range(count):
        delta = {f"{process}-{number}": 1, f"user:{process}-{number}": 1}
        while True:
            session = await service.get_session(**name)
            event = Event(author="user", invocation_id=f"{process}-{number}", actions=EventActions(state_delta=delta))
            try:
                await service.append_event(session, event)
                break
            except StaleSessionError:
                continue
        print(number, flush=True)
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def start(place: str, process: str, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROCESS, place, process, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_lose_nothing(place: str) -> None:
    """Each loads the session again when it is stale; every event and every key is there once."""

    async def main() -> None:
        service = Service(place)
        await service.create_session(**ONE)
        processes = [start(place, name, 12) for name in "ab"]
        assert [process.wait() for process in processes] == [0, 0]
        expected = {f"{process}-{number}" for process in "ab" for number in range(12)}
        loaded = await service.get_session(**ONE)
        assert sorted(event.invocation_id for event in loaded.events) == sorted(expected)
        assert set(loaded.state) == expected | {f"user:{each}" for each in expected}
        await service.close()

    asyncio.run(main())


def test_a_killed_writer_loses_nothing_and_stores_no_half(place: str) -> None:
    """An event that was acknowledged is there; every event has changed its session's state and its user's."""

    async def main() -> None:
        service = Service(place)
        await service.create_session(**ONE)
        for name in "abc":
            writer = start(place, name, 100_000)
            assert writer.stdout is not None
            for _ in range(10):
                writer.stdout.readline()
            writer.kill()
            acknowledged = max([9, *map(int, writer.stdout.read().split())])
            writer.wait()
            loaded = await service.get_session(**ONE)
            own = [event.invocation_id for event in loaded.events if event.invocation_id.startswith(name)]
            assert own == [f"{name}-{number}" for number in range(len(own))]
            assert len(own) > acknowledged
            ids = [event.invocation_id for event in loaded.events]
            assert set(loaded.state) == {*ids, *(f"user:{id}" for id in ids)}
        await service.close()

    asyncio.run(main())


def test_what_a_crash_left_out_is_made_up_for_once(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies behind the event and before the state of the user."""
    states = pytest.importorskip("convtree.adapters._google_adk_state")

    async def main() -> None:
        service = Service(place)
        session = await service.create_session(**ONE)
        with monkeypatch.context() as patch:
            patch.setattr(states.States, "put", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await service.append_event(session, changes(**{"k": 1, "user:k": 1}))
        assert await service.get_user_state(app_name="trips", user_id="ada") == {}
        again = Service(place)
        loaded = await again.get_session(**ONE)
        assert (len(loaded.events), loaded.state) == (1, {"k": 1, "user:k": 1})
        lost = changes(**{"user:l": 1})
        with monkeypatch.context() as patch:
            patch.setattr(states.States, "put", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await again.append_event(loaded, lost)
        third = Service(place)
        other = await third.create_session(app_name="trips", user_id="ada")
        await third.append_event(loaded, lost)
        assert await third.get_user_state(app_name="trips", user_id="ada") == {"k": 1, "l": 1}
        await third.append_event(other, changes(**{"user:k": 2}))
        assert (await Service(place).get_session(**ONE)).state == {"k": 1, "user:k": 2, "user:l": 1}

    asyncio.run(main())


def test_an_event_whose_reply_was_lost_can_be_delivered_again(
    run: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session object learns that it is stored, and goes on. An old delivery does not confuse it."""
    sessions = pytest.importorskip("convtree.adapters._google_adk_sessions").Sessions
    append, before = sessions.append, list[str]()

    def lose(*arguments: Any) -> None:
        append(*arguments)
        setattr(arguments[1], "_storage_update_marker", before[0])  # noqa: B010
        raise OSError("the network is gone")

    async def main(service: Any) -> None:
        session = await service.create_session(**ONE)
        first = await service.append_event(session, says("one"))
        before.append(session._storage_update_marker)
        event = changes(k=1)
        with monkeypatch.context() as patch:
            patch.setattr(sessions, "append", lose)
            with pytest.raises(OSError, match="network"):
                await service.append_event(session, event)
        assert len(session.events) == 1
        await service.append_event(session, event)
        await service.append_event(session, first)
        await service.append_event(session, says("two"))
        loaded = await service.get_session(**ONE)
        assert (loaded.events, loaded.state) == (session.events, session.state)
        assert len(loaded.events) == 3

    run(main)


def test_a_cancelled_caller_waits_for_the_outcome(place: str) -> None:
    """When the cancellation arrives, the event is stored and in the session object, or neither will ever be."""

    async def main() -> None:
        service, outcomes = Service(place), set()
        session = await service.create_session(**ONE)
        for number in range(30):
            task = asyncio.create_task(service.append_event(session, says(f"{number}")))
            for _ in range(number % 3):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            loaded = await service.get_session(**ONE)
            assert loaded.events == session.events
            await asyncio.sleep(0.002)
            assert texts(await service.get_session(**ONE)) == texts(loaded)
            outcomes.add(f"{number}" in texts(loaded))
        assert True in outcomes
        await service.append_event(session, says("goes on"))
        await service.close()

    asyncio.run(main())


def test_people_can_read_it(tmp_path: Path) -> None:
    """`convtree ls`, `inspect`, `search` and `export` show a session of ADK, and not the logs of shared state."""

    async def main() -> None:
        service = Service(tmp_path)
        session = await service.create_session(**ONE, state={"app:a": 1})
        await service.append_event(session, says("Where shall we go?"))
        await service.append_event(session, says("To Rome, by train.", "guide"))
        await service.close()

    asyncio.run(main())
    with open_store(tmp_path) as store:
        (info,) = store.list()
    path = str(tmp_path / f"{info.id}.jsonl")
    for command, text in (
        (["inspect", path], "Where shall we go?"),
        (["ls", "-s", str(tmp_path)], "Where shall we go?"),
        (["search", "-s", str(tmp_path), "train"], "by train"),
        (["export", path, "--to", "markdown"], "To Rome, by train."),
    ):
        shown = printed(*command)
        assert (text in shown, "State of" in shown) == (True, False)


# --- ADK itself ---


def test_a_uri_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`services.py` registers the scheme, as `adk web` loads it."""
    registry = pytest.importorskip("google.adk.cli.service_registry")
    factory = pytest.importorskip("google.adk.cli.utils.service_factory")
    monkeypatch.setattr(registry, "_service_registry_instance", None)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "services.py").write_text("from convtree.adapters.google_adk import register\n\nregister()\n")
    registry.load_services_module(str(tmp_path))
    sys.modules.pop("services", None)
    for uri, there in (
        ("convtree:one", "one"),
        (f"convtree://{tmp_path}/two", "two"),
        (f"convtree:sqlite:///{tmp_path}/three.db", "three.db"),
    ):
        service = factory.create_session_service_from_options(base_dir=tmp_path, session_service_uri=uri)
        assert isinstance(service, Service)
        asyncio.run(service.create_session(**ONE))
        asyncio.run(service.close())
        assert (tmp_path / there).exists()


def test_a_run_with_a_scripted_model(run: Callable[[Any], None]) -> None:
    """A tool turn, its state, a rewind by the runner, and what the model is sent after it."""
    model_type = pytest.importorskip("google.adk.models.base_llm").BaseLlm
    response = pytest.importorskip("google.adk.models.llm_response").LlmResponse
    agent_type = pytest.importorskip("google.adk.agents").LlmAgent
    runner_type = pytest.importorskip("google.adk.runners").Runner
    sent: list[list[str]] = []

    class Scripted(model_type):  # type: ignore[misc,valid-type]
        async def generate_content_async(self, llm_request: Any, stream: bool = False) -> AsyncIterator[Any]:
            del stream
            said = [part.text or "" for content in llm_request.contents for part in content.parts]
            sent.append([text for text in said if text])
            last = llm_request.contents[-1].parts[-1]
            if last.text == "Use the tool":
                part = types.Part(function_call=types.FunctionCall(id="c1", name="book", args={"city": "Rome"}))
            else:
                part = types.Part(text="Booked" if last.function_response else f"Answer to {last.text}")
            yield response(content=types.Content(role="model", parts=[part]), model_version="gemini-x")

    def book(city: str, tool_context: Any) -> dict[str, str]:
        """Books a city."""
        tool_context.state["city"] = city
        return {"booked": city}

    async def main(service: Any) -> None:
        agent = agent_type(name="guide", model=Scripted(model="scripted"), tools=[book])
        runner = runner_type(app_name="trips", agent=agent, session_service=service)
        await service.create_session(**ONE)
        who = {"user_id": "ada", "session_id": "s1"}

        async def ask(text: str) -> Any:
            content = types.Content(role="user", parts=[types.Part(text=text)])
            async for event in runner.run_async(**who, new_message=content):
                last = event
            return last

        first = await ask("Where to?")
        booked = await ask("Use the tool")
        session = await service.get_session(**ONE)
        assert session.state == {"city": "Rome"}
        assert booked.content.parts[0].text == "Booked"
        await runner.rewind_async(**who, rewind_before_invocation_id=booked.invocation_id)
        await ask("And by train?")
        assert sent[-1] == ["Where to?", "Answer to Where to?", "And by train?"]
        assert (await service.get_session(**ONE)).state == {"city": None}
        with service.log(**ONE) as log:
            assert [entry.text for entry in log.path(type=MessageEntry) if entry.text] == [
                *("Where to?", "Answer to Where to?", "And by train?", "Answer to And by train?")
            ]
        assert len(await service.branches(**ONE)) == 2
        await service.branch(**ONE, entry=first.id)
        await ask("Or by ship?")
        assert sent[-1] == ["Where to?", "Answer to Where to?", "Or by ship?"]
        assert (await service.get_session(**ONE)).state == {}

    run(main)


def test_the_example_runs() -> None:
    """It has a tool turn, a rewind, an edit and a crash, and shows the result."""
    done = example("google_adk_adapter.py")
    assert "all are kept: ['A week.', 'Yes, over night.', 'Via Naples.']" in done.stdout
    assert "6 prompts, 1 tool call" in done.stdout


def test_the_guide_moves_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions have their events and states afterwards."""
    sqlite = pytest.importorskip("google.adk.sessions.sqlite_session_service")
    monkeypatch.chdir(tmp_path)
    name = {"app_name": "trips", "user_id": "ada", "session_id": "s1"}

    async def fill() -> Any:
        old = sqlite.SqliteSessionService("sessions.db")
        session = await old.create_session(**name, state={"city": "?", "user:name": "Ada", "app:x": 1})
        await old.append_event(session, Event(author="user", message="Where?"))
        await old.append_event(session, Event(author="guide", message="Rome?", state={"city": "Rome"}))
        return await old.get_session(**name)

    async def moved() -> Any:
        async with adapter.ConvtreeSessionService("conversations") as service:
            return await service.get_session(**name)

    before = asyncio.run(fill())
    run_block("SqliteSessionService", "ConvtreeSessionService")
    after = asyncio.run(moved())
    assert (after.state, after.events) == (before.state, before.events)
    assert after.state == {"city": "Rome", "user:name": "Ada", "app:x": 1}


@pytest.mark.parametrize("kind", ["SqliteSessionService", "DatabaseSessionService"])
def test_an_imported_session_goes_on(kind: str, tmp_path: Path) -> None:
    """With its events, a rewind among them, and its state. A second import adds nothing."""
    name = {"app_name": "trips", "user_id": "ada", "session_id": "s1"}
    path = tmp_path / "old.db"
    sqlite = pytest.importorskip("google.adk.sessions.sqlite_session_service")

    async def fill() -> Any:
        old = sqlite.SqliteSessionService(str(path))
        if kind == "DatabaseSessionService":
            old = Database(f"sqlite+aiosqlite:///{path}")
        session = await old.create_session(**name, state={"city": "?", "user:name": "Ada"})
        await old.append_event(session, Event(author="user", invocation_id="i1", message="Where?"))
        state = {"city": "Rome"}
        await old.append_event(session, Event(author="guide", invocation_id="i1", message="Rome?", state=state))
        rewind = Actions(rewind_before_invocation_id="i1")
        await old.append_event(session, Event(author="user", invocation_id="i2", actions=rewind))
        return await old.get_session(**name)

    async def go_on(events: list[Any]) -> None:
        async with Service(str(tmp_path / "new")) as service:
            (listed,) = (await service.list_sessions(app_name="trips", user_id="ada")).sessions
            session = await service.get_session(**name)
            assert (listed.id, session.events, session.state) == ("s1", events, {"city": "Rome"})
            await service.append_event(session, Event(author="user", message="Again?", state={"city": "Oslo"}))
            again = await service.get_session(**name)
            assert (len(again.events), again.state) == (4, {"city": "Oslo"})

    before = asyncio.run(fill())
    with open_store(tmp_path / "new") as store:
        import_into([path], store)
        assert [each.written for each in import_into([path], store)] == [0]
    asyncio.run(go_on(before.events))


def test_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The block about ADK, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    run_block("ConvtreeSessionService", "service.branches")
    assert capsys.readouterr().out == "['Rome?', 'Oslo?'] {'city': '?', 'user:name': 'Ada'}\n"
