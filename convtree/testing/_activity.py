"""The last activity of a session: when somebody last said something."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    ExtensionDataEntry,
    Header,
    LeafMark,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    SessionInfoMark,
    VisibilityMark,
)
from convtree._session.session import Session
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, append_to, assistant, begin, ids, user

_RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "42"}]}
_SAID: dict[str, Callable[[Session], object]] = {
    "a question": lambda session: session.append(user("and now?")),
    "an answer": lambda session: session.append(assistant("now")),
    "a tool": lambda session: session.append(_RESULT, shape="anthropic", visible_to="model"),
    "an answer for the model": lambda session: session.append(assistant("now"), visible_to="model"),
    "a notice for the user": lambda session: session.append(assistant("saved"), visible_to="user"),
    "of an unknown kind": lambda session: session.append({"says": "hello"}),
    "on a branch": lambda session: session.append(user("again"), parent_id=None),
}
_NOT_SAID: dict[str, Callable[[Session], object]] = {
    "a name": lambda session: session.rename("a title"),
    "the archive": lambda session: session.archive(),
    "the way back": lambda session: session.archive(False),
    "a hold": lambda session: session.hold(),
    "directories": lambda session: session.set_directories(cwd="/new"),
    "metadata": lambda session: session.update_metadata(color="red"),
    "a label": lambda session: session.label("first", "here"),
    "a pin": lambda session: session.pin("first"),
    "hiding": lambda session: session.hide("first"),
    "a move of the leaf": lambda session: session.branch(None),
    "a summary of a branch": lambda session: session.branch(None, summary="it went nowhere"),
    "a system prompt": lambda session: session.set_system("be brief"),
    "a note for the model": lambda session: session.append(user("5 minutes later"), visible_to="model"),
    "a message for nobody": lambda session: session.append(assistant("draft"), visible_to="nobody"),
    "a model": lambda session: session.append(ModelChangeEntry(provider="p", model="m")),
    "state": lambda session: session.append(ExtensionDataEntry(ext_type="todo", data=["milk"])),
    "a summary": lambda session: session.append(CompactionEntry(summary="so far", first_kept_entry_id=None)),
}


class ActivityTests(StoreTests):
    """The last activity of a session: when somebody last said something."""

    @pytest.mark.parametrize("what", list(_SAID))
    def test_what_somebody_says_is_activity(self, store: SessionStore, clock: Clock, what: str) -> None:
        """A message of a user, a model or a tool, wherever it is in the tree."""
        _begin_two(store, clock)
        with store.open("a", on_stale="rebase") as session:
            _SAID[what](session)
        assert (store.info("a").last_activity, ids(store.list())) == (clock.text(), ["a", "b"])

    @pytest.mark.parametrize("what", list(_NOT_SAID))
    def test_bookkeeping_is_no_activity(self, store: SessionStore, clock: Clock, what: str) -> None:
        """Names, flags, labels, moves of the leaf, notes, summaries and system prompts: nobody said them."""
        began = _begin_two(store, clock)
        with store.open("a", on_stale="rebase") as session:
            _NOT_SAID[what](session)
        info = store.info("a")
        assert (info.last_activity, ids(store.list(archived=None))) == (began, ["b", "a"])
        assert ids(store.prune(max_age=timedelta(days=1))) == ([] if info.held else ["a"])
        assert store.resumable(cwd=info.cwd, max_age=timedelta(days=1)) is None

    def test_a_session_without_a_message(self, store: SessionStore, clock: Clock) -> None:
        """Its last activity is its beginning."""
        began = clock.text()
        with store.create(id="s") as session:
            clock.pass_by(hours=1)
            session.rename("nothing yet")
        assert store.info("s").last_activity == began

    def test_a_later_line_with_an_older_time(self, store: SessionStore, clock: Clock) -> None:
        """The latest time counts, in one write and in several: an import of old lines makes no session old."""
        with store.open_or_create(Header(id="s", timestamp="2029-01-01T00:00:00Z")) as session:
            times = ("2029-05-01T00:00:00Z", "2029-03-01T00:00:00Z", "yesterday", None, "2029-04-01T00:00:00+02:00")
            parent = None
            for number, time in enumerate(times):
                entry = MessageEntry(id=f"m{number}", parent_id=parent, timestamp=time, message=user("x"))
                session.extend([entry])
                parent = entry.id
            assert store.info("s").last_activity == "2029-05-01T00:00:00.000Z"
            late = [
                MessageEntry(id="n1", parent_id=parent, timestamp="2029-07-01T00:00:00Z", message=user("x")),
                MessageEntry(id="n2", parent_id="n1", timestamp="2029-06-01T00:00:00Z", message=user("x")),
                SessionInfoMark(id="n3", timestamp="2029-08-01T00:00:00Z", name="N"),
                LeafMark(id="n4", timestamp="2029-08-01T00:00:00Z", target_id="n1"),
                VisibilityMark(id="n5", timestamp="2029-08-01T00:00:00Z", target_id="n1", visible_to="nobody"),
                OpaqueEntry(id="n6", parent_id="n1", timestamp="2029-08-01T00:00:00Z", unknown_type="x.y", fields={}),
                BranchSummaryEntry(id="n7", parent_id="n6", timestamp="2029-08-01T00:00:00Z", from_id="m1", summary=""),
            ]
            session.extend(late)
        assert store.info("s").last_activity == "2029-07-01T00:00:00.000Z"
        clock.pass_by(days=1)
        append_to(store, "s", "today")
        with store.open("s") as session:
            session.extend([MessageEntry(id="n8", parent_id="m1", timestamp="2029-09-01T00:00:00Z", message=user("x"))])
        assert store.info("s").last_activity == clock.text()

    def test_a_fork_begins_now(self, store: SessionStore, clock: Clock) -> None:
        """What it copies is older. Its parent does not change."""
        began = _begin_two(store, clock)
        store.fork("a", new_id="f").close()
        assert (store.info("f").last_activity, store.info("a").last_activity) == (clock.text(), began)

    def test_times_in_the_future_are_ignored(self, store: SessionStore, clock: Clock) -> None:
        """They are not moved to now, either. What else the session says counts, and lists and pages follow it."""
        for id in ("a", "b"):
            begin(store, id, cwd="/x")
            clock.pass_by(hours=1)
        said = store.info("a").last_activity
        clock.pass_by(days=365)
        append_to(store, "a", "under a wrong clock")
        begin(store, "c", cwd="/x")
        clock.pass_by(days=-365)
        activity = {info.id: info.last_activity for info in store.list()}
        assert list(activity) == ["b", "a", "c"]
        assert (activity["a"], activity["c"]) == (said, None)
        pages = [store.list(limit=1)]
        while (cursor := pages[-1].cursor) is not None:
            pages.append(store.list(limit=1, cursor=cursor))
        assert [ids(page) for page in pages] == [["b"], ["a"], ["c"]]
        begun = clock.now - timedelta(hours=2)
        assert ids(store.list(since=begun)) == ["b", "a"]
        assert ids(store.list(since=begun, until=begun + timedelta(minutes=1))) == ["a"]
        latest, found = store.latest(), store.resumable(cwd="/x")
        assert (latest and latest.id, found and found.id) == ("b", "b")
        assert ids(store.prune(max_age=timedelta(minutes=90))) == ["a"]  # an unknown age is not too old
        clock.pass_by(hours=1)
        append_to(store, "a", "under the right clock")
        append_to(store, "c", "under the right clock")
        assert ids(store.list()) == ["c", "a", "b"]
        assert store.info("c").last_activity == clock.text()

    def test_a_time_in_the_future_counts_when_it_has_come(self, store: SessionStore, clock: Clock) -> None:
        """Another machine's clock may be ahead of ours. A few seconds are no reason to ignore a time."""
        begin(store, "a")
        clock.pass_by(hours=1)
        ahead = clock.text()
        append_to(store, "a", "from a machine whose clock is ahead")
        clock.pass_by(seconds=-5)
        assert store.info("a").last_activity == ahead
        clock.pass_by(minutes=-5)
        assert store.info("a").last_activity == "2030-01-01T00:00:00.000Z"
        clock.pass_by(minutes=10)
        assert store.info("a").last_activity == ahead


def _begin_two(store: SessionStore, clock: Clock) -> str | None:
    """Begins `a` with an entry `first`, and `b` a day later. Returns when `a` was last active; that is 2 days ago."""
    with store.create(id="a", cwd="/x") as session:
        first: Any = MessageEntry(id="first", parent_id=None, timestamp=clock.text(), message=user("hello"))
        session.extend([first])
    clock.pass_by(days=1, hours=1)
    begin(store, "b")
    clock.pass_by(hours=23)
    return store.info("a").last_activity
