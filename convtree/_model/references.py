"""What people type in place of an id: its beginning, both ends of it, or a word that begins with `@`. Pure.

`Session.resolve` and `SessionStore.resolve` turn such a text into an id. No other call guesses. No id begins with `@`,
so the words need no rule against ids.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from convtree._model.errors import AmbiguousId

MIN_PREFIX = 4  # characters of an id that may stand for it
CANDIDATES = 20  # ids that an error names at most, if several begin with a text
LATEST = "@latest"
ENTRY_FORMS = (
    "expected an id, a label, the beginning of an id (4 characters or more), both ends ('0199…3f4e'), '@' for the "
    "leaf, or '@~3'"
)
SESSION_FORMS = "expected an id, the beginning of one (4 characters or more), both ends ('0199…3f4e'), or '@latest'"
_BOTH_ENDS = re.compile(rf"(.{{{MIN_PREFIX},}}?)(?:…|\.\.\.)(.+)", re.DOTALL)
_ABOVE_LEAF = re.compile(r"@(?:~([0-9]{1,9}))?")


def steps_above_leaf(text: str) -> int | None:
    """Returns how many entries above the leaf a text names: 0 for `@`, 3 for `@~3`; None if it is no such text."""
    found = _ABOVE_LEAF.fullmatch(text)
    return None if found is None else int(found[1] or 0)


def is_prefix(text: str) -> bool:
    """Returns whether a text is long enough to stand for the id that begins with it."""
    return len(text) >= MIN_PREFIX


def ends_of(text: str) -> tuple[str, str] | None:
    """Returns the beginning and the end of an id of which lists leave out the middle; None for another text.

    An ellipsis or three dots are between them, as in `0199…3f4e`.
    """
    found = _BOTH_ENDS.fullmatch(text)
    return None if found is None else (found[1], found[2])


def the_only(text: str, ids: Sequence[str], what: str) -> str:
    """Returns the only one of the ids that a text is the beginning, or both ends, of. `what` is for the message.

    Raises:
        AmbiguousId: there are several.
    """
    if len(ids) == 1:
        return ids[0]
    named = tuple(ids[:CANDIDATES])
    more = ", and more" if len(ids) > len(named) else ""
    begins = "has the ends" if ends_of(text) else "begins with"
    raise AmbiguousId(
        f"{what} with an id that {begins} {text!r}: {', '.join(map(repr, named))}{more}; give more characters",
        text=text,
        ids=named,
    )
