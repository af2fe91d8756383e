"""What the importers of whole conversations share: order, messages made of blocks, entries and the leaf.

One idea carries this module: a message of another tool may hold a call and its result together, and no provider takes
that. So a node may become several entries, the first under the node's own id, and what follows the node follows the
last of them. Messages are a role and content, blocks as Anthropic defines them where there is more than text; what
else the tool says of a message is kept inside it under the tool's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec
import orjson

from convtree.entries import (
    ID,
    Entry,
    ExtensionDataEntry,
    Header,
    LeafMark,
    MessageEntry,
    ParentSession,
    Record,
    SessionInfoMark,
    Visibility,
)
from convtree.formats.arrays import read_items
from convtree.formats.base import Findings, Ids, Node, Place, Reading, Source, derive_id, fit, plant, utc
from convtree.formats.lines import Object, SourceFile

#: what some tools call the parent of a first message
NO_PARENT = frozenset({"00000000-0000-4000-8000-000000000000", "00000000-0000-0000-0000-000000000000"})
_FACT = 4096  # characters
_DEPTH = 64  # brackets in a text of arguments that is still read
_SECONDS, _MILLISECONDS, _MICROSECONDS = 10**11, 10**14, 10**17

Maker = Callable[[Node], list[Entry]]


# --- sessions -----------------------------------------------------------------------------------------------------


def session_id(name: str, source_id: str) -> str:
    """Returns the id under which a tool's session is found here: its own where it fits."""
    return source_id if ID.fullmatch(source_id) else derive_id(name, source_id)


def make_header(
    name: str, source_id: str, *, time: Any = None, cwd: Any = None, parent: str | None = None, **facts: Any
) -> Header:
    """Makes the header of a session; `parent` is the source's id of the session it was forked from.

    The facts are for people: a text without end is cut.
    """
    known = {name: value[:_FACT] if isinstance(value, str) else value for name, value in facts.items()}
    known = {name: value for name, value in known.items() if value is not None}
    return Header(
        id=session_id(name, source_id),
        timestamp=moment(time),
        cwd=cwd[:_FACT] if isinstance(cwd, str) else None,
        parent_session=None if parent is None else ParentSession(id=session_id(name, parent)),
        metadata={"import": {"format": name, "id": source_id[:_FACT]} | known},
    )


class Names:
    """The ids of the sessions of one source: a missing one follows from its place, and none comes twice."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: set[str] = set()

    def claim(self, source_id: Any, ordinal: int, place: Place, findings: Findings) -> str:
        """Returns the id of the session that stands here, the `ordinal`-th of its source."""
        id = key(source_id)
        if id is None or id in self._seen:
            if id is not None:
                findings.add("source_duplicate", place)
            id = derive_id(self._name, id, ordinal)
        self._seen.add(id)
        return id


def leftovers(name: str, findings: Findings) -> Iterator[Reading]:
    """Yields a reading without records for what is wrong outside of every session of a source, if something is."""
    if findings.listed:
        header = make_header(name, derive_id(name, "outside of every session"))
        yield Reading(header, iter(()), findings.listed)


def read_array(
    source: Source,
    name: str,
    is_session: Callable[[Any], bool],
    id_names: tuple[str, ...],
    header: Callable[[str, dict[str, Any]], Header],
    records: Callable[[Object, Ids, Findings], Iterator[Record]],
    nodes: Callable[[dict[str, Any]], Any],
) -> Iterator[Reading]:
    """Reads a file that is one session or an array of them; the first of the named fields has a session's id.

    Of one without an id, the first of its nodes say which it is, so that two are never taken for one.
    """
    outside, names = Findings(), Names(name)
    with SourceFile(source.path) as file:
        for ordinal, found in enumerate(read_items(file, outside, is_session), 1):
            if not is_session(found.fields):
                outside.add("source_bad_record", found.place)
                continue
            findings = Findings()
            own = next((found.fields[each] for each in id_names if found.fields.get(each)), None)
            own = own or _told_by(name, nodes(found.fields))
            id = names.claim(own, ordinal, found.place, findings)
            yield Reading(header(id, found.fields), records(found, Ids(name, id), findings), findings.listed)
    yield from leftovers(name, outside)


def _told_by(name: str, nodes: Any) -> str | None:
    """Returns an id that follows from the first nodes of a session; None where they have no names."""
    if isinstance(nodes, dict):
        first = list(nodes)[:2]
    else:
        first = [key(message.get(own)) for message in objects(nodes)[:1] for own in ("uuid", "messageId", "id")]
    return derive_id(name, *first) if any(first) else None


def name_mark(ids: Ids, name: Any, place: Place, findings: Findings) -> Iterator[SessionInfoMark]:
    """Yields a mark with the session's name, if it has one."""
    if isinstance(name, str) and (name := name.strip()):
        yield fit(SessionInfoMark(id=ids.derive("name", name), name=name), place, findings)


