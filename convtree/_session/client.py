"""One client of a log: its journal behind one lock, and the leaf that it has seen.

`Session` is the interface, this is the state behind it. Each query goes to a fresh `SessionView` under the lock. Each
write is an intent for the journal, under the same lock. A client has seen its own writes and what `refresh` returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import wraps
from threading import RLock
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from convtree._engine import codec
from convtree._engine.call_places import call_elsewhere
from convtree._engine.columns import SnapshotDamaged
from convtree._engine.expected import ANYTHING, Expected
from convtree._engine.intents import AddMark, Append, Intent
from convtree._engine.journal import TRIES, Journal
from convtree._engine.leaf import LEAF, AtLeaf, OnStale, SeenLeaf
from convtree._engine.log import LogReplaced
from convtree._engine.log_index import Index
from convtree._engine.write_batch import EncodedRecord, WriteBatch, encode_record
from convtree._model.arguments import checked
from convtree._model.entries import Entry, Header, LabelMark, Mark, Record, SessionInfoMark
from convtree._model.errors import CorruptLog, InvalidMessage, ReadOnlySession, SessionClosed, SessionFailed
from convtree._model.interrupts import Unlocking, is_owned, release
from convtree._model.resources import ForkAware, Uncopyable, watch_forks
from convtree._session.fast_appending import append_plain
from convtree._session.header import check_choice
from convtree._session.later import or_later
from convtree._session.view import SessionView

if TYPE_CHECKING:
    from convtree._engine.redact import Redact
    from convtree._messages.parts import Result

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")
S = TypeVar("S", bound="HasClient")
R = TypeVar("R", bound="Record | Header")
F = TypeVar("F", bound=Callable[..., Any])

ON_STALE = ("raise", "branch", "rebase")


def locked(method: Callable[Concatenate[Client, P], T]) -> Callable[Concatenate[Client, P], T]:
    """Makes a method that reads the index take the lock.

    If a snapshot turns out damaged, or the lines were replaced, the log is read again, and the method called again.
    """

    def tried(self: Client, args: Any, kwargs: Any) -> T:  # apart: a `try` in the block of the lock has a gap
        self.check_open()
        if self.journal.index_is_partial:
            self.journal.refresh()  # a signal interrupted a scan
        for _ in range(TRIES):
            try:
                return method(self, *args, **kwargs)
            except SnapshotDamaged:
                self.journal.rescan()
            except LogReplaced:  # the lines that the index has are gone
                self.journal.read_replaced()
        raise self.journal.replaced_too_often()

    @wraps(method)
    def read(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        lock = self.lock
        is_nested = is_owned(lock)
        try:  # as `Unlocking` does it, without its calls
            with lock:
                return tried(self, args, kwargs)
        except BaseException:
            if not is_nested:
                release(lock)
            raise

    return read


class Client(Uncopyable, ForkAware):
    """The journal, lock and seen leaf of a session.

    `header` is that of a log without a line, or makes it. `refusal` says why the client does not write; None when it
    does.
    """

    def __init__(
        self,
        journal: Journal,
        header: Header | Callable[[], Header],
        *,
        refusal: str | None,
        on_stale: OnStale,
        redact: Redact | None,
        id: str | None = None,
    ) -> None:
        self.journal = journal
        self.lock = RLock()
        self.closed = False
        self.leaf_id = journal.index.state.leaf.id  # the leaf that this client has seen
        self.on_stale = on_stale
        self.redact = redact
        self._id = id
        self._refusal = refusal
        self._header = header
        self._new_headers: list[Header] = []  # to be written before the first record: the first one, if there is any
        if not journal.index.state.lines:
            self._new_header()
        watch_forks(self)

    def _after_fork(self) -> None:
        """Replaces the lock, which a thread of the parent may hold. The log refuses to be used in the child anyway."""
        self.lock = RLock()

    @property
    def id(self) -> str:
        """The id that a store has the session under; else that of its header."""
        return self._id or self.header.id

    @property
    def header(self) -> Header:
        """The header of the log; before the first record, the one that will be written with it. For any thread."""
        return SessionView(self.journal.scanned, None, self.journal.log.location, self._new_header).header

    def _new_header(self) -> Header:
        """Returns the header that will be written before the first record. A log with lines rarely needs one."""
        if not self._new_headers:
            made = self._header if isinstance(self._header, Header) else self._header()
            self._new_headers.append(self.without_secrets(made))
        return self._new_headers[0]  # the same for every thread

    # --- reading ---

    def view(self) -> SessionView:
        """Returns the view of this moment; whatever reads lines through it needs the lock."""
        return SessionView(self.journal.index, self.leaf_id, self.journal.log.location, self._new_header)

    @locked
    def ask(self, question: Callable[Concatenate[SessionView, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a query of `SessionView` on the view of this moment."""
        return question(self.view(), *args, **kwargs)

    @locked
    def has_entry(self, id: str) -> bool:
        """Returns whether the log has an entry with this id. The index need not have the last ones for that."""
        run = self.journal.run
        return self.journal.scanned.node(id) is not None or (run is not None and run.has_entry(id))

    @locked
    def is_taken(self, id: str) -> bool:
        """Returns whether a record of the log has an id, or had it before a vacuum. Asks as `has_entry` does."""
        run = self.journal.run
        return self.journal.scanned.is_taken(id) or (run is not None and run.has_record(id))

    def reader(self, index: Index) -> Callable[[Sequence[int]], list[Entry]]:
        """Returns a function that reads entries of `index` under the lock, also after the log got a new index."""
        replaced = self.journal.times_replaced

        def read(rows: Sequence[int]) -> list[Entry]:
            with Unlocking(self.lock), self.lock:
                self.check_open()
                with suppress(LogReplaced):
                    if self._is_same(replaced):
                        return index.entries(rows)
                location = self.journal.log.location
                raise SessionFailed(f"{location}: the log was replaced since this outline was made; make another")

        return read

    def records_of(self, rows: Sequence[int], times_replaced: int) -> list[tuple[int, Entry | Mark]]:
        """Returns the records of some rows of a log that was replaced so often before, with their numbers.

        Raises:
            SessionFailed: it was replaced since.
        """
        with Unlocking(self.lock), self.lock:
            found = self.ask(SessionView.numbered_records, rows) if self._is_same(times_replaced) else []
            if not self._is_same(times_replaced):
                location = self.journal.log.location
                raise SessionFailed(f"{location}: the log was replaced while its records were read; read them again")
            return found

    def _is_same(self, times_replaced: int) -> bool:
        return self.journal.times_replaced == times_replaced

    @locked
    def refresh(self) -> list[Entry]:
        """Reads what other clients appended, adopts the log's leaf, and returns their new entries that can be read."""
        self.journal.refresh()
        index = self.journal.index
        self.leaf_id = index.state.leaf.id
        rows = [row for row in self.journal.unseen_rows() if index.tree.is_node(row)]
        entries = cast("list[Entry]", index.readable_records(rows))
        self.journal.mark_seen()
        return entries

    @locked
    def revision(self) -> str | None:
        """Returns the id of the last record that this client has seen."""
        return self.journal.seen_revision()

    @locked
    def stored_record(self, id: str) -> Entry | Mark | None:
        """Reads new lines of the log and returns the record with an id. If it is the log's leaf, it is now seen."""
        self.journal.refresh()
        index = self.journal.index
        if index.state.leaf.id == id:
            self.leaf_id = id
        return index.record_with(id)

    @locked
    def has_call_elsewhere(self, results: Sequence[Result]) -> bool:
        """Returns whether results at the log's leaf would go to a call on another branch."""
        index = self.journal.index
        return call_elsewhere(index, results, index.state.leaf.row) is not None

    # --- writing ---

    def without_secrets(self, record: R) -> R:
        """Returns a record with its secrets replaced, if the session redacts."""
        if self.redact is None:
            return record
        from convtree._engine.redact import redact_record

        return redact_record(record, self.redact)

    def id_of(self, reference: Any) -> Any:
        """Returns the id that an argument stands for: an entry has one, a label that of its entry. An id wins.

        Labels are those that this client has read. Anything else is returned as it is.

        Raises:
            AmbiguousLabel: several entries have this label.
        """
        if isinstance(reference, Entry):
            return reference.id
        return self._id_named(reference) if isinstance(reference, str) else reference

    @locked
    def _id_named(self, text: str) -> str:
        journal = self.journal
        if not journal.scanned.labels.ids(text):  # the messages that it lacks have none
            return text
        return journal.index.id_named(text)

    def encode(self, record: Record) -> EncodedRecord:
        """Redacts, checks and encodes a record."""
        return encode_record(self.without_secrets(record))

    def seen(self, on_stale: OnStale | None = None, expected: Expected = ANYTHING) -> SeenLeaf:
        """Returns the leaf that this client has seen. The caller holds the lock until it has written.

        Where the log is as the caller expects, the log's leaf is continued, whatever this client has seen.
        """
        return SeenLeaf(self.leaf_id, "rebase" if expected else on_stale or self.on_stale)

    def append(
        self,
        entries: Sequence[Entry],
        parent_id: str | AtLeaf | None,
        on_stale: OnStale | None = None,
        *,
        reply_to: str | None = None,
        label: str | None = None,
        move_leaf: bool = True,
        expected: Expected = ANYTHING,
    ) -> list[Any]:
        """Appends a chain of entries.

        Args:
            entries: the entries; each is the parent of the next.
            parent_id: the parent of the first.
            on_stale: what to do if another client moved the leaf; None: as this client was opened with.
            reply_to: the entry that the first one answers: it decides the parent.
            label: the label of the last one.
            move_leaf: whether the leaf moves to the last one.
            expected: what the log must be like.
        """
        check_on_stale(on_stale, expected)
        if reply_to is not None and expected:
            raise ValueError("expect_leaf and expect_revision: a reply lands whatever happened; leave out reply_to")
        if reply_to is not None and (parent_id is not LEAF or on_stale is not None):
            raise ValueError("the place of a reply follows from reply_to; leave out parent_id and on_stale")
        encode = encode_record if self.redact is None else self.encode
        records = [encode(entries[0])] if len(entries) == 1 else for_each_item(encode, entries)
        if label is not None:  # its target is known under the lock
            label = cast(LabelMark, self.encode(LabelMark(target_id="", label=label)).record).label
        lock = self.lock
        is_nested = is_owned(lock)
        try:  # as `Unlocking` does it, without its calls
            with lock:
                if parent_id is not None and reply_to is None and label is None and move_leaf:
                    plain = append_plain(self, records, parent_id, expected)
                    if plain is not None:
                        return plain
                seen = self.seen(on_stale, expected)
                appended = Append(records, parent_id, seen, reply_to, label, move_leaf, expected)
                return self._write(appended).stored[: len(entries)]
        except BaseException:
            if not is_nested:  # pragma: no branch  # an interrupt of a call within another
                release(lock)
            raise

    def add_mark(self, mark: LabelMark | SessionInfoMark) -> None:
        """Appends a mark that does not move the leaf."""
        self.write(AddMark(self.encode(mark)))

    def write(self, intent: Intent) -> WriteBatch:
        """Writes an intent. If it moves the leaf, this client has then seen the log's leaf."""
        with Unlocking(self.lock), self.lock:
            return self._write(intent)

    @property
    def refuses(self) -> bool:
        """Whether it is closed or was opened to read only. The log itself may refuse, too."""
        return self.closed or self._refusal is not None

    def _write(self, intent: Intent) -> WriteBatch:
        journal = self.journal
        if self.refuses or journal.scanned.state.read_only:
            self.check_open()
            self.check_writable()  # before the log is asked: a reader takes no lock and repairs nothing
        batch = journal.write(intent, self._new_header)
        leaf_id = journal.index.state.leaf.id
        if (
            intent.moves_leaf
            and not batch.keeps_leaf
            and (batch.added or not batch.stored or batch.stored[-1].id == leaf_id)
        ):
            self.leaf_id = leaf_id  # ours; with nothing added, it was there already: a retry has seen it
        return batch

    def save_long_scan(self) -> None:
        """Saves the index of a writer that had to scan much to open the log, so that the next one has not."""
        with Unlocking(self.lock), self.lock:
            if self._may_write:
                self.journal.save_long_scan()

    @property
    def _may_write(self) -> bool:
        return self._refusal is None and self.journal.scanned.state.read_only is None

    def close(self) -> None:
        """Closes the log. A writer first saves its index if enough was added."""
        with Unlocking(self.lock), self.lock:
            try:
                if not self.closed and self._may_write:
                    self.journal.save_snapshot()
            finally:
                self.closed = True
                self.journal.log.close()

    # --- checks ---

    def check_open(self) -> None:
        """Raises SessionClosed after `close`."""
        if self.closed:
            raise SessionClosed(f"{self.journal.log.location}: this session is closed")

    def check_writable(self) -> None:
        """Raises ReadOnlySession if the session or its log must not be written to."""
        if self._refusal is not None:
            raise ReadOnlySession(f"{self.journal.log.location}: this session is read-only: {self._refusal}")
        self.journal.check_writable()

    @locked
    def check_can_append(self, expected: Expected = ANYTHING) -> None:
        """Raises the errors of an append at the leaf that are known before it is tried.

        If the log is as expected, this client has then seen the log's leaf: the caller has.
        """
        self.check_writable()
        if expected:
            self.journal.refresh()
            expected.check(self.journal.index, self.journal.log.location)
            self.leaf_id = self.journal.index.state.leaf.id
        self.view().row(LEAF)

    def check_findings(self) -> None:
        """Raises CorruptLog if there is a finding above severity "info"."""
        findings = tuple(self.journal.scanned.state.findings)
        serious = [finding for finding in findings if finding.severity != "info"]
        if serious:
            raise CorruptLog(
                f"{self.journal.log.location}: {len(serious)} findings, "
                f"the first is {serious[0].code} in line {serious[0].line}",
                findings=findings,
            )


