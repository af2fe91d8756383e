"""The entries that have a label: the labels of a log the other way round. Pure.

Made when somebody first asks for a label, and kept up to date from then on. So an append that names an entry by its id
costs one look into a dict, however many labels there are.
"""

from __future__ import annotations

from convtree._model.entries import LABEL_LIMIT


class Labels:
    """The labels by entry id, which belong to the state of an index, and the ids by label."""

    def __init__(self, by_id: dict[str, str]) -> None:
        self._by_id = by_id
        self._by_label: dict[str, dict[str, None]] | None = None

    def set(self, id: str, label: str | None) -> None:
        """Changes the label of an entry; None removes it."""
        before, now = self._by_id.get(id), None if label is None else label[:LABEL_LIMIT]
        if self._by_label is not None:
            if before is not None:
                del self._by_label[before][id]
            if now is not None:
                self._by_label.setdefault(now, {})[id] = None
        if now is not None:
            self._by_id[id] = now
        else:
            self._by_id.pop(id, None)

    def ids(self, label: str) -> list[str]:
        """Returns the ids of the entries with a label."""
        if self._by_label is None:
            self._by_label = {}
            for id, each in self._by_id.items():
                self._by_label.setdefault(each, {})[id] = None
        return list(self._by_label.get(label, ()))
