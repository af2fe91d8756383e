"""Messages in any shape that convtree reads, without a tool around them: arrays, lines, data sets, dumps of requests.

This format is tried last, and recognised by one message that is understood. Sources, with where their form is
documented:

- An array of messages, or a message on each line: one session. The shapes are those of `convtree.shapes`.
- An object for each conversation, in an array, on lines, or alone: a session each. Its messages are under `messages`
  (OpenAI's guide to fine-tuning, Hugging Face TRL), `conversations` (ShareGPT), `input` (OpenAI's Responses API and
  evals), `contents` (Gemini API), `prompt` (TRL) and a few more; a list alone stands for them.
- Requests of providers, plain or inside of `body` (OpenAI's batch API), `params` (Anthropic's batch API) or `request`.
  `system`, `instructions` and `systemInstruction` become a message before the others, an answer in `response` one
  behind them.
- `preferred_output` and `non_preferred_output` (OpenAI's preference tuning), `chosen` and `rejected` (TRL): two
  branches; the preferred one has the leaf.

No source has ids that are its own everywhere. The id of a session is derived from the names of its folder and file, its
own id or its place in the file, and its first message. The id of a message is derived from all messages up to it, so
what was edited becomes a branch. Mapping:

- A message: a message, unchanged. Of a provider's answer the message, with model and usage; its other fields are in
  `extra` under `message-list`.
- What is not understood as a message: extension data `message-list.message` (reported).
- Every other field of the object around a conversation, such as `model`, `tools` or `weight`: metadata of the session
  under `message-list`. `title` is its name.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, BinaryIO

import msgspec

from convtree._engine.codec import BYTE_ORDER_MARK, HEADER_START
from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import leftovers, make_header, metadata_mark, name_mark, read_leftover
from convtree._formats.common.ids import Ids, Names, derive_id, make_ref
from convtree._formats.common.json_arrays import item_keys, read_items
from convtree._formats.common.jsonl import read_objects
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object, is_json
from convtree._formats.common.values import as_text, key, moment, objects, without
from convtree._formats.message_list.conversations import (
    LIST_KEY,
    LIST_KEYS,
    Conversation,
    conversation_of,
    entry_of,
    is_message,
    is_record,
)
from convtree._model.entries import Entry, ExtensionDataEntry

NAME = "message-list"
_TRIED = 64  # objects, until one is understood
_TIME_KEYS = ("timestamp", "created_at", "createdAt", "created", "time", "date", "ts")
_ID_KEYS = ("id", "conversation_id", "session_id", "thread_id", "custom_id")
#: what an answer holds that has a place in the entry
_PLACED = ("choices", "candidates", "output", "message", "content", "role", "type", "model", "modelVersion", "usage")


def recognises(source: Source) -> bool:
    """Recognises a source by a message that is understood, among its first objects."""
    text = source.beginning.removeprefix(BYTE_ORDER_MARK)
    if text.startswith(HEADER_START) or not text.lstrip().startswith((b"[", b"{")):
        return False
    found = _objects(source, io.BytesIO(source.beginning), Findings(), is_record=_is_nothing)
    if any(is_record(each.fields) for each in islice(found, _TRIED)):
        return True
    # the first object may be longer than the beginning: then what is found are the messages inside of it
    keys = item_keys(source.beginning)
    inside = read_items(io.BytesIO(source.beginning), Findings(), is_message)
    return len(keys) == 1 and not keys[0].isdisjoint(LIST_KEYS) and any(is_message(each.fields) for each in inside)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the conversations; messages that are in none are one session."""
    yield from list_conversations(source, NAME)


