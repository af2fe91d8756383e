"""The queries of a catalogue: lists, searches, sums. SQL text only: no driver, no connection. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from convtree._catalogue.activity import SLOT_MS
from convtree._catalogue.copies import counted_copies, usage_from
from convtree._catalogue.metadata import metadata_rows
from convtree._catalogue.record_summary import NOT_SEARCHED, timestamp_of, words_of
from convtree._catalogue.tables import Dialect, Execute, Values
from convtree._catalogue.texts import equals, is_one_of, one_of, restored, stored
from convtree._catalogue.titles import first_messages, is_request, title_of
from convtree._catalogue.types import Cursor, Filter, ListedSession, SearchMatch, SessionInfo, StoredEntry, UsageTotal
from convtree._catalogue.words import pending_with, query_of, scores
from convtree._model.batches import BATCH, batched
from convtree._model.entries import MARK_CLASSES, ParentSession
from convtree._model.usage import Usage

_QUERY_LIMIT = 200  # words in one query
_RANKED = 500  # messages that SQLite ranks, unless more are asked for: those that were stored last

_INFO = (
    "session_id, name, owner, cwd, git_root, archived, created_ms, active_ms, entries, message_count, first_user, "
    "last_user, kind, parent_id, parent_entry, leaf_id, held, arrived_ms, session_key, size, last_crc"
)
#: the same, and whether the session has copied entries
_COLUMNS = ", ".join(f"s.{name}" for name in _INFO.split(", ")) + (
    ", EXISTS (SELECT 1 FROM ct_copied WHERE ct_copied.session_id = s.session_id)"
)
_CREATED, _ACTIVE, _NAME, _FIRST = map(_INFO.split(", ").index, ("created_ms", "active_ms", "name", "first_user"))
_BY_BOUND, _BY_TIME = "s.activity_bound DESC, s.session_id DESC", "s.active_ms DESC, s.session_id DESC"
#: the sessions with the latest bounds (`activity_bound`), in the order of a list
_SELECT_LATEST = f"""
SELECT {_COLUMNS}, s.activity_bound FROM (
  SELECT * FROM ct_sessions s{{where}} ORDER BY {_BY_BOUND} LIMIT :read) s ORDER BY {_BY_TIME}
