"""Nodes of a conversation in a table or a list, and the records that they become.

A node may become several entries. The first has the node's id; children of the node go below the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from convtree._formats.common.base import Findings, SourceSpan
from convtree._formats.common.checked import checked
from convtree._formats.common.ids import Ids
from convtree._formats.common.parents_first import Node, link, parents_first
from convtree._formats.common.unsaid import unsaid, with_unsaid
from convtree._formats.common.values import key, moment, objects
from convtree._model.entries import Entry, ExtensionDataEntry, LeafMark, Record

#: ids that some tools use as the parent of a first message
NO_PARENT = frozenset({"00000000-0000-4000-8000-000000000000", "00000000-0000-0000-0000-000000000000"})

Maker = Callable[[Node], list[Entry]]


def nodes_of_table(
    nodes: Mapping[str, Any], parent: str, children: str, ids: Ids, span: SourceSpan, findings: Findings
) -> Iterator[Node]:
    """Yields the nodes of a table by id: parents first, siblings in the order of their parent's list of children.

    The parent decides; the list of children is only used to order siblings. Nodes that no root leads to come last.
    """
    fields = {id: _fields(value, id, span, findings) for id, value in nodes.items()}
    above = {id: _parent_of(each.get(parent), fields) for id, each in fields.items()}
    for id, each in fields.items():
        below = each.get(children)
        if isinstance(below, list) and any(isinstance(name, str) and name not in fields for name in below):
            findings.add_once(children, "source_bad_target", span, id)
    for id in _ordered(fields, above, children):
        parent_id = above[id]
        settled = None if parent_id is None else ids.refer(parent_id)
        yield link(ids, findings, fields[id], span, id, 0, settled)


def nodes_of_list(
    items: list[Any], own: str, parent: str | None, ids: Ids, span: SourceSpan, findings: Findings
) -> Iterator[Node]:
    """Yields the nodes of a list of items with an id and a parent id. Without `parent` they are a chain."""
    known = {id for item in items if isinstance(item, dict) and (id := key(item.get(own))) is not None}
    last: str | None = None
    sentinels: set[Any] = set()
    for ordinal, item in enumerate(items, 1):
        fields = _fields(item, ordinal, span, findings)
        source_id = key(fields.get(own))
        parent_id = last
        if parent is not None and parent in fields:
            above = _parent_of(fields[parent], known)
            sentinels |= {fields[parent]} if above is None and fields[parent] else set()
            if len(sentinels) > 1:
                findings.add("source_second_root", span)
                sentinels.clear()
            if above is not None and above in known and ids.known(above) is None and above != source_id:
                findings.add("source_forward", span, source_id)
            parent_id = None if above is None else ids.refer(above)
        node = link(ids, findings, fields, span, source_id, ordinal, parent_id)
        last = node.id
        yield node


def make_records(
    nodes: Iterable[Node],
    make: Maker,
    ids: Ids,
    findings: Findings,
    *,
    leaf: str | Callable[[], str | None] | None = None,
    span: SourceSpan | None = None,
    elsewhere: frozenset[str] = frozenset(),
    words: frozenset[str] = frozenset(),
) -> Iterator[Record]:
    """Yields the entries that `make` returns for each node, parents first, and a mark of the leaf if needed.

    What the entries of a node do not say of it is added to the first one.

    Args:
        nodes: the nodes.
        make: returns the entries of a node, without ids and parents.
        ids: the ids of the session.
        findings: takes what is wrong.
        leaf: the source's id of the leaf, None if it is the last node; a function is called after all nodes were read.
        span: where a leaf that is not there is reported.
        elsewhere: fields of nodes that the format keeps in another record.
        words: fields of nodes whose texts have another name here.
    """
    ends: dict[str, str] = {}  # of nodes that became several entries
    last, count, has_branches = None, 0, False
    for node in parents_first(nodes, findings):
        parent_id = None if node.parent_id is None else ends.get(node.parent_id, node.parent_id)
        has_branches = has_branches or parent_id != last
        for at, entry in enumerate(_kept(node, make(node), ids, findings, elsewhere, words)):
            last = node.id if at == 0 else ids.derive(node.id, at)
            source_id = node.source_id if at == 0 else node.source_id or node.id
            made = msgspec.structs.replace(entry, id=last, parent_id=parent_id, source_id=source_id)
            yield checked(made, node.span, findings)
            parent_id = last
            if at:
                ends[node.id] = last
        count += 1
    leaf = leaf() if callable(leaf) else leaf
    if leaf is None:
        return
    target = ids.known(leaf)
    if target is None:
        findings.add("source_bad_target", span or SourceSpan(1, 0, 0))
    elif (target := ends.get(target, target)) != last or has_branches:
        # the last one too, it may have been elsewhere before; the count, because the source may have grown elsewhere
        yield LeafMark(id=ids.derive("leaf", target, count), target_id=target)


def _kept(
    node: Node,
    entries: list[Entry],
    ids: Ids,
    findings: Findings,
    elsewhere: frozenset[str],
    words: frozenset[str],
) -> list[Entry]:
    """Adds to the entries of a node what they do not say of it. A message of which nothing was read is reported.

    Args:
        node: the node.
        entries: what was made of it.
        ids: the ids of the session; what is one of them has its place in the tree.
        findings: takes the report.
        elsewhere: fields that the format keeps in another record.
        words: fields whose texts have another name here.
    """
    known = frozenset(each for each in (node.id, node.parent_id, node.source_id, node.reference) if each is not None)
    left = unsaid(node.fields, [msgspec.structs.asdict(entry) for entry in entries], known, elsewhere, words)
    found = {place: value for place, value in left.items() if not _is_id(value, ids)}
    if found and entries and isinstance(entries[0], ExtensionDataEntry) and entries[0].ext_type.endswith(".message"):
        findings.add("source_bad_record", node.span, node.id)
    return with_unsaid(ids.format, entries, found)


def _is_id(value: Any, ids: Ids) -> bool:
    return isinstance(value, str) and ids.known(value) is not None


def _fields(value: Any, name: str | int, span: SourceSpan, findings: Findings) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    findings.add("source_bad_record", span, name if isinstance(name, str) else None)
    return {"value": value}


def _parent_of(value: Any, known: Any) -> str | None:
    """Returns the id of a node's parent; None for none, also if the tool has a special id for it."""
    parent = key(value)
    return None if parent in NO_PARENT and parent not in known else parent


