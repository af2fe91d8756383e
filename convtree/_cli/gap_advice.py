"""What to do about a conversation that damage keeps from being read: the end of an error message.

The commands that read can show the rest with `--allow-gaps`. Those that write cannot: a context, a fork or a summary
with gaps would pass for the whole. They name the commands to type instead.
"""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from convtree._cli.checking import rejoin_command
from convtree._cli.choosing import open_for_writing
from convtree._cli.command_lines import command_line
from convtree._cli.render import count
from convtree._model.errors import BrokenPath, ConvtreeError, CorruptLog, LeafUncertain
from convtree._session.session import Session
from convtree._tools.gaps import VERIFY_ADVICE, number_missing, repair_of
from convtree._tools.repair import repair
from convtree.stores._session_store import SessionStore

#: the advice of the library, which does not know of commands and options
_LIBRARY = re.compile(
    re.escape(VERIFY_ADVICE) + r"|; put it back with extend\(\), from a copy of the log|"
    r": settle it with branch\(.*\) or another entry"
)
_REPAIR_FIRST = "; repair it first"
_SHOW = "--allow-gaps shows the rest, with the gaps in their places"


@contextmanager
def explained(session: Session) -> Iterator[None]:
    """Adds to an error about damage whether `--allow-gaps` or a repair helps. For a command with the option."""
    try:
        yield
    except LeafUncertain as error:
        raise LeafUncertain(f"{_plain(error)}; --allow-gaps takes the last one that is known", **vars(error)) from None
    except BrokenPath as error:
        raise BrokenPath(f"{_plain(error)}; {_advice(session, _SHOW)}", **vars(error)) from None


@contextmanager
def explained_for_writing(session: Session) -> Iterator[None]:
    """Adds to an error about damage which commands help. For a command that writes."""
    try:
        yield
    except LeafUncertain as error:
        chosen = command_line("branch", _named(session), session.leaf_id or "--root")
        text = f"{_plain(error)}; `{chosen}` chooses the last leaf that is known"
        raise LeafUncertain(text, **vars(error)) from None
    except BrokenPath as error:
        show = (
            f"`{command_line('inspect', _named(session), '--allow-gaps')}` shows the rest, an entry above the gap works"
        )
        raise BrokenPath(f"{_plain(error)}; {_advice(session, show)}", **vars(error)) from None


@contextmanager
def writing_to(log: str, store: SessionStore | None) -> Iterator[Session]:
    """Opens a log, or a session of a store, to write to it. Errors about damage are explained."""
    with open_for_writing(log, store) as session, explained_for_writing(session):
        yield session


@contextmanager
def repaired_first(name: str) -> Iterator[None]:
    """Adds the repair to type to an error of what needs a sound log. `name` is a log, or a session of the store."""
    try:
        yield
    except CorruptLog as error:
        raise CorruptLog(with_repair(str(error), name), **vars(error)) from None


def with_repair(text: str, name: str) -> str:
    """Returns the text of an error; if it asks for a repair, with the command."""
    return f"{text}: {_repair_of(name)}" if text.endswith(_REPAIR_FIRST) else text


def left_out(session: Session) -> str | None:
    """Returns the remark on a session of which damaged lines are not shown; None if it has none."""
    number = number_missing(session)
    if not number:
        return None
    shown = "--allow-gaps shows the gaps in their places as far as these are known"
    return f"{count(number, 'damaged lines')} left out; {shown}, `{command_line('verify', _named(session))}` lists them"


def _advice(session: Session, show: str) -> str:
    plan = None
    with suppress(ConvtreeError):  # there is too much damage, or a newer version wrote the log
        plan = repair_of(session).repair
    if plan is None or not (plan.rejoined or plan.recovered):
        is_kept = any(finding.code == "lost_entry" for finding in session.findings)  # an earlier repair kept its place
        if not is_kept and (original := _original_of(session.location)) is not None:
            return f"{show}; the log as it was before a repair has more: `{rejoin_command(original)}` keeps the place"
        return f"{show}; a repair cannot bring it back, only a copy of the log can{_put_back(session)}"
    if plan.rejoined:
        return f"{show}; `{_repair_of(_named(session))}` keeps the place, so that the conversation can go on"
    return f"only checksums are damaged: `{_repair_of(_named(session))}` brings it back whole; {show}"


def _put_back(session: Session) -> str:
    """Returns the command that puts lost entries back. It takes files; for a database, there is none."""
    is_file = Path(session.location).is_file()
    return f": `convtree repair {shlex.quote(session.location)} --from COPY --yes`" if is_file else ""


def _original_of(location: str) -> Path | None:
    """Returns what an earlier repair kept of a log, if a repair of that keeps the places of more lines."""
    log = Path(location)
    for each in sorted(log.parent.glob(f"{glob.escape(log.name)}.original*")) if log.is_file() else ():
        try:
            plan = repair(each, rejoin=True)
        except (ConvtreeError, OSError):
            continue
        if plan.rejoined or plan.recovered:
            return each
    return None


def _repair_of(name: str) -> str:
    return command_line("repair", name, "--rejoin", "--yes")


def _named(session: Session) -> str:
    """Returns the log or the session of the command, as it was typed; outside of a command, where it is."""
    context = click.get_current_context(silent=True)
    params = {} if context is None else context.params
    return str(params.get("log") or params.get("id") or session.location)


def _plain(error: Exception) -> str:
    return _LIBRARY.sub("", str(error))