"""
#: the page of a list, from the sessions whose bound is not before a given time; and whether all of them were read
_SELECT_PAGE = f"""
WITH latest AS (SELECT s.session_id, s.active_ms FROM ct_sessions s{{where}} ORDER BY {_BY_BOUND} LIMIT :read)
SELECT {_COLUMNS}, (SELECT COUNT(*) FROM latest) < :read
FROM (SELECT * FROM latest s ORDER BY {_BY_TIME} LIMIT :limit) page
JOIN ct_sessions s ON s.session_id = page.session_id ORDER BY {_BY_TIME}
"""
_MORE = 16  # sessions that are read beside those of a page: the order of the bounds is not that of the times
_MANY, _ALL = 10_000, 2**62  # sessions that are read next if those are not enough, and then
_SEARCHED = f"l.visible_to NOT IN ({', '.join(map(repr, NOT_SEARCHED))})"
#: not a mark; and not an entry that is lost, of which only the place is there
_IS_ENTRY = f"type NOT IN ({', '.join(map(repr, sorted({*MARK_CLASSES, 'lost'})))})"
_MATCH: dict[Dialect, str] = {
    # SQLite looks up the length of each message that it ranks. The first loop is over the words, last rows first.
    "sqlite": "SELECT l.session_id, l.id, -COALESCE(bm25(ct_terms), 0) AS score, l.position "
    "FROM ct_terms CROSS JOIN ct_lines l ON l.row = ct_terms.rowid {join} WHERE ct_terms MATCH :words AND {searched} "
    "{where} ORDER BY ct_terms.rowid DESC LIMIT :ranked",
    "postgresql": "SELECT l.session_id, l.id, ts_rank(to_tsvector('simple', l.words), q) AS score, l.position "
    "FROM plainto_tsquery('simple', :words) q, ct_lines l {join} WHERE l.words <> '' "
    "AND to_tsvector('simple', l.words) @@ q AND {searched} {where} "
    "ORDER BY score DESC, l.session_id, l.position LIMIT :limit",
}
#: of the lines that SQLite's index does not have yet; the first loop is over these
_MATCH_PENDING = (
    "SELECT l.session_id, l.id, l.words, l.position FROM ct_lines l {cross_join} WHERE {pending} AND {searched} {where}"
)
_IN_MATCH: dict[Dialect, str] = {
    "sqlite": "SELECT l.session_id FROM ct_terms JOIN ct_lines l ON l.row = ct_terms.rowid WHERE ct_terms MATCH :words "
    f"AND {_SEARCHED} UNION ALL SELECT l.session_id FROM ct_lines l WHERE {{pending}} AND {_SEARCHED}",
    "postgresql": "SELECT l.session_id FROM ct_lines l WHERE l.words <> '' "
    f"AND to_tsvector('simple', l.words) @@ plainto_tsquery('simple', :words) AND {_SEARCHED}",
}


_HAS_VALUE = "s.session_id IN (SELECT session_id FROM ct_metadata WHERE name = :key{number} AND value = :value{number})"
#: a session without the key, or with null there, has no row
_HAS_NOT = "NOT EXISTS (SELECT 1 FROM ct_metadata m WHERE m.session_id = s.session_id AND m.name = :key{number})"


class LastPage:
    """The sessions of the last lists, and what they were made of. Those that are still the same are not made again.

    To make them takes half the time of a list, and of a page that is listed again and again few have changed. What is
    kept is replaced as a whole, so threads may share it.
    """

    def __init__(self) -> None:
        self._made: dict[str, tuple[Any, ListedSession]] = {}  # by id

    def listed(
        self, rows: Iterable[Sequence[Any]], totals: Mapping[str, list[UsageTotal]], titles: Mapping[str, str | None]
    ) -> list[ListedSession]:
        """Returns the sessions of some rows."""
        known, made = self._made, dict[str, tuple[Any, ListedSession]]()
        found = []
        for row in rows:
            source = row, totals.get(row[0]), titles.get(row[0])
            each = known.get(row[0])
            if each is None or each[0] != source:
                each = source, _listed(*source)
                if each[1].info.key is None:  # a key may be an object, which is the caller's
                    made[row[0]] = each
            found.append(each[1])
        if made:
            kept = known | made
            self._made = kept if len(kept) <= BATCH else dict(islice(made.items(), BATCH))
        return found


def sessions(
    execute: Execute,
    dialect: Dialect,
    filters: Filter,
    after: Cursor | None = None,
    limit: int | None = None,
    page: LastPage | None = None,
) -> list[ListedSession]:
    """Returns sessions, last active first, beginning after a cursor.

    Of a session whose last activity is after `now_ms`, an earlier time counts, which its lines have. Such sessions are
    rare: a clock was wrong. `page` knows what an earlier call has returned.
    """
    now_ms = filters.now_ms
    rows = _select(execute, dialect, filters, after, limit)
    if now_ms is not None and _may_be_ahead(rows, filters, after):
        ahead = [
            row
            for row in _from_lines(execute, _select(execute, dialect, filters, ahead_of=now_ms), now_ms)
            if _is_in_range(row, filters, after)
        ]
        rows = _select(execute, dialect, filters, after, limit, until_now=now_ms)
        rows = sorted([*rows, *ahead], key=_cursor_of, reverse=True)[:limit]
    totals: dict[str, list[UsageTotal]] = {}
    for each in usage(execute, [row[0] for row in rows], [row[0] for row in rows if row[-1]]):
        totals.setdefault(each.session_id, []).append(each)
    titles = _titles(execute, rows)
    return (page or LastPage()).listed(rows, totals, titles)


def _titles(execute: Execute, rows: Iterable[Sequence[Any]]) -> dict[str, str | None]:
    """Returns the title of each session. Messages are read only where neither the name nor the first one will do."""
    titles = {row[0]: restored(row[_NAME]) or row[_FIRST] for row in rows}
    unclear = [row[0] for row in rows if not row[_NAME] and row[_FIRST] is not None and not is_request(row[_FIRST])]
    messages = first_messages(execute, unclear)
    return titles | {id: title_of(None, some) or titles[id] for id, some in messages.items()}


def count(execute: Execute, dialect: Dialect, filters: Filter) -> int:
    """Returns how many sessions match."""
    if filters.since_ms is not None or filters.until_ms is not None:
        return len(sessions(execute, dialect, filters))  # which knows the times after `now_ms`
    where, values = _conditions(filters, dialect)
    ((number,),) = execute(f"SELECT COUNT(*) FROM ct_sessions s{_where(where)}", values)
    return int(number)


def _select(
    execute: Execute,
    dialect: Dialect,
    filters: Filter,
    after: Cursor | None = None,
    limit: int | None = None,
    *,
    until_now: int | None = None,
    ahead_of: int | None = None,
) -> list[Any]:
    """Returns rows of sessions by the last activity that they say, last first.

    Args:
        execute: runs the query.
        dialect: of the database.
        filters: which sessions.
        after: begins after this position.
        limit: the most rows.
        until_now: only sessions that were not active after this time.
        ahead_of: only sessions that were active after this time, whatever `filters` says about times.
    """
    if ahead_of is not None:
        filters = msgspec.structs.replace(filters, since_ms=ahead_of + 1, until_ms=None)
    where, values = _conditions(filters, dialect)
    if after is not None:
        where.append("s.activity_bound <= :after_bound AND (s.active_ms, s.session_id) < (:after_ms, :after_id)")
        values |= {"after_bound": after.ms + SLOT_MS, "after_ms": after.ms, "after_id": after.id}
    if until_now is not None:
        where.append("s.activity_bound <= :now_bound AND s.active_ms <= :now")
        values |= {"now_bound": until_now + SLOT_MS, "now": until_now}
    if limit is None:
        return execute(f"SELECT {_COLUMNS} FROM ct_sessions s{_where(where)} ORDER BY {_BY_TIME}", values)
    while True:
        found = _page(execute, where, values, limit)
        if found is not None:
            return found


def _page(execute: Execute, where: Sequence[str], values: dict[str, Any], limit: int) -> list[Any] | None:
    """Returns the first rows by time; None if too many were deleted meanwhile."""
    read = limit + _MORE
    rows = execute(_SELECT_LATEST.format(where=_where(where)), values | {"read": read})
    bounds = [row[-1] for row in rows]
    # No other session was active after the last bound. Where all bounds are times, the order is right anyway.
    if len(rows) < read or rows[limit - 1][_ACTIVE] > min(bounds) or bounds == [row[_ACTIVE] for row in rows]:
        return [row[:-1] for row in rows[:limit]]
    sql = _SELECT_PAGE.format(where=_where([*where, "(s.activity_bound, s.session_id) >= (:last_ms, :last_id)"]))
    read, is_whole = _MANY, False
    while not is_whole:
        last = {"last_ms": rows[limit - 1][_ACTIVE], "last_id": rows[limit - 1][0]}
        rows = execute(sql, values | last | {"limit": limit, "read": read})
        if len(rows) < limit:
            return None
        read, is_whole = _ALL, rows[-1][-1]
    return [row[:-1] for row in rows]


def _may_be_ahead(rows: Sequence[Any], filters: Filter, after: Cursor | None) -> bool:
    """Returns whether sessions may be missing in `rows`, or in a wrong place, because they were active after now.

    Those would be the first rows, unless the query left them out.
    """
    if after is not None or filters.until_ms is not None:
        return True
    return bool(rows) and rows[0][_ACTIVE] > filters.now_ms


def is_any_ahead(execute: Execute, now_ms: int | None) -> bool:
    """Returns whether a session was active after this time, so that what a list says may change as time goes by."""
    if now_ms is None:
        return False
    sql = "SELECT 1 FROM ct_sessions WHERE activity_bound > :now AND active_ms > :now LIMIT 1"
    return bool(execute(sql, {"now": now_ms}))


def _from_lines(execute: Execute, rows: Sequence[Any], now_ms: int) -> Iterator[tuple[Any, ...]]:
    """Yields rows with the last activity up to now, from the lines."""
    for some in batched(rows):
        marks, values = one_of([row[0] for row in some])
        sql = f"SELECT session_id, MAX(said_ms) FROM ct_lines WHERE session_id IN ({marks}) AND said_ms <= :now"
        said = dict(map(tuple, execute(f"{sql} GROUP BY session_id", values | {"now": now_ms})))
        for row in some:
            times = [time for time in (row[_CREATED], said.get(row[0])) if time is not None and time <= now_ms]
            yield *row[:_ACTIVE], max(times, default=0), *row[_ACTIVE + 1 :]


def _is_in_range(row: Sequence[Any], filters: Filter, after: Cursor | None) -> bool:
    active_ms = row[_ACTIVE]
    return (
        (filters.since_ms is None or active_ms >= filters.since_ms)
        and (filters.until_ms is None or active_ms < filters.until_ms)
        and (after is None or _cursor_of(row) < after)
    )


def _cursor_of(row: Sequence[Any]) -> Cursor:
    return Cursor(row[_ACTIVE], row[0])


def search(execute: Execute, dialect: Dialect, text: str, filters: Filter, limit: int) -> list[SearchMatch]:
    """Returns the messages that contain all words of a text, best first."""
    words = _distinct(text)
    if not words:
        return []
    where, values = _conditions(filters, dialect)
    for name, sign in (("said_since_ms", ">="), ("said_until_ms", "<")):
        if (ms := getattr(filters, name)) is not None:
            where.append(f"l.time_ms {sign} :{name}")
            values[name] = ms
    parts = {
        "join": "JOIN ct_sessions s ON s.session_id = l.session_id" if where else "",
        "searched": _SEARCHED,
        "where": "".join(f" AND {each}" for each in where),
    }
    if dialect == "postgresql":
        rows = execute(_MATCH[dialect].format(**parts), values | {"words": " ".join(words), "limit": limit})
    else:
        rows = _ranked(execute, words, parts, values, limit)
    return [SearchMatch(session_id, id, score) for session_id, id, score, _ in rows]


def _ranked(execute: Execute, words: Sequence[str], parts: dict[str, str], values: Values, limit: int) -> list[Any]:
    """Returns the rows of SQLite's matches, best first: those of its index, and of the lines that are not in it yet."""
    condition, pending = pending_with(words)
    cross_join = f"CROSS {parts['join']}" if parts["join"] else ""
    sql = _MATCH_PENDING.format(pending=condition, cross_join=cross_join, **parts)
    unindexed = execute(sql, {**values, **pending})
    found = {"words": query_of(words), "ranked": max(limit, _RANKED) - len(unindexed)}
    rows = list(execute(_MATCH["sqlite"].format(**parts), {**values, **found}))
    for row, score in zip(unindexed, scores(execute, words, [row[2] for row in unindexed]), strict=True):
        rows.append((*row[:2], score, row[3]))
    return sorted(rows, key=lambda row: (-row[2], row[0], row[3]))[:limit]


