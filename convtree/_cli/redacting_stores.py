"""`convtree redact --store`: sessions of a store, one after the other. One that fails stops no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from convtree._cli import json_output
from convtree._cli.gap_advice import with_repair
from convtree._cli.progress import counted
from convtree._cli.render import count, pending_line
from convtree._engine.redact import Redactor
from convtree._model.errors import ConvtreeError, SessionNotFound
from convtree._model.terminal_text import escape_controls
from convtree._session.redacting import SecretFound
from convtree.stores._redact import Redacted
from convtree.stores._session_store import SessionStore
from convtree.stores.base import Progress


class RedactedSessions(NamedTuple):
    """What became of the sessions. `refused` has those that could not be redacted: id to reason."""

    done: list[Redacted]
    refused: dict[str, str]
    dry_run: bool


def redacted_sessions(
    store: SessionStore,
    ids: Sequence[str],
    make: Callable[[], Redactor],
    report: Progress | None,
    *,
    dry_run: bool,
    remove_original: bool,
) -> RedactedSessions:
    """Redacts sessions of a store.

    Args:
        store: the store.
        ids: which sessions; all if there are none.
        make: returns the redactor for a session.
        report: called with (done, of) after each session.
        dry_run: whether they are only searched.
        remove_original: whether the log with the secrets is deleted.
    """
    found = RedactedSessions([], {}, dry_run)
    for id in counted(ids or store._all_ids(), report):
        try:
            done = store.redact_session(id, redactor=make(), dry_run=dry_run, remove_original=remove_original)
            found.done.append(done)
        except SessionNotFound as error:
            if ids:  # otherwise it was deleted meanwhile
                found.refused[id] = str(error)
        except (ConvtreeError, OSError) as error:
            found.refused[id] = with_repair(str(error), id)
    return found


def sessions_document(found: RedactedSessions) -> str:
    """Returns the document of `--json`."""
    return json_output.to_text(
        json_output.store_document("redact_store", dry_run=found.dry_run, sessions=found.done, refused=found.refused)
    )


def session_lines(found: RedactedSessions) -> Iterator[str]:
    """Yields what is printed: the sessions with secrets, those that were refused, and a summary."""
    some = [each for each in found.done if each.lines]
    for each in some:
        kept = f"; the log with the secrets: kept as {escape_controls(each.original)}" if each.original else ""
        what = "redacted" if each.done else "with secrets"
        yield f"{escape_controls(each.id)}: {count(each.lines, 'lines')} {what}{kept}"
        yield from counts_by_kind(each.kinds)
        yield from place_lines(each.places)
        yield from (f"  {pending_line(name)}" for name in each.pending)
        yield from (f"  may still contain secrets: {escape_controls(name)}" for name in each.copies)
    for id, reason in found.refused.items():
        yield f"{escape_controls(id)}: not redacted: {escape_controls(reason)}"
    clean = f"{count(len(found.done) - len(some), 'sessions')} without secrets"
    if not some:
        yield f"nothing to redact; {clean}"
    elif found.dry_run:
        yield f"{count(len(some), 'sessions')} with secrets, {clean}; add --yes to redact them"
    else:
        yield f"{count(len(some), 'sessions')} redacted, {clean}"


def counts_by_kind(counts: Mapping[str, int]) -> Iterator[str]:
    """Yields a line for each kind of secret."""
    return (f"  {kind}: {number:,}" for kind, number in sorted(counts.items()))


def place_lines(places: Iterable[SecretFound]) -> Iterator[str]:
    """Yields a line for each place of a secret."""
    for place in places:
        where = escape_controls(f"record {place.record:,} ({place.id}): {place.path}")
        yield f"  {where}, character {place.start:,}: {place.kind}"
