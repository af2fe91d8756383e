"""The conformance suite for stores. Subclass `StoreContract`, implement `open_store`, and run pytest.

    class TestMine(StoreContract):
        def open_store(self, place: Path, clock: Clock) -> SessionStore:
            return convtree.open_store(f"mine://{place}", clock=clock)

The store asks `clock` for the time; nothing inside convtree is patched. Expected values are written by hand, and stores
are tested through `SessionStore` only, however they are built. `store_machine` compares a store with a plain model over
random sequences of calls. Put `pytest.register_assert_rewrite("convtree.testing")` into your conftest.py, so that
failures show the values compared. Needs pytest and hypothesis.
"""

from convtree.testing._activity import ActivityTests
from convtree.testing._base import ODD, Clock, asked, assistant, begin, ids, user
from convtree.testing._branches import BranchTests
from convtree.testing._checking import CheckingTests
from convtree.testing._concurrency import ConcurrencyTests
from convtree.testing._copied import CopiedTests
from convtree.testing._copies import CopyTests, LedgerTests
from convtree.testing._deleted import DeletedElsewhereTests
from convtree.testing._edit_data import DataEditingTests
from convtree.testing._erasing import ErasingTests
from convtree.testing._expectations import ExpectationTests
from convtree.testing._families import FamilyTests
from convtree.testing._finding import FindingTests
from convtree.testing._forks import ForkTests
from convtree.testing._holds import HoldTests
from convtree.testing._lifecycle import LifecycleTests
from convtree.testing._lists import ListTests
from convtree.testing._machine import StoreMachine, store_machine
from convtree.testing._redacting import RedactingTests
from convtree.testing._resolving import ResolvingTests
from convtree.testing._scopes import ScopeTests
from convtree.testing._search import SearchTests
from convtree.testing._sessions import NOT_IDS, SessionTests
from convtree.testing._shared import SharedTests
from convtree.testing._tasks import TaskTests
from convtree.testing._texts import TextTests
from convtree.testing._usage import PROVIDERS, UsageTests
from convtree.testing._vacuum import VacuumTests
from convtree.testing._walks import WalkTests

__all__ = [
    "NOT_IDS",
    "ODD",
    "PROVIDERS",
    "Clock",
    "StoreContract",
    "StoreMachine",
    "asked",
    "assistant",
    "begin",
    "ids",
    "store_machine",
    "user",
]


class StoreContract(
    SessionTests,
    SharedTests,
    WalkTests,
    ListTests,
    ActivityTests,
    LifecycleTests,
    DeletedElsewhereTests,
    ErasingTests,
    HoldTests,
    ExpectationTests,
    BranchTests,
    FamilyTests,
    ForkTests,
    TaskTests,
    TextTests,
    CopiedTests,
    FindingTests,
    ResolvingTests,
    ScopeTests,
    SearchTests,
    UsageTests,
    CopyTests,
    LedgerTests,
    VacuumTests,
    CheckingTests,
    RedactingTests,
    DataEditingTests,
    ConcurrencyTests,
):
    """What every store must do, as tests. A subclass implements `open_store(place, clock)`.

    Attributes:
        shared: set it to False if a store cannot be opened twice at the same time.
        lasting: set it to False if sessions are gone when the store is closed.
    """