def usage(execute: Execute, ids: Sequence[str], copiers: Sequence[str] | None = None) -> list[UsageTotal]:
    """Returns tokens and cost of these sessions, by session and model. A copied entry counts in one session only.

    `copiers` are those of them that have copied entries; None if the caller does not know.
    """
    totals: dict[tuple[str, str, str], tuple[int, Usage]] = {}
    for chunk in batched(ids):
        marks, values = one_of(chunk)
        rows = execute(
            "SELECT session_id, provider, model, answers, input_tokens, output_tokens, cache_read_tokens, "
            f"cache_write_tokens, cost FROM ct_usage WHERE session_id IN ({marks})",
            values,
        )
        for id, provider, model, answers, *numbers in rows:
            totals[id, restored(provider), restored(model)] = answers, usage_from(numbers)
    for session_id, _, provider, model, count, used in counted_copies(execute, ids if copiers is None else copiers):
        answers, total = totals.get((session_id, provider, model), (0, Usage()))
        totals[session_id, provider, model] = answers + count, total + used
    ordered = sorted(totals.items(), key=lambda each: (each[0][0], -each[1][0], *each[0][1:]))
    return [UsageTotal(id, provider or None, model or None, total) for (id, provider, model), (_, total) in ordered]


def entries(execute: Execute, ids: Sequence[str]) -> list[StoredEntry]:
    """Returns the entries of some sessions."""
    sql = "SELECT session_id, id, time_ms FROM ct_lines WHERE session_id = :session_id AND id IS NOT NULL"
    return [StoredEntry(*row) for id in ids for row in execute(f"{sql} AND {_IS_ENTRY}", {"session_id": id})]


