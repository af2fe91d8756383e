"""What a look at all logs of a store has found: the stamp of each. Pure.

The first look of a process nearly always finds what the last process left. Then nobody needs a dictionary of all logs,
which would take as long to make as a tenth of the look.
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from itertools import count
from typing import Any

from convtree._catalogue.types import LogStamp
from convtree._model.entries import ID

SUFFIX = ".jsonl"
#: names of logs with a slash in between
_NAMES = re.compile(rf"(?:{ID.pattern}{re.escape(SUFFIX)}(?:/|$))*")


class Look:
    """The stamps of logs.

    Attributes:
        stamps: by the id of the session.
    """

    def __init__(self, stamps: dict[str, LogStamp]) -> None:
        self.stamps = stamps

    def stamp_of(self, id: str) -> LogStamp | None:
        """Returns the stamp of a log; None if there is none."""
        return self.stamps.get(id)

    def digest(self) -> bytes | None:
        """Returns a digest to compare a later look with; None: no digest is kept of a look that may change."""
        return None


class FolderLook(Look):
    """The stamps of the files in a folder that end like logs.

    Args:
        names: of the files.
        found: the stamp of each.

    Attributes:
        bad_names: those that cannot be the names of logs. These have no stamp in `stamps`.
    """

    def __init__(self, names: Sequence[str], found: Sequence[LogStamp]) -> None:
        self._names = names
        self._found = found

    @cached_property
    def stamps(self) -> dict[str, LogStamp]:  # type: ignore[override]  # made when somebody needs it
        """By the id of the session."""
        named = zip(self._names, self._found, strict=True)
        return {id_of(name): stamp for name, stamp in named if not self.bad_names or name not in self.bad_names}

    @cached_property
    def bad_names(self) -> set[str]:
        """Those that cannot be the names of logs."""
        if _NAMES.fullmatch("/".join(self._names)):
            return set()
        return {name for name in self._names if not ID.fullmatch(id_of(name))}

    def stamp_of(self, id: str) -> LogStamp | None:
        """Returns the stamp of a log; None if there is none."""
        place = self._places.get(f"{id}{SUFFIX}")
        return None if place is None else self._found[place]

    @cached_property
    def _places(self) -> dict[str, int]:
        return dict(zip(self._names, count()))

    def digest(self) -> bytes:
        """Returns a digest of names and stamps, in their order."""
        digest = blake2b("/".join(self._names).encode(errors="surrogatepass"), digest_size=16)  # no name has a slash
        stamps: Any = self._found
        digest.update(marshal.dumps(stamps, 2))  # version 2 writes each object anew, be it shared or not
        return digest.digest()


def id_of(name: str) -> str:
    """Returns the id of the session whose log has this name."""
    return name[: -len(SUFFIX)]
