"""Sessions as the rows of a table, for `ls` and what asks before it deletes. Pure but for the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import Path

from convtree._catalogue.record_summary import ms_of
from convtree._catalogue.types import SessionInfo
from convtree._cli.short_ids import fitted_id
from convtree._cli.table import Column, table_lines
from convtree._cli.terminal import Terminal, cost_text, readable_size
from convtree._cli.times import age_since, time_text
from convtree._model.terminal_text import escape_controls
from convtree.exchange import ForeignSession
from convtree.stores._results import Judged
from convtree.stores._session_store import SessionStore

_LEAST_TITLE, _LEAST_DIRECTORY, _LEAST_MODEL, _LEAST_FILE = 22, 12, 10, 20
_LEAST_BESIDE_ID = 20  # columns of a title: so a UUID, a time and the title fit into 80


def session_lines(
    infos: Sequence[SessionInfo], ids: Mapping[str, str], now: datetime, terminal: Terminal, *, verbose: bool = False
) -> Iterator[str]:
    """Yields the header and a line for each session. `ids` has what stands for the id of each session.

    On a terminal, each row has the number that commands take in place of the id. So the ids are left out where they
    leave no room for the titles; with `verbose`, they stay.
    """
    ages = [age_since(info.last_activity, now) for info in infos]
    columns = [
        *number_columns(len(infos), terminal),
        Column(header="ID", texts=[ids[info.id] for info in infos], rank=int(not verbose), style="dim"),
        Column(header="AGE", texts=ages, rank=2 if verbose else 0, style="dim"),
    ]
    if verbose:  # the time stays longer than what it makes up for
        times = [time_text(info.last_activity, now.tzinfo) for info in infos]
        columns.append(Column(header="LAST ACTIVE", texts=times, rank=1, style="dim"))
    models = [_models(info, terminal) for info in infos]
    costs = [cost_text(info.usage.cost) for info in infos]
    columns += [
        _directories(infos, rank=4),
        Column(header="MODEL", texts=models, least=_LEAST_MODEL, rank=5),
        _messages(infos, rank=2),
        Column(header="COST", texts=costs, rank=3, style="dim", to_right=True),
        _titles(infos, _LEAST_BESIDE_ID if verbose else _LEAST_TITLE),
    ]
    yield from table_lines(columns, terminal)


def source_lines(
    found: Sequence[ForeignSession], source: Path, zone: tzinfo | None, terminal: Terminal, *, verbose: bool = False
) -> Iterator[str]:
    """Yields the header and a line for each session of another tool's file or folder.

    On a terminal, each row has the number that `--session` takes in place of the id. So the ids are left out first if
    the terminal is narrow; with `verbose`, they stay.
    """
    files = [os.path.relpath(each.source, source) if source.is_dir() else "" for each in found]
    yield from table_lines(
        [
            *number_columns(len(found), terminal),
            Column(
                header="ID", texts=[escape_controls(each.id) for each in found], rank=0 if verbose else 4, style="dim"
            ),
            Column(header="BEGUN", texts=[time_text(each.begun, zone) for each in found], rank=1, style="dim"),
            _messages(found, rank=2),
            Column(header="FILE", texts=list(map(escape_controls, files)), least=_LEAST_FILE, rank=3, keeps_end=True),
            Column(header="TITLE", texts=[escape_controls(each.title or "") for each in found], least=_LEAST_TITLE),
        ],
        terminal,
    )


def judged_lines(
    infos: Sequence[SessionInfo],
    judged: Mapping[str, Judged],
    ids: Mapping[str, str],
    now: datetime,
    terminal: Terminal,
) -> Iterator[str]:
    """Yields the header and a line for each session that would be deleted: its age, its size, and what it is about.

    Rows have numbers as in `session_lines`. AGE is the time since its last activity, as there. ARRIVED has the time
    since its arrival where that was later, so that it counts.
    """
    logs = [judged[info.id] for info in infos]
    ages = [age_since(each.last_activity, now) or "unknown" for each in logs]
    arrivals = [age_since(each.arrived, now) if counts_by_arrival(each) else "" for each in logs]
    sizes = [f"{each.size:,}" if terminal.is_piped else readable_size(each.size) for each in logs]
    yield from table_lines(
        [
            *number_columns(len(infos), terminal),
            Column(header="ID", texts=[ids[info.id] for info in infos], rank=1, style="dim"),
            Column(header="AGE", texts=ages),
            Column(header="ARRIVED", texts=arrivals),
            Column(header="BYTES" if terminal.is_piped else "SIZE", texts=sizes, to_right=True),
            _messages(infos, rank=2),
            _directories(infos, rank=3),
            _titles(infos),
        ],
        terminal,
    )


def ids_shown(store: SessionStore, ids: Sequence[str], terminal: Terminal, *, whole: bool = False) -> dict[str, str]:
    """Returns what a list shows for the id of each session, escaped: what fits on a terminal, or the whole id."""
    if whole or terminal.is_piped:
        return {id: escape_controls(id) for id in ids}
    return {id: fitted_id(id, beginning, terminal) for id, beginning in store.short_ids(ids).items()}


def counts_by_arrival(judged: Judged) -> bool:
    """Returns whether a session was judged by its arrival: nobody has said anything in it since."""
    arrived_ms, active_ms = ms_of(judged.arrived), ms_of(judged.last_activity)
    return arrived_ms is not None and (active_ms is None or arrived_ms > active_ms)


def number_columns(rows: int, terminal: Terminal, more: int = 0) -> list[Column]:
    """Returns the column of the numbers that commands take in place of ids; none in a pipe. `more` rows have none."""
    if terminal.is_piped:
        return []
    numbers = [str(number) for number in range(1, rows + 1)]
    return [Column(header="#", texts=[*numbers, *[""] * more], style="dim", to_right=True)]


def _messages(infos: Sequence[SessionInfo | ForeignSession], rank: int) -> Column:
    return Column(header="MSGS", texts=[f"{info.messages:,}" for info in infos], rank=rank, style="dim", to_right=True)


def _directories(infos: Sequence[SessionInfo], rank: int) -> Column:
    texts = [escape_controls(directory_text(info.cwd)) for info in infos]
    return Column(header="DIRECTORY", texts=texts, least=_LEAST_DIRECTORY, rank=rank, keeps_end=True)


def _titles(infos: Sequence[SessionInfo], least: int = _LEAST_TITLE) -> Column:
    return Column(header="TITLE", texts=list(map(title_text, infos)), least=least)


def title_of(info: SessionInfo) -> str:
    """Returns the title of a session; empty if it has none."""
    return info.title or ""


def title_text(info: SessionInfo) -> str:
    """Returns the title, escaped, and what is special about a session."""
    parent = info.parent_session
    flags = ["sub-agent"] if parent is not None and parent.kind == "task" else []
    flags += ["archived"] if info.archived else []
    flags += ["held"] if info.held else []
    return " ".join([*(f"({flag})" for flag in flags), escape_controls(title_of(info))]).rstrip()


def directory_text(path: str | None) -> str:
    """Returns a directory as people write it: `~` stands for the home directory."""
    if path is None:
        return ""
    home = os.path.expanduser("~")
    if home not in ("~", "/") and (path == home or path.startswith(home + os.sep)):
        return "~" + path[len(home) :]
    return path


def _models(info: SessionInfo, terminal: Terminal) -> str:
    """Returns the model with the most answers, and how many others there are; in a pipe, all of them."""
    if terminal.is_piped or len(info.models) < 2:
        return escape_controls(", ".join(info.models))
    return f"{escape_controls(info.models[0])} +{len(info.models) - 1}"
