"""The usage ledger: what deleted sessions had used, per day, owner and model. It holds no content. Pure.

Only what is gone is in it. A copied entry that another session of the store still holds counts there, and comes into
the ledger when the last session that holds it is deleted. So the sum of a store and its ledger is what was ever spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from convtree._catalogue.copies import held_elsewhere, usage_from
from convtree._catalogue.gone import GoneSession, Used, used
from convtree._catalogue.record_summary import RecordSummary, entry_key, timestamp_of
from convtree._catalogue.tables import Execute, spent_by
from convtree._catalogue.texts import key_of_texts, restored, stored
from convtree._catalogue.types import LedgerRow
from convtree._model.usage import Usage

_Key = tuple[str | None, str | None, str | None, str | None]
_NUMBERS = Usage.__struct_fields__
_ADD = f"""
INSERT INTO ct_ledger (session_id, header, sum_key, day, owner, provider, model, copied, {", ".join(_NUMBERS)})
VALUES (:session_id, :header, :sum_key, :day, :owner, :provider, :model, :copied,
  {", ".join(f":{name}" for name in _NUMBERS)})
"""
_ADD_LINK = """
INSERT INTO ct_gone (session_id, parent_key, parent_id) VALUES (:session_id, :parent_key, :parent_id)
ON CONFLICT DO NOTHING
"""
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
    for texts, usage in sums:
        day, owner, provider, model = (text or None for text in texts)  # an empty text is as good as none
        key = day, owner, provider, model
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
    for id, header, copied, *texts, numbers in ((*row[:7], row[7:]) for row in execute(_SELECT)):
        owner, day, provider, model = map(restored, texts)
        usage = msgspec.structs.asdict(usage_from(numbers))
        row = Used(day=day or None, provider=provider or None, model=model or None, **usage)
        before = found.get((id, header), GoneSession(id=id, header=header, owner=owner or None, copied=bool(copied)))
        found[id, header] = msgspec.structs.replace(before, used=(*before.used, row))
    links = [
        GoneSession(id=id, header="", parent=restored(parent), copied=True) for id, parent in execute(_SELECT_LINKS)
    ]
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
    added = [
        values
        | {"copied": int(gone.copied)}
        | sum_values(row.day, gone.owner, row.provider, row.model)
        | {name: getattr(row, name) for name in _NUMBERS}
        for row in gone.used
    ]
    if added:
        execute(_ADD, added)
    add_links(execute, gone.links())


def sum_values(day: str | None, owner: str | None, provider: str | None, model: str | None) -> dict[str, Any]:
    """Returns the columns that say what a sum of the ledger is about. Empty texts stand for unknown ones."""
    texts = {"day": day or "", "owner": owner or "", "provider": provider or "", "model": model or ""}
    return {"sum_key": key_of_texts(*texts.values())} | {name: stored(text) for name, text in texts.items()}


def add_links(execute: Execute, links: Sequence[tuple[str, str]]) -> None:
    """Stores what some sessions that are gone had copied from."""
    if links:
        execute(_ADD_LINK, [link_values(id, parent_id) for id, parent_id in links])


def link_values(session_id: str, parent_id: str) -> dict[str, Any]:
    """Returns the columns for what a session that is gone had copied from."""
    return {"session_id": session_id, "parent_key": key_of_texts(parent_id), "parent_id": stored(parent_id)}
