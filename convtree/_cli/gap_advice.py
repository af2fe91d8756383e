"""What to do about a conversation that damage keeps from being read: the end of the error message."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from convtree._model.errors import BrokenPath, ConvtreeError, LeafUncertain
from convtree._session.session import Session
from convtree._tools.gaps import is_damaged, repair_of

_FOR_CALLERS = (  # the advice of the library, which does not know of the commands
    "; run verify on the log",
    "; put it back with extend(), from a copy of the log",
)


@contextmanager
def explained(session: Session) -> Iterator[None]:
    """Adds to the error about a damaged session whether `--allow-gaps` or a repair helps."""
    try:
        yield
    except LeafUncertain as error:
        raise LeafUncertain(f"{error}; --allow-gaps takes the last one that is known", **vars(error)) from None
    except BrokenPath as error:
        text = str(error)
        for advice in _FOR_CALLERS:
            text = text.removesuffix(advice)
        raise BrokenPath(f"{text}; {_advice(session)}", **vars(error)) from None


def _advice(session: Session) -> str:
    show = "--allow-gaps shows the rest, with the gaps in their places"
    try:
        plan = repair_of(session).repair if is_damaged(session) else None
    except ConvtreeError:
        plan = None  # there is too much damage, or a newer version wrote the log
    if plan is None or not (plan.rejoined or plan.recovered):
        original = f"{session.location}.original"
        is_lost = any(finding.code == "lost_entry" for finding in session.findings)  # that repair kept the place
        if not is_lost and os.path.exists(original):
            return f"{show}; {original} is the log before a repair: `convtree repair --rejoin` on it keeps the place"
        return f"{show}; a repair cannot bring it back, only a copy of the log can"
    if plan.rejoined:
        return f"{show}; `convtree repair --rejoin` keeps the place, so that the conversation can go on"
    return f"only checksums are damaged: `convtree repair --rejoin` brings it back whole; {show}"
