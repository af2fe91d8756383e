"""orjson, imported when the first value is written or read: it imports `dataclasses` and `inspect`, which are slow.

Used as the module that it stands for: `from convtree._messages import fast_json as orjson`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orjson import OPT_SORT_KEYS, JSONDecodeError, dumps, loads

    OPT_PASSTHROUGH: int

__all__ = ["OPT_PASSTHROUGH", "OPT_SORT_KEYS", "JSONDecodeError", "dumps", "loads"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import orjson

    found = {each: getattr(orjson, each) for each in __all__ if each != "OPT_PASSTHROUGH"}
    found["OPT_PASSTHROUGH"] = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
    globals().update(found)
    return found[name]
