"""What a list of hits shows for the ids of their entries: the forms that `inspect` shows and `resolve` takes."""

from __future__ import annotations

from collections.abc import Sequence

from convtree._cli.leaf_view import LeafView
from convtree._cli.short_ids import entry_ids
from convtree._cli.terminal import Terminal
from convtree._model.entries import Entry
from convtree._model.errors import ConvtreeError
from convtree._model.terminal_text import escape_controls
from convtree.stores._results import Hit
from convtree.stores._session_store import SessionStore


def hit_ids(
    store: SessionStore, hits: Sequence[Hit], terminal: Terminal, *, whole: bool = False
) -> dict[tuple[str, str], str]:
    """Returns what stands for the entry of each hit, by the ids of session and entry; with `whole`, its id.

    Beginnings are judged by other entries of the session, as `inspect` does. So each session is opened once.
    """
    found: dict[tuple[str, str], str] = {}
    for session_id in dict.fromkeys(hit.session_id for hit in hits):
        ids = [hit.entry_id for hit in hits if hit.session_id == session_id]
        if whole or terminal.is_piped:
            shown = {id: escape_controls(id) for id in ids}
        else:
            shown = entry_ids(ids, terminal, (entry.id for entry in _sample(store, session_id)))
        found |= {(session_id, id): text for id, text in shown.items()}
    return found


def _sample(store: SessionStore, session_id: str) -> list[Entry]:
    try:
        with store.open(session_id, read_only=True) as session:
            return LeafView(session, None, session_id).sample
    except (ConvtreeError, FileNotFoundError, PermissionError):
        return []  # deleted since the search, or no longer for this user
