"""Logs that have very many of one thing: labels, moves, roots, children, entries on a path or in a group, summaries.

Each call that reads such a log is timed on n and on 2n of them, in a process of its own. A call must not raise, and may
take about twice as long for twice as many: more than LIMIT times as long is broken. The times of the processor and the
memory of the larger log are printed.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from convtree import BranchSummaryEntry, MessageEntry, Session
from convtree._cli.app import app
from convtree.exchange import export_lines
from convtree.repair import vacuum, verify

from . import sabotage
from .common import arguments, finish, in_child, is_wanted

LIMIT = 3.4  # times as long for twice as many
_NOISE_S = 0.08  # per call
_LIMIT_S = 1800  # for one log
_TRIES = 3  # of which the fastest counts


def message(number: int) -> MessageEntry:
    return MessageEntry(
        id=f"e{number}", message={"role": ("user", "assistant")[number % 2], "content": f"said {number}"}
    )


def _messages(count: int) -> list[MessageEntry]:
    return [message(number) for number in range(count)]


def labels(session: Session, count: int) -> None:
    session.append_many(_messages(100))
    for number in range(count):
        session.label(f"e{number % 100}", f"label {number}")


def moves(session: Session, count: int) -> None:
    session.append_many(_messages(100))
    for number in range(count):
        session.branch(f"e{number % 100}")


def roots(session: Session, count: int) -> None:
    for each in _messages(count):
        session.append(each, parent_id=None)


def children(session: Session, count: int) -> None:
    session.append(MessageEntry(id="top", message={"role": "user", "content": "top"}))
    for each in _messages(count):
        session.append(each, parent_id="top")


def path(session: Session, count: int) -> None:
    for start in range(0, count, 1000):
        session.append_many([message(number) for number in range(start, min(start + 1000, count))])


def group(session: Session, count: int) -> None:
    session.append_many(_messages(count))


def summaries(session: Session, count: int) -> None:
    session.append_many(_messages(100))
    for number in range(count):
        session.append(BranchSummaryEntry(id=f"s{number}", summary="left", from_id="e99"), parent_id=f"e{number % 100}")


SHAPES: dict[str, Callable[[Session, int], None]] = {
    each.__name__: each for each in (labels, moves, roots, children, path, group, summaries)
}


def calls(log: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yields what reads a log. The session is opened once for those that ask it."""

    def scanned() -> None:
        Path(f"{log}.index").unlink(missing_ok=True)
        Session.open(log, mode="r").close()

    yield "scan", scanned
    with Session.open(log) as session:
        session.append({"role": "user", "content": "last"})
        session._journal._save()
        entry = session.leaf_id or ""
        yield "open", lambda: Session.open(log, mode="r").close()
        yield "append", lambda: session.append({"role": "user", "content": "more"}, parent_id=entry)
        yield "refresh", session.refresh
        yield "leaves", session.leaves
        yield "branches", session.branches
        yield "labels", lambda: session.labels
        yield "children", lambda: session.children(None)
        yield "siblings", lambda: session.siblings(entry)
        yield "tip", lambda: session.tip("top" if log.name == "children.jsonl" else "e0")
        yield "path", session.path
        yield "path, last 10", lambda: session.path(last=10)
        yield "context", session.build_context
        yield "view", session.view
        yield "view, last 10", lambda: session.view(last=10)
        yield "assistant-ui", lambda: session.view().to("assistant-ui")
        yield "outline", session.outline
        yield "records", lambda: sum(1 for _ in session.records())
        yield "export", lambda: sum(map(len, export_lines(session, "pi")))
        yield "fork", lambda: _forked(session, log)
    yield "verify", lambda: verify(log)
    yield "vacuum", lambda: vacuum(log)
    yield "inspect --json", lambda: _inspected(log)


def _forked(session: Session, log: Path) -> None:
    target = log.with_name("fork.jsonl")
    target.unlink(missing_ok=True)
    session.fork(target).close()


def _inspected(log: Path) -> None:
    done = CliRunner().invoke(app, ["inspect", "--json", str(log)])
    if done.exit_code:
        raise AssertionError(f"exit code {done.exit_code}: {done.output[-300:]}")


def measure(shape: str, count: int, variant: str | None, folder: Path) -> dict[str, Any]:
    """Writes a log and times every call on it, in a forked process; returns seconds by call, or an error's text."""

    def work() -> str:
        sabotage.apply(variant)
        log = folder / f"{shape}.jsonl"
        log.unlink(missing_ok=True)
        began = time.process_time()
        with Session.open(log, durability="process") as session:
            SHAPES[shape](session, count)
        found: dict[str, Any] = {"write": time.process_time() - began}
        found |= {name: _fastest(call) for name, call in calls(log)}
        found["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return json.dumps(found)

    text = in_child(work, _LIMIT_S) or f"it takes more than {_LIMIT_S} s, or the process died"
    found: dict[str, Any] = json.loads(text) if text.startswith("{") else {"all": text}
    return found


def _fastest(call: Callable[[], Any]) -> float | str:
    times = []
    for _ in range(_TRIES):
        began = time.process_time()
        try:
            call()
        except Exception as error:
            return f"{type(error).__name__}: {error}"[:300]
        times.append(time.process_time() - began)
        if times[-1] > 5:
            break
    return min(times)


def compare(shape: str, once: dict[str, Any], twice: dict[str, Any]) -> Iterator[str]:
    """Yields what raised, and what took much more than twice as long."""
    for name, long in twice.items():
        short = once.get(name)
        if isinstance(long, str) or isinstance(short, str):
            yield f"{shape}, {name}: {long if isinstance(long, str) else short}"
        elif name != "memory_mb" and short is not None and long > LIMIT * short + _NOISE_S:
            yield f"{shape}, {name}: {short:.3f} s, and {long:.3f} s for twice as many"


def main() -> None:
    options = arguments(__doc__ or "", entries=10_000, only="")
    broken, slowest, memory = list[str](), (0.0, ""), 0
    wanted = [name for name in SHAPES if is_wanted(name, options.only)]
    with tempfile.TemporaryDirectory() as place:
        for shape in wanted:
            run = partial(measure, shape, variant=options.sabotage, folder=Path(place))
            once, twice = run(options.entries // 2), run(options.entries)
            broken += compare(shape, once, twice)
            times = {name: value for name, value in twice.items() if isinstance(value, float)}
            shown = "  ".join(f"{name} {value * 1000:.0f}" for name, value in times.items())
            print(f"{shape}: {twice.get('memory_mb')} MB; ms: {shown}", flush=True)
            reading = {name: value for name, value in times.items() if name != "write"}
            slowest = max(slowest, *((value, f"{shape}, {name}") for name, value in reading.items()))
            memory = max(memory, twice.get("memory_mb", 0))
    result = {
        "shapes": len(wanted), "entries": options.entries, "slowest": slowest[1],
        "slowest_s": round(slowest[0], 2), "memory_mb": memory,
    }  # fmt: skip
    finish(options, result, broken)


if __name__ == "__main__":
    main()
