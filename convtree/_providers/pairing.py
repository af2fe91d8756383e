"""Puts every result directly behind its call, once for all providers. Pure.

Consecutive parts of the assistant stay together. The results of their calls follow in the order of the calls, then
everything else. Text of a later message after calls begins a new group. A result without its call becomes text: it may
be the only trace of what the tool returned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from hashlib import sha256

import msgspec

from convtree._messages.matching import Matches, OpenCall
from convtree._messages.parts import Call, Part, Result, Source, Text, Thinking
from convtree._model.errors import OpenCalls
from convtree._providers.target import Target
from convtree._providers.writing import Takes, accepted, text_part

ANSWER = "No result: the conversation was interrupted before this tool call returned one."
ORPHANED = "Result of a tool call that is not shown any more:"
FURTHER = "Another result of a tool call above:"
UNNAMED = "unknown"  # a tool's name is never empty
_NAME_LIMIT = 64
_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]")

#: whether a call can keep its id
Fits = Callable[[Call], bool]


def pair(parts: Iterable[Part], target: Target, takes: Takes, *, fits: Fits | None = None) -> list[Part]:
    """Returns the parts that a provider takes, and others as text, with calls and results ordered as all accept them.

    With `fits`, ids become unique, and an id that does not fit is replaced, in call and result alike. A call without a
    result is answered by a note. Tool names from another shape than the target's are changed to names that all
    providers accept.

    Raises:
        OpenCalls: a call has no result, and the target refuses that. A call of an interrupted reply is answered always.
        UnknownMessage: a part cannot be expressed, and the target refuses that.
    """
    found = target.matches
    _check_closed(found, target)
    claimed = found.repeated.union(map(id, found.answers.values()))
    ids = _Ids(fits)
    paired: list[Part] = []
    for run in _runs(accepted(parts, takes, target)):
        if run[0].role == "assistant":
            said = [ids.renamed(named(part, target.shape)) for part in run]
            paired += _answered(said, [found.answers.get(id(part)) for part in run])
        elif id(run[0]) not in claimed:
            heading = FURTHER if id(run[0]) in found.further else ORPHANED
            paired += accepted(_standalone(run[0], heading), takes, target)
    return paired


def _check_closed(found: Matches, target: Target) -> None:
    calls = found.open_calls()
    if calls and target.open_calls == "raise":
        many = f"{len(calls)} tool calls have no result, the first is" if len(calls) > 1 else "no result for"
        where = f"call {calls[0].id!r} in entry {calls[0].entry_id!r}"
        raise OpenCalls(f'{many} {where}: append the missing results, or pass open_calls="answer"', calls=calls)
    target.answered += [OpenCall(call.id, call.name, call.source.entry_id) for call in found.open]


def _runs(parts: Iterable[Part]) -> list[list[Part]]:
    """Groups consecutive parts of the assistant; any other part is a group of its own."""
    runs: list[list[Part]] = []
    caller: Source | None = None  # the message of the last run's calls
    for part in parts:
        speaks_again = isinstance(part, Text | Thinking) and caller not in (None, part.source)
        if part.role == "assistant" and runs and runs[-1][0].role == "assistant" and not speaks_again:
            runs[-1].append(part)
        else:
            runs.append([part])
            caller = None
        if isinstance(part, Call):
            caller = part.source
    return runs


def named(part: Part, shape: str) -> Part:
    """Returns a call with a name that every provider accepts. A name from the target's own shape stays."""
    if not isinstance(part, Call) or (part.shape == shape and part.name):
        return part
    name = _NO_NAME.sub("_", part.name) or UNNAMED
    name = (name if name[0].isalpha() or name[0] == "_" else f"_{name}")[:_NAME_LIMIT]
    return part if name == part.name else msgspec.structs.replace(part, name=name)


def _answered(run: list[Part], answers: list[Result | None]) -> list[Part]:
    """Returns an assistant's parts, followed by the results of its calls."""
    results: list[Part] = []
    for part, answer in zip(run, answers, strict=True):
        if not isinstance(part, Call):
            continue
        if answer is None:
            note = text_part("user", ANSWER, part)
            source = note.source
            answer = Result(role="user", source=source, id=None, name="", content=(note,), is_error=True)  # noqa: PLW2901
        same = answer.id == part.id and answer.name in ("", part.name)
        results.append(answer if same else msgspec.structs.replace(answer, id=part.id, name=part.name))
    return run + results


def _standalone(part: Part, heading: str) -> list[Part]:
    """Returns a part of another role; a result without its call becomes text."""
    if not isinstance(part, Result):
        return [part]
    name = f" ({part.name})" if part.name else ""
    words = "\n".join(each.text for each in part.content if isinstance(each, Text))
    note = text_part("user", f"{heading[:-1]}{name}:\n{words}".rstrip(), part)
    return [note, *(each for each in part.content if not isinstance(each, Text))]


class _Ids:
    """Makes ids for calls: unique, accepted by the provider, and the same for the same conversation."""

    def __init__(self, fits: Fits | None) -> None:
        self._fits = fits
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}  # of the next id to try for a seed, so that many calls with one id are quick

    def renamed(self, part: Part) -> Part:
        if not isinstance(part, Call) or self._fits is None:
            return part
        name = part.id
        if name is None or name in self._taken or not self._fits(part):
            name = self._made(part.id or part.name)
        self._taken.add(name)
        return part if name == part.id else msgspec.structs.replace(part, id=name)

    def _made(self, seed: str) -> str:
        number = self._numbers.get(seed, 0)
        while (name := "call_" + sha256(f"{number}\0{seed}".encode()).hexdigest()[:24]) in self._taken:
            number += 1
        self._numbers[seed] = number + 1
        return name
