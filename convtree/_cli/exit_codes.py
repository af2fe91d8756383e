"""The exit codes of the program: one table, which `--help`, the README and the commands share."""

from __future__ import annotations

from typing import NamedTuple

from convtree._model.errors import (
    AmbiguousId,
    ConvtreeError,
    EntryNotFound,
    IdConflict,
    SessionExists,
    SessionHeld,
    SessionLocked,
    SessionNotFound,
    SeveralSessions,
    StaleLeaf,
)

SUCCESS, FOUND, USAGE, NOT_FOUND, CONFLICT, UNREADABLE, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 3, 4, 5, 130, 141


class ExitCode(NamedTuple):
    """A code: its name in one or two words, and what it means."""

    code: int
    name: str
    meaning: str


EXIT_CODES = (
    ExitCode(SUCCESS, "success", "success"),
    ExitCode(FOUND, "problems found", "finished, but problems were found; the output lists them"),
    ExitCode(USAGE, "wrong usage", "wrong usage; nothing was done"),
    ExitCode(NOT_FOUND, "not found", "log, session or entry not found"),
    ExitCode(CONFLICT, "a conflict", "conflict: it exists, is locked or on hold, has changed, or is ambiguous"),
    ExitCode(UNREADABLE, "an unreadable or damaged log", "cannot be read, or is damaged"),
    ExitCode(INTERRUPTED, "an interrupt", "interrupted"),
    ExitCode(CLOSED_PIPE, "a closed pipe", "the program that read the output has ended"),
)

#: from the first that fits; any other error of convtree or of the system is UNREADABLE
_ERRORS: tuple[tuple[int, tuple[type[Exception], ...]], ...] = (
    (NOT_FOUND, (SessionNotFound, EntryNotFound, FileNotFoundError)),
    (CONFLICT, (AmbiguousId, SessionExists, SessionHeld, SeveralSessions, SessionLocked, IdConflict, StaleLeaf)),
    (UNREADABLE, (ConvtreeError, OSError, ImportError)),  # ImportError: the message names the missing extra
)
EXPECTED_ERRORS = tuple(each for _, classes in _ERRORS for each in classes)


def code_of(error: Exception) -> int:
    """Returns the exit code for an error, one of EXPECTED_ERRORS."""
    return next(code for code, classes in _ERRORS if isinstance(error, classes))
