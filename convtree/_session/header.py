"""Makes the header of a new session, and checks arguments that must be one of a few words, or a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convtree._engine import codec
from convtree._logs import directories
from convtree._logs.directories import Directory
from convtree._model.entries import Header, ParentSession
from convtree._model.sources import Clock, IdSource, random_id, system_clock, timestamp


def new_header(
    id: str | None = None,
    cwd: Directory | None = None,
    git_root: Directory | None = None,
    owner: str | None = None,
    name: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    parent_session: ParentSession | None = None,
    *,
    clock: Clock = system_clock,
    id_source: IdSource = random_id,
) -> Header:
    """Makes the header of a session that begins now.

    Args:
        id: its id; None takes two of the id source's in a row.
        cwd: its working directory; made absolute and normalised.
        git_root: the root of its git repository; of a worktree, that of the main one.
        owner: whose session it is.
        name: its name.
        metadata: more about it, a JSON object.
        parent_session: the session that it was made from.
        clock: where its time comes from.
        id_source: where its id comes from.

    Raises:
        InvalidMessage: a value cannot be stored.
    """
    header = Header(
        id=id_source() + id_source() if id is None else id,
        timestamp=timestamp(clock),
        cwd=directories.directory(cwd),
        git_root=directories.git_root(git_root),
        owner=owner,
        name=name,
        metadata=None if metadata is None else dict(metadata),
        parent_session=parent_session,
    )
    given = (id, cwd, git_root, owner, name, metadata, parent_session)
    if any(value is not None for value in given) or clock is not system_clock or id_source is not random_id:
        codec.encode_header(header)  # a value that cannot be stored raises now, not at the first append
    return header


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError unless an argument is one of its choices."""
    if value not in choices:
        raise ValueError(f"{name} is one of {', '.join(map(repr, choices))}, not {value!r}")
