"""What `redact_session` of a store replaces, what it keeps, and who notices."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

import pytest

from convtree._engine.redact import Redactor
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, ExtensionDataEntry, ModelChangeEntry
from convtree._model.errors import IdConflict, InvalidMessage, SessionNotFound
from convtree._session.redacting import SecretFound
from convtree.stores._redact import Redacted
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, asked, assistant, begin, ids, user

SECRET = "zebra7"
MARK = "[REDACTED:animal]"
PATTERNS = {"animal": re.compile("zebra7")}


def redacted(store: SessionStore, id: str, **options: Any) -> Redacted:
    """Redacts a session; skips the test if the store is one that cannot."""
    wanted: dict[str, Any] = {"redactor": Redactor(patterns=PATTERNS), "dry_run": False} | options
    try:
        return store.redact_session(id, **wanted)
    except NotImplementedError as error:
        pytest.skip(str(error))


def whole_text(store: SessionStore, id: str) -> str:
    """Returns all that a log and the lists say, as text."""
    with closing(store._log(id, "r")) as log:
        lines = b"".join(line for chunk in log.read() for line in chunk.lines)
    return lines.decode() + repr(store.info(id))


class RedactingTests(StoreTests):
    """Secrets go from lines, lists and searches. Everything else stays."""

    def test_secrets_go_and_the_tree_stays(self, store: SessionStore) -> None:
        """From the header, every kind of entry and mark, and from what lists and searches know."""
        described: dict[str, Any] = {"name": f"n {SECRET}", "owner": f"o {SECRET}", "cwd": f"/{SECRET}"}
        key = ("chat", SECRET)
        with store.create(key=key, metadata={"k": SECRET}, git_root=f"/g/{SECRET}", **described) as session:
            id = session.id
            first = session.append(user(f"my pet is {SECRET} yes"))
            answer = session.append(assistant(f"nice {SECRET}"), model="m", usage={"output_tokens": 3})
            session.extend(
                [
                    ExtensionDataEntry(id="x", parent_id=answer.id, ext_type="t", data={"a": [SECRET]}),
                    BranchSummaryEntry(id="b", parent_id="x", from_id=first.id, summary=SECRET),
                    CompactionEntry(id="c", parent_id="b", summary=f"about {SECRET}", first_kept_entry_id="x"),
                    ModelChangeEntry(id="m", parent_id="c", provider="p", model="n", settings={"s": SECRET}),
                ]
            )
            session.label(first.id, f"l {SECRET}")
            session.rename(f"again {SECRET}")
            session.append(user("plain"), id="plain")
            frames = [(record.id, record.type, record.timestamp) for _, record in session.records()]
        planned = redacted(store, id, dry_run=True)
        assert (planned.done, planned.kinds, planned.lines) == (False, {"animal": 14}, 9)
        assert asked(store, SECRET) == sorted([(id, first.id), (id, answer.id)])
        done = redacted(store, id)
        assert (done.id, done.done, done.kinds, done.lines) == (id, True, {"animal": 14}, 9)
        with store.open(id) as session:
            assert [(record.id, record.type, record.timestamp) for _, record in session.records()] == frames
            assert (session.name, session.labels) == (f"again {MARK}", {first.id: f"l {MARK}"})
            assert (session.metadata, session.header.key) == ({"k": MARK}, ["chat", MARK])
            assert session.entry(first.id).message == user(f"my pet is {MARK} yes")  # type: ignore[attr-defined]
            assert (session.leaf_id, session.findings) == ("plain", ())
            session.append(user("goes on"))
        info = store.info(id)
        assert (info.name, info.owner, info.cwd, info.key) == (f"again {MARK}", f"o {MARK}", f"/{MARK}", ["chat", MARK])
        assert (info.git_root, info.first_user_message) == (f"/g/{MARK}", f"my pet is {MARK} yes")
        assert (info.usage.output_tokens, info.entries, info.messages) == (3, 8, 4)
        assert SECRET not in whole_text(store, id)
        assert asked(store, SECRET) == []
        assert [entry for _, entry in asked(store, "my pet")] == [first.id]
        assert ids(store.list(owner=f"o {SECRET}")) == ids(store.list(metadata={"k": SECRET})) == []
        assert ids(store.list(owner=f"o {MARK}", cwd=f"/{MARK}", metadata={"k": MARK})) == [id]

    def test_nothing_to_redact(self, store: SessionStore) -> None:
        """Then nothing is written. A second redaction is such a one."""
        begin(store, "s", f"a {SECRET}")
        assert redacted(store, "s", redactor=None).done is False
        redactor = Redactor(patterns=PATTERNS)
        assert (redacted(store, "s", redactor=redactor).done, redactor.counts) == (True, {"animal": 1})
        again = redacted(store, "s")
        assert (again.done, again.lines, again.kinds, again.complete) == (False, 0, {}, ())

    def test_places_are_explained(self, store: SessionStore) -> None:
        """Where each secret was, not what it was."""
        begin(store, "s", "none", f"a {SECRET} and {SECRET}", name=SECRET)
        with store.open("s", read_only=True) as session:
            id = session.path()[1].id
        redactor = Redactor(patterns=PATTERNS, explain=True)
        found = redacted(store, "s", redactor=redactor, dry_run=True)
        assert found.places == (
            SecretFound(record=0, id="s", kind="animal", path="name", start=0),
            SecretFound(record=2, id=id, kind="animal", path="message.content", start=2),
            SecretFound(record=2, id=id, kind="animal", path="message.content", start=2 + len(f"{MARK} and ")),
        )
        assert redactor.places is not None
        assert [each.path for each in redactor.places] == [each.path for each in found.places]

    def test_writers_go_on(self, store: SessionStore, other: SessionStore) -> None:
        """A session that is open elsewhere reads the new log, and appends to it."""
        begin(store, "s", f"a {SECRET}")
        with other.open("s") as session:
            assert SECRET in repr(session.path()[0])
            redacted(store, "s")
            session.append(user("two"))
            assert [entry.text for entry in session.path()] == [f"a {MARK}", "two"]  # type: ignore[attr-defined]
            assert session.findings == ()
        assert store.info("s").messages == 2

    def test_a_retry_of_what_was_redacted_is_a_conflict(self, store: SessionStore) -> None:
        """The secret does not come back."""
        with store.create(id="s") as session:
            session.append(user(f"a {SECRET}"), id="one")
        redacted(store, "s")
        with store.open("s") as session:
            session.append(user(f"a {MARK}"), id="one")
            with pytest.raises(IdConflict):
                session.append(user(f"a {SECRET}"), id="one")
        assert store.info("s").entries == 1

    def test_copies_are_named_and_left(self, store: SessionStore, clock: Clock) -> None:
        """Forks and copies are sessions of their own. Usage still counts once."""
        with store.create(id="s") as session:
            session.append(assistant(f"a {SECRET}"), model="m", usage={"output_tokens": 5})
        clock.pass_by(seconds=1)
        store.fork("s", new_id="f").close()
        done = redacted(store, "s")
        assert done.copies[:1] == ("f",)
        assert {info.id: info.usage.output_tokens for info in store.list()} == {"s": 5, "f": 0}
        assert [found for found, _ in asked(store, SECRET)] == ["f"]
        redacted(store, "f")
        assert asked(store, SECRET) == []
        store.delete("s")
        assert store.info("f").usage.output_tokens == 5

    def test_handles_of_an_owner(self, store: SessionStore) -> None:
        """They redact their own sessions, and not so that these become another owner's."""
        begin(store, "a", f"x {SECRET}", owner="ann")
        begin(store, "b", f"x {SECRET}", owner="bob")
        begin(store, "z", "x", owner=SECRET)
        assert redacted(store.scoped(owner="ann"), "a").done
        with pytest.raises(SessionNotFound):
            store.scoped(owner="ann").redact_session("b", dry_run=False)
        with pytest.raises(InvalidMessage, match="owner"):
            redacted(store.scoped(owner=SECRET), "z")
        assert ids(store.list(owner=SECRET)) == ["z"]
        with pytest.raises(SessionNotFound):
            store.redact_session("nowhere")
        with pytest.raises(InvalidMessage):
            store.redact_session("no id")

    def test_a_session_on_hold_is_redacted(self, store: SessionStore) -> None:
        """A hold keeps a session from being deleted; it stays on hold."""
        begin(store, "s", f"x {SECRET}")
        store.hold("s")
        store.archive("s")
        assert redacted(store, "s").done
        assert (store.info("s").held, store.info("s").archived) == (True, True)
