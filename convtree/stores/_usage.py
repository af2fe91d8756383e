"""Sums of tokens and cost: by model, session, branch, day and directory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from convtree._catalogue.copies import OwnRecords
from convtree._catalogue.types import Filter, SessionInfo, UsageTotal
from convtree._model.batches import batched
from convtree._model.usage import Usage
from convtree._session.session import Session
from convtree.stores._dated_usage import Dated, Span, counted_records
from convtree.stores._results import UsageRow
from convtree.stores.base import Catalogue


def totals_with_tasks(catalogue: Catalogue, ids: Sequence[str]) -> tuple[list[UsageTotal], dict[str, str]]:
    """Returns the totals of sessions and of their sub-agents, and in which of `ids` each session counts."""
    counted_in = {id: id for id in ids}
    for child, parent in catalogue.descendants(ids, "task").items():
        counted_in[child] = counted_in[parent]
    return catalogue.usage(list(counted_in)), counted_in


def lone_tasks(catalogue: Catalogue, filters: Filter) -> list[SessionInfo]:
    """Returns the sessions of sub-agents whose parent is gone: nobody else counts what they have used."""
    listed = {each.info.id: each.info for each in catalogue.sessions(msgspec.structs.replace(filters, tasks=True))}
    parents = {
        id: parent.id for id, info in listed.items() if (parent := info.parent_session) and parent.kind == "task"
    }
    there = {
        each.info.id
        for some in batched(sorted({*parents.values()}))
        for each in catalogue.sessions(Filter(ids=tuple(some), tasks=True))
    }
    return [listed[id] for id, parent in parents.items() if parent not in there]


def usage_rows(
    by: Literal["session", "model", "day", "directory"],
    spent: Sequence[Dated],
    counted_in: Mapping[str, str],
    infos: Sequence[SessionInfo],
) -> list[UsageRow]:
    """Returns a row for each session, in the order of `infos`, or for each day, in order, the one without a day last.

    By model and by directory, the row with the most tokens comes first. `counted_in` maps every session to the one of
    `infos` that it counts in.
    """
    match by:
        case "day":
            sums = _sums((each.day, each.total.usage) for each in spent)
            rows = [UsageRow(day=day, usage=usage) for (day,), usage in sums.items()]
            return sorted(rows, key=lambda row: (row.day is None, row.day))
        case "session":
            sums = _sums((counted_in[total.session_id], total.usage) for _, total in spent)
            return [
                UsageRow(session_id=info.id, session_title=info.title, usage=sums.get((info.id,), Usage()))
                for info in infos
            ]
        case "model":
            sums = _sums((total.provider, total.model, total.usage) for _, total in spent)
            rows = [UsageRow(provider=provider, model=model, usage=usage) for (provider, model), usage in sums.items()]
        case _:
            directories = {info.id: info.cwd for info in infos}
            sums = _sums((directories[counted_in[total.session_id]], total.usage) for _, total in spent)
            rows = [UsageRow(directory=directory, usage=usage) for (directory,), usage in sums.items()]
    return sorted(rows, key=lambda row: -row.usage.total_tokens)


def _sums(spent: Iterable[tuple[*tuple[Any, ...], Usage]]) -> dict[tuple[Any, ...], Usage]:
    """Adds up usage by what stands before it."""
    sums: dict[tuple[Any, ...], Usage] = {}
    for *key, usage in spent:
        sums[tuple(key)] = sums.get(tuple(key), Usage()) + usage
    return sums


def usage_by_branch(session: Session, own: OwnRecords, span: Span, title: str | None) -> list[UsageRow]:
    """Returns a row for each leaf: the sum over the path to it, of records that count in this session.

    What a vacuum dropped counts on every branch below its entry.
    """
    outline = session.outline()
    used = dict[int, Usage]()
    for row, ms, spent in counted_records(session, own):
        if span.has(ms):
            used[row] = sum((each.usage for each in spent), Usage())
    leaves = {entry.id: outline.row(entry.id) for entry in session.leaves()}
    sums: list[Usage] = []
    for row, parent in enumerate(outline.tree.parents):  # a parent's row is smaller than its child's
        above = sums[parent] if parent >= 0 else Usage()
        sums.append(above + used[row] if row in used else above)
    return [
        UsageRow(session_id=session.id, session_title=title, leaf_id=leaf, usage=sums[row])
        for leaf, row in leaves.items()
        if row is not None
    ]