def facts_mark(
    ids: Ids, name: str, fields: Mapping[str, Any], place: Place, findings: Findings
) -> Iterator[SessionInfoMark]:
    """Yields a mark with what the tool says of the whole session and has no other place, under the tool's name."""
    if fields:
        id = ids.derive("facts", orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode())
        yield fit(SessionInfoMark(id=id, metadata={name: dict(fields)}), place, findings)


# --- the tree -----------------------------------------------------------------------------------------------------


def mapped(
    nodes: Mapping[str, Any], parent: str, children: str, ids: Ids, place: Place, findings: Findings
) -> Iterator[Node]:
    """Yields the nodes of a table by id: parents first, siblings in the order of their parent's list of children.

    The parent is the truth; the list of children only orders. What cannot be reached from a root follows at the end.
    """
    fields = {id: _fields(value, id, place, findings) for id, value in nodes.items()}
    above = {id: _parent_of(each.get(parent), fields) for id, each in fields.items()}
    for id in _ordered(fields, above, children):
        parent_id = above[id]
        settled = None if parent_id is None else ids.refer(parent_id)
        own = ids.claim(id, 0)
        yield Node(own, settled, None if own == id else id, place, fields[id])


def listed(
    items: list[Any], own: str, parent: str | None, ids: Ids, place: Place, findings: Findings
) -> Iterator[Node]:
    """Yields the nodes of a list whose items name themselves and their parents; without `parent` they are a chain."""
    known = {id for item in items if isinstance(item, dict) and (id := key(item.get(own))) is not None}
    last: str | None = None
    sentinels: set[Any] = set()
    for ordinal, item in enumerate(items, 1):
        fields = _fields(item, ordinal, place, findings)
        source_id = key(fields.get(own))
        parent_id = last
        if parent is not None and parent in fields:
            above = _parent_of(fields[parent], known)
            sentinels |= {fields[parent]} if above is None and fields[parent] else set()
            if len(sentinels) > 1:
                findings.add("source_second_root", place)
                sentinels.clear()
            if above is not None and above in known and ids.known(above) is None and above != source_id:
                findings.add("source_forward", place, source_id)
            parent_id = None if above is None else ids.refer(above)
        is_again = source_id is not None and ids.known(source_id) is not None
        last = ids.claim(source_id, ordinal)
        if is_again:
            findings.add("source_duplicate", place, last)
        yield Node(last, parent_id, None if last == source_id else source_id, place, fields)


def grow(
    nodes: Iterable[Node],
    make: Maker,
    ids: Ids,
    findings: Findings,
    *,
    leaf: str | Callable[[], str | None] | None = None,
    place: Place | None = None,
) -> Iterator[Record]:
    """Yields the entries that `make` makes of each node, parents first, and marks the leaf where it may be elsewhere.

    Entries come from `make` without ids and parents. `leaf` is the source's id of the node where the tool goes on, None
    when that is the last one; a function is asked when every node was read.
    """
    ends: dict[str, str] = {}  # of nodes that became several entries
    last, count, has_branches = None, 0, False
    for node in plant(nodes, findings):
        parent_id = None if node.parent_id is None else ends.get(node.parent_id, node.parent_id)
        has_branches = has_branches or parent_id != last
        for at, entry in enumerate(make(node)):
            last = node.id if at == 0 else ids.derive(node.id, at)
            source_id = node.source_id if at == 0 else node.source_id or node.id
            made = msgspec.structs.replace(entry, id=last, parent_id=parent_id, source_id=source_id)
            yield fit(made, node.place, findings)
            parent_id = last
            if at:
                ends[node.id] = last
        count += 1
    leaf = leaf() if callable(leaf) else leaf
    if leaf is None:
        return
    target = ids.known(leaf)
    if target is None:
        findings.add("source_bad_target", place or Place(1, 0, 0))
    elif (target := ends.get(target, target)) != last or has_branches:
        # the last one too, it may have been elsewhere before; the count, because the source may have grown elsewhere
        yield LeafMark(id=ids.derive("leaf", target, count), target_id=target)


def _fields(value: Any, name: str | int, place: Place, findings: Findings) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    findings.add("source_bad_record", place, name if isinstance(name, str) else None)
    return {"value": value}


def _parent_of(value: Any, known: Any) -> str | None:
    """Returns what a node names as its parent; None for none, and for a name that stands for none."""
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
            ranked = sorted((ranks.get(id, len(ranks)), place) for place, id in enumerate(group))
            below[parent] = [group[place] for _, place in ranked]
    reached: dict[str, None] = {}
    stack = below.get(None, [])[::-1]
    while stack:
        id = stack.pop()
        reached[id] = None
        stack.extend(reversed(below.get(id, [])))
    return [*reached, *(id for id in nodes if id not in reached)]


# --- messages -----------------------------------------------------------------------------------------------------


