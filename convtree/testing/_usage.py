"""Sums of tokens and cost."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest

from convtree._model.entries import Header, MessageEntry, ParentSession, VacuumEntry
from convtree._model.usage import Usage
from convtree.stores._session_store import SessionStore
from convtree.testing._base import StoreTests, assistant, user

PROVIDERS: dict[str, tuple[dict[str, Any], Usage]] = {
    "openai-chat": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 5},
        },
        Usage(input_tokens=40, output_tokens=20, cache_read_tokens=60),
    ),
    "openai-responses": (
        {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 30},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 107,
        },
        Usage(input_tokens=70, output_tokens=7, cache_read_tokens=30),
    ),
    "anthropic": (
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 200,
            "cache_read_input_tokens": 3000,
            "output_tokens": 40,
            "service_tier": "standard",
        },
        Usage(input_tokens=10, output_tokens=40, cache_read_tokens=3000, cache_write_tokens=200),
    ),
    "gemini": (
        {
            "prompt_token_count": 50,
            "cached_content_token_count": 20,
            "candidates_token_count": 8,
            "thoughts_token_count": 4,
            "tool_use_prompt_token_count": 6,
            "total_token_count": 68,
        },
        Usage(input_tokens=36, output_tokens=12, cache_read_tokens=20),
    ),
    "gemini by REST": (
        {
            "promptTokenCount": 50,
            "cachedContentTokenCount": 20,
            "candidatesTokenCount": 8,
            "thoughtsTokenCount": 4,
            "totalTokenCount": 62,
        },
        Usage(input_tokens=30, output_tokens=12, cache_read_tokens=20),
    ),
    "pi": (
        {
            "input": 3,
            "output": 5,
            "cacheRead": 7,
            "cacheWrite": 11,
            "totalTokens": 26,
            "cost": {"input": 0.1, "output": 0.2, "cacheRead": 0, "cacheWrite": 0, "total": 0.5},
        },
        Usage(input_tokens=3, output_tokens=5, cache_read_tokens=7, cache_write_tokens=11, cost=0.5),
    ),
    "bedrock": (
        {
            "inputTokens": 10,
            "outputTokens": 40,
            "totalTokens": 3250,
            "cacheReadInputTokens": 3000,
            "cacheWriteInputTokens": 200,
        },
        Usage(input_tokens=10, output_tokens=40, cache_read_tokens=3000, cache_write_tokens=200),
    ),
    "ollama": (
        {"prompt_eval_count": 26, "eval_count": 298, "total_duration": 5_191_566_416},
        Usage(input_tokens=26, output_tokens=298),
    ),
    "pydantic-ai": (
        {
            "input_tokens": 3210,
            "output_tokens": 40,
            "cache_read_tokens": 3000,
            "cache_write_tokens": 200,
            "details": {"reasoning_tokens": 8},
        },
        Usage(input_tokens=10, output_tokens=40, cache_read_tokens=3000, cache_write_tokens=200),
    ),
    "numbers as texts": (
        {"prompt_tokens": "1.2e2", "completion_tokens": "20", "cost": "0.125"},
        Usage(input_tokens=120, output_tokens=20, cost=0.125),
    ),
    "nothing that is known": ({"tokens": "many", "input": None, "output": -3, "cost": float(2**60)}, Usage()),
}


def answer(id: str, when: str | None, tokens: int) -> MessageEntry:
    """Returns an answer that was given at a time, and has used some tokens."""
    usage = {"output_tokens": tokens}
    return MessageEntry(id=id, parent_id=None, timestamp=when, message=assistant("x"), model="m", usage=usage)


class UsageTests(StoreTests):
    """Sums of tokens and cost."""

    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_usage_of_every_provider(self, store: SessionStore, provider: str) -> None:
        """Each token is counted once. Unknown fields count as 0."""
        usage, expected = PROVIDERS[provider]
        with store.create(id="a") as session:
            session.append(assistant("hi"), usage=usage)
        assert [(row.session_id, row.usage) for row in store.usage("a")] == [("a", expected)]
        assert store.info("a").usage == expected

    def test_usage_by_session_model_and_branch(self, store: SessionStore) -> None:
        """Sums of one session and of all."""
        with store.create(id="a", owner="ann") as session:
            root = session.append(user("?"))
            one = session.append(assistant("1"), provider="p", model="m", usage={"output_tokens": 1, "cost": 0.25})
            two = session.append(
                assistant("2"), provider="p", model="n", usage={"output_tokens": 2, "cost": 0.5}, parent_id=root.id
            )
        with store.create(id="b") as session:
            session.append(assistant("3"), provider="p", model="m", usage={"output_tokens": 4})
        by_session = {row.session_id: row.usage for row in store.usage()}
        assert by_session == {"a": Usage(output_tokens=3, cost=0.75), "b": Usage(output_tokens=4)}
        by_model = [(row.provider, row.model, row.usage) for row in store.usage(by="model")]
        assert by_model == [
            ("p", "m", Usage(output_tokens=5, cost=0.25)),
            ("p", "n", Usage(output_tokens=2, cost=0.5)),
        ]
        assert [(row.model, row.usage.output_tokens) for row in store.usage("b", by="model")] == [("m", 4)]
        assert [(row.leaf_id, row.usage) for row in store.usage("a", by="branch")] == [
            (one.id, Usage(output_tokens=1, cost=0.25)),
            (two.id, Usage(output_tokens=2, cost=0.5)),
        ]
        assert [row.session_id for row in store.usage(owner="ann")] == ["a"]
        with pytest.raises(ValueError, match="branches"):
            store.usage(by="branch")
        with pytest.raises(ValueError, match="by"):
            store.usage(by="hour")  # type: ignore[arg-type]

    def test_usage_by_day_directory_and_time(self, store: SessionStore) -> None:
        """Days begin in the given zone. Ranges are those of the answers, not of the sessions."""
        answers: dict[str, list[str | None]] = {
            "one day": ["2026-03-01T10:00:00Z", "2026-03-01T22:30:00Z"],
            "two days": ["2026-03-01T23:00:00Z", "2026-03-03T01:00:00Z", None],
            "none": [],
        }
        for number, (name, times) in enumerate(answers.items()):
            id = name.replace(" ", "-")
            with store.create(id=id, name=name, cwd=f"/{number // 2}" if times else None) as session:
                some = [answer(f"e{at}", when, 10 ** (3 * number + at)) for at, when in enumerate(times)]
                session.extend(some or [MessageEntry(id="q", parent_id=None, message=user("?"))])
        task = {"parent_session": ParentSession(id="two-days", kind="task"), "cwd": "/task"}
        with store.open_or_create(Header(id="task", **task)) as session:  # type: ignore[arg-type]
            session.extend([answer("t", "2026-03-03T02:00:00Z", 10**6)])

        def rows(by: Any, **options: Any) -> list[tuple[str | None, int]]:
            found = store.usage(by=by, **options)
            return [(getattr(row, by, None) or row.session_id, row.usage.output_tokens) for row in found]

        days = [("2026-03-01", 1011), ("2026-03-03", 1_010_000), (None, 100_000)]
        assert rows("day") == days
        two_hours_east = timezone(timedelta(hours=2))
        assert rows("day", zone=two_hours_east) == [
            ("2026-03-01", 1),
            ("2026-03-02", 1010),
            ("2026-03-03", 1_010_000),
            (None, 100_000),
        ]
        assert rows("directory") == [("/0", 1_111_011)]
        assert {(row.session_id, row.session_title, row.usage.output_tokens) for row in store.usage()} == {
            ("one-day", "one day", 11),
            ("two-days", "two days", 1_111_000),
            ("none", "none", 0),
        }
        since = "2026-03-01T22:30:00Z"
        assert rows("day", since=since) == [("2026-03-01", 1010), ("2026-03-03", 1_010_000)]
        assert rows("day", until=since) == [("2026-03-01", 1)]
        assert rows("day", since="2026-03-04") == []
        assert sorted(rows("session", since=since, until="2026-03-03T02:00:00Z")) == [
            ("one-day", 10),
            ("two-days", 11_000),
        ]
        assert rows("model", since=since, until="2026-03-02") == [("m", 1010)]
        assert rows("directory", until=since) == [("/0", 1)]
        assert rows("day", id="one-day") == [("2026-03-01", 11)]
        branches = store.usage("two-days", by="branch", since="2026-03-02")
        assert {(row.leaf_id, row.session_title, row.usage.output_tokens) for row in branches} == {
            ("e0", "two days", 0),
            ("e1", "two days", 10_000),
            ("e2", "two days", 0),
        }
        done: list[tuple[int, int]] = []
        store.usage(by="day", progress=lambda number, of: done.append((number, of)))
        assert done == [(1, 1)]  # only one log has to be read

    def test_a_range_within_a_session(self, store: SessionStore) -> None:
        """What was said before it and after it does not count, by whatever, on one day or on several."""
        times = [f"2026-03-0{day}T{hour}:00:00Z" for day in (1, 2) for hour in (10, 12, 14)]
        with store.create(id="a") as session:
            session.extend([answer(f"e{at}", when, 10**at) for at, when in enumerate(times[:3])])
        with store.create(id="b") as session:
            session.extend([answer(f"e{at}", when, 10**at) for at, when in enumerate(times[3:], 3)])
        with store.create(id="c") as session:
            session.extend([answer(f"f{at}", when, 10**6) for at, when in enumerate(times)])
        for since, until, expected, logs in (
            ("2026-03-01T11", "2026-03-01T13", {"a": 10, "c": 10**6}, 2),
            ("2026-03-01T12", "2026-03-02T12", {"a": 110, "b": 1000, "c": 3 * 10**6}, 3),
            ("2026-03-01", "2026-03-03", {"a": 111, "b": 111_000, "c": 6 * 10**6}, 0),
            ("2026-03-02", None, {"b": 111_000, "c": 3 * 10**6}, 1),
        ):
            done: list[tuple[int, int]] = []
            found = store.usage(since=since, until=until, progress=lambda *each: done.append(each))  # noqa: B023
            assert {row.session_id: row.usage.output_tokens for row in found} == expected
            assert len(done) == logs
            by_day = store.usage(by="day", since=since, until=until)
            assert sum(row.usage.output_tokens for row in by_day) == sum(expected.values())

    def test_a_day_before_the_calendar(self, store: SessionStore) -> None:
        """A time that has no local day has none."""
        with store.create(id="a") as session:
            session.extend([answer("b", "0001-01-01T00:00:00Z", 1)])
        assert [row.day for row in store.usage(by="day")] == ["0001-01-01"]
        assert [row.day for row in store.usage(by="day", zone=timezone(timedelta(hours=-1)))] == [None]

    def test_copied_entries_count_once_on_their_day(self, store: SessionStore) -> None:
        """In the session they come from; what a vacuum dropped on the day of its entry."""
        dropped = [{"provider": "p", "model": "m", "answers": 2, "output_tokens": 7}]
        vacuum = VacuumEntry(id="v", parent_id=None, timestamp="2026-03-02T00:00:00Z", usage=dropped, dropped=9)
        with store.create(id="a") as session:
            session.extend([vacuum, answer("b", "2026-03-04T00:00:00Z", 20)])
        with store.fork("a", new_id="f") as fork:
            fork.extend([answer("c", "2026-03-05T00:00:00Z", 300)])
        by_day = [(row.day, row.usage.output_tokens) for row in store.usage(by="day")]
        assert by_day == [("2026-03-02", 7), ("2026-03-04", 20), ("2026-03-05", 300)]
        by_session = {row.session_id: row.usage.output_tokens for row in store.usage(since="2026-03-04")}
        assert by_session == {"a": 20, "f": 300}

    def test_sub_agents_count_in_their_session(self, store: SessionStore) -> None:
        """At any depth. A sub-agent's session can also be asked for alone."""
        parents = {"a": None, "t": "a", "u": "t", "v": "a"}
        for number, (id, parent) in enumerate(parents.items()):
            origin = None if parent is None else ParentSession(id=parent, kind="task")
            with store.create(id=id, parent_session=origin) as session:
                session.append(assistant("x"), model=f"m{number}", usage={"output_tokens": 10**number})
        assert [(row.session_id, row.usage.output_tokens) for row in store.usage()] == [("a", 1111)]
        assert [(row.session_id, row.usage.output_tokens) for row in store.usage("t")] == [("t", 110)]
        assert [(row.model, row.usage.output_tokens) for row in store.usage(by="model")] == [
            ("m3", 1000),
            ("m2", 100),
            ("m1", 10),
            ("m0", 1),
        ]
        assert store.info("a").usage.output_tokens == 1

    def test_copied_entries_are_counted_once(self, store: SessionStore) -> None:
        """In the session it was copied from. Forks of forks, and a fork's own entries."""
        with store.create(id="a") as session:
            for number in range(3):
                session.append(assistant(str(number)), model="m", usage={"output_tokens": 10**number})
        for origin, fork, spent in (("a", "f", 1000), ("f", "g", 10_000)):
            with store.fork(origin, new_id=fork) as session:
                session.append(assistant("more"), model="m", usage={"output_tokens": spent})
        store.fork("g", new_id="h").close()
        expected = {"a": 111, "f": 1000, "g": 10_000, "h": 0}
        assert {row.session_id: row.usage.output_tokens for row in store.usage()} == expected
        assert {info.id: info.usage.output_tokens for info in store.list()} == expected
        assert sum(row.usage.output_tokens for row in store.usage(by="model")) == 11_111
        by_branch = {id: [row.usage.output_tokens for row in store.usage(id, by="branch")] for id in expected}
        assert by_branch == {id: [tokens] for id, tokens in expected.items()}

    def test_a_fork_without_copies_counts_everything(self, store: SessionStore) -> None:
        """A session whose header names a parent entry, but has no copy of it, has copied nothing."""
        with store.create(id="a", parent_session=ParentSession(id="p", entry_id="e", kind="fork")) as session:
            session.append(assistant("x"), model="m", usage={"output_tokens": 7})
        assert store.info("a").usage.output_tokens == store.usage("a")[0].usage.output_tokens == 7
        assert store.usage("a", by="branch")[0].usage.output_tokens == 7

    def test_what_a_header_says_was_copied_is_not_counted(self, store: SessionStore) -> None:
        """Up to the entry `copied_to`, in a session of any kind. Otherwise, a fork names its last copied entry."""
        copied = [
            MessageEntry(
                id=str(number), parent_id=None, message=assistant("x"), model="m", usage={"output_tokens": 10**number}
            )
            for number in range(4)
        ]
        origins: dict[str, tuple[str | None, ParentSession | None, int]] = {
            "f": ("1", ParentSession(id="a", entry_id="2", kind="fork"), 1100),
            "t": ("2", ParentSession(id="a", kind="task"), 1000),
            "u": (None, ParentSession(id="a", entry_id="2", kind="task"), 1111),
            "v": (None, ParentSession(id="a", entry_id="2", kind="fork"), 1000),
            "w": ("nothing", ParentSession(id="a", entry_id="2", kind="fork"), 1111),
            "x": ("1", None, 1111),
            "a": (None, None, 1111),
        }
        for id, (copied_to, parent, _) in origins.items():
            with store.open_or_create(Header(id=id, parent_session=parent, copied_to=copied_to)) as session:
                session.extend(copied)
        with store.fork("v", "0", new_id="g") as fork:
            assert fork.header.copied_to == "0"
        expected = {id: tokens for id, (_, _, tokens) in origins.items()} | {"g": 0}
        assert {info.id: info.usage.output_tokens for info in store.list(tasks=True)} == expected
        for id, tokens in expected.items():
            by_branch = [row.usage.output_tokens for row in store.usage(id, by="branch")]
            assert sum(by_branch) == tokens

    def test_what_a_vacuum_dropped_is_counted_once(self, store: SessionStore) -> None:
        """By provider and model, with its answers. A fork does not count it again."""
        totals: list[dict[str, Any]] = [
            {"provider": "p", "model": "m", "answers": 2, "input_tokens": 1, "output_tokens": 2, "cost": 0.5},
            {"provider": "p", "model": "n", "answers": 3, "cache_read_tokens": 3, "cache_write_tokens": 4},
        ]
        with store.create(id="a") as session:
            session.extend([VacuumEntry(id="v", parent_id=None, provider="p", model="m", usage=totals, dropped=9)])
            session.append(assistant("1"), provider="p", model="m", usage={"output_tokens": 10}, parent_id="v")
            session.append(assistant("2"), provider="p", model="m", parent_id="v")
        store.fork("a", new_id="f").close()
        expected = Usage(input_tokens=1, output_tokens=12, cache_read_tokens=3, cache_write_tokens=4, cost=0.5)
        assert {info.id: info.usage for info in store.list()} == {"a": expected, "f": Usage()}
        assert [(row.model, row.usage) for row in store.usage("a", by="model")] == [
            ("m", Usage(input_tokens=1, output_tokens=12, cost=0.5)),
            ("n", Usage(cache_read_tokens=3, cache_write_tokens=4)),
        ]
        assert [row.usage.output_tokens for row in store.usage("a", by="branch")] == [12, 2]
        assert (store.info("a").models, store.info("a").messages, store.info("a").entries) == (("m", "n"), 2, 3)

    def test_absurd_numbers_are_ignored(self, store: SessionStore) -> None:
        """Numbers out of range count as 0."""
        with store.create(id="a") as session:
            for number in (2**63, -1, 2**64 - 1, 1e300, 5):
                session.append(assistant("x"), model="m", usage={"output_tokens": number, "cost": number})
        assert store.usage("a")[0].usage == Usage(output_tokens=5, cost=5.0)
