"""The stamps of logs as the tables of a catalogue have them, kept in a process. What other processes change is loaded.

Each transaction on the tables has a generation, and each row of `ct_files` that of the one that wrote it. So only rows
of later generations are loaded, unless rows were removed.

A process that has looked at all logs, and found nothing new, leaves a digest of what it saw. Where the next process
sees the same, the tables are as they should be, and no row is loaded: of 10,000 rows, that takes a third of a list.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping, Set
from hashlib import blake2b

from convtree._catalogue.tables import Execute
from convtree._catalogue.types import LogStamp

_SELECT_STATE = "SELECT generation, removed, seen, seen_at FROM ct_state"
_SELECT_STAMPS = "SELECT session_id, size, mtime_ns, inode FROM ct_files WHERE generation"
#: unless another process has changed the tables since
_NOTE_SEEN = "UPDATE ct_state SET seen = :digest, seen_at = generation + 1 WHERE generation = :loaded"
#: with this transaction. A process with stamps of an earlier generation loads all of them again.
NOTE_REMOVED = "UPDATE ct_state SET removed = generation + 1"


class KnownStamps:
    """What a process knows of the tables.

    Attributes:
        stamps: of the logs.
        unsettled: ids whose stamp may be another than the last look has; None: any may be.
        revision: another number whenever the tables are not known to be as they were.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.forget()

    def forget(self) -> None:
        """Knows nothing, as at first."""
        self.revision += 1
        self.stamps: dict[str, LogStamp] = {}
        self.unsettled: set[str] | None = None
        self._version = -1  # of the file, when something was loaded
        self._generation = -1  # of the tables, as this process has seen or written it last; -1: unknown
        self._loaded = -1  # the generation that the stamps are of
        self._digest: bytes | None = None  # of a look: if the next one is the same, it has the stamps
        self._noted = -1  # the generation of that digest

    def note_written(self, generation: int) -> None:
        """Notes a transaction of this process."""
        self.revision += 1
        # If another process wrote in between, this does not say of which generation the tables are.
        self._generation = generation if generation == self._generation + 1 else -1
        if generation == self._loaded + 1:  # else what the other process wrote is loaded with this
            self._loaded = generation

    def load(self, execute: Execute) -> bool:
        """Loads what another process has changed. Returns whether the tables are of another generation, if changed."""
        ((version,),) = execute("PRAGMA data_version")
        if version == self._version:
            return True
        self.revision += 1
        ((generation, removed, digest, noted),) = execute(_SELECT_STATE)
        is_other: bool = generation != self._generation
        if self._loaded < 0 and noted == generation:
            self._digest, self._noted = digest, noted
        elif self._digest is not None or self._loaded < removed:
            self._load_all(execute, generation)
        else:
            self._add(execute(f"{_SELECT_STAMPS} > :loaded", {"loaded": self._loaded}))
        self._version, self._generation, self._loaded = version, generation, generation
        return is_other

    def _load_all(self, execute: Execute, generation: int) -> None:
        self.stamps, self.unsettled, self._digest = {}, None, None
        self._add(execute(f"{_SELECT_STAMPS} <= :generation", {"generation": generation}))

    def _add(self, rows: list[tuple[str, int, int, int]]) -> None:
        stamps = {id: (size, mtime_ns, inode) for id, size, mtime_ns, inode in rows}
        self.stamps |= stamps
        if self.unsettled is not None:
            self.unsettled |= stamps.keys()

    def fits(self, look: Mapping[str, LogStamp]) -> bool:
        """Returns False if the stamps must be loaded, because this look is another one than that of the digest."""
        if self._digest is None:
            return True
        if self._digest != _digest_of(look):
            return False
        self.stamps, self.unsettled, self._digest = dict(look), set(), None
        return True

    def load_now(self, execute: Execute) -> None:
        """Loads the stamps after all. Changes made after the digest was read are not among them."""
        self._load_all(execute, self._loaded)

    def compare(self, look: Mapping[str, LogStamp], looked_at: Set[str] | None) -> bool:
        """Notes which logs were looked at; None: all. Returns whether they have the stamps that the tables have."""
        if looked_at is None or self.unsettled is None:
            self.unsettled = None if self.stamps != look else set()
        else:
            self.unsettled |= looked_at
        return self.unsettled is not None and not self.unsettled

    @property
    def is_noted(self) -> bool:
        """Whether this process has left a digest, or found one, and the tables have not changed since."""
        return self._noted == self._loaded

    def note(self, execute: Execute, look: Mapping[str, LogStamp]) -> None:
        """Leaves a digest of this look in the tables, which were found to be up to date with it."""
        execute(_NOTE_SEEN, {"digest": _digest_of(look), "loaded": self._loaded})

    def noted(self) -> None:
        """Notes that this was committed."""
        self._noted = self._loaded


def _digest_of(look: Mapping[str, LogStamp]) -> bytes:
    return blake2b(marshal.dumps(dict(look), 2), digest_size=16).digest()  # version 2 writes each object anew
