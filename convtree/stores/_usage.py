"""Sums of tokens and cost: by model, by session, by branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from convtree._catalogue.copies import OwnRecords
from convtree._catalogue.record_summary import copied_up_to, key_of, ms_of, spent_in
from convtree._catalogue.types import Filter, UsageTotal
from convtree._model.batches import batched
from convtree._model.entries import Entry, Mark, VacuumEntry
from convtree._model.usage import Usage, usage_of, usage_stored_in
from convtree._session.session import Session
from convtree.stores._results import UsageRow
from convtree.stores.base import Catalogue


def _usage_of(record: Entry | Mark) -> Usage | None:
    if isinstance(record, VacuumEntry):
        return sum((each.usage for each in spent_in(record)), Usage())
    usage = usage_stored_in(record)
    return None if usage is None else usage_of(usage)


def totals_with_tasks(catalogue: Catalogue, ids: Sequence[str]) -> tuple[list[UsageTotal], dict[str, str]]:
    """Returns the totals of sessions and of their sub-agents, and in which of `ids` each session counts."""
    counted_in = {id: id for id in ids}
    for child, parent in catalogue.descendants(ids, "task").items():
        counted_in[child] = counted_in[parent]
    return catalogue.usage(list(counted_in)), counted_in


def lone_tasks(catalogue: Catalogue, filters: Filter) -> list[str]:
    """Returns the sessions of sub-agents whose parent is gone: nobody else counts what they have used."""
    listed = catalogue.sessions(msgspec.structs.replace(filters, tasks=True))
    parents = {
        each.info.id: parent.id for each in listed if (parent := each.info.parent_session) and parent.kind == "task"
    }
    there = {
        each.info.id
        for some in batched(sorted({*parents.values()}))
        for each in catalogue.sessions(Filter(ids=tuple(some), tasks=True))
    }
    return [id for id, parent in parents.items() if parent not in there]


def usage_by_model(totals: Sequence[UsageTotal]) -> list[UsageRow]:
    """Returns a row for each provider and model, the one with the most tokens first."""
    sums: dict[tuple[str | None, str | None], Usage] = {}
    for each in totals:
        key = each.provider, each.model
        sums[key] = sums.get(key, Usage()) + each.usage
    rows = [UsageRow(provider=provider, model=model, usage=usage) for (provider, model), usage in sums.items()]
    return sorted(rows, key=lambda row: -row.usage.total_tokens)


def usage_by_session(totals: Sequence[UsageTotal], counted_in: Mapping[str, str]) -> list[UsageRow]:
    """Returns a row for each session that others are counted in. `counted_in` maps session ids to those sessions."""
    sums = dict.fromkeys(counted_in.values(), Usage())
    for each in totals:
        sums[counted_in[each.session_id]] += each.usage
    return [UsageRow(session_id=id, usage=usage) for id, usage in sums.items()]


def usage_by_branch(session: Session, own: OwnRecords) -> list[UsageRow]:
    """Returns a row for each leaf: the sum over the path to it, of records that count in this session.

    What a vacuum dropped counts on every branch below its entry.
    """
    outline = session.outline()
    last_copied = copied_up_to(session.header)
    copied = None if last_copied is None else outline.row(last_copied)

    def counts(row: int, record: Entry | Mark) -> bool:
        return copied is None or row > copied or key_of(record.id, ms_of(record.timestamp)) in own.copied

    used = {
        row: usage
        for row, record in session.records(own.start)
        if (usage := _usage_of(record)) is not None and counts(row, record)
    }
    leaves = {entry.id: outline.row(entry.id) for entry in session.leaves()}
    sums: list[Usage] = []
    for row, parent in enumerate(outline.tree.parents):  # a parent's row is smaller than its child's
        above = sums[parent] if parent >= 0 else Usage()
        sums.append(above + used[row] if row in used else above)
    return [
        UsageRow(session_id=session.id, leaf_id=leaf, usage=sums[row])
        for leaf, row in leaves.items()
        if row is not None
    ]
