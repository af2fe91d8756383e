"""kubectl-ai's sessions: a folder with `metadata.yaml` and `history.json`, which is JSONL in spite of its name.

One linear session. `history.json` alone is read, too, with the metadata next to it if there is any. A history that
begins with a bracket is the array that older versions wrote. Mapping:

- Type `text`: a message of the user (`user`) or the model (`model`). A message of the program itself (`agent`) is an
  assistant's message for the user only.
- `error`, the tool requests and responses, the questions and choices: messages for the user only, because they have no
  ids and kubectl-ai does not send them again when it resumes. A payload that is not a text is shown as JSON.
- Any other type, and any other line: extension data `kubectl_ai.<type>`.
- `providerID` and `modelID`: a model change below the last message, because only the current ones are stored.
- `createdAt`: the time of the header. `Type` and `Source` are kept in the message under `kubectl_ai`.

The folder's name is the id of the session, as it is for kubectl-ai. Shape `kubectl_ai.message`.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import make_extension_data, make_messages, text_block
from convtree._formats.common.files import read_beginning
from convtree._formats.common.headers import make_header
from convtree._formats.common.ids import Ids, make_ref
from convtree._formats.common.json_arrays import read_items
from convtree._formats.common.jsonl import read_objects
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node, link
from convtree._formats.common.parsing import Object
from convtree._formats.common.values import key, moment, text, without
from convtree._model.entries import Entry, ModelChangeEntry, Visibility

NAME = "kubectl_ai"
_HISTORY, _METADATA = "history.json", "metadata.yaml"
_KEYS = {"ID", "Source", "Type", "Payload", "Timestamp"}
_FOR_THE_USER = {
    "error": "assistant",
    "tool-call-request": "assistant",
    "tool-call-response": "tool",
    "user-input-request": "assistant",
    "user-input-response": "user",
    "user-choice-request": "assistant",
    "user-choice-response": "user",
}
_ROLES = {"user": "user", "model": "assistant", "agent": "assistant"}
_YAML_LINE = re.compile(r"(\w+):\s*(?:\"((?:[^\"\\]|\\.)*)\"|'((?:[^']|'')*)'|([^\s#][^#]*?))\s*(?:#.*)?")
_YAML_LIMIT = 2**16  # bytes of the metadata that are looked at
_BEGINNING = 2**20
_LOOK = 64  # bytes that tell an array from lines


def recognises(source: Source) -> bool:
    """Recognises a session by the records of its history."""
    beginning = source.beginning
    if not beginning:
        beginning = read_beginning(source.path / _HISTORY, _BEGINNING)
    start = source.open_beginning() if source.beginning else io.BytesIO(beginning)
    first = next(_objects(start, beginning, Findings()), None)
    return first is not None and _is_record(first.fields)


def belongs(source: Source, name: str) -> bool:  # noqa: ARG001 - the names are always the same
    """Returns whether a member of a recognised folder is read with it."""
    return name in (_HISTORY, _METADATA)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, which has the name of the folder."""
    yield make_ref(NAME, _folder(source).name)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    folder = _folder(source)
    findings = Findings()
    metadata = _metadata(folder / _METADATA, findings)
    ids = Ids(NAME, ref.source_id)
    header = make_header(NAME, ref.source_id, time=metadata.get("createdAt"))
    file = source.open_file(source.path if source.beginning else folder / _HISTORY)
    found = _objects(file, file.peek(_LOOK), findings)
    records = make_records(_nodes(found, metadata, ids, findings), _make, ids, findings)
    return SourceSession(header, records, findings.listed)


def _folder(source: Source) -> Path:
    path = source.path.absolute()
    return path.parent if source.beginning else path


def _objects(file: Any, beginning: bytes, findings: Findings) -> Iterator[Object]:
    is_array = beginning.lstrip().startswith(b"[")
    return (read_items if is_array else read_objects)(file, findings, _is_record)


def _nodes(found: Iterator[Object], metadata: dict[str, str], ids: Ids, findings: Findings) -> Iterator[Node]:
    last: str | None = None
    span = SourceSpan(1, 0, 0)
    for ordinal, (fields, at) in enumerate(found, 1):
        span, source_id = at, key(fields.get("ID"))
        node = link(ids, findings, fields, span, source_id, ordinal, last)
        last = node.id
        yield node
    model = metadata.get("modelID")
    if model and last is not None:
        id = ids.derive("model", model, metadata.get("providerID", ""), last)
        yield Node(id, last, None, span, {"metadata": metadata})


def _make(node: Node) -> list[Entry]:
    if "metadata" in node.fields and not _is_record(node.fields):
        metadata = node.fields["metadata"]
        time, provider = metadata.get("lastAccessed"), metadata.get("providerID") or None
        return [ModelChangeEntry(timestamp=moment(time), provider=provider, model=metadata["modelID"])]
    fields, time = node.fields, node.fields.get("Timestamp")
    kind, speaker = text(fields.get("Type")), text(fields.get("Source"))
    role = _ROLES.get(speaker or "") if kind == "text" else _FOR_THE_USER.get(kind or "")
    if role is None:
        return make_extension_data(NAME, kind or "unknown", without(fields, "ID", "Type", "Timestamp"), time)
    rest = without(fields, "ID", "Payload", "Timestamp")
    visible_to: Visibility = "all" if kind == "text" and speaker != "agent" else "user"
    return make_messages(NAME, role, [text_block(fields.get("Payload"))], rest, time=time, visible_to=visible_to)


def _metadata(path: Path, findings: Findings) -> dict[str, str]:
    """Reads the lines `name: value` of the metadata; other lines are reported."""
    found = {}
    offset = 0
    data = read_beginning(path, _YAML_LIMIT)
    if not data.strip() and os.path.lexists(path):
        findings.add("source_bad_line", SourceSpan(1, 0, len(data)))
    for number, line in enumerate(data.split(b"\n"), 1):
        shown = line.decode(errors="replace").strip()
        match = _YAML_LINE.fullmatch(shown)
        if match:
            found[match[1]] = next((value for value in match.groups()[1:] if value is not None), "")
        elif shown and not shown.startswith(("#", "---")) and not shown.endswith(":"):
            findings.add("source_bad_line", SourceSpan(number, offset, len(line) + 1))
        offset += len(line) + 1
    return found


def _is_record(fields: dict[str, Any]) -> bool:
    return fields.keys() >= _KEYS
