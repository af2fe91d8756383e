"""The stamps of logs as the tables of a catalogue have them, kept in a process. What other processes change is loaded.

Each transaction on the tables has a generation, and each row of `ct_files` that of the one that wrote it. So only rows
of later generations are loaded, unless rows were removed.

A process that has looked at all logs, and found nothing new, leaves a digest of what it saw. Where the next process
sees the same, the tables are as they should be, and no row is loaded: of 10,000 rows, that takes a third of a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from convtree._catalogue.tables import Execute
from convtree._catalogue.types import LogStamp
from convtree.stores._look import Look

_SELECT_STATE = "SELECT generation, removed, seen, seen_at FROM ct_state"
_SELECT_STAMPS = "SELECT session_id, size, mtime_ns, inode FROM ct_files WHERE generation"
#: unless another process has changed the tables since
_NOTE_SEEN = "UPDATE ct_state SET seen = :digest, seen_at = generation + 1 WHERE generation = :loaded"
#: with this transaction. A process with stamps of an earlier generation loads all of them again.
NOTE_REMOVED = "UPDATE ct_state SET removed = generation + 1"


class KnownStamps:
    """What a process knows of the tables.

    Attributes:
        unsettled: ids whose stamp may be another than the last look has; None: any may be.
        revision: another number whenever the tables are not known to be as they were.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._stamps: dict[str, LogStamp] = {}
        self._look: Look | None = None  # has the stamps, in place of `_stamps`
        self.forget()

    @property
    def stamps(self) -> dict[str, LogStamp]:
        """Those of the logs, by session id."""
        if self._look is not None:
            self._stamps, self._look = self._look.stamps.copy(), None
        return self._stamps

    def add(self, stamps: Mapping[str, LogStamp]) -> None:
        """Adds stamps that the tables have now."""
        self.stamps.update(stamps)

    def stamp_of(self, id: str) -> LogStamp | None:
        """Returns the stamp of one log; None if there is none."""
        return self._stamps.get(id) if self._look is None else self._look.stamp_of(id)

    def forget(self) -> None:
        """Knows nothing, as at first."""
        self.revision += 1
        self._stamps, self._look = {}, None
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
        self._stamps, self._look, self.unsettled, self._digest = {}, None, None, None
        self._add(execute(f"{_SELECT_STAMPS} <= :generation", {"generation": generation}))

    def _add(self, rows: list[tuple[str, int, int, int]]) -> None:
        stamps = {id: (size, mtime_ns, inode) for id, size, mtime_ns, inode in rows}
        self.add(stamps)
        if self.unsettled is not None:
            self.unsettled |= stamps.keys()

    def fits(self, look: Look) -> bool:
        """Returns False if the stamps must be loaded, because this look is another one than that of the digest."""
        if self._digest is None:
            return True
        if self._digest != look.digest():
            self._noted = -1  # the next look that fits the tables leaves another one
            return False
        self._look, self.unsettled, self._digest = look, set(), None
        return True

    def load_now(self, execute: Execute) -> None:
        """Loads the stamps after all. Changes made after the digest was read are not among them."""
        self._load_all(execute, self._loaded)

    def compare(self, look: Look, looked_at: Set[str] | None) -> bool:
        """Notes which logs were looked at; None: all. Returns whether they have the stamps that the tables have."""
        if looked_at is None or self.unsettled is None:
            self.unsettled = None if self._look is not look and self.stamps != look.stamps else set()
        else:
            self.unsettled |= looked_at
        return self.unsettled is not None and not self.unsettled

    @property
    def is_noted(self) -> bool:
        """Whether this process has left a digest, or found one that fits, and the tables have not changed since."""
        return self._noted == self._loaded

    def note(self, execute: Execute, look: Look) -> None:
        """Leaves a digest of this look in the tables, which were found to be up to date with it."""
        execute(_NOTE_SEEN, {"digest": look.digest(), "loaded": self._loaded})

    def noted(self) -> None:
        """Notes that this was committed."""
        self._noted = self._loaded
