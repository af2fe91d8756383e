"""Writes paths of a session as trajectories in ATIF, version 1.8. See `write` and `write_leaves`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from convtree._engine.rendering import default_render
from convtree._formats.common.base import Exported, Findings, origin
from convtree._formats.common.call_ids import CallIds
from convtree._formats.common.export import Model, line
from convtree._formats.common.kept import OURS, kept_of
from convtree._formats.common.paths import leaf_ids, lose_others
from convtree._formats.common.speech import Call, Image, Part, Result, Role, Text, Thought, by_speaker, said_in
from convtree._messages.said import read
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, MessageEntry, ModelChangeEntry
from convtree._model.usage import Usage, is_known_usage, usage_of

NAME = "atif"

_SCHEMA = "ATIF-v1.8"
_ANY_ID = re.compile(".{1,256}", re.DOTALL)
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_SOURCES = {"system": "system", "user": "user", "assistant": "agent"}
Fields = dict[str, Any]


def write(session: Exported, findings: Findings) -> Iterator[bytes]:
    """Yields the path to the leaf as a trajectory.

    * A message is a step, and its results are the observation of the step with their calls; a message of several
      speakers is several steps. Summaries are steps, too.
    * `extra.convtree` has the ids of the entries of a step, and what the format has no word for.
    * Data of extensions is left out, and so are other branches.
    """
    trajectory = _Trajectory(session, session.leaf_id, findings)
    lose_others(session, {entry.id for entry in trajectory.path}, findings)
    yield line(trajectory.document(session.id, frozenset()))


def write_leaves(session: Exported, findings: Findings) -> Iterator[tuple[str, bytes]]:
    """Yields a trajectory for each leaf, after the name of its file; the session's own leaf is the first.

    Steps of an earlier trajectory come first in a later one, and are marked as copied context.
    """
    leaves = leaf_ids(session)
    leaves.sort(key=lambda leaf: leaf != session.leaf_id)
    shared: set[str] = set()
    for leaf in leaves:
        trajectory = _Trajectory(session, leaf, findings)
        yield f"{session.id}.{leaf}.json", line(trajectory.document(f"{session.id}.{leaf}", frozenset(shared)))
        shared |= {entry.id for entry in trajectory.path}


def file_name(session: Exported) -> str:
    """Returns a name for the file."""
    return f"{session.id}.json"


class _Step:
    """A step that may still get results."""

    def __init__(self, entry: Entry, fields: Fields) -> None:
        self.ids = [entry.id]
        self.fields = fields
        self.extra: Fields = {}
        self.results: list[Fields] = []

    def finished(self, number: int, copied: frozenset[str]) -> Fields:
        """Returns the fields of the step."""
        fields: Fields = {"step_id": number} | self.fields
        if self.results:
            fields["observation"] = {"results": self.results}
        if self.ids[0] in copied:
            fields["is_copied_context"] = True
        return fields | {"extra": {OURS: {"ids": self.ids} | self.extra}}


class _Trajectory:
    """One path."""

    def __init__(self, session: Exported, leaf: str | None, findings: Findings) -> None:
        self.path = session.path(leaf)
        self._session = session
        self._leaf = leaf
        self._findings = findings
        self._ids = CallIds(_ANY_ID)
        self._steps: list[_Step] = []
        self._calling: dict[str, _Step] = {}  # by the id of a call
        self._model = Model()
        self._total = Usage()

    def document(self, id: str, copied: frozenset[str]) -> Fields:
        """Returns the trajectory. Entries in `copied` are in an earlier one."""
        session, facts = self._session, origin(self._session.header)
        for entry in self.path:
            self._model = self._model.after(entry)
            self._take(entry)
        version = facts.get("version")
        agent: Fields = {"name": str(facts.get("format") or OURS), "version": str(version or "unknown")}
        agent |= {} if self._model.model is None else {"model_name": self._model.model}
        steps = [step.finished(number, copied) for number, step in enumerate(self._steps, 1)]
        ours: Fields = {"leaf": self._leaf} | ({} if session.name is None else {"name": session.name})
        document = {"schema_version": _SCHEMA, "session_id": session.id, "trajectory_id": id, "agent": agent}
        return document | {"steps": steps, "final_metrics": self._sums(len(steps)), "extra": {OURS: ours}}

    def _sums(self, steps: int) -> Fields:
        sums = {f"total_{name}": value for name, value in _metrics(self._total).items() if name != "extra"}
        return sums | {"total_steps": steps}

    def _take(self, entry: Entry) -> None:
        """Adds the steps of an entry."""
        if isinstance(entry, MessageEntry):
            self._message(entry)
            return
        self._ids.name(entry, ())
        if isinstance(entry, CompactionEntry) or (isinstance(entry, BranchSummaryEntry) and entry.summary):
            source = "system" if isinstance(entry, CompactionEntry) else "user"
            step = self._step(entry, {"source": source, "message": default_render(entry)["content"]})
            step.extra |= {"type": entry.type} | kept_of(entry, "summary", "details", "usage", "provider", "model")
        elif not isinstance(entry, ModelChangeEntry | BranchSummaryEntry):
            self._findings.lose(getattr(entry, "ext_type", entry.type), entry.id)

    def _message(self, entry: MessageEntry) -> None:
        parts = self._ids.name(entry, read(entry.message, entry.shape).parts)
        speeches = [(role, said_in(group)) for role, group in by_speaker(parts)]
        if not speeches:
            self._findings.lose("message without a content", entry.id)
        spoken = [role for role, said in speeches if not _are_results(said)]
        for role, said in speeches:
            if _are_results(said):
                for result in said:
                    self._answer(entry, result)
            else:
                step = self._say(entry, role, said)
                kept = kept_of(entry, "visible_to", "provider", "status", "pinned")
                step.extra |= {name: value for name, value in kept.items() if value not in ("all", False)}
        if entry.usage and "assistant" in spoken:
            self._count(entry)

    def _say(self, entry: MessageEntry, role: Role, said: list[Part]) -> _Step:
        fields: Fields = {"source": _SOURCES[role], "message": self._content(entry, said)}
        calls = [each for each in said if isinstance(each, Call)]
        if role == "assistant":
            thought = "\n".join(each.text for each in said if isinstance(each, Thought) and each.text)
            effort = self._model.level
            named = {"model_name": self._model.model, "reasoning_content": thought or None}
            named["reasoning_effort"] = effort if isinstance(effort, str) else None
            fields |= {name: value for name, value in named.items() if value is not None}
            if calls:
                fields["tool_calls"] = [
                    {"tool_call_id": call.id, "function_name": call.name, "arguments": call.arguments} for call in calls
                ]
        step = self._step(entry, fields)
        self._calling |= {call.id: step for call in calls}
        return step

    def _answer(self, entry: MessageEntry, result: Part) -> None:
        """Adds a result to the step with its call; one whose call is not there is a step of its own."""
        assert isinstance(result, Result)
        content = self._content(entry, [*([Text(result.text)] if result.text else []), *result.images])
        fields: Fields = {"content": content} | ({"extra": {"is_error": True}} if result.is_error else {})
        if (step := self._calling.get(result.id)) is not None:
            step.results.append({"source_call_id": result.id} | fields)
            step.ids.append(entry.id)
        else:
            self._step(entry, {"source": "system", "message": ""}).results.append(fields)

    def _step(self, entry: Entry, fields: Fields) -> _Step:
        stamp = {} if entry.timestamp is None else {"timestamp": entry.timestamp}
        step = _Step(entry, stamp | fields)
        self._steps.append(step)
        return step

    def _content(self, entry: MessageEntry, said: list[Part]) -> str | list[Fields]:
        """Returns the words, or parts if there are images among them."""
        words = [each for each in said if isinstance(each, Text | Image)]
        if not any(isinstance(each, Image) for each in words):
            return "\n".join(each.text for each in words if isinstance(each, Text))
        parts: list[Fields] = []
        for each in words:
            if isinstance(each, Text):
                parts.append({"type": "text", "text": each.text})
            elif each.media_type in _IMAGES:
                path = f"data:{each.media_type};base64,{each.data}"
                parts.append({"type": "image", "source": {"media_type": each.media_type, "path": path}})
            else:
                self._findings.lose(f"image of the type {each.media_type}", entry.id)
        return parts or ""

    def _count(self, entry: MessageEntry) -> None:
        """Gives the metrics to the last step of the model in an entry."""
        usage = entry.usage or {}
        if not is_known_usage(usage):
            self._findings.lose("usage in an unknown spelling", entry.id)
            return
        read_usage = usage_of(usage)
        self._total += read_usage
        own = takewhile(lambda step: entry.id in step.ids, reversed(self._steps))
        step = next(step for step in own if step.fields["source"] == "agent")
        step.fields["metrics"] = _metrics(read_usage)


def _are_results(said: list[Part]) -> bool:
    return bool(said) and all(isinstance(each, Result) for each in said)


def _metrics(usage: Usage) -> Fields:
    metrics: Fields = {
        "prompt_tokens": usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        "completion_tokens": usage.output_tokens,
        "cached_tokens": usage.cache_read_tokens,
    }
    metrics |= {"cost_usd": usage.cost} if usage.cost else {}
    if usage.cache_write_tokens:
        metrics["extra"] = {"cache_creation_input_tokens": usage.cache_write_tokens}
    return metrics
