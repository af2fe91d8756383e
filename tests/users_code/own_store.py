"""The tests of a third-party store, as its author writes them."""

from pathlib import Path
from typing import Any, assert_type

import convtree
from convtree.testing import Clock, StoreContract, StoreMachine, assistant, store_machine, user


def open_mine(place: Path, clock: Clock) -> convtree.SessionStore:
    """Opens the store under test."""
    return convtree.open_store(place, clock=clock)


class TestMine(StoreContract):
    """Runs the conformance suite."""

    def open_store(self, place: Path, clock: Clock) -> convtree.SessionStore:
        """Opens the store under test."""
        return open_mine(place, clock)


TestMachine = store_machine(open_mine, shared=True).TestCase


def main(folder: Path) -> None:
    """Uses the helpers of the suite."""
    assert_type(user("Hello"), dict[str, Any])
    assert_type(assistant("Hello")["role"], Any)
    assert_type(store_machine(open_mine), type[StoreMachine])
    assert_type(Clock().text(), str)
    assert folder.is_dir()
