"""What does the request for a provider cost? In microseconds for each message of the context.

A conversation of turns with two calls of tools each, in the provider's own shape, and the same sent to another one. The
minimum is a list of copies of the messages, which nobody may send unchecked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import Any

from conversation import WORDS
from field import here
from harness import Figure, measure, medians, options, p50s, timed, workplace
from report import TARGET_HEADS, Results, duration, judge, table

SHAPES = ("openai-chat", "openai-responses", "anthropic", "gemini")
_COPIES = "copies of the messages"
_MOST = 3e-6  # seconds for a message that is in the shape already


def _own(shape: str) -> str:
    return f"{shape} to {shape}"


def _other(shape: str) -> str:
    return f"{shape} to {_next(shape)}"


def _next(shape: str) -> str:
    return SHAPES[(SHAPES.index(shape) + 1) % len(SHAPES)]


def turn(shape: str, number: int) -> list[dict[str, Any]]:
    """Returns a turn: the user's words, two calls, their results, and a reply."""
    asked, told = f"question {number}: {WORDS}", f"answer {number}: {WORDS}"
    ids = [f"call_{number}_{each}" for each in range(2)]
    given, found = {"path": f"src/{number}.py"}, f"content {number}: {WORDS * 5}"
    plain = [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]
    if shape == "openai-chat":
        called = [
            {"id": id, "type": "function", "function": {"name": "read", "arguments": json.dumps(given)}} for id in ids
        ]
        results = [{"role": "tool", "tool_call_id": id, "content": found} for id in ids]
        return [plain[0], {"role": "assistant", "content": None, "tool_calls": called}, *results, plain[1]]
    if shape == "openai-responses":
        items = [{"type": "function_call", "call_id": id, "name": "read", "arguments": json.dumps(given)} for id in ids]
        outputs = [{"type": "function_call_output", "call_id": id, "output": found} for id in ids]
        return [plain[0], *items, *outputs, plain[1]]
    if shape == "anthropic":
        uses = [{"type": "tool_use", "id": id, "name": "read", "input": given} for id in ids]
        answers = [{"type": "tool_result", "tool_use_id": id, "content": found} for id in ids]
        return [plain[0], {"role": "assistant", "content": uses}, {"role": "user", "content": answers}, plain[1]]
    calls = [{"functionCall": {"name": "read", "args": given}} for _ in ids]
    responses = [{"functionResponse": {"name": "read", "response": {"output": found}}} for _ in ids]
    said = [{"role": "user", "parts": [{"text": asked}]}, {"role": "model", "parts": [{"text": told}]}]
    return [said[0], {"role": "model", "parts": calls}, {"role": "user", "parts": responses}, said[1]]


def requests(shape: str, size: int, calls: int) -> Figure:
    """Times the requests of a conversation in a shape, for its own provider and for another one."""
    from msgspec.structs import replace

    from convtree import Session

    session = Session.memory()
    made = 0
    while made < size:
        made += len(session.append_many(turn(shape, made), shape=shape, model="model", provider="maker"))
    context = session.build_context()
    assert context.to(shape) != context.to(_next(shape))
    count = len(context.messages)
    found = p50s(
        {
            _own(shape): timed(context.to, repeat(shape)),
            _other(shape): timed(lambda other: replace(context).to(other), repeat(_next(shape))),
            _COPIES: timed(lambda messages: [message.copy() for message in messages], repeat(context.messages)),
        },
        calls,
    )
    return {name: seconds / count for name, seconds in found.items()}


def main() -> None:
    """Prints the tables."""
    given = options("What does the request for a provider cost?", sizes=(100, 1_000, 10_000), quick=(100,))
    results = Results("providers", given)
    with workplace(given):
        here(results, ["convtree"])
        run(results)
    names = [name(shape) for name in (_own, _other) for shape in SHAPES]
    results.say(results.grid("for each message", [_COPIES, *names]), table(TARGET_HEADS, targets(results)))


def run(results: Results) -> None:
    """Measures every shape at every size, in rotation."""
    calls = 10 if results.given.quick else 50
    figures = {
        (shape, size): partial(measure, requests, shape=shape, size=size, calls=calls)
        for shape in SHAPES
        for size in results.given.sizes
    }
    for (_, size), p50 in medians(results.given.runs, figures).items():
        for name, seconds in p50.items():
            results.add(name, size, {"seconds": seconds})


def targets(results: Results) -> Iterator[Sequence[str]]:
    """Yields the rows of the table of targets."""
    for shape in SHAPES:
        for size in results.given.sizes:
            yield judge(f"{_own(shape)}, {size:,} messages", results.get(_own(shape), size), duration, _MOST)


if __name__ == "__main__":
    main()
