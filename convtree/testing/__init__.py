"""What every store must do, as tests: subclass `StoreContract`, say how to open a store, and have pytest run it.

    class TestMine(StoreContract):
        def open_store(self, place: Path, clock: Clock) -> SessionStore:
            return convtree.open_store(f"mine://{place}", clock=clock)

Expected values are stated by hand, and everything goes through the calls of `SessionStore`: a store may be built in
any way. `pytest.register_assert_rewrite("convtree.testing")` in your conftest.py has failures say what was found.
`store_machine` compares a store with a plain model over random sequences of calls. It needs pytest
and hypothesis.
"""

from convtree.testing._basis import ODD, Clock, asked, assistant, begin, ids, user
from convtree.testing._counting import PROVIDERS, Counting
from convtree.testing._creating import NOT_IDS, Creating
from convtree.testing._forking import Forking
from convtree.testing._keeping import Keeping
from convtree.testing._listing import Listing
from convtree.testing._machine import StoreMachine, store_machine
from convtree.testing._searching import Searching
from convtree.testing._sharing import Sharing

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


class StoreContract(Creating, Listing, Keeping, Forking, Searching, Counting, Sharing):
    """Tests over `self.open_store(place, clock)`: a handle on the one store of that place.

    `shared` is False where a place has one handle only, `lasting` where a store does not outlive its handle.
    """
