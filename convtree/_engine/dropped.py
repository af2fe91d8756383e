"""Ids of dropped records, as a set of hashes: what a vacuum entry keeps of them. Pure.

The set is the first 8 bytes of the SHA-256 of each id, sorted, one after the other, in base64. Another id has the same
8 bytes by chance once in 2**64.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from hashlib import sha256

_SIZE = 8  # bytes of each hash


def encode_dropped(ids: Iterable[str], earlier: str | None = None) -> str:
    """Returns ids as the text that a vacuum entry has as `dropped_ids`, with those of an earlier vacuum entry.

    Raises:
        ValueError: `earlier` is not such a text.
    """
    hashes = {_hash(id) for id in ids}
    hashes.update(DroppedIds(earlier))
    return b64encode(b"".join(sorted(hashes))).decode()


class DroppedIds:
    """The ids in the `dropped_ids` of a vacuum entry. None stands for no id.

    Raises:
        ValueError: the text is not such a set.
    """

    def __init__(self, text: str | None) -> None:
        data = b64decode(text or "", validate=True)
        self._data, self._count = data, len(data) // _SIZE
        if len(data) % _SIZE or any(self._at(place) >= self._at(place + 1) for place in range(self._count - 1)):
            raise ValueError("not sorted hashes of 8 bytes each")

    def __contains__(self, id: str) -> bool:
        hashed = _hash(id)
        place = bisect_left(range(self._count), hashed, key=self._at)
        return self._at(place) == hashed

    def __iter__(self) -> Iterator[bytes]:
        """Yields the hashes."""
        return (self._at(place) for place in range(self._count))

    def _at(self, place: int) -> bytes:
        return self._data[place * _SIZE : (place + 1) * _SIZE]


def _hash(id: str) -> bytes:
    return sha256(id.encode(errors="replace")).digest()[:_SIZE]