def say(
    name: str,
    role: str,
    blocks: list[dict[str, Any]],
    rest: Mapping[str, Any],
    *,
    time: Any = None,
    visible_to: Visibility = "all",
    provider: Any = None,
    model: Any = None,
    usage: Any = None,
) -> list[Entry]:
    """Makes the messages that blocks say: one, or several where results stand between what an assistant says.

    Model and provider go to what the assistant said, usage to the last of that. What says nothing is extension data.
    """
    rest = {name: value for name, value in rest.items() if value is not None}
    messages = _turns(role, [block for block in blocks if block.get("type") != "text" or block.get("text")])
    if not messages:
        return [ExtensionDataEntry(timestamp=moment(time), ext_type=f"{name}.message", data={"role": role} | rest)]
    if rest:
        messages[0][name] = rest
    spoken = max((at for at, message in enumerate(messages) if message["role"] == role), default=0)
    return [
        MessageEntry(
            timestamp=moment(time),
            message=message,
            shape=f"{name}.message",
            provider=text(provider) if message["role"] == "assistant" else None,
            model=(text(model) or None) if message["role"] == "assistant" else None,
            usage=usage if at == spoken and isinstance(usage, dict) else None,
            visible_to=visible_to,
        )
        for at, message in enumerate(messages)
    ]


def keep(name: str, kind: str, data: Any, time: Any = None) -> list[Entry]:
    """Makes the entry of what is no message."""
    return [ExtensionDataEntry(timestamp=moment(time), ext_type=f"{name}.{kind}", data=data)]


def text_block(value: Any) -> dict[str, Any]:
    """Makes a block of text; what is no text is shown as JSON."""
    return {"type": "text", "text": as_text(value)}


def call_block(id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    """Makes the block of a tool call; arguments in a text are read if they are JSON that is not nested without end."""
    if isinstance(arguments, str) and arguments.count("{") + arguments.count("[") < _DEPTH:
        with suppress(orjson.JSONDecodeError):
            arguments = orjson.loads(arguments) if arguments else {}
    if not isinstance(arguments, dict):
        arguments = {} if arguments is None else {"arguments": arguments}
    return {"type": "tool_use", "id": key(id), "name": text(name) or "unknown", "input": arguments}


def result_block(call_id: Any, content: Any, *, is_error: bool = False) -> dict[str, Any]:
    """Makes the block of a tool's result."""
    content = content if isinstance(content, list) and _are_blocks(content) else as_text(content)
    failed = {"is_error": True} if is_error else {}
    return {"type": "tool_result", "tool_use_id": key(call_id), "content": content} | failed


def _are_blocks(content: list[Any]) -> bool:
    return bool(content) and all(isinstance(block, dict) and isinstance(block.get("type"), str) for block in content)


def _turns(role: str, blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parts what an assistant says from the results that a user's message brings it."""
    messages: list[dict[str, Any]] = []
    for block in blocks:
        speaker = "user" if role == "assistant" and block.get("type") == "tool_result" else role
        if not messages or messages[-1]["role"] != speaker:
            messages.append({"role": speaker, "content": []})
        messages[-1]["content"].append(block)
    for message in messages:
        if len(message["content"]) == 1 and message["content"][0].keys() == {"type", "text"}:
            message["content"] = message["content"][0]["text"]
    return messages


# --- values -------------------------------------------------------------------------------------------------------


def key(value: Any) -> str | None:
    """Returns an id as text; an empty one is none."""
    return None if value in (None, "") else value if isinstance(value, str) else as_text(value)


def text(value: Any) -> str | None:
    """Returns a text as it is, and None for everything else."""
    return value if isinstance(value, str) else None


def as_text(value: Any) -> str:
    """Returns a value as a text: itself, or its JSON."""
    return value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()


def objects(value: Any) -> list[dict[str, Any]]:
    """Returns the objects in a list, without what is none; an empty list when it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_object(value: Any) -> dict[str, Any]:
    """Returns an object as it is, and an empty one for everything else."""
    return value if isinstance(value, dict) else {}


def without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Returns the fields that have no place of their own, as far as they say something."""
    return {name: value for name, value in fields.items() if name not in names and value not in (None, "", [], {})}


def moment(value: Any) -> str | None:
    """Returns a time as we write it: from a text, or from a count since 1970 in the unit that its size tells."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return utc(value)
    size = abs(value)
    if size < _SECONDS:
        return utc(value * 1000)
    return utc(value if size < _MILLISECONDS else value / 10**3 if size < _MICROSECONDS else value / 10**6)


def newest(items: list[Any], own: str, parent: str, time: str) -> str | None:
    """Returns the id of the item with the latest time that is nobody's parent, the last of them; None without times."""
    parents = {key(item.get(parent)) for item in objects(items)}
    named = [(moment(item.get(time)), key(item.get(own))) for item in objects(items)]
    found = [(at, id) for at, id in named if at and id and id not in parents]
    return max(reversed(found), key=lambda each: each[0])[1] if found else None
