"""Two sessions on one log and a plain model: after any calls in any order, they agree."""

import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from helpers import assistant, user
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from convtree import (
    BrokenPath,
    CompactionEntry,
    ExtensionDataEntry,
    IdConflict,
    InvalidCompaction,
    InvalidMessage,
    LeafUncertain,
    MessageEntry,
    Session,
    StaleLeaf,
)
from convtree._engine import save_points
from convtree.repair import repair

HANDLES = st.sampled_from([0, 1])
TEXTS = st.text(max_size=5)


class Model(RuleBasedStateMachine):
    """The log as dicts, and two sessions on it, each with the leaf it has seen."""

    nodes = Bundle("nodes")

    @initialize()
    def begin(self) -> None:
        """Starts without a file."""
        self.folder = tempfile.TemporaryDirectory(prefix="convtree-")
        self.path = Path(self.folder.name) / "log.jsonl"
        self.parents: dict[str, str | None] = {}
        self.said: dict[str, tuple[str, Any]] = {}
        self.pinned: set[str] = set()
        self.answers: dict[str, str] = {}
        self.stopped: set[str] = set()
        self.lost: set[str] = set()  # once; they were put back
        self.moment = 0  # counts nodes and marks
        self.born: dict[str, int] = {}
        self.marks: list[tuple[int, str, str, Any]] = []  # moment, node, field, value
        self.labels: dict[str, str] = {}
        self.name: str | None = None
        self.leaf: str | None = None
        self.seen: list[str | None] = [None, None]
        self.told: list[set[str]] = [set(), set()]
        self.doubt = False  # a foreign line stands behind the one that set the leaf
        self.strange: set[str] = set()  # the findings that foreign lines are
        self.prepare()
        self.handles = [self.open(), self.open()]

    def prepare(self) -> None:
        """Prepares a variant before the sessions are opened."""

    def open(self) -> Session:
        return Session.open(self.path, durability="process")

    def teardown(self) -> None:
        """Closes everything."""
        if hasattr(self, "handles"):
            for handle in self.handles:
                handle.close()
            self.folder.cleanup()

    # --- the model ---

    def path_of(self, id: str | None) -> list[str]:
        path: list[str] = []
        while id is not None:
            path.insert(0, id)
            id = self.parents[id]
        return path

    def context_of(self, leaf: str | None) -> list[Any]:
        path = self.path_of(leaf)
        compactions = [at for at, id in enumerate(path) if self.said[id][0] == "compaction"]
        shown = path
        if compactions:
            at = compactions[-1]
            kept = self.said[path[at]][1]
            start = at if kept is None else path.index(kept)
            pins = [id for id in path[:start] if self.stays(id, self.born[path[at]])]
            shown = [*pins, path[at], *path[start:at], *path[at + 1 :]]
            compactions = [shown.index(path[at])]
        return [
            "summary" if kind == "compaction" else value
            for number, id in enumerate(shown)
            for kind, value in [self.said[id]]
            if (kind in ("message", "nobody") and self.now(id, "visible_to") in ("all", "model"))
            or (kind == "compaction" and number in compactions)
        ]

    def now(self, id: str, field: str, until: float = float("inf")) -> Any:
        """Who sees a message, or whether it is pinned, by the marks before a moment."""
        own = {"visible_to": "nobody" if self.said[id][0] == "nobody" else "all", "pinned": id in self.pinned}
        values = [value for at, target, name, value in self.marks if (target, name) == (id, field) and at < until]
        return values[-1] if values else own[field]

    def stays(self, id: str, compacted: int) -> bool:
        """Whether a message before the kept range of a compaction is in the context, if it is visible now."""
        if any(at > compacted for at, *mark in self.marks if mark == [id, "pinned", True]):
            return True
        return self.now(id, "pinned", compacted) and self.now(id, "visible_to", compacted) in ("all", "model")

    def added(self, who: int, id: str, parent: str | None, kind: str, value: Any, *, moves: bool = True) -> str:
        self.parents[id] = parent
        self.said[id] = (kind, value)
        self.moment += 1
        self.born[id] = self.moment
        if moves:
            self.leaf = self.seen[who] = id
        self.doubt = False
        self.told[who].add(id)
        return id

    def only_notes(self, above: str | None, below: str | None) -> bool:
        """Whether `above` is `below`, or above it with entries in between that nobody said."""
        while below is not None and below != above and self.said[below][0] in ("compaction", "state", "nobody"):
            below = self.parents[below]
        return below == above

    def refused(self, who: int, text: str, policy: Any = None) -> bool:
        """Appends at the leaf if that must fail, and asserts that it does; returns whether it had to."""
        if self.doubt:
            with pytest.raises(LeafUncertain):
                self.handles[who].append(user(text), on_stale=policy)
        elif policy is None and not self.only_notes(self.seen[who], self.leaf):
            with pytest.raises(StaleLeaf) as caught:
                self.handles[who].append(user(text))
            assert (caught.value.expected, caught.value.actual) == (self.seen[who], self.leaf)
        else:
            return False
        return True

    # --- operations ---

    @rule(target=nodes, who=HANDLES, text=TEXTS, pinned=st.booleans(), stopped=st.booleans())
    def append(self, who: int, text: str, pinned: bool, stopped: bool) -> Any:
        """Appends at the leaf, which raises if the leaf is stale or uncertain."""
        if self.refused(who, text):
            return multiple()
        entry = self.handles[who].append(user(text), pinned=pinned, status="interrupted" if stopped else None)
        if stopped:
            self.stopped.add(entry.id)
        assert entry.parent_id == self.leaf
        if pinned:
            self.pinned.add(entry.id)
        return self.added(who, entry.id, entry.parent_id, "message", text)

    @rule(target=nodes, who=HANDLES, text=TEXTS, parent=st.none() | nodes)
    def append_below(self, who: int, text: str, parent: str | None) -> str:
        """Appends below a parent, which is never stale, even if this session has not read the parent yet."""
        entry = self.handles[who].append(user(text), parent_id=parent)
        return self.added(who, entry.id, parent, "message", text)

    @rule(target=nodes, who=HANDLES, text=TEXTS, policy=st.sampled_from(["branch", "rebase"]))
    def append_stale(self, who: int, text: str, policy: Any) -> Any:
        """Appends with a policy, which is never stale either."""
        if self.refused(who, text, policy):
            return multiple()
        stays = policy == "branch" and not self.only_notes(self.seen[who], self.leaf)
        parent = self.seen[who] if stays else self.leaf
        entry = self.handles[who].append(user(text), on_stale=policy)
        assert entry.parent_id == parent
        return self.added(who, entry.id, parent, "message", text)

    @rule(
        target=nodes, who=HANDLES, text=TEXTS, expected=st.none() | nodes, parent=st.none() | nodes, below=st.booleans()
    )
    def append_expecting(self, who: int, text: str, expected: str | None, parent: str | None, below: bool) -> Any:
        """Appends if the log has a leaf, whatever this session has seen: at the leaf or below a parent."""
        place: dict[str, Any] = {"parent_id": parent} if below else {}
        if self.doubt or expected != self.leaf:
            with pytest.raises(LeafUncertain if self.doubt else StaleLeaf) as caught:
                self.handles[who].append(user(text), expect_leaf=expected, **place)
            if isinstance(caught.value, StaleLeaf):
                assert (caught.value.expected, caught.value.actual) == (expected, self.leaf)
            return multiple()
        entry = self.handles[who].append(user(text), expect_leaf=expected, **place)
        assert entry.parent_id == (parent if below else self.leaf)
        return self.added(who, entry.id, entry.parent_id, "message", text)

    @rule(who=HANDLES, expected=st.none() | nodes, id=st.none() | nodes)
    def pop(self, who: int, expected: str | None, id: str | None) -> None:
        """Moves the leaf if it is where the caller thinks."""
        if self.doubt or expected != self.leaf:
            with pytest.raises(LeafUncertain if self.doubt else StaleLeaf):
                self.handles[who].branch(id, expect_leaf=expected)
            return
        self.handles[who].branch(id, expect_leaf=expected)
        self.leaf = self.seen[who] = id

    @rule(target=nodes, who=HANDLES, text=TEXTS, fresh=st.booleans(), marks=st.booleans())
    def append_at_a_revision(self, who: int, text: str, fresh: bool, marks: bool) -> Any:
        """Appends if nothing was written since this session last looked, a mark included."""
        handle = self.handles[who]
        if fresh:
            self.refresh(who)
        revision = handle.revision
        if marks:
            self.moment += 1
            self.handles[1 - who].rename(f"{self.moment}")
            self.name = f"{self.moment}"
        with Session.open(self.path) as reader:
            last = reader.revision
            if not self.lost:  # an entry that was put back has its old number, and is the last record
                assert [None, *(record.id for _, record in reader.records())][-1] == last
        if fresh:
            assert (revision == last) is not marks
        if revision != last or self.doubt:
            with pytest.raises((StaleLeaf, LeafUncertain)):
                handle.append(user(text), expect_revision=revision)
            return multiple()
        entry = handle.append(user(text), expect_revision=revision)
        assert entry.parent_id == self.leaf
        return self.added(who, entry.id, entry.parent_id, "message", text)

    @rule(target=nodes, who=HANDLES, texts=st.lists(TEXTS, max_size=3), parent=st.none() | nodes)
    def append_many(self, who: int, texts: list[str], parent: str | None) -> Any:
        """Appends a chain."""
        entries = self.handles[who].append_many([user(text) for text in texts], parent_id=parent)
        for entry, text in zip(entries, texts, strict=True):
            assert entry.parent_id == parent
            parent = self.added(who, entry.id, parent, "message", text)
        return multiple(*(entry.id for entry in entries))

    @rule(target=nodes, who=HANDLES, text=TEXTS, answered=nodes, moves=st.booleans(), label=st.none() | TEXTS)
    def reply(self, who: int, text: str, answered: str, moves: bool, label: str | None) -> Any:
        """Appends a reply, which is never stale: at the end of notes, else below the entry that it answers."""

        def act() -> MessageEntry:
            return self.handles[who].append(assistant(text), reply_to=answered, move_leaf=moves, label=label)

        if self.doubt and not moves:
            with pytest.raises(LeafUncertain):
                act()
            return multiple()
        entry = act()
        behind = not self.doubt and self.only_notes(answered, self.leaf)
        assert (entry.parent_id, entry.reply_to) == (self.leaf if behind else answered, answered)
        moves = moves and (self.doubt or answered in self.path_of(self.leaf))
        if label is not None:
            self.labels[entry.id] = label
        self.answers[entry.id] = answered
        return self.added(who, entry.id, entry.parent_id, "message", text, moves=moves)

    @rule(target=nodes, who=HANDLES, text=TEXTS)
    def say_nothing(self, who: int, text: str) -> Any:
        """Appends a message for nobody at the leaf: a note."""
        if self.refused(who, text):
            return multiple()
        entry = self.handles[who].append(user(text), visible_to="nobody")
        assert entry.parent_id == self.leaf
        return self.added(who, entry.id, entry.parent_id, "nobody", text)

    @rule(target=nodes, who=HANDLES, text=TEXTS, parent=st.none() | nodes)
    def append_aside(self, who: int, text: str, parent: str | None) -> Any:
        """Appends below a parent and leaves the leaf where it is, if that is known."""
        if self.doubt:
            with pytest.raises(LeafUncertain):
                self.handles[who].append(user(text), parent_id=parent, move_leaf=False)
            return multiple()
        entry = self.handles[who].append(user(text), parent_id=parent, move_leaf=False)
        return self.added(who, entry.id, parent, "message", text, moves=False)

    @rule(target=nodes, who=HANDLES, text=st.sampled_from("ab"))
    def set_system(self, who: int, text: str) -> Any:
        """Sets the system message, which writes nothing if the path says it already."""
        if self.doubt:
            with pytest.raises(LeafUncertain):
                self.handles[who].set_system(text)
            return multiple()
        current = next((id for id in self.path_of(self.leaf)[::-1] if self.said[id][0] == "system"), None)
        if current is not None and self.said[current][1] == text:
            assert self.handles[who].set_system(text).id == current
            if current == self.leaf:
                self.seen[who] = current
            return multiple()
        if not self.only_notes(self.seen[who], self.leaf):
            with pytest.raises(StaleLeaf):
                self.handles[who].set_system(text)
            return multiple()
        entry = self.handles[who].set_system(text)
        assert (entry.parent_id, entry.replaces, entry.pinned) == (self.leaf, current, True)
        return self.added(who, entry.id, entry.parent_id, "system", text)

    @rule(target=nodes, who=HANDLES, stored=nodes, text=TEXTS)
    def append_again(self, who: int, stored: str, text: str) -> Any:
        """Appends a stored message and a new one, which never continues the stored one on another branch."""
        if self.said[stored][0] != "message":
            return multiple()
        items = [self.item(stored), user(text)]
        begun = self.only_notes(self.seen[who], self.parents[stored])  # as if an earlier call had been cut off
        seen = stored if begun else self.seen[who]
        if self.doubt or not self.only_notes(seen, self.leaf):
            with pytest.raises(LeafUncertain if self.doubt else StaleLeaf):
                self.handles[who].append_many(items)
            return multiple()
        again, entry = self.handles[who].append_many(items)
        assert (again.parent_id, entry.parent_id) == (self.parents[stored], self.leaf)
        return self.added(who, entry.id, entry.parent_id, "message", text)

    def item(self, id: str, more: str = "") -> MessageEntry:
        """A stored message as it was given."""
        answered, text = self.answers.get(id), self.said[id][1] + more
        message = user(text) if answered is None else assistant(text)
        stopped: Any = "interrupted" if id in self.stopped else None
        return MessageEntry(id=id, message=message, pinned=id in self.pinned or None, reply_to=answered, status=stopped)

    @rule(who=HANDLES, id=nodes, visible_to=st.sampled_from(["all", "user", "model", "nobody"]))
    def hide(self, who: int, id: str, visible_to: Any) -> None:
        """Hides a message from somebody, or shows it; a note that nobody said, too."""
        self._mark(who, id, "visible_to", visible_to)

    @rule(who=HANDLES, id=nodes, pinned=st.booleans())
    def pin(self, who: int, id: str, pinned: bool) -> None:
        """Pins or unpins a message."""
        self._mark(who, id, "pinned", pinned)

    def _mark(self, who: int, id: str, field: str, value: Any) -> None:
        handle = self.handles[who]
        if self.said[id][0] not in ("message", "nobody"):
            if self.said[id][0] != "system":
                with pytest.raises(InvalidMessage):
                    handle.hide(id)
            return
        before = self.context_of(self.seen[who])
        if self.now(id, field) != value:
            self.moment += 1
            self.marks.append((self.moment, id, field, value))
        if field == "pinned":
            changed = handle.pin(id, value)
        else:
            changed = handle.show(id) if value == "all" else handle.hide(id, visible_to=value)
        assert changed or self.context_of(self.seen[who]) == before
        for each in (0, 1):  # a session knows of a mark when it has read it
            self.refresh(each)

    @rule(which=st.integers(0, 99))
    def lose(self, which: int) -> None:
        """Damages a message, keeps its place by a repair, and puts it back: nothing changes but the log's file."""
        told = [id for id in self.parents if self.said[id][0] == "message" and id not in self.lost]
        above = [id for id in told if id in self.parents.values()]  # its children confirm the id
        if self.doubt or self.strange or not above:
            return
        id = above[which % len(above)]
        self.lost.add(id)
        with Session.open(self.path, mode="r") as reader:
            entry = reader.entry(id)
        data = bytearray(self.path.read_bytes())
        data[data.index(b'"message":{', data.index(b'{"id":"%s"' % id.encode())) + 2] ^= 1
        self.path.write_bytes(data)
        done = repair(self.path, dry_run=False, rejoin=True)
        assert [each.entry_id for each in done.rejoined] == [id], done
        with self.open() as session:
            with pytest.raises(BrokenPath):
                session.path(id)
            session.extend([entry])
            assert session.entry(id) == entry
            try:
                session.path()
            except LeafUncertain:
                session.branch(self.leaf)
        self.told = [set(), set()]  # of a log that was replaced, every entry is new
        for each in (0, 1):
            self.refresh(each)

    @rule(who=HANDLES, id=nodes, other=st.booleans())
    def retry(self, who: int, id: str, other: bool) -> None:
        """Appends a stored id: equal content returns the stored entry, other content is a conflict."""
        if self.said[id][0] != "message":
            return
        item = self.item(id, "?" if other else "")
        if other:
            with pytest.raises(IdConflict):
                self.handles[who].append(item)
        else:
            assert self.handles[who].append(item).parent_id == self.parents[id]
            if id == self.leaf:
                self.seen[who] = id

    @rule(target=nodes, who=HANDLES, parent=nodes, kept=st.none() | nodes)
    def compact(self, who: int, parent: str, kept: str | None) -> Any:
        """Appends a compaction, which is refused unless its first kept entry is on the path."""
        item = CompactionEntry(summary="summary", first_kept_entry_id=kept)
        if kept is not None and kept not in self.path_of(parent):
            with pytest.raises(InvalidCompaction):
                self.handles[who].append(item, parent_id=parent)
            return multiple()
        return self.added(who, self.handles[who].append(item, parent_id=parent).id, parent, "compaction", kept)

    @rule(target=nodes, who=HANDLES, data=st.integers(0, 99), parent=st.none() | nodes)
    def extension_data(self, who: int, data: int, parent: str | None) -> str:
        """Appends extension data."""
        entry = self.handles[who].append(ExtensionDataEntry(ext_type="x.y", data=data), parent_id=parent)
        return self.added(who, entry.id, parent, "state", data)

    @rule(who=HANDLES, id=st.none() | nodes)
    def branch(self, who: int, id: str | None) -> None:
        """Moves the leaf; this session has seen it."""
        self.handles[who].branch(id)
        self.leaf = self.seen[who] = id
        self.doubt = False

    @rule(who=HANDLES, id=nodes)
    def checkout(self, who: int, id: str) -> None:
        """Moves the leaf to the newest entry at or below another, also if another session appended it."""
        self.handles[who].checkout(id)
        self.leaf = self.seen[who] = [each for each in self.parents if id in self.path_of(each)][-1]
        self.doubt = False

    @rule(who=HANDLES, id=nodes, label=st.none() | TEXTS)
    def label(self, who: int, id: str, label: str | None) -> None:
        """Sets or removes a label, which moves no leaf."""
        self.handles[who].label(id, label)
        self.labels[id] = label or ""
        if label is None:
            del self.labels[id]

    @rule(who=HANDLES, name=st.none() | TEXTS)
    def rename(self, who: int, name: str | None) -> None:
        """Sets or removes the name, which moves no leaf."""
        self.handles[who].rename(name)
        self.name = name

    @rule(who=HANDLES)
    def refresh(self, who: int) -> None:
        """Asserts that a refresh returns the entries of others and adopts the leaf."""
        news = [entry.id for entry in self.handles[who].refresh()]
        assert news == [id for id in self.parents if id not in self.told[who]]
        self.told[who] = set(self.parents)
        self.seen[who] = self.leaf
        if not self.doubt:
            self.handles[who].path()

    @rule(who=HANDLES)
    def reopen(self, who: int) -> None:
        """Opens a new session, whose leaf is that of the log."""
        self.handles[who].close()
        self.handles[who] = self.open()
        self.seen[who] = self.leaf
        self.told[who] = set(self.parents)

    @rule(torn=st.binary(min_size=1, max_size=9).filter(lambda data: b"\n" not in data))
    def tear(self, torn: bytes) -> None:
        """Adds bytes without a newline, which are not in the log."""
        if self.path.exists():
            with self.path.open("ab") as file:
                file.write(torn)

    @rule(line=st.sampled_from([b"hello", b'{"role":"user","content":"hello"}', b"", b"\r", "last", "first"]))
    def write_foreign(self, line: bytes | str) -> None:
        """Adds a foreign line, or a line of the log again: damage, unless it is empty."""
        if not self.path.exists() or not (data := self.path.read_bytes()):
            return
        *lines, torn = data.split(b"\n")
        line = line if isinstance(line, bytes) else lines[-1 if line == "last" else 0]
        with self.path.open("ab") as file:
            file.write(line + b"\n")
        self.strange.add("carriage_return")
        if torn + line not in (b"", b"\r"):
            self.doubt = True
            self.strange |= {"bad_seal", "nul_bytes", "prev_mismatch", "duplicate", "second_header"}

    # --- invariants ---

    @invariant()
    def each_session_matches_the_model(self) -> None:
        """Leaf, path and context of each session are those of the model."""
        for handle, seen in zip(getattr(self, "handles", ()), getattr(self, "seen", ()), strict=True):
            assert handle.leaf_id == seen
            try:
                handle.path()
            except LeafUncertain:  # until this handle has read that it was settled: see `refresh`
                assert self.strange
                continue
            assert [entry.id for entry in handle.path()] == self.path_of(seen)
            messages = handle.build_context(render=lambda entry: {"content": entry.summary}).messages
            said = [message["content"] for message in messages if message.get("role") != "system"]
            assert said == self.context_of(seen)

    @invariant()
    def a_reader_matches_the_model(self) -> None:
        """Leaf, labels, name, children and extension data are those of the model, and there is no damage."""
        if not getattr(self, "path", None) or not self.path.exists() or not self.path.stat().st_size:
            return
        with Session.open(self.path, mode="r") as reader:
            assert {finding.code for finding in reader.findings} <= {"torn_tail"} | self.strange
            assert (reader.leaf_id, reader.labels, reader.name) == (self.leaf, self.labels, self.name)
            if self.doubt:
                with pytest.raises(LeafUncertain):
                    reader.build_context()
            for above in (None, self.leaf):
                children = [id for id, parent in self.parents.items() if parent == above]
                if above is None or above in self.parents:
                    assert [entry.id for entry in reader.children(above)] == children
            childless = [id for id in self.parents if id not in self.parents.values()]
            assert [entry.id for entry in reader.leaves()] == childless
            states = [self.said[id][1] for id in self.path_of(self.leaf) if self.said[id][0] == "state"]
            assert [entry.data for entry in reader.extension_data(leaf=self.leaf)] == states


