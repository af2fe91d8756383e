"""Ids for a history that its tool writes anew each time. Pure.

The id of a record is derived from its content and from the record above it. So what is the same up to a place keeps its
ids, what was added is new, and what was edited is a branch at the place where it differs.
"""

from __future__ import annotations

from typing import Any

import orjson

from convtree._formats.common.base import SourceSpan
from convtree._formats.common.ids import Ids
from convtree._formats.common.parents_first import Node


def node_by_content(ids: Ids, fields: dict[str, Any], span: SourceSpan, parent_id: str | None, source_id: str) -> Node:
    """Makes the node of a record below its parent. `source_id` says where it is in the source."""
    content = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode()
    return Node(ids.derive(parent_id or "", content), parent_id, source_id, span, fields)