def _ordered(nodes: Mapping[str, dict[str, Any]], above: Mapping[str, str | None], children: str) -> list[str]:
    below: dict[str | None, list[str]] = {}
    for id, parent in above.items():
        below.setdefault(parent if parent in nodes else None, []).append(id)
    for parent, group in below.items():
        names = nodes[parent].get(children) if parent is not None else None
        if len(group) > 1 and isinstance(names, list):
            ranks = {name: rank for rank, name in enumerate(names) if isinstance(name, str)}
            ranked = sorted((ranks.get(id, len(ranks)), span) for span, id in enumerate(group))
            below[parent] = [group[span] for _, span in ranked]
    reached: dict[str, None] = {}
    stack = below.get(None, [])[::-1]
    while stack:
        id = stack.pop()
        reached[id] = None
        stack.extend(reversed(below.get(id, [])))
    return [*reached, *(id for id in nodes if id not in reached)]


def latest_leaf(items: list[Any], own: str, parent: str, time: str) -> str | None:
    """Returns the id of the newest item without children, the last of several; None if there are no times."""
    parents = {key(item.get(parent)) for item in objects(items)}
    named = [(moment(item.get(time)), key(item.get(own))) for item in objects(items)]
    found = [(at, id) for at, id in named if at and id and id not in parents]
    return max(reversed(found), key=lambda each: each[0])[1] if found else None
