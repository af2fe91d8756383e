"""A state machine that compares a store with a plain model over random sequences of calls."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from convtree._model.entries import ParentSession, Visibility, VisibilityMark
from convtree._model.errors import SessionExists, SessionHeld, SessionNotFound, StaleLeaf
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, ids, racing, user

_NEVER = datetime.fromtimestamp(0, UTC)


class _Model:
    """The expected state of a session."""

    def __init__(self, created: datetime, name: str | None) -> None:
        self.name, self.archived, self.created = name, False, created
        self.said: dict[str, datetime] = {}  # when, by entry
        self.task_of: str | None = None  # the session whose sub-agent it is, which may be gone
        self.entries: list[str] = []
        self.parents: dict[str, str | None] = {}
        self.texts: dict[str, str] = {}
        self.spent: dict[str, int] = {}
        self.vacuum: str | None = None  # the vacuum entry at its beginning
        self.copied: frozenset[str] = frozenset()
        self.held = False
        self.hidden: set[str] = set()  # from everybody, by a mark
        self.leaf: str | None = None

    def active(self, now: datetime) -> datetime:
        """When somebody last said something, as far as the clock can have been right."""
        return max((time for time in (self.created, *self.said.values()) if time <= now), default=_NEVER)

    def path(self, entry: str | None) -> list[str]:
        found = []
        while entry is not None:
            found.append(entry)
            entry = self.parents[entry]
        return found[::-1]


_IDS = st.sampled_from(["a", "b", "c", "d.e"])
_NAMES = st.none() | st.sampled_from(["Rome", "Oslo trip", "100%"])
_WORDS = st.lists(st.sampled_from(["rome", "Oslo", "trip", "É", "東"]), min_size=1, max_size=3).map(" ".join)


class StoreMachine(RuleBasedStateMachine):
    """Compares a store, through two handles, with a model. Made by `store_machine`."""

    open_store: Callable[[Path, Clock], SessionStore]
    shared = True

    @initialize()
    def begin(self) -> None:
        """Opens the handles."""
        self.place = Path(tempfile.mkdtemp(prefix="convtree-store-"))
        self.clock = Clock()
        first = type(self).open_store(self.place, self.clock)
        self.stores = [first, type(self).open_store(self.place, self.clock) if self.shared else first]
        self.models: dict[str, _Model] = {}
        self.moment = 0  # makes ids of marks
        self.spent: dict[str, int] = {}  # by entry, whatever was deleted since

    def teardown(self) -> None:
        """Closes the handles. The tables say what the lines say."""
        if hasattr(self, "stores"):
            assert [each for each in self.stores[0].verify() if each.findings or each.rows] == []
            for store in self.stores:
                store.close()
            shutil.rmtree(self.place)

    def _tick(self) -> datetime:
        self.clock.pass_by(minutes=3)
        self.moment += 1
        return self.clock.now

    @rule(days=st.integers(-400, 400))
    def step(self, days: int) -> None:
        """Sets the clock. What was said at a time that is in the future now is no activity."""
        self.clock.pass_by(days=days, minutes=self.moment)

    @rule(handle=st.integers(0, 1), id=_IDS, name=_NAMES, text=_WORDS, spent=st.integers(0, 3))
    def speak(self, handle: int, id: str, name: str | None, text: str, spent: int) -> None:
        """Appends a message to a session, which may be new."""
        moment = self._tick()
        with self.stores[handle].open(id, create=True, name=name) as session:
            model = self.models.setdefault(id, _Model(moment, name))
            entry = session.append(user(text), model="m", usage={"output_tokens": spent})
        assert entry.parent_id == model.leaf
        self._say(model, moment, entry.id, text, spent)

    def _say(self, model: _Model, moment: datetime, entry: str, text: str, spent: int) -> None:
        model.entries.append(entry)
        model.parents[entry], model.leaf = model.leaf, entry
        model.texts[entry], model.spent[entry], model.said[entry] = text, spent, moment
        self.spent[entry] = spent

    @rule(handle=st.integers(0, 1), id=_IDS, at=st.integers(0, 9), text=_WORDS)
    def speak_expecting(self, handle: int, id: str, at: int, text: str) -> None:
        """Appends if the leaf is where the caller thinks. A session that is not begun has none."""
        moment, model = self._tick(), self.models.get(id, _Model(self.clock.now, None))
        expected = [None, *model.entries][at % (len(model.entries) + 1)]
        with self.stores[handle].open(id, create=True) as session:
            if expected != model.leaf:
                with pytest.raises(StaleLeaf):
                    session.append(user(text), expect_leaf=expected)
                return
            entry = session.append(user(text), expect_leaf=expected)
        assert entry.parent_id == model.leaf
        self.models[id] = model
        self._say(model, moment, entry.id, text, 0)

    @rule(handle=st.integers(0, 1), id=_IDS, at=st.integers(0, 9))
    def branch(self, handle: int, id: str, at: int) -> None:
        """Moves the leaf. That is no activity."""
        if (model := self.models.get(id)) is None:
            return
        target = [None, *model.entries][at % (len(model.entries) + 1)]
        self._tick()
        with self.stores[handle].open(id) as session:
            session.branch(target)
        model.leaf = target

    @rule(handle=st.integers(0, 1), id=_IDS, name=_NAMES)
    def rename(self, handle: int, id: str, name: str | None) -> None:
        """Renames a session, or expects SessionNotFound."""
        self._change(handle, id, lambda store: store.rename(id, name), name=name)

    @rule(handle=st.integers(0, 1), id=_IDS, archived=st.booleans())
    def archive(self, handle: int, id: str, archived: bool) -> None:
        """Archives or restores a session, or expects SessionNotFound."""
        self._change(handle, id, lambda store: store.archive(id, archived), archived=archived)

    @rule(handle=st.integers(0, 1), id=_IDS, held=st.booleans())
    def hold(self, handle: int, id: str, held: bool) -> None:
        """Puts a session on hold or releases it, or expects SessionNotFound."""
        self._change(handle, id, lambda store: store.hold(id, held), held=held)

    @rule(handle=st.integers(0, 1), id=_IDS, at=st.integers(0, 9), hides=st.booleans())
    def hide(self, handle: int, id: str, at: int, hides: bool) -> None:
        """Hides a message from everybody, or shows it again."""
        model = self.models.get(id)
        if model is None or not model.entries:
            return
        target = model.entries[at % len(model.entries)]
        if target == model.vacuum:
            return  # nobody sees it anyway
        self._tick()
        with self.stores[handle].open(id) as session:
            seen: Visibility = "nobody" if hides else "all"
            session.extend([VisibilityMark(id=f"mark{self.moment}", target_id=target, visible_to=seen)])
        (model.hidden.add if hides else model.hidden.discard)(target)

    def _change(self, handle: int, id: str, change: Callable[[SessionStore], None], **facts: Any) -> None:
        self._tick()
        if id not in self.models:
            with pytest.raises(SessionNotFound):
                change(self.stores[handle])
            return
        change(self.stores[handle])
        vars(self.models[id]).update(facts)  # it is no activity

    @rule(handle=st.integers(0, 1), id=_IDS, parent=_IDS)
    def begin_task(self, handle: int, id: str, parent: str) -> None:
        """Begins a sub-agent's session. If its parent is gone, or itself, `create_task` refuses; `create` does not."""
        if id in self.models:
            return
        store, moment = self.stores[handle], self._tick()
        if parent in self.models:
            session = store.create_task(parent, id=id)
        else:
            with pytest.raises(SessionNotFound):
                store.create_task(parent, id=id)
            session = store.create(id=id, parent_session=ParentSession(id=parent, kind="task"))
        model = self.models[id] = _Model(moment, None)
        model.task_of = parent
        with session:
            entry = session.append(user("task"), model="m", usage={"output_tokens": 0})
        self._say(model, self.clock.now, entry.id, "task", 0)

    @rule(handle=st.integers(0, 1), id=_IDS, at=st.none() | st.integers(0, 9))
    def delete(self, handle: int, id: str, at: int | None) -> None:
        """Deletes a session with its sub-agents', or expects SessionNotFound, StaleLeaf or SessionHeld."""
        family = [id] if id in self.models else []
        for member in family:
            family += [child for child, each in self.models.items() if each.task_of == member and child not in family]
        held = any(self.models[member].held for member in family)
        expected: dict[str, Any] = {}
        if at is not None and family:
            entries = [None, *self.models[id].entries]
            expected["expect_leaf"] = entries[at % len(entries)]
        stale = bool(expected) and expected["expect_leaf"] != self.models[id].leaf
        if held or stale or not family:
            with pytest.raises(StaleLeaf if stale else SessionHeld if held else SessionNotFound):
                self.stores[handle].delete(id, **expected)
            return
        deleted = self.stores[handle].delete(id, **expected)
        assert (sorted(deleted), deleted[-1]) == (sorted(family), id)
        for member in family:
            del self.models[member]

    @rule(
        handle=st.integers(0, 1), days=st.none() | st.integers(1, 300), keep=st.none() | st.integers(0, 3), writer=_IDS
    )
    def prune(self, handle: int, days: int | None, keep: int | None, writer: str) -> None:
        """Prunes families. Meanwhile somebody writes to a session, and its family is skipped if it was to go."""
        if days is None and keep is None:
            return
        rules: dict[str, Any] = {"max_age": None if days is None else timedelta(days=days), "keep": keep}
        doomed = self._doomed(days, keep)
        held = [family for family in doomed if any(self.models[id].held for id in family)]
        going = [family for family in doomed if family not in held]
        pruned = self.stores[handle].prune(**rules)
        assert [sorted(ids(each)) for each in (pruned, pruned.skipped)] == [sorted(chain(*going)), []]
        assert [info.id for info in pruned.held] == [family[0] for family in held]

        def write() -> None:
            if writer in self.models:
                self.speak(1 - handle, writer, None, "meanwhile", 1)

        pruned = racing(self.stores[handle], self.clock, write).prune(**rules, dry_run=False)
        skipped = [family for family in going if writer in family]
        gone = list(chain(*(family for family in going if family not in skipped)))
        assert sorted(ids(pruned)) == sorted(gone)
        assert [ids(each) for each in (pruned.held, pruned.skipped)] == [
            [family[0] for family in each] for each in (held, skipped)
        ]
        for id in gone:
            del self.models[id]

    def _doomed(self, days: int | None, keep: int | None) -> list[list[str]]:
        """Returns the families that the rules condemn, last active first, the root first in each."""
        now = self.clock.now
        families: dict[str, list[str]] = {}
        for id in sorted(self.models):
            families.setdefault(self._root(id), []).append(id)
        ranked = []
        for root, members in families.items():
            active = max(self.models[id].active(now) for id in members)
            ranked.append((active, root, [root, *(id for id in members if id != root)]))
        ranked.sort(reverse=True)
        known = [each for each in ranked if each[0] != _NEVER]
        found = [
            family
            for number, (active, _, family) in enumerate(known)
            if (keep is not None and number >= keep) or (days is not None and active < now - timedelta(days=days))
        ]
        return found + [family for active, _, family in ranked if active == _NEVER and keep == 0]

    def _root(self, id: str) -> str:
        """Returns the session above all others in a family; of parents in a ring, the first by name."""
        above = [id]
        while (parent := self.models[above[-1]].task_of) in self.models and parent not in above:
            assert parent is not None
            above.append(parent)
        return min(above[above.index(parent) :]) if parent in above else above[-1]

    @rule(handle=st.integers(0, 1), id=_IDS, new_id=_IDS, at=st.integers(0, 9))
    def fork(self, handle: int, id: str, new_id: str, at: int) -> None:
        """Forks a session, or expects SessionNotFound or SessionExists."""
        model = self.models.get(id)
        if model is None or new_id in self.models:
            with pytest.raises(SessionNotFound if model is None else SessionExists):
                self.stores[handle].fork(id, new_id=new_id)
            return
        target = [None, *model.entries][at % (len(model.entries) + 1)]
        path = model.path(target)
        if not path and model.name is None:
            return  # a fork of nothing is a log without a record
        moment = self._tick()
        self.stores[handle].fork(id, target, new_id=new_id).close()
        copy = self.models[new_id] = _Model(moment, model.name)
        for entry in path:
            if entry == model.vacuum:
                copy.vacuum, copy.entries, copy.parents = entry, [entry], {entry: None}
                copy.spent[entry], copy.leaf = model.spent[entry], entry
            else:
                self._say(copy, model.said[entry], entry, model.texts[entry], model.spent[entry])
        copy.copied = frozenset(path)
        copy.hidden = model.hidden.intersection(path)

    @rule(handle=st.integers(0, 1), id=_IDS, at=st.lists(st.integers(0, 9), max_size=2), dry_run=st.booleans())
    def vacuum(self, handle: int, id: str, at: list[int], dry_run: bool) -> None:
        """Drops the other branches of a session, or expects SessionNotFound, SessionHeld or ValueError."""
        model, store = self.models.get(id), self.stores[handle]
        if not hasattr(store._backend, "rewrite"):
            return
        entries = [] if model is None else model.entries
        keep = [entries[number % len(entries)] for number in at if entries]
        self._tick()
        if model is None or model.held:
            with pytest.raises(SessionNotFound if model is None else SessionHeld):
                store.vacuum(id, keep or None, dry_run=dry_run)
            return
        leaves = keep or ([] if model.leaf is None else [model.leaf])
        if entries and (not leaves or model.vacuum in leaves):
            with pytest.raises(ValueError, match="pass keep="):
                store.vacuum(id, keep or None, dry_run=dry_run)
            return
        kept = {entry for leaf in leaves for entry in model.path(leaf)} - {model.vacuum}
        gone = {*entries} - {*kept, model.vacuum}
        done = store.vacuum(id, keep or None, dry_run=dry_run)
        assert (done.entries, done.kept, done.done) == (
            len(gone),
            len(kept) if entries else 0,
            bool(gone) and not dry_run,
        )
        if done.done:
            with store.open(id, read_only=True) as session:
                root = session.path()[0].id
            self._drop(id, model, gone | {entry for entry in entries if entry == model.vacuum}, root, leaves[-1])

    def _drop(self, id: str, model: _Model, gone: set[str], root: str, leaf: str) -> None:
        """Leaves out what a vacuum dropped, and what it had cost goes to the new root, unless others hold it."""
        others = {entry for other, each in self.models.items() if other != id for entry in each.entries}
        moved = sum(model.spent.pop(entry) for entry in sorted(gone) if entry not in others)
        for entry in gone:
            self.spent[entry] = self.spent[entry] if entry in others else 0
            for facts in (model.spent, model.parents, model.texts, model.said):
                facts.pop(entry, None)
        model.entries = [root, *(entry for entry in model.entries if entry not in gone)]
        for entry, parent in model.parents.items():
            model.parents[entry] = root if parent is None or parent in gone else parent
        model.parents[root], model.vacuum = None, root
        model.spent[root] = self.spent[root] = moved
        model.hidden -= gone
        if model.leaf in gone or model.leaf is None:
            model.leaf = leaf

    @rule(handle=st.integers(0, 1), id=_IDS, new_id=_IDS)
    def copy(self, handle: int, id: str, new_id: str) -> None:
        """Copies a whole session, or expects SessionNotFound or SessionExists."""
        model = self.models.get(id)
        if model is None or new_id in self.models:
            with pytest.raises(SessionNotFound if model is None else SessionExists):
                self.stores[handle].copy(id, new_id)
            return
        moment = self._tick()
        self.stores[handle].copy(id, new_id).close()
        copy = self.models[new_id] = _Model(moment, model.name)
        for entry in model.entries:
            self._say(copy, model.said[entry], entry, model.texts[entry], model.spent[entry])
        copy.parents, copy.leaf, copy.archived = dict(model.parents), model.leaf, model.archived
        copy.copied, copy.hidden = frozenset(model.entries), set(model.hidden)

    @rule(handle=st.integers(0, 1))
    def find(self, handle: int) -> None:
        """Asks for the sessions that hold an entry, for every entry there is."""
        for entry in {entry for model in self.models.values() for entry in model.entries}:
            expected = {id for id, model in self.models.items() if entry in model.texts}
            assert {*self.stores[handle].sessions_with(entry)} == expected

    @rule(handle=st.integers(0, 1), text=_WORDS)
    def search(self, handle: int, text: str) -> None:
        """Searches for messages with all of these words."""
        words = set(text.lower().split())
        expected = {
            (id, entry): entry in model.path(model.leaf)
            for id, model in self.models.items()
            for entry, said in model.texts.items()
            if entry not in model.hidden and words <= set(said.lower().split())
        }
        hits = self.stores[handle].search(text, tasks=True, limit=1000)
        assert {(hit.session_id, hit.entry_id): hit.on_path for hit in hits} == expected

    @invariant()
    def lists_are_true(self) -> None:
        """Both handles list all sessions as the model has them, last active first."""
        if not hasattr(self, "stores"):
            return
        expected = [
            (id, model.name, model.archived, model.held, self._shown(model), model.leaf)
            for id, model in sorted(
                self.models.items(), key=lambda each: (each[1].active(self.clock.now), each[0]), reverse=True
            )
        ]
        for store in self.stores:
            listed = store.list(archived=None, tasks=True, limit=None)
            found = [
                (
                    info.id,
                    info.name,
                    info.archived,
                    info.held,
                    (info.entries, info.first_user_message, info.last_user_message),
                    info.leaf_id,
                )
                for info in listed
            ]
            assert found == expected
            assert store.count(archived=None, tasks=True) == len(expected)
            assert store.findings == []
            self._check_usage(store, {info.id: info.usage.output_tokens for info in listed})

    def _check_usage(self, store: SessionStore, counted: dict[str, int]) -> None:
        """Each entry counts once, however many sessions hold a copy, and in the ledger when none does any more.

        It counts in the session in which it was written, while that is there.
        """
        held = {entry: tokens for model in self.models.values() for entry, tokens in model.spent.items()}
        assert sum(counted.values()) == sum(held.values())
        gone = sum(row.usage.output_tokens for row in store.ledger())
        assert sum(held.values()) + gone == sum(self.spent.values())
        for id, model in self.models.items():
            assert self._own(model) <= counted[id] <= sum(model.spent.values())

    @staticmethod
    def _shown(model: _Model) -> tuple[int, str | None, str | None]:
        said = [model.texts[entry] for entry in model.entries if entry in model.texts and entry not in model.hidden]
        return len(model.entries), *((said[0], said[-1]) if said else (None, None))

    @staticmethod
    def _own(model: _Model) -> int:
        return sum(spent for entry, spent in model.spent.items() if entry not in model.copied)


def store_machine(open_store: Callable[[Path, Clock], SessionStore], *, shared: bool = True) -> type[StoreMachine]:
    """Returns a state machine over the stores that `open_store(place, clock)` opens. Its `TestCase` is run by pytest.

    With `shared`, each place is opened twice and both handles are used. The settings of the `TestCase` say how many
    examples and steps it makes.
    """
    made = type("Machine", (StoreMachine,), {"open_store": staticmethod(open_store), "shared": shared})
    assert issubclass(made, StoreMachine)
    return made
