"""The usage ledger: what deleted sessions had used, per day, owner and model. It holds no content. Pure.

Only what is gone is in it. A copied entry that another session of the store still holds counts there, and comes into
the ledger when the last session that holds it is deleted. So the sum of a store and its ledger is what was ever spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from convtree._catalogue.copies import held_elsewhere, usage_from
from convtree._catalogue.record_summary import RecordSummary, entry_key, timestamp_of
from convtree._catalogue.tables import Execute, spent_by
from convtree._catalogue.types import LedgerRow
from convtree._model.usage import Usage

_Key = tuple[str | None, str | None, str | None, str | None]
_NUMBERS = Usage.__struct_fields__
_ADD = f"""
INSERT INTO ct_ledger (session_id, day, owner, provider, model, {", ".join(_NUMBERS)})
VALUES (:session_id, :day, :owner, :provider, :model, {", ".join(f":{name}" for name in _NUMBERS)})
ON CONFLICT (session_id, day, owner, provider, model) DO UPDATE SET
  {", ".join(f"{name} = ct_ledger.{name} + excluded.{name}" for name in _NUMBERS)}
"""
_ADD_LINK = "INSERT INTO ct_gone (session_id, parent_id) VALUES (:session_id, :parent_id) ON CONFLICT DO NOTHING"
_SELECT = f"SELECT day, owner, provider, model, {', '.join(_NUMBERS)} FROM ct_ledger"


class Spending:
    """Adds up what is gone with a session, from batches of its records."""

    def __init__(self, owner: str | None) -> None:
        self._owner = owner
        self._sums: dict[_Key, Usage] = {}

    def add(self, summaries: Iterable[RecordSummary], held: set[str]) -> None:
        """Adds the usage of records, but for those whose keys are in `held`."""
        for each in summaries:
            if entry_key(each) not in held:
                day = None if each.ms is None else (timestamp_of(each.ms) or "")[:10] or None
                for provider, model, _, usage in spent_by(each):
                    key = day, self._owner, provider, model
                    self._sums[key] = self._sums.get(key, Usage()) + usage

    def rows(self) -> list[LedgerRow]:
        """Returns the sums, ordered. A model without usage has none."""
        return rows_of((key, usage) for key, usage in self._sums.items() if usage != Usage())


def paid(summaries: Iterable[RecordSummary]) -> list[RecordSummary]:
    """Returns the summaries of records with usage."""
    return [each for each in summaries if each.usage is not None or each.spent]


def rows_of(sums: Iterable[tuple[_Key, Usage]]) -> list[LedgerRow]:
    """Returns rows by day, owner, provider and model. Rows of the same are added up."""
    totals: dict[_Key, Usage] = {}
    for key, usage in sums:
        totals[key] = totals.get(key, Usage()) + usage
    ordered = sorted(totals.items(), key=lambda each: [text or "" for text in each[0]])
    return [
        LedgerRow(day=day, owner=owner, provider=provider, model=model, usage=usage)
        for (day, owner, provider, model), usage in ordered
    ]


def rows_in(execute: Execute) -> list[LedgerRow]:
    """Returns the ledger of a database."""
    selected = execute(_SELECT)
    return rows_of(
        ((day or None, owner or None, provider or None, model or None), usage_from(numbers))
        for day, owner, provider, model, *numbers in selected
    )


def add_gone(
    execute: Execute, session_id: str, owner: str | None, parent_id: str | None, batches: Iterator[list[RecordSummary]]
) -> None:
    """Adds a session that is about to be deleted to the ledger of a database, and what leads past it.

    `parent_id` is the session that it had copied from.
    """
    spending = Spending(owner)
    for batch in batches:
        some = paid(batch)
        spending.add(some, held_elsewhere(execute, session_id, map(entry_key, some), ()))
    added = [
        {"session_id": session_id, "day": row.day or "", "owner": row.owner or "", "provider": row.provider or ""}
        | {"model": row.model or ""}
        | msgspec.structs.asdict(row.usage)
        for row in spending.rows()
    ]
    if added:
        execute(_ADD, added)
    if parent_id is not None:
        add_links(execute, [(session_id, parent_id)])


def add_links(execute: Execute, links: Sequence[tuple[str, str]]) -> None:
    """Stores what some sessions that are gone had copied from."""
    execute(_ADD_LINK, [{"session_id": id, "parent_id": parent_id} for id, parent_id in links])
