"""Trajectories of agents in ATIF, the interchange format of Harbor: one JSON document, a chain of steps.

The keys are those of its RFC 0001, version 1.8, and of the models in the package `atif`; older versions have fewer.
Mapping:

- A step of the `source` `system`, `user` or `agent`: a message. `reasoning_content` is reasoning, `tool_calls` are
  calls, an image is an image; `model_name`, else that of the `agent`, is the model.
- A result in the `observation`: a message of the user below the step, the result of the call that it names. One that
  names none is a text.
- `metrics`: the usage. A step with `is_copied_context` was counted where it comes from, so its metrics are data.
- `subagent_trajectories`: sessions of their own, and tasks of the trajectory around them.
- Other fields of a step or a result: in the message under `atif`. Other fields of the document: metadata of the session
  under `atif`.

A trajectory is written anew as it grows: ids are derived from the content, and an edit is a branch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import call_block, image_block, make_messages, result_block, text_block
from convtree._formats.common.content_ids import node_by_content
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import leftovers, make_header, metadata_mark, name_mark, read_leftover
from convtree._formats.common.ids import Ids, Names, derive_id, make_ref
from convtree._formats.common.json_arrays import item_keys, read_items
from convtree._formats.common.kept import OURS
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.values import as_object, as_text, objects, text, without
from convtree._model.entries import Entry, Record

NAME = "atif"

_VERSION = re.compile(rb'"schema_version"\s*:\s*"ATIF-v')
_ROLES = {"system": "system", "user": "user", "agent": "assistant"}
_OF_STEP = ("source", "timestamp", "message", "reasoning_content", "tool_calls", "model_name")
_OF_CALL = ("tool_call_id", "function_name", "arguments")
_OF_DOCUMENT = ("schema_version", "trajectory_id", "steps", "subagent_trajectories")
_START = 3  # steps that a trajectory without an id is known by


class _Document(NamedTuple):
    """A trajectory, where it is, and the id of the one that it is embedded in."""

    fields: dict[str, Any]
    span: SourceSpan
    parent: str | None


def recognises(source: Source) -> bool:
    """Recognises a trajectory by its version, and the keys beside it."""
    beside = {"agent", "steps", "session_id", "trajectory_id"}
    is_document = any("schema_version" in keys and keys & beside for keys in item_keys(source.beginning))
    return is_document and _VERSION.search(source.beginning) is not None


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the trajectories of a file; those that are embedded follow the one around them."""
    outside, names = Findings(), Names(NAME)
    with SourceFile(source.path) as file:
        for found in read_items(file, outside, _is_trajectory):
            if not _is_trajectory(found.fields):
                outside.add("source_bad_record", found.span)
                continue
            waiting = [_Document(found.fields, found.span, None)]
            while waiting:
                document, findings = waiting.pop(0), Findings()
                fields = document.fields
                own = fields.get("trajectory_id") or fields.get("session_id")
                own = own or derive_id(NAME, as_text(fields["steps"][:_START]))
                id = names.claim(own, 0, found.span, findings)
                yield make_ref(NAME, id, findings, document)
                embedded = [each for each in objects(fields.get("subagent_trajectories")) if _is_trajectory(each)]
                waiting += [_Document(each, found.span, id) for each in embedded]
    yield from leftovers(NAME, outside)


def read(source: Source, ref: SessionRef) -> SourceSession:  # noqa: ARG001 - the reference carries its document
    """Reads a trajectory."""
    if ref.is_leftover:
        return read_leftover(NAME, ref)
    document: _Document = ref.content
    steps = objects(document.fields["steps"])
    header = make_header(
        NAME,
        ref.source_id,
        time=next((step["timestamp"] for step in steps if step.get("timestamp")), None),
        parent=document.parent,
        parent_kind="task",
        version=text(document.fields.get("schema_version")),
    )
    findings = Findings(ref.findings)
    return SourceSession(header, _records(document, Ids(NAME, ref.source_id), findings), findings.listed)


def _records(document: _Document, ids: Ids, findings: Findings) -> Iterator[Record]:
    fields, span = document.fields, document.span
    model = text(as_object(fields.get("agent")).get("model_name"))
    nodes = _nodes(fields["steps"], model, ids, span, findings)
    yield from make_records(nodes, _make, ids, findings, words=frozenset({"source"}))
    extra = as_object(fields.get("extra"))
    yield from name_mark(ids, as_object(extra.get(OURS)).get("name"), span, findings)
    yield from metadata_mark(ids, NAME, without(fields, *_OF_DOCUMENT), span, findings)