def sessions_with(execute: Execute, entry_ids: Sequence[str]) -> list[StoredEntry]:
    """Returns the entries with one of these ids, in all sessions; of one id, in the order in which these began."""
    found = []
    for chunk in batched(entry_ids):
        marks, values = one_of(chunk)
        sql = (
            "SELECT l.session_id, l.id, l.time_ms FROM ct_lines l JOIN ct_sessions s ON s.session_id = l.session_id "
            f"WHERE l.id IN ({marks}) AND l.{_IS_ENTRY} ORDER BY COALESCE(s.created_ms, 0), l.session_id"
        )
        found += [StoredEntry(*row) for row in execute(sql, values)]
    return found


def ids_beginning(execute: Execute, beginnings: Sequence[str], length: int) -> list[str]:
    """Returns the ids whose first `length` characters are one of these texts."""
    found: list[str] = []
    for chunk in batched(beginnings):
        marks, values = one_of(chunk)
        sql = f"SELECT session_id FROM ct_sessions WHERE substr(session_id, 1, {length}) IN ({marks})"
        found += [id for (id,) in execute(sql, values)]
    return found


def descendants(execute: Execute, ids: Sequence[str], kind: str) -> dict[str, str]:
    """Returns the sessions of a kind below these sessions, at any depth: id to parent id, parents first.

    `ids` are not in it, even if parents form a ring.
    """
    known, found = set(ids), dict[str, str]()
    level = list(ids)
    while level:
        below = _children(execute, level, kind)
        level = [id for id in below if id not in known]
        known.update(level)
        found |= {id: below[id] for id in level}
    return found