class Indexed(Model):
    """The same with snapshots: every close saves one, an append now and then, and an open finds it or another.

    That is an older one, none, or a damaged one.
    """

    def prepare(self) -> None:
        """Makes every close save a snapshot, and every third record."""
        self.eager = patch.multiple(save_points, _TAIL_ROWS=0, _TAIL_BYTES=0, _TAIL_PART=0, _STEP_UNITS=3)
        self.eager.start()
        self.index = self.path.with_name(self.path.name + ".index")
        self.older: list[bytes] = []

    def teardown(self) -> None:
        """Closes everything and restores the thresholds."""
        super().teardown()
        if hasattr(self, "eager"):
            self.eager.stop()

    def _remember(self) -> bool:
        if hasattr(self, "index") and self.index.exists():
            self.older.append(self.index.read_bytes())
        return bool(getattr(self, "older", ()))

    @rule()
    def drop(self) -> None:
        """Deletes the snapshot."""
        self._remember()
        self.index.unlink(missing_ok=True)

    @rule(which=st.integers(0, 99))
    def put_back(self, which: int) -> None:
        """Puts an earlier snapshot in place."""
        if self._remember():
            self.index.write_bytes(self.older[which % len(self.older)])

    @rule(place=st.integers(0, 999), length=st.sampled_from([1, 100, 8192, 10**6]))
    def spoil(self, place: int, length: int) -> None:
        """Overwrites a part of the snapshot while sessions read from it."""
        if self._remember() and self.index.exists():
            data = bytearray(self.index.read_bytes())
            at = len(data) * place // 1000
            data[at : at + length] = bytes(len(data[at : at + length]))
            with self.index.open("r+b") as file:
                file.write(data)

    @invariant()
    def no_temporary_file_is_left(self) -> None:
        """Saving a snapshot leaves no temporary file."""
        if hasattr(self, "path"):
            assert not list(self.path.parent.glob(".*"))


TestModel = Model.TestCase
TestIndexedModel = Indexed.TestCase
for each in (TestModel, TestIndexedModel):  # a step opens, repairs and reads logs: fewer of them, unless asked for more
    each.settings = settings(each.settings, max_examples=max(25, each.settings.max_examples // 2))
del each