def _nodes(steps: list[Any], model: str | None, ids: Ids, span: SourceSpan, findings: Findings) -> Iterator[Node]:
    tip: str | None = None
    for number, step in enumerate(steps, 1):
        fields = step if isinstance(step, dict) else {"message": step}
        if text(fields.get("source")) not in _ROLES:
            findings.add("source_bad_record", span)
        for part in _parts(fields, model):
            node = node_by_content(ids, part, span, tip, str(number))
            tip = node.id
            yield node


def _parts(step: dict[str, Any], model: str | None) -> Iterator[dict[str, Any]]:
    """Yields what becomes of a step: the message, then each result."""
    is_models = step.get("source") == "agent" and step.get("llm_call_count") != 0
    named = {"model": text(step.get("model_name")) or model} if is_models else {}
    observation = as_object(step.get("observation"))
    results = observation.get("results")
    left = without(observation, *(("results",) if isinstance(results, list) else ())) or step.get("observation")
    more = {} if left is observation else without({"observation": left})
    yield {"step": without(step, "observation") | more, **named}
    calls = {str(call.get("tool_call_id")) for call in objects(step.get("tool_calls"))}
    for each in results if isinstance(results, list) else []:
        result = each if isinstance(each, dict) else {"content": each}
        answers = result.get("source_call_id") if str(result.get("source_call_id")) in calls else None
        yield {"result": result, "answers": answers, "time": step.get("timestamp")}


def _make(node: Node) -> list[Entry]:
    fields = node.fields
    if "result" in fields:
        return _result(fields["result"], fields["answers"], fields["time"])
    step = fields["step"]
    role = _ROLES.get(str(step.get("source")), "user")
    blocks = _blocks(step.get("message"))
    if thought := text(step.get("reasoning_content")):
        blocks.insert(0, {"type": "thinking", "thinking": thought})
    for call in objects(step.get("tool_calls")):
        blocks.append(call_block(call.get("tool_call_id"), call.get("function_name"), call.get("arguments")))
    rest = without(step, *_OF_STEP) | without({"tool_calls": _rests(step.get("tool_calls"))})
    metrics = as_object(step.get("metrics"))
    usage = None
    if metrics and not step.get("is_copied_context"):
        written = as_object(metrics.get("extra")).get("cache_creation_input_tokens")
        usage = metrics | ({} if written is None else {"cache_creation_input_tokens": written})
        rest.pop("metrics")
    time, model = step.get("timestamp"), fields.get("model")
    return make_messages(NAME, role, blocks, rest, time=time, model=model, usage=usage)


def _result(result: dict[str, Any], answers: Any, time: Any) -> list[Entry]:
    blocks = _blocks(result.get("content"))
    rest = without(result, "content", *(("source_call_id",) if answers is not None else ()))
    if answers is not None:
        is_text = len(blocks) == 1 and blocks[0]["type"] == "text"
        blocks = [result_block(answers, blocks[0]["text"] if is_text else blocks)]
    return make_messages(NAME, "user", blocks, rest, time=time, visible_to="all" if answers is not None else "model")


def _blocks(message: Any) -> list[dict[str, Any]]:
    """Returns a message, or the content of a result, as blocks. A sound is a text that names it."""
    if not isinstance(message, list):
        return [text_block(message)] if message not in (None, "") else []
    return [_block(as_object(part) or {"text": part}) for part in message]


def _block(part: dict[str, Any]) -> dict[str, Any]:
    source = as_object(part.get("source"))
    if part.get("type") == "image" and isinstance(path := source.get("path"), str):
        return image_block(path)
    if isinstance(said := part.get("text"), str):
        return text_block(said)
    return text_block(as_text(part))


def _rests(calls: Any) -> list[dict[str, Any]]:
    """Returns the other fields of the calls; empty if there are none."""
    rests = [without(call, *_OF_CALL) for call in objects(calls)]
    return rests if any(rests) else []


def _is_trajectory(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("steps"), list) and "schema_version" in fields
