"""What to do about a conversation that damage keeps from being read: the end of the error message."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convtree._cli.checking import rejoin_command
from convtree._model.errors import BrokenPath, ConvtreeError, LeafUncertain
from convtree._session.session import Session
from convtree._tools.gaps import VERIFY_ADVICE, is_damaged, repair_of
from convtree._tools.repair import repair

_EXTEND = "; put it back with extend(), from a copy of the log"  # advice of the library, which does not know of options


@contextmanager
def explained(session: Session) -> Iterator[None]:
    """Adds to the error about a damaged session whether `--allow-gaps` or a repair helps."""
    try:
        yield
    except LeafUncertain as error:
        raise LeafUncertain(f"{error}; --allow-gaps takes the last one that is known", **vars(error)) from None
    except BrokenPath as error:
        text = str(error).removesuffix(VERIFY_ADVICE).replace(_EXTEND, "")
        raise BrokenPath(f"{text}; {_advice(session)}", **vars(error)) from None


def _advice(session: Session) -> str:
    show = "--allow-gaps shows the rest, with the gaps in their places"
    try:
        plan = repair_of(session).repair if is_damaged(session) else None
    except ConvtreeError:
        plan = None  # there is too much damage, or a newer version wrote the log
    if plan is None or not (plan.rejoined or plan.recovered):
        if (original := _original_of(session.location)) is not None:
            return f"{show}; the log as it was before a repair has more: `{rejoin_command(original)}` keeps the place"
        return (
            f"{show}; a repair cannot bring it back, only a copy of the log can: "
            "`convtree repair LOG --from COPY --yes`"
        )
    if plan.rejoined:
        return f"{show}; `convtree repair --rejoin` keeps the place, so that the conversation can go on"
    return f"only checksums are damaged: `convtree repair --rejoin` brings it back whole; {show}"


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