def _children(execute: Execute, ids: Sequence[str], kind: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for chunk in batched(ids):
        marks, values = one_of(chunk)
        sql = f"SELECT session_id, parent_id FROM ct_sessions WHERE {is_one_of('parent_id', marks)} AND kind = :kind"
        rows = execute(sql + " ORDER BY session_id", values | {"kind": kind})
        found |= {id: restored(parent_id) for id, parent_id in rows}
    return found


def _conditions(filters: Filter, dialect: Dialect) -> tuple[list[str], dict[str, Any]]:
    where: list[str] = []
    values: dict[str, Any] = {}
    for name in ("cwd", "git_root", "owner"):
        if (value := getattr(filters, name)) is not None:
            where.append(equals(f"s.{name}", f":{name}"))
            values[name] = stored(value)
    if filters.here is not None:
        where.append(f"({equals('s.cwd', ':here_cwd')} OR {equals('s.git_root', ':here_root')})")
        values |= dict(zip(("here_cwd", "here_root"), map(stored, filters.here), strict=True))
    for name in ("archived", "held"):
        if (flag := getattr(filters, name)) is not None:
            where.append(f"s.{name} = :{name}")
            values[name] = int(flag)
    if filters.since_ms is not None:
        where.append("s.activity_bound >= :since AND s.active_ms >= :since")
        values["since"] = filters.since_ms
    if filters.until_ms is not None:
        where.append("s.active_ms < :until")
        values["until"] = filters.until_ms
    if filters.parent is not None:
        where.append(equals("s.parent_id", ":parent"))
        values["parent"] = stored(filters.parent)
    if not filters.tasks:
        where.append("s.kind <> 'task'")
    if filters.ids is not None:
        marks, some = one_of(filters.ids)
        where.append(f"s.session_id IN ({marks})")
        values |= some
    if filters.id_prefix is not None:
        where.append(f"substr(s.session_id, 1, {len(filters.id_prefix)}) = :id_prefix")
        values["id_prefix"] = filters.id_prefix
    _add_contents(where, values, filters, dialect)
    return where, values


def _add_contents(where: list[str], values: dict[str, Any], filters: Filter, dialect: Dialect) -> None:
    """Adds the conditions on what a session says: its metadata, its name, its messages."""
    for number, (name, value) in enumerate(metadata_rows(filters.metadata or {})):
        where.append((_HAS_VALUE if value else _HAS_NOT).format(number=number))
        values |= {f"key{number}": name} | ({f"value{number}": value} if value else {})
    if filters.text is not None and (words := _distinct(filters.text)):
        likes = {f"like{number}": f"% {word} %" for number, word in enumerate(words)}
        named = " AND ".join(f"s.name_words LIKE :{like}" for like in likes)
        values |= likes
        if dialect == "sqlite":
            condition, pending = pending_with(words)
            matching = _IN_MATCH[dialect].format(pending=condition)
            values |= {"words": query_of(words), **pending}
        else:
            matching = _IN_MATCH[dialect]
            values["words"] = " ".join(words)
        where.append(f"(({named}) OR s.session_id IN ({matching}))")


def _distinct(text: str) -> list[str]:
    """Returns the words of a query, each once, up to the limit."""
    return list(dict.fromkeys(words_of(text)))[:_QUERY_LIMIT]


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _listed(row: Sequence[Any], totals: Sequence[UsageTotal] | None, title: str | None) -> ListedSession:
    id, *texts = row[:5]
    archived, created, active, entries, messages, first, last, kind, *others = row[5:]
    parent_id, parent_entry, leaf, held, arrived, key, size, crc, _ = others
    name, owner, cwd, git_root, parent_id, parent_entry, leaf = map(restored, (*texts, parent_id, parent_entry, leaf))
    totals = totals or ()
    info = SessionInfo(
        id=id,
        name=name,
        owner=owner,
        cwd=cwd,
        git_root=git_root,
        archived=bool(archived),
        created=timestamp_of(created),
        last_activity=timestamp_of(active or None),
        entries=entries,
        messages=messages,
        title=title,
        first_user_message=first,
        last_user_message=last,
        models=tuple(dict.fromkeys(each.model for each in totals if each.model is not None)),
        usage=sum((each.usage for each in totals), Usage()),
        parent_session=ParentSession(id=parent_id, entry_id=parent_entry, kind=kind) if kind else None,
        leaf_id=leaf,
        held=bool(held),
        arrived=timestamp_of(arrived),
        key=None if key is None else msgspec.json.decode(key),
    )
    return ListedSession(info, Cursor(active, id), (size, created or 0, crc))
