"""Runs deliberately broken engines against the harnesses, which must notice them.

A harness calls `apply(name)` in the process that writes. This program runs every variant with the harness that must
catch it, and exits with 1 if one is not caught.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from convtree._engine import codec, line_scan, lost, secret_scan
from convtree._engine.journal import Journal
from convtree._engine.log import Addition, Chunk
from convtree._engine.log_index import Index
from convtree._engine.snapshot import Snapshot
from convtree._engine.tree import LINKS, Tree
from convtree._engine.write_batch import WriteBatch
from convtree._formats.common import json_arrays
from convtree._logs import (
    atomic_file,
    descriptors,
    file_lines,
    folder_watch,
    index_file,
    jsonl,
    lock,
    side_files,
    sql_errors,
    sql_ledger,
    sqlite_connections,
    syncing,
)
from convtree._logs.ledger_file import LedgerFile
from convtree._logs.sql_lease import Lease
from convtree._logs.sql_transaction import Transaction
from convtree._model.errors import OutcomeUnknown
from convtree._session import forking, rejoining, repairing
from convtree._session.checking import CheckedLog
from convtree.aio import _calls
from convtree.stores import _catalogue_file, _catalogue_sync
from convtree.stores._catalogue_sync import CatalogueSync
from convtree.stores._folder import FolderBackend, FolderCatalogue
from convtree.stores._sql import SqlBackend

from .common import arguments, finish

ROOT = Path(__file__).parents[2]


# --- the variants -------------------------------------------------------------------------------------------------


def no_tail_check() -> None:
    """Appends without cutting a torn tail off: the new line continues the torn one."""
    write = jsonl.JsonlLog._write

    def careless(log: jsonl.JsonlLog, addition: Addition, size: int) -> Chunk:
        addition.end = size
        return write(log, addition, size)

    _patch(jsonl.JsonlLog, "_write", careless)


def no_count_check() -> None:
    """Takes a group for whole, however many of its lines there are."""
    _patch(line_scan, "is_whole", lambda _count, _lines, _start: True)


def cut_to_newest_newline() -> None:
    """Cuts a write that failed or was torn back to its last whole line, not to where it began."""
    truncate = jsonl.JsonlLog._truncate

    def keeping(log: jsonl.JsonlLog, end: int) -> None:
        size = os.fstat(log._fd).st_size
        truncate(log, max(end, os.pread(log._fd, size, 0).rfind(b"\n") + 1))

    _patch(jsonl.JsonlLog, "_truncate", keeping)


def two_writes() -> None:
    """Writes a line in two pieces."""

    class Halves:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def write(self, fd: int, data: bytes) -> int:
            half = len(data) // 2
            return os.write(fd, data[:half]) + os.write(fd, data[half:])

    _patch(jsonl, "os", Halves())


def no_lock() -> None:
    """Takes no lock."""

    class NoLocks:
        def __getattr__(self, name: str) -> Any:
            return getattr(fcntl, name)

        def flock(self, _fd: int, _how: int) -> None:
            """Does nothing."""

    _patch(lock.FileLock, "acquire", lambda _lock, _fd, _timeout_s: None)
    _patch(jsonl, "fcntl", NoLocks())


def fast_append_blind() -> None:
    """The fast path appends wherever the log ends by now, and whichever file it is."""

    def append_at(log: jsonl.JsonlLog, position: int, data: bytes) -> bool:
        if position != log._end[0] or log._fd < 0:
            return False
        log._put(data, position)
        log._end = position + len(data), data[-37:]
        return True

    _patch(jsonl.JsonlLog, "append_at", append_at)


def no_sync() -> None:
    """Does not sync lines."""
    _patch(syncing, "sync", lambda _fd: None)


def no_directory_sync() -> None:
    """Does not sync directories."""
    _patch(syncing, "sync_directory", lambda _path: None)


def rename_without_sync() -> None:
    """Puts files in place without syncing them first."""

    @contextmanager
    def temporary(path: Path, pieces: Iterable[bytes], _owner: object = None) -> Iterator[Path]:
        place = path.with_name(path.name + ".tmp")
        place.write_bytes(b"".join(pieces))
        yield place
        place.unlink(missing_ok=True)

    _patch(atomic_file, "temporary", temporary)


def errors_without_path() -> None:
    """Raises the errors of a write as they come from a descriptor: without a path."""
    _patch(jsonl, "name_file", lambda _error, _path: None)


def sync_retried() -> None:
    """Syncs again after a failed sync, and trusts the second."""
    sync = syncing.sync

    def twice(fd: int) -> None:
        try:
            sync(fd)
        except OSError:
            sync(fd)

    _patch(syncing, "sync", twice)


def no_inode_check() -> None:
    """Writes to the open file, also if another is at the path by now."""
    same_file = jsonl.JsonlLog._checked_size

    def unchecked(log: jsonl.JsonlLog, position: int) -> int:
        return os.fstat(log._fd).st_size if log._fd >= 0 else same_file(log, position)

    _patch(jsonl.JsonlLog, "_checked_size", unchecked)
    _patch(jsonl.JsonlLog, "append_at", lambda *_arguments: False)


def seal_not_checked() -> None:
    """Accepts every line that has a checksum, right or wrong."""

    def accept(line: bytes) -> codec.Seal | None:
        try:
            return codec.Seal(int(line[-27:-19], 16), crc32(line)) if line[-36:-27] == b',"prev":"' else None
        except ValueError:
            return None

    _patch(codec, "verify_seal", accept)


def stale_leaf_ignored() -> None:
    """Continues the leaf it knows, also if another writer has moved it."""
    _patch(WriteBatch, "current_leaf", lambda _batch, seen: seen.id)


def index_in_place() -> None:
    """Overwrites the index file instead of replacing it."""

    def save(log: jsonl.JsonlLog, _end: int, pieces: Iterable[bytes]) -> None:
        system: Any = vars(jsonl)["os"]  # a harness may have replaced it
        fd = system.open(f"{log.path}.index", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            system.write(fd, b"".join(pieces))
        finally:
            os.close(fd)

    _patch(jsonl.JsonlLog, "save_snapshot", save)


def index_believed() -> None:
    """Accepts an index that belongs to another log."""
    _patch(Snapshot, "covers", lambda _snapshot, _read_log: True)


def watermark_ignored() -> None:
    """Does not notice that lines are missing at the end of a log."""
    begin = Journal._begin

    def forgetful(journal: Journal, use_snapshot: bool) -> None:
        begin(journal, use_snapshot)

    _patch(Journal, "_begin", forgetful)


def places_unconfirmed() -> None:
    """Believes every id that a damaged line still shows, although no other line names it."""

    class Everything(dict[str, int]):
        def get(self, _id: str, _default: Any = None) -> Any:
            return 2**62

    _patch(rejoining, "_named_parents", lambda _index: Everything())


def any_entry_restores() -> None:
    """Takes every entry with the id of a lost one for that entry."""
    _patch(lost, "restores", lambda _lost_line, _payload: True)


def escapes_ignored() -> None:
    """Takes the letter of an escape for the beginning of a word: redaction does not see the token behind it."""
    _patch(secret_scan, "_beginnings", lambda _text, word: (word,))


def beginnings_searched_again() -> None:
    """Looks for the end of a string that is cut off once more at every quote in it."""
    _patch(json_arrays, "_TOKEN", re.compile(rb'"((?:[^"\\]|\\.)*)"(\s*:)?|[{}\[\]]', re.DOTALL))


def links_stay() -> None:
    """Puts an entry that came back into its place, and keeps the links of the rows below."""
    replace = Tree.replace

    def forgetful(tree: Tree, *arguments: int) -> None:
        links = {name: tree.columns[name] for name in ("links", *LINKS)}
        replace(tree, *arguments)
        tree._use({**tree.columns, **links})

    _patch(Tree, "replace", forgetful)


def group_mark_kept_by_repair() -> None:
    """Copies the marks of groups into a repaired log, where other lines may be gone."""
    payloads = repairing._payloads

    def keeping(index: Index, rows: list[int], log: CheckedLog) -> Iterator[bytes]:
        lines = (pair for chunk in log.read() for pair in zip(chunk.positions, chunk.lines, strict=True))
        marks = [(position, codec.payload_of(line)) for position, line in lines if codec.group_count(line)]
        for row, payload in zip(rows, payloads(index, rows, log), strict=False):
            while marks and marks[0][0] < index.tree.offsets[row]:
                yield marks.pop(0)[1]
            yield payload

    _patch(repairing, "_payloads", keeping)


def visibility_forgotten_by_fork() -> None:
    """Leaves the marks of visibility out of a fork."""
    _patch(forking, "_visibility_marks", lambda *_arguments: [])


def no_second_look() -> None:
    """Deletes what was judged, whatever has become of it since."""
    for backend in (FolderBackend, SqlBackend):
        delete: Any = backend.delete
        _patch(backend, "delete", lambda self, ids, _expected=None, delete=delete: delete(self, ids))


def vacuum_of_an_old_look() -> None:
    """Replaces a log by what was made of it before the lock was taken."""
    for backend in (FolderBackend, SqlBackend):
        rewrite: Any = backend.rewrite

        def early(self: Any, id: str, build: Any, remove_original: bool, rewrite: Any = rewrite) -> Any:
            log = self.log(id, "r")
            lines = build(log, lambda _: set())
            log.close()
            return rewrite(self, id, lambda *_, **__: lines, remove_original)

        _patch(backend, "rewrite", early)


def catalogue_believed() -> None:
    """Believes every file in the place of the catalogue to be as it was left."""
    _patch(_catalogue_file, "_identity", lambda _path: (1, 1, 1, 1))


def foreign_rows_believed() -> None:
    """Believes what another program writes to the catalogue while a store has it open."""
    _patch(_catalogue_file.CatalogueFile, "is_stamped_anew", lambda _file: True)


def lost_commit_believed() -> None:
    """Takes a transaction for committed when the connection was lost during the commit."""
    commit = Transaction.commit

    def hopeful(transaction: Transaction, *last: Any) -> list[Any]:
        with suppress(OutcomeUnknown):
            return commit(transaction, *last)
        return [()]

    _patch(Transaction, "commit", hopeful)


def lost_commit_repeated() -> None:
    """Takes a transaction for rolled back when the connection was lost during the commit."""
    commit = Transaction.commit

    def hasty(transaction: Transaction, *last: Any) -> list[Any]:
        try:
            return commit(transaction, *last)
        except OutcomeUnknown:
            raise sql_errors.RolledBack("the connection was lost; nothing was written") from None

    _patch(Transaction, "commit", hasty)


def timeouts_not_named() -> None:
    """Raises the same error for a timeout of the server as for any other failure."""
    _patch(sql_errors, "_os_error", lambda _code, text: OSError(text))


def links_followed() -> None:
    """Opens what a link leads to, and waits for a writer of a pipe."""
    for module in (descriptors, jsonl, side_files, file_lines, index_file):
        _patch(module, "OPEN_FLAGS", os.O_CLOEXEC)


def abandoned_call_kept() -> None:
    """Does not close what was opened for a caller that is gone."""
    _patch(_calls, "_close_unclaimed", lambda _future: None)


def transaction_kept() -> None:
    """Leaves a transaction that was interrupted to the garbage collector."""
    _patch(Lease, "abandon", lambda _lease: None)
    _patch(sqlite_connections._Scope, "abandon", lambda _scope: None)


def prefix_believed() -> None:
    """Takes the lines that an interrupted rebuild has read for the whole log."""
    _patch(Journal, "index_is_partial", property(lambda journal: journal._half_scanned))


def leaves_compared() -> None:
    """Compares every leaf with every other one, the more often the more there are."""
    leaves = Tree.leaves

    def slow(tree: Tree) -> list[int]:
        found = leaves(tree)
        often = 1 + len(found) // 100  # so that it stands out from the noise of a busy machine
        return [row for row in found if sum(row == other for _ in range(often) for other in found) == often]

    _patch(Tree, "leaves", slow)


def ledger_forgotten() -> None:
    """Deletes sessions without a line in the ledger."""
    _patch(sql_ledger, "record_deletion", lambda _execute, _id: None)
    _patch(LedgerFile, "append", lambda _file, _lines: None)


def event_lost() -> None:
    """Forgets one of the files that the watch on a folder names."""
    changed = folder_watch.FolderWatch.changed

    def forgetful(watch: folder_watch.FolderWatch) -> set[str] | None:
        names = changed(watch)
        return names - {max(names)} if names else names

    _patch(folder_watch.FolderWatch, "changed", forgetful)


def folder_exchange_unseen() -> None:
    """Watches a folder that was renamed, whatever is in its place by now."""
    _patch(folder_watch.FolderWatch, "_is_there", lambda _watch: True)
    _patch(folder_watch, "_DOUBT", folder_watch._OVERFLOWED)


def overflow_unseen() -> None:
    """Believes the queue of events to be complete after it was full."""
    _patch(folder_watch, "_DOUBT", folder_watch._DOUBT & ~folder_watch._OVERFLOWED)


def events_taken_by_child() -> None:
    """Reads the events of the parent in a forked process."""
    _patch(FolderCatalogue, "_after_fork", CatalogueSync._after_fork)
    forget: Any = CatalogueSync._forget
    _patch(FolderCatalogue, "_forget", forget)


def removal_uncounted() -> None:
    """Does not count the logs that it removes from the tables, so that another store believes they are there."""
    _patch(_catalogue_sync, "NOTE_REMOVED", "UPDATE ct_state SET removed = removed")


VARIANTS: dict[str, Callable[[], None]] = {
    variant.__name__: variant
    for variant in (
        no_tail_check,
        no_count_check,
        cut_to_newest_newline,
        two_writes,
        no_lock,
        fast_append_blind,
        no_sync,
        no_directory_sync,
        rename_without_sync,
        errors_without_path,
        sync_retried,
        no_inode_check,
        no_second_look,
        vacuum_of_an_old_look,
        seal_not_checked,
        stale_leaf_ignored,
        index_in_place,
        index_believed,
        watermark_ignored,
        places_unconfirmed,
        any_entry_restores,
        links_stay,
        group_mark_kept_by_repair,
        visibility_forgotten_by_fork,
        escapes_ignored,
        catalogue_believed,
        foreign_rows_believed,
        lost_commit_believed,
        lost_commit_repeated,
        timeouts_not_named,
        links_followed,
        abandoned_call_kept,
        beginnings_searched_again,
        transaction_kept,
        prefix_believed,
        leaves_compared,
        ledger_forgotten,
        event_lost,
        folder_exchange_unseen,
        overflow_unseen,
        events_taken_by_child,
        removal_uncounted,
    )
}


def apply(name: str | None) -> None:
    """Breaks the engine in this process; does nothing for None."""
    if name is not None:
        VARIANTS[name]()


def _patch(owner: Any, name: str, value: Any) -> None:
    getattr(owner, name)  # raises if it was renamed
    setattr(owner, name, value)


# --- the proof ----------------------------------------------------------------------------------------------------

#: the variant, the harness that must catch it, and the sizes of that
CAUGHT_BY: list[tuple[str, str, list[str]]] = [
    ("no_tail_check", "calls", []),
    ("no_tail_check", "kill", ["--cycles", "1500"]),
    ("no_count_check", "kill", ["--cycles", "1500"]),
    ("cut_to_newest_newline", "kill", ["--cycles", "1500"]),
    ("two_writes", "calls", []),
    ("no_lock", "contention", ["--processes", "4", "--appends", "300"]),
    ("fast_append_blind", "contention", ["--processes", "4", "--appends", "300"]),
    ("fast_append_blind", "holder", ["--rounds", "3", "--interrupts", "50"]),
    ("no_second_look", "retention", ["--cycles", "60"]),
    ("vacuum_of_an_old_look", "vacuuming", ["--cycles", "20"]),
    ("lost_commit_believed", "citus", ["--cycles", "20"]),
    ("no_sync", "calls", []),
    ("no_sync", "power", ["--cuts", "21"]),
    ("no_directory_sync", "calls", []),
    ("no_directory_sync", "power", ["--cuts", "84"]),
    ("rename_without_sync", "calls", []),
    ("rename_without_sync", "power", ["--cuts", "42"]),
    ("sync_retried", "calls", []),
    ("sync_retried", "faults", []),
    ("errors_without_path", "faults", []),
    ("no_inode_check", "holder", ["--rounds", "3", "--interrupts", "50"]),
    ("seal_not_checked", "damage", []),
    ("stale_leaf_ignored", "contention", ["--processes", "4", "--appends", "300"]),
    ("index_in_place", "faults", []),
    ("index_believed", "damage", ["--indexed"]),
    ("watermark_ignored", "damage", ["--indexed"]),
    ("places_unconfirmed", "damage", ["--entries", "60"]),
    ("any_entry_restores", "damage", ["--entries", "60"]),
    ("links_stay", "damage", ["--entries", "60"]),
    ("group_mark_kept_by_repair", "damage", ["--entries", "60"]),
    ("visibility_forgotten_by_fork", "damage", ["--entries", "60"]),
    ("escapes_ignored", "redaction", ["--folder", "tests/harness"]),
    ("catalogue_believed", "catalogue", ["--every", "100003", "--states", "1"]),
    ("foreign_rows_believed", "catalogue", ["--every", "400009"]),
    ("abandoned_call_kept", "cancelling", ["--rounds", "3"]),
    ("leaves_compared", "masses", ["--entries", "1600", "--only", "roots"]),
    ("ledger_forgotten", "retention", ["--cycles", "60", "--sqlite"]),
    ("links_followed", "swapping", ["--only", "heal"]),
    ("lost_commit_believed", "proxy", ["--only", "append,delete"]),
    ("lost_commit_repeated", "proxy", ["--only", "delete,fork"]),
    ("timeouts_not_named", "server_faults", ["--only", "statement_timeout"]),
    ("beginnings_searched_again", "growth", ["--only", "chatgpt: cut at 40", "--every", "1", "--size", "4096"]),
    ("transaction_kept", "interrupts", ["--places", "sqlite", "--operations", "append", "--points", "40"]),
    ("event_lost", "watching", ["--rounds", "2"]),
    ("folder_exchange_unseen", "watching", ["--rounds", "2"]),
    ("overflow_unseen", "watching", ["--rounds", "2"]),
    ("events_taken_by_child", "watching", ["--rounds", "2"]),
    ("removal_uncounted", "watching", ["--rounds", "2"]),
    ("prefix_believed", "interrupts", ["--places", "file", "--operations", "refresh of a replaced log"]),
]


def _run(variant: str, harness: str, sizes: list[str], seed: int) -> dict[str, Any]:
    """Runs a harness with a variant; its verdict is caught, missed, skipped, crashed or absent."""
    row: dict[str, Any] = {"variant": variant, "harness": harness}
    if not Path(__file__).with_name(f"{harness}.py").exists():
        return row | {"verdict": "absent"}
    command = [sys.executable, "-m", f"tests.harness.{harness}", "--sabotage", variant, "--seed", str(seed), *sizes]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        result = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return row | {"verdict": "crashed", "says": done.stderr[-500:]}
    if "crashed" in result:
        return row | {"verdict": "crashed", "says": result["crashed"]}
    if "skipped" in result:
        return row | {"verdict": "skipped", "says": result["skipped"]}
    caught = done.returncode == 1 and result.get("broken", 0) > 0
    return row | {"verdict": "caught" if caught else "missed", "says": result.get("first"), "s": result["seconds"]}


def main() -> None:
    options = arguments(__doc__ or "", harnesses="all")
    wanted = None if options.harnesses == "all" else options.harnesses.split(",")
    verdicts: dict[str, list[str]] = {}
    broken = []
    for variant, harness, sizes in CAUGHT_BY:
        if (wanted is not None and harness not in wanted) or options.sabotage not in (None, variant):
            continue
        row = _run(variant, harness, sizes, options.seed)
        print(f"{variant:20} {harness:11} {row['verdict']:8} {row.get('says') or ''}"[:160], flush=True)
        verdicts.setdefault(variant, []).append(row["verdict"])
        if row["verdict"] in ("missed", "crashed"):
            broken.append(f"{harness} did not catch {variant}")
    broken += [f"no harness caught {variant}" for variant, seen in verdicts.items() if "caught" not in seen]
    runs = [verdict for seen in verdicts.values() for verdict in seen]
    caught = sum("caught" in seen for seen in verdicts.values())
    options.sabotage = None
    result = {"variants": len(verdicts), "variants_caught": caught, "runs": len(runs), "caught": runs.count("caught")}
    finish(options, result, broken)


if __name__ == "__main__":
    main()
