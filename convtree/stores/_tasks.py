"""Sub-agents: a session of kind "task" that begins at an entry of another session.

The call is a method of `SessionStore`. It stands here because it is the one that looks into a second session.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from convtree._engine import codec
from convtree._engine.leaf import LEAF, AtLeaf, OnStale
from convtree._logs.directories import Directory
from convtree._model.entries import ParentSession
from convtree._model.errors import SessionNotFound
from convtree._session.session import Session
from convtree._session.view import SessionView


class _Store(Protocol):
    @property
    def location(self) -> str: ...
    def _read(self, id: str) -> Session: ...
    def create(
        self,
        *,
        id: str | None,
        name: str | None,
        cwd: Directory | None,
        git_root: Directory | None,
        owner: str | None,
        metadata: Mapping[str, Any] | None,
        parent_session: ParentSession,
        on_stale: OnStale,
    ) -> Session: ...
    def close(self) -> None: ...


def create_task(
    self: _Store,
    parent: str,
    entry_id: str | AtLeaf | None = LEAF,
    *,
    id: str | None = None,
    name: str | None = None,
    cwd: Directory | None = None,
    git_root: Directory | None = None,
    owner: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    on_stale: OnStale = "raise",
) -> Session:
    """Begins the session of a sub-agent. Nothing is stored before its first record.

    It belongs to its parent: it is deleted and pruned with it, and its usage counts there. Lists and searches leave it
    out unless they are called with `tasks=True`. Its messages are in no context of the parent.

    Args:
        self: the store.
        parent: the id of the session that it works for, which may be a sub-agent's itself.
        entry_id: the entry of the parent at which it begins, such as the message with the call. Left out, the parent's
            leaf; None is the place before the first entry.
        id: its own id; None makes a new one.
        name: its name.
        cwd: its directory. Without `cwd` and `git_root`, both are the parent's.
        git_root: the root of its repository, see `cwd`.
        owner: whose it is; None means the parent's.
        metadata: a JSON object of the application.
        on_stale: what an append does if another writer moved the leaf, as for `Session.open`.

    Raises:
        SessionNotFound: the parent is not stored. A session is stored with its first record.
        EntryNotFound, BrokenPath: the parent does not have the entry, or its line is damaged.
        LeafUncertain: `entry_id` was left out, and damage may have hidden a move of the parent's leaf.
        SessionExists: there is a session with this id; at the latest at the first append.
        InvalidMessage: a value cannot be stored.
    """
    codec.check_id(parent, "parent")
    try:
        opened = self._read(parent)
    except SessionNotFound:
        raise SessionNotFound(
            f"{self.location}: there is no session {parent!r} for a sub-agent to work for; a session is stored with "
            "its first record, so append to the parent first"
        ) from None
    with opened as above:
        place = above._client.ask(_place, entry_id)
        if cwd is None and git_root is None:
            cwd, git_root = above.cwd, above.git_root
        return self.create(
            id=id,
            name=name,
            cwd=cwd,
            git_root=git_root,
            owner=above.header.owner if owner is None else owner,
            metadata=metadata,
            parent_session=ParentSession(id=parent, entry_id=place, kind="task"),
            on_stale=on_stale,
        )


def _place(view: SessionView, entry_id: str | AtLeaf | None) -> str | None:
    return view.id_of(view.row(entry_id))


create_task.__qualname__ = "SessionStore.create_task"
