"""A state machine that compares a store with a plain model over random sequences of calls."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from convtree._model.entries import Visibility, VisibilityMark
from convtree._model.errors import SessionExists, SessionHeld, SessionNotFound
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, user


class _Model:
    """The expected state of a session."""

    def __init__(self, moment: int, name: str | None) -> None:
        self.name, self.archived, self.active = name, False, moment
        self.entries: list[str] = []
        self.parents: dict[str, str | None] = {}
        self.texts: dict[str, str] = {}
        self.spent: dict[str, int] = {}
        self.copied: frozenset[str] = frozenset()
        self.held = False
        self.hidden: set[str] = set()  # from everybody, by a mark
        self.leaf: str | None = None

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
        self.moment = 0
        self.spent: dict[str, int] = {}  # by entry, whatever was deleted since

    def teardown(self) -> None:
        """Closes the handles."""
        if hasattr(self, "stores"):
            for store in self.stores:
                store.close()
            shutil.rmtree(self.place)

    def _tick(self) -> int:
        self.clock.pass_by(minutes=3)
        self.moment += 1
        return self.moment

    @rule(handle=st.integers(0, 1), id=_IDS, name=_NAMES, text=_WORDS, spent=st.integers(0, 3))
    def speak(self, handle: int, id: str, name: str | None, text: str, spent: int) -> None:
        """Appends a message to a session, which may be new."""
        moment = self._tick()
        with self.stores[handle].open(id, create=True, name=name) as session:
            model = self.models.setdefault(id, _Model(moment, name))
            entry = session.append(user(text), model="m", usage={"output_tokens": spent})
        assert entry.parent_id == model.leaf
        self._say(model, moment, entry.id, text, spent)

    def _say(self, model: _Model, moment: int, entry: str, text: str, spent: int) -> None:
        model.entries.append(entry)
        model.parents[entry], model.leaf = model.leaf, entry
        model.texts[entry], model.spent[entry], model.active = text, spent, moment
        self.spent[entry] = spent

    @rule(handle=st.integers(0, 1), id=_IDS, at=st.integers(0, 9))
    def branch(self, handle: int, id: str, at: int) -> None:
        """Moves the leaf. That counts as activity if the leaf changes."""
        if (model := self.models.get(id)) is None:
            return
        target = [None, *model.entries][at % (len(model.entries) + 1)]
        moment = self._tick()
        with self.stores[handle].open(id) as session:
            session.branch(target)
        if target != model.leaf:
            model.leaf, model.active = target, moment

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
        target, moment = model.entries[at % len(model.entries)], self._tick()
        with self.stores[handle].open(id) as session:
            seen: Visibility = "nobody" if hides else "all"
            session.extend([VisibilityMark(id=f"mark{moment}", target_id=target, visible_to=seen)])
        (model.hidden.add if hides else model.hidden.discard)(target)  # without a time, it is no activity

    def _change(self, handle: int, id: str, change: Callable[[SessionStore], None], **facts: Any) -> None:
        moment = self._tick()
        if id not in self.models:
            with pytest.raises(SessionNotFound):
                change(self.stores[handle])
            return
        change(self.stores[handle])
        vars(self.models[id]).update(facts, active=moment)

    @rule(handle=st.integers(0, 1), id=_IDS)
    def delete(self, handle: int, id: str) -> None:
        """Deletes a session, or expects SessionNotFound or SessionHeld."""
        model = self.models.get(id)
        if model is None or model.held:
            with pytest.raises(SessionNotFound if model is None else SessionHeld):
                self.stores[handle].delete(id)
        else:
            del self.models[id]
            assert self.stores[handle].delete(id) == [id]

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
            self._say(copy, model.active, entry, model.texts[entry], model.spent[entry])
        copy.copied = frozenset(path)
        copy.hidden = model.hidden.intersection(path)
        copy.active = moment  # copied entries are older and do not count as activity

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
        hits = self.stores[handle].search(text, limit=1000)
        assert {(hit.session_id, hit.entry_id): hit.on_path for hit in hits} == expected

    @invariant()
    def lists_are_true(self) -> None:
        """Both handles list all sessions as the model has them, last active first."""
        if not hasattr(self, "stores"):
            return
        expected = [
            (id, model.name, model.archived, model.held, self._shown(model), model.leaf)
            for id, model in sorted(self.models.items(), key=lambda each: (-each[1].active, each[0]))
        ]
        for store in self.stores:
            listed = store.list(archived=None, limit=None)
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
        said = [model.texts[entry] for entry in model.entries if entry not in model.hidden]
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
