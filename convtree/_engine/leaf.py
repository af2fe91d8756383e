"""The argument that stands for the leaf, and the leaf as a session last saw it. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, NamedTuple

OnStale = Literal["raise", "branch", "rebase"]
"""What an append does if another session moved the leaf: raise, continue the old leaf, continue the new one."""


class _Omitted(Enum):
    LEAF = "the session's leaf"


LEAF: Final = _Omitted.LEAF
"""Stands for the session's leaf where an entry id is left out; None is taken: the place before the first entry."""

AtLeaf = Literal[_Omitted.LEAF]


class SeenLeaf(NamedTuple):
    """The leaf as a session last saw it, and what to do if it has moved since."""

    id: str | None
    on_stale: OnStale
