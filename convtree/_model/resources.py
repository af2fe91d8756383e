"""What an object that owns descriptors or connections has in common. Pure."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex


class Uncopyable:
    """Refuses `copy`, `deepcopy` and `pickle`.

    A copy would have the number of the original's descriptor. When the copy is collected, it closes a file that is
    not its own, and what the original writes next goes to whichever file gets the number.
    """

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"a {name} cannot be copied or pickled: it owns open files or connections; open another one")
