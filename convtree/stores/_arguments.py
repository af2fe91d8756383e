"""Checks and conversions of arguments that several of a store's calls take. Pure, but that git roots are looked up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from convtree._catalogue.record_summary import ms_of, ms_of_datetime
from convtree._catalogue.types import Cursor, Filter
from convtree._engine import json_values
from convtree._logs import directories
from convtree._logs.directories import Directory
from convtree._model.entries import ID
from convtree._model.errors import InvalidMessage
from convtree._model.session_key import session_key
from convtree._model.unicode_text import check_text

_CURSOR = re.compile(rf"(-?[0-9]{{1,18}}):({ID.pattern})")
_FOREVER_MS = 2**53

Key = str | int | tuple[Any, ...] | list[Any]
"""What an id is made from: a text or an integer, or several of them."""

SKEW_MS = 10_000
"""How far the clocks of two machines may differ. A time that is later than now by more is ignored: it is wrong."""


def checked_id(id: str | None) -> str | None:
    """Returns an id that is valid, or None.

    Raises:
        InvalidMessage: it is not valid.
    """
    if id is not None:
        check_session_id(id)
    return id


def check_session_id(id: object) -> None:
    """Raises InvalidMessage unless this is the id of a session."""
    if not isinstance(id, str) or not ID.fullmatch(id):
        shown = repr(id[:140]) if isinstance(id, str) else f"a {type(id).__name__}"
        raise InvalidMessage(
            f"id: {shown} cannot be the id of a session, which is 1 to 128 letters, digits, '.', '_', ':' or '-', the "
            "first a letter or digit; session_key() makes one of any text, or pass key= instead",
            place="id",
        )


def id_and_key(id: str | None, key: Key | None) -> tuple[str | None, list[Any] | None]:
    """Returns the id of a session, and what it was made from; None if it was not made from a key.

    Raises:
        TypeError: both were given, or the key is none.
        InvalidMessage: the id is not valid.
    """
    if key is None:
        return checked_id(id), None
    if id is not None:
        raise TypeError("a session has either an id or a key; leave out one of them")
    parts = list(key) if isinstance(key, tuple | list) else [key]
    return session_key(*parts), parts


def described(create: bool, **arguments: Any) -> dict[str, Any]:
    """Returns those of a call's arguments that describe a session which begins, without those that are None.

    Raises:
        TypeError: there are some, and `create` is False.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    if given and not create:
        raise TypeError(f"{next(iter(given))} describes a new session; pass create=True with it, or leave it out")
    return given


def checked_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns metadata to look for as the JSON values that a log would have.

    Raises:
        InvalidMessage: a value is not JSON.
    """
    if metadata is None:
        return None
    found: dict[str, Any] = msgspec.json.decode(json_values.dump({"metadata": metadata}))["metadata"]
    return found


def check_owner(owner: str | None) -> str:
    """Returns the owner to whom a call is limited.

    Raises:
        ValueError: it is none.
        InvalidMessage: it has a lone surrogate.
    """
    if not owner:
        raise ValueError(f"owner {owner!r} is empty; pass another text")
    check_text(owner, "owner")
    return owner


def cursor_text(cursor: Cursor) -> str:
    """Returns a cursor as users get it."""
    return f"{cursor.ms}:{cursor.id}"


def parsed_cursor(text: str | None) -> Cursor | None:
    """Returns the cursor of a page; None for None.

    Raises:
        ValueError: it is not one.
    """
    if text is None:
        return None
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise ValueError("not a cursor; pass the cursor of a page that `list` returned")
    return Cursor(int(found[1]), found[2])


def filter_of(
    cwd: Directory | None,
    git_root: Directory | None,
    owner: str | None,
    archived: bool | None,
    held: bool | None,
    since: str | datetime | None,
    until: str | datetime | None,
    text: str | None,
    parent: str | None,
    metadata: Mapping[str, Any] | None,
    tasks: bool,
) -> Filter:
    """Returns the filter of a list, from the arguments of `SessionStore.list`.

    Raises:
        ValueError: a time is not one.
        InvalidMessage: a value of `metadata` is not JSON.
    """
    return Filter(
        cwd=directories.directory(cwd),
        git_root=directories.git_root(git_root),
        owner=owner,
        archived=archived,
        held=held,
        since_ms=time_ms("since", since),
        until_ms=time_ms("until", until),
        text=text,
        parent=parent,
        metadata=checked_metadata(metadata),
        tasks=tasks,
    )


def time_ms(name: str, when: str | datetime | None) -> int | None:
    """Returns a time, the argument `name`, in milliseconds since 1970; None for None.

    Raises:
        ValueError: a text is not an RFC 3339 time.
    """
    if when is None:
        return None
    if isinstance(when, datetime):
        return ms_of_datetime(when)
    found = ms_of(when)
    if found is None:
        raise ValueError(
            f"{name}: not a time: {when!r}; expected a datetime or RFC 3339 text such as 2026-01-31T00:00:00Z"
        )
    return found


def age_ms(age: timedelta | float) -> int:
    """Returns an age (a timedelta or seconds) in milliseconds. An infinite age becomes a very long one."""
    seconds = age.total_seconds() if isinstance(age, timedelta) else age
    return round(min(max(seconds * 1000, -_FOREVER_MS), _FOREVER_MS))
