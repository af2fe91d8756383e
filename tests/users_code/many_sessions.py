"""A program that keeps many conversations: every call of a store, with the type that a user sees."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

import convtree
from convtree import Session, SessionStore, open_store
from convtree.stores.base import StoreBackend


def over(backend: StoreBackend) -> SessionStore:
    """Makes a store over a custom backend."""
    return SessionStore(backend)


def begin(store: SessionStore) -> str:
    """Begins sessions: a new one, one that may exist, a sub-agent's, one with a given header, a fork."""
    with store.create(
        id="trip", name="Trip", cwd="/home/me", git_root=None, owner="me", metadata={"a": 1}, on_stale="rebase"
    ) as session:
        assert_type(session, Session)
        question = session.append({"role": "user", "content": "Where shall we go?"})
        session.append({"role": "assistant", "content": "Rome?"}, model="claude", usage={"input_tokens": 9})
    with store.open("chat", create=True, on_stale="branch", name="Chat", owner="me") as session:
        session.append({"role": "user", "content": "Hello"})
    parent = convtree.ParentSession(id="trip", kind="task")
    with store.create(id="helper", parent_session=parent) as session:
        session.append({"role": "user", "content": "Look for trains."})
    shared = store.session("shared", create=True)
    with shared as session, store.session("shared", create=True) as same:
        assert_type(session, Session)
        assert same is session
        session.append({"role": "user", "content": "Hello"})
    with store.open_or_create(convtree.Header(id="there", timestamp="2026-01-02T03:04:05.678Z")) as session:
        session.append({"role": "user", "content": "From elsewhere."})
    with store.fork("trip", question.id, new_id="fork") as fork:
        assert_type(fork, Session)
    return question.id


def look(store: SessionStore) -> None:
    """Lists, searches, adds up."""
    page = store.list(cwd="/home/me", since=datetime.now(UTC) - timedelta(days=1), limit=1, tasks=True)
    assert_type(page.cursor, str | None)
    for info in page:
        assert_type((info.id, info.name, info.models), tuple[str, str | None, tuple[str, ...]])
        assert_type(info.usage.cost, float)
    if page.cursor is not None:
        assert store.list(cwd="/home/me", limit=1, tasks=True, cursor=page.cursor).sessions
    assert_type([info.id for info in store.children("trip")], list[str])
    latest = store.latest(owner="me")
    assert_type(None if latest is None else latest.last_activity, str | None)
    assert_type(store.info("trip").parent_session, convtree.ParentSession | None)
    for hit in store.search("rome", limit=3):
        assert_type((hit.session_id, hit.snippet, hit.on_path), tuple[str, str, bool])
    for row in store.usage("trip", by="branch"):
        assert_type((row.leaf_id, row.usage.output_tokens), tuple[str | None, int])
    for finding in store.findings:
        assert_type((finding.code, finding.place), tuple[str, str])
    assert_type(store.location, str)


def keep_house(store: SessionStore) -> None:
    """Renames, archives, deletes, copies."""
    store.rename("chat", "A chat")
    store.archive("chat")
    store.unarchive("chat")
    store.hold("chat")
    store.release("chat")
    store.set_directories("chat", cwd="/home/me", git_root=None)
    assert_type([info.id for info in store.prune(keep=0).held], list[str])
    assert_type([info.id for info in store.prune(max_age=timedelta(days=30), keep=100, dry_run=True)], list[str])
    with open_store("memory:") as copy:
        for copied in store.copy_to(copy, progress=print):
            assert_type((copied.id, copied.lines), tuple[str, int])
    found = store.resumable(cwd="/home/me", max_age=3600)
    assert_type(None if found is None else found.id, str | None)
    session = store.resume(cwd="/home/me", note="An hour has passed.")
    assert_type(session, Session | None)
    if session is not None:
        session.close()
    assert_type(store.delete("trip"), convtree.Erased)


def main(folder: Path) -> None:
    """Runs it all."""
    options: dict[str, Any] = {"redact": convtree.redact}
    with open_store(folder / "store", durability="process", lock_timeout_s=5, create=True, **options) as store:
        begin(store)
        look(store)
        keep_house(store)
    try:
        open_store(f"file:{folder}/nothing", create=False)
    except convtree.SessionNotFound:
        return
    raise AssertionError
