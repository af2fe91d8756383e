"""Writes the logs and `vectors.json`: `python -m tests.vectors.build`. Needs the standard library only.

The expected values are written by hand, next to the lines, in the modules `rows_…`. Nothing here reads a log.
"""

from __future__ import annotations

import json
from pathlib import Path

from . import (
    rows_groups,
    rows_ids,
    rows_lines,
    rows_lost,
    rows_records,
    rows_replaces,
    rows_session,
    rows_visibility,
)
from .sealing import Vector

HERE = Path(__file__).parent
VECTORS: list[Vector] = [
    *rows_lines.VECTORS,
    *rows_ids.VECTORS,
    *rows_records.VECTORS,
    *rows_groups.VECTORS,
    *rows_visibility.VECTORS,
    *rows_replaces.VECTORS,
    *rows_lost.VECTORS,
    *rows_session.VECTORS,
]


def files() -> dict[str, bytes]:
    """Returns the content of each file, by its path in this folder."""
    logs = {f"logs/{vector.name}.jsonl": vector.log for vector in VECTORS}
    assert len(logs) == len(VECTORS), "two vectors have the same name"
    lines = (json.dumps(vector.expected(), ensure_ascii=False) for vector in VECTORS)
    return logs | {"vectors.json": ("[\n" + ",\n".join(lines) + "\n]\n").encode()}


def main() -> None:
    """Writes the files, and removes logs of vectors that are gone."""
    wanted = files()
    for old in HERE.glob("logs/*.jsonl"):
        if f"logs/{old.name}" not in wanted:
            old.unlink()
    (HERE / "logs").mkdir(exist_ok=True)
    for name, content in wanted.items():
        (HERE / name).write_bytes(content)


if __name__ == "__main__":
    main()