def list_conversations(
    source: Source, name: str, stated_id: Callable[[dict[str, Any]], str | None] = lambda _: None
) -> Iterator[SessionRef]:
    """Lists the conversations of a source for the format of this name. A reference carries its parsed object.

    `stated_id` returns the id of the session that a message in no conversation states.
    """
    outside, names, has_bare, count = Findings(), Names(name), False, 0
    with SourceFile(source.path) as file:
        for found in _objects(source, file, outside):
            conversation = conversation_of(found.fields)
            if conversation is not None:
                count += 1
                findings = Findings()
                id = names.claim(_id(source, name, found.fields, count, conversation), count, found.span, findings)
                yield make_ref(name, id, findings, (found, conversation))
            elif not is_message(found.fields):
                outside.add("source_bad_record", found.span)
            elif not has_bare:
                has_bare = True
                id = stated_id(found.fields) or _id(source, name, {}, 0, Conversation([found.fields], [], {}))
                yield make_ref(name, id)
    if not has_bare:  # else reading that session reports the same
        yield from leftovers(name, outside)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a conversation."""
    return read_conversation(source, ref, NAME)


def read_conversation(source: Source, ref: SessionRef, name: str) -> SourceSession:
    """Reads a conversation that `list_conversations` has listed."""
    if ref.is_leftover:
        return read_leftover(name, ref)
    findings, ids = Findings(ref.findings), Ids(name, ref.source_id)
    header = partial(make_header, name, ref.source_id, file=source.path.name)
    make = partial(_make, name=name, findings=findings)
    if ref.content is None:
        found = _objects(source, source.open_file(), findings)
        bare = (each for each in found if conversation_of(each.fields) is None)
        records = make_records(_chain(bare, None, ids, ref.source_id), make, ids, findings)
        return SourceSession(header(), records, findings.listed)
    (fields, span), conversation = ref.content
    nodes, leaf = _nodes(conversation, span, ids, ref.source_id)
    records = chain(
        make_records(nodes, make, ids, findings, leaf=leaf),
        name_mark(ids, conversation.rest.get("title"), span, findings),
        metadata_mark(ids, name, without(conversation.rest, "title"), span, findings),
    )
    return SourceSession(header(time=_time(fields)), records, findings.listed)


def _objects(
    source: Source, file: BinaryIO, findings: Findings, is_record: Callable[[dict[str, Any]], bool] = is_record
) -> Iterator[Object]:
    reader = read_objects if _is_lines(source.beginning) else read_items
    return reader(file, findings, is_record, LIST_KEY)


def _is_nothing(_: dict[str, Any]) -> bool:
    return False


def _is_lines(beginning: bytes) -> bool:
    """Returns whether a file has a value on each line. A list that is the only line is read item by item."""
    lines = (line.strip() for line in io.BytesIO(beginning.removeprefix(BYTE_ORDER_MARK)))
    found = list(islice((line for line in lines if line), 2))
    first, second = found[0], found[1] if len(found) > 1 else b""
    if first.startswith(b"["):
        return second.startswith((b"[", b"{")) and is_json(first)
    return not second or is_json(first) or (second.startswith(b"{") and is_json(second))


def _id(source: Source, name: str, fields: dict[str, Any], ordinal: int, conversation: Conversation) -> str:
    path = source.path.absolute()
    own = next((own for each in _ID_KEYS if (own := key(fields.get(each))) is not None), ordinal)
    first = next((each for each in (*conversation.messages, *chain(*conversation.endings)) if is_message(each)), None)
    return derive_id(name, path.parent.name, path.name, own, as_text(first))


def _nodes(conversation: Conversation, span: SourceSpan, ids: Ids, seed: str) -> tuple[list[Node], str | None]:
    """Returns the messages as a chain, and each ending below it; and the end of the last ending, if there is one."""
    link = partial(_chain, ids=ids, seed=seed)
    nodes = list(link(_items(conversation.messages, span), None))
    end = nodes[-1].id if nodes else None
    for ending in conversation.endings:
        nodes += link(_items(ending, span), end)
    leaf = end
    for fields, _ in _items(conversation.endings[-1] if conversation.endings else [], span):
        leaf = _next_id(seed, leaf, fields)
    return nodes, leaf if conversation.endings else None


def _items(values: list[Any], span: SourceSpan) -> Iterator[Object]:
    return (Object(value if isinstance(value, dict) else {"value": value}, span) for value in values)


def _chain(messages: Iterable[Object], last: str | None, ids: Ids, seed: str) -> Iterator[Node]:
    """Yields messages as nodes below `last`. What is there already, as of an ending before, is passed over."""
    for fields, span in messages:
        id = _next_id(seed, last, fields)
        if ids.known(id) is None:
            ids.claim(id, 0)
            yield Node(id, last, None, span, fields)
        last = id


def _next_id(seed: str, last: str | None, fields: dict[str, Any]) -> str:
    return derive_id(seed, last, as_text(fields))


def _make(node: Node, *, name: str, findings: Findings) -> list[Entry]:
    fields = node.fields
    entry = entry_of(fields)
    if entry is None:
        findings.add("source_bad_record", node.span, node.id)
        return [ExtensionDataEntry(timestamp=_time(fields), ext_type=f"{name}.message", data=fields)]
    rest = _beside(fields) if entry.message != fields else {}
    return [msgspec.structs.replace(entry, timestamp=_time(fields), extra={name: rest} if rest else None)]


def _beside(answer: dict[str, Any]) -> dict[str, Any]:
    """Returns what a provider's answer holds beside its message, model and usage."""
    chosen = {
        key: [without(each, inner) for each in objects(answer.get(key))]
        for key, inner in (("choices", "message"), ("candidates", "content"))
    }
    return without(answer, *_PLACED) | without(chosen)


def _time(fields: dict[str, Any]) -> str | None:
    """Returns when a message was written; a message of pydantic-ai may say it in its first part only."""
    places = (fields, *objects(fields.get("parts"))[:1])
    found = (at[each] for at in places for each in _TIME_KEYS if each in at)
    return next((time for value in found if (time := moment(value)) is not None), None)
