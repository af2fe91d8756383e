"""The usage ledger: what deleted sessions had used, per day, owner and model. It holds no content. Pure.

Only what is gone is in it. A copied entry that another session of the store still holds counts there, and comes into
the ledger when the last session that holds it is deleted. So the sum of a store and its ledger is what was ever spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from convtree._catalogue.copies import held_elsewhere, usage_from
from convtree._catalogue.gone import GoneSession, Used, used
from convtree._catalogue.record_summary import RecordSummary, entry_key, timestamp_of
from convtree._catalogue.tables import Execute, spent_by
from convtree._catalogue.types import LedgerRow
from convtree._model.usage import Usage

_Key = tuple[str | None, str | None, str | None, str | None]
_NUMBERS = Usage.__struct_fields__
_ADD = f"""
INSERT INTO ct_ledger (session_id, header, day, owner, provider, model, copied, {", ".join(_NUMBERS)})
VALUES (:session_id, :header, :day, :owner, :provider, :model, :copied, {", ".join(f":{name}" for name in _NUMBERS)})
"""
_ADD_LINK = "INSERT INTO ct_gone (session_id, parent_id) VALUES (:session_id, :parent_id) ON CONFLICT DO NOTHING"
_TEXTS = ("day", "provider", "model")
_REMOVE = "DELETE FROM ct_ledger WHERE session_id = :session_id AND header = :header"
_SELECT = f"SELECT session_id, header, copied, owner, day, provider, model, {', '.join(_NUMBERS)} FROM ct_ledger"
_SELECT_LINKS = "SELECT session_id, parent_id FROM ct_gone"


class Spending:
    """Adds up what is gone with a session, from batches of its records."""

    def __init__(self, owner: str | None) -> None:
        self._owner = owner
        self._sums: dict[_Key, Usage] = {}
        self.held = False  # another session held something that it has used

    def add(self, summaries: Iterable[RecordSummary], held: set[str]) -> None:
        """Adds the usage of records, but for those whose keys are in `held`."""
        for each in summaries:
            if entry_key(each) in held:
                self.held = True
            else:
                day = None if each.ms is None else (timestamp_of(each.ms) or "")[:10] or None
                for provider, model, _, usage in spent_by(each):
                    key = day, self._owner, provider, model
                    self._sums[key] = self._sums.get(key, Usage()) + usage

    def rows(self) -> list[LedgerRow]:
        """Returns the sums, ordered. A model without usage has none."""
        return rows_of(self._sums.items())


def paid(summaries: Iterable[RecordSummary]) -> list[RecordSummary]:
    """Returns the summaries of records with usage."""
    return [each for each in summaries if each.usage is not None or each.spent]


def rows_of(sums: Iterable[tuple[_Key, Usage]]) -> list[LedgerRow]:
    """Returns rows by day, owner, provider and model. Rows of the same are added up; sums of zero are left out."""
    totals: dict[_Key, Usage] = {}
    for key, usage in sums:
        totals[key] = totals.get(key, Usage()) + usage
    ordered = sorted(totals.items(), key=lambda each: [text or "" for text in each[0]])
    return [
        LedgerRow(day=day, owner=owner, provider=provider, model=model, usage=usage)
        for (day, owner, provider, model), usage in ordered
        if usage != Usage()
    ]


def gone_in(execute: Execute) -> list[GoneSession]:
    """Returns the sessions in the ledger of a database, and those that lead from one to what it had copied from."""
    found: dict[tuple[str, str], GoneSession] = {}
    for id, header, copied, owner, day, provider, model, *numbers in execute(_SELECT):
        usage = msgspec.structs.asdict(usage_from(numbers))
        row = Used(day=day or None, provider=provider or None, model=model or None, **usage)
        before = found.get((id, header), GoneSession(id=id, header=header, owner=owner or None, copied=bool(copied)))
        found[id, header] = msgspec.structs.replace(before, used=(*before.used, row))
    links = [GoneSession(id=id, header="", parent=parent, copied=True) for id, parent in execute(_SELECT_LINKS)]
    return [*found.values(), *links]


def spending_of(
    execute: Execute, session_id: str, owner: str | None, batches: Iterator[list[RecordSummary]]
) -> tuple[Used, ...]:
    """Returns what goes with a session that is about to be deleted."""
    spending = Spending(owner)
    for batch in batches:
        some = paid(batch)
        spending.add(some, held_elsewhere(execute, session_id, map(entry_key, some), ()))
    return used(spending.rows(), held=spending.held)


def put_gone(execute: Execute, gone: GoneSession) -> None:
    """Puts a deleted session into the ledger of a database, in place of what is there of it."""
    values = {"session_id": gone.id, "header": gone.header}
    if gone.used or gone.header:  # otherwise it is only a link
        execute(_REMOVE, values)
    texts = {"owner": gone.owner or "", "copied": int(gone.copied)}
    added = [
        values
        | texts
        | {name: value or "" for name, value in msgspec.structs.asdict(row).items() if name in _TEXTS}
        | {name: getattr(row, name) for name in _NUMBERS}
        for row in gone.used
    ]
    if added:
        execute(_ADD, added)
    add_links(execute, gone.links())


def add_links(execute: Execute, links: Sequence[tuple[str, str]]) -> None:
    """Stores what some sessions that are gone had copied from."""
    if links:
        execute(_ADD_LINK, [{"session_id": id, "parent_id": parent_id} for id, parent_id in links])
