"""Orders the nodes of a source so that parents come before their children. Pure.

A node whose parent never appears becomes a root and is reported; no node is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from convtree._formats.common.base import Findings, SourceSpan
from convtree._formats.common.ids import Ids

HELD_LIMIT = 64 * 2**20  # bytes of the source that may wait for a parent


class Node(NamedTuple):
    """A node of the source's tree: its id and parent id here, its position, its fields, and a reference to another."""

    id: str
    parent_id: str | None
    source_id: str | None
    span: SourceSpan
    fields: dict[str, Any]
    reference: str | None = None


def link(
    ids: Ids,
    findings: Findings,
    fields: dict[str, Any],
    span: SourceSpan,
    source_id: str | None,
    ordinal: int,
    parent_id: str | None,
) -> Node:
    """Makes a node of the `ordinal`-th record. A source id that was used before is reported."""
    is_again = source_id is not None and ids.known(source_id) is not None
    id = ids.claim(source_id, ordinal)
    if is_again:
        findings.add("source_duplicate", span, id)
    return Node(id, parent_id, None if source_id == id else source_id, span, fields)


def parents_first(nodes: Iterable[Node], findings: Findings) -> Iterator[Node]:
    """Yields nodes parents first, otherwise in their order.

    A node waits for its parent. One whose parent does not appear before the end, or before too much is waiting in
    memory, becomes a root (reported). Each cycle is broken at its first node (reported).
    """
    placed: set[str] = set()
    waiting: dict[str, list[Node]] = {}
    held = 0  # bytes of the source, since nothing waited
    for node in nodes:
        if node.parent_id is None or node.parent_id in placed:
            yield from _release(node, placed, waiting, findings)
            continue
        held = held + node.span.length if waiting else node.span.length
        waiting.setdefault(node.parent_id, []).append(node)
        if held > HELD_LIMIT:
            yield from _release_rest(placed, waiting, findings)
    yield from _release_rest(placed, waiting, findings)


def _release_rest(placed: set[str], waiting: dict[str, list[Node]], findings: Findings) -> Iterator[Node]:
    """Yields all waiting nodes; those without a parent become roots."""
    above = {node.id: node for group in waiting.values() for node in group}
    for parent_id in [parent_id for parent_id in waiting if parent_id not in above]:
        for node in waiting.pop(parent_id):
            findings.add("source_orphan", node.span, node.id)
            yield from _release(node._replace(parent_id=None), placed, waiting, findings)
    for parent_id in list(waiting):
        if parent_id in waiting:  # only cycles and what hangs below them are left
            node = _first_on_cycle(waiting[parent_id][0], above)
            findings.add("source_cycle", node.span, node.id)
            waiting[str(node.parent_id)].remove(node)
            yield from _release(node._replace(parent_id=None), placed, waiting, findings)


def _release(node: Node, placed: set[str], waiting: dict[str, list[Node]], findings: Findings) -> Iterator[Node]:
    """Yields a node whose parent was yielded, and all nodes that waited for it."""
    ready = [node]
    while ready:
        node = ready.pop()
        placed.add(node.id)
        yield node
        followers = waiting.pop(node.id, [])
        for follower in followers:
            if follower.span.offset < node.span.offset:
                findings.add("source_forward", follower.span, follower.id)
        ready.extend(reversed(followers))


def _first_on_cycle(node: Node, above: dict[str, Node]) -> Node:
    """Returns the first node of the cycle that the ancestors of a node end in."""
    way: dict[str, int] = {}
    while node.id not in way:
        way[node.id] = len(way)
        node = above[str(node.parent_id)]
    return min((above[id] for id in list(way)[way[node.id] :]), key=lambda each: each.span.offset)