def check_on_stale(on_stale: OnStale | None, expected: Expected) -> None:
    """Raises ValueError for a policy that does not exist, or that comes with an expectation."""
    if on_stale is None:
        return
    check_choice("on_stale", on_stale, ON_STALE)
    if expected:
        raise ValueError("expect_leaf and expect_revision: the call is refused if they do not hold; leave out on_stale")


def checked_id(id: str | None) -> str:
    """Returns the id of a new record; empty if the write batch makes one.

    Raises:
        InvalidMessage: it is not an id.
    """
    if id is None:
        return ""
    codec.check_id(id, "id")
    return id


def for_each_item(work: Callable[[U], T], items: Iterable[U], name: str = "items", first: int = 0) -> list[T]:
    """Calls a function for each item of the list `name`, from its place `first` on; an error says for which one."""
    done: list[T] = []
    try:
        for item in items:
            done.append(work(item))
    except InvalidMessage as error:
        place = f"{name}[{first + len(done)}]"
        raise InvalidMessage(f"{place}: {error}", place=f"{place}.{error.place}") from None
    except TypeError as error:
        raise TypeError(f"{name}[{first + len(done)}]: {error}") from None
    return done


class HasClient(Protocol):
    """The part of a session that the functions in other modules need: its client."""

    _client: Client


@or_later
def query(question: Callable[Concatenate[SessionView, P], T]) -> Callable[Concatenate[Any, P], T]:
    """Turns a query of `SessionView` into a method of sessions that runs it on the session's view."""

    @wraps(question)
    def ask(self: HasClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._client.ask(question, *args, **kwargs)

    ask.__qualname__ = f"Session.{question.__name__}"
    return checked(ask)


@or_later
def overloaded_method(function: F) -> F:
    """Turns a function that takes a session into a method as `method` does. Its type stays, with every overload."""
    function.__qualname__ = f"Session.{function.__name__}"
    return checked(function)


@or_later
def method(function: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[Any, P], T]:
    """Turns a function that takes a session into a method of sessions: changes its type and its name."""
    function.__qualname__ = f"Session.{function.__name__}"
    return checked(function)
