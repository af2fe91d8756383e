"""What does it cost to import files of other tools? Generated files, beside `orjson.loads` of every line."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness import Figure, medians, options, workplace
from report import TARGET_HEADS, Results, judge_least, table

STAMP = "2026-01-01T00:00:00.000Z"
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "tools", "read", "long", "files")
FILES = 4  # of one format, of which each has a quarter of the lines
TARGET = 100  # MB/s
USAGE = {"input_tokens": 5, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 2000, "output_tokens": 77}
WAYS = ("orjson.loads of every line", "import, one process", "import, other processes read")


def text(chance: random.Random, words: int) -> str:
    """Returns words."""
    return " ".join(chance.choices(WORDS, k=words))


def claude_code(session: str, count: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yields lines as Claude Code writes them: a prompt, then answers, calls and results."""
    parent = None
    for number in range(count):
        message: dict[str, Any] = {"role": "user", "content": text(chance, 40)}
        more: dict[str, Any] = {}
        if number % 4 in (1, 2):
            block = {"type": "text", "text": text(chance, 80)}
            if number % 4 == 2:
                block = {"type": "tool_use", "id": f"t{number}", "name": "Read", "input": {"file_path": f"/w/{number}"}}  # type: ignore[dict-item]
            message = {"id": f"m{number}", "type": "message", "role": "assistant", "model": "claude", "usage": USAGE}
            message["content"] = [block]
        elif number % 4 == 3:
            said = text(chance, 300)
            message["content"] = [{"type": "tool_result", "tool_use_id": f"t{number - 1}", "content": said}]
            more = {"toolUseResult": {"type": "text", "file": {"filePath": "/w", "content": said}}}
        line = {"parentUuid": parent, "isSidechain": False, "cwd": "/w", "sessionId": session, "version": "2.1.332"}
        parent = f"{session}-{number:08}"
        yield line | {"type": message["role"], "uuid": parent, "timestamp": STAMP, "message": message} | more


def codex(session: str, count: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yields lines as Codex writes them: prompts, answers, calls, outputs and counts."""
    meta = {"id": session, "timestamp": STAMP, "cwd": "/w", "cli_version": "0.171.0"}
    yield {"timestamp": STAMP, "ordinal": 0, "type": "session_meta", "payload": meta}
    tokens = {"input_tokens": 100, "cached_input_tokens": 10, "output_tokens": 10, "total_tokens": 110}
    for number in range(1, count):
        payload: dict[str, Any] = {"type": "function_call_output", "call_id": f"c{number - 1}", "output": ""}
        if number % 4 == 0:
            payload |= {"output": text(chance, 300)}
        elif number % 4 == 3:
            payload = {"type": "function_call", "name": "shell", "arguments": "{}", "call_id": f"c{number}"}
        elif number % 4 == 2:
            role, kind = ("user", "input_text") if number % 8 == 2 else ("assistant", "output_text")
            payload = {"type": "message", "role": role, "content": [{"type": kind, "text": text(chance, 80)}]}
        else:
            info = {"total_token_usage": tokens, "last_token_usage": tokens}
            payload = {"type": "token_count", "info": info}
        kind = "event_msg" if payload["type"] == "token_count" else "response_item"
        yield {"timestamp": STAMP, "ordinal": number, "type": kind, "payload": payload}


def message_list(session: str, count: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yields messages without a tool around them."""
    for number in range(count):
        yield {"role": ("user", "assistant")[number % 2], "content": f"{session} {text(chance, 100)}"}


FORMATS = {"Claude Code": claude_code, "Codex": codex, "messages": message_list}


def write(name: str, count: int, folder: Path) -> None:
    """Writes files of a format, with so many lines together."""
    folder.mkdir(parents=True)
    for number in range(FILES):
        chance = random.Random(number)
        lines = FORMATS[name](f"00000000-0000-7000-8000-00000000000{number}", count // FILES, chance)
        with (folder / f"{number}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def load(way: str, folder: str, target: str) -> Figure:
    """Reads or imports the files of a folder once; returns seconds, and bytes for each second."""
    import orjson

    from convtree import open_store
    from convtree.exchange import import_into, list_foreign

    files = sorted(Path(folder).iterdir())
    size = sum(path.stat().st_size for path in files)
    assert list(list_foreign(files[0]))  # the formats are imported before the clock starts
    workers = 1 if way != WAYS[2] else max(2, os.cpu_count() or 1)
    with open_store(target, create=True, durability="process") as store:
        start = time.perf_counter()
        if way == WAYS[0]:
            for path in files:
                with path.open("rb") as file:
                    for line in file:
                        orjson.loads(line)
        else:
            reports = import_into(folder, store, workers=workers)
            assert {report.status for report in reports} == {"imported"}
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "rate": size / seconds / 1e6, "size": size / 1e6}


def run(way: str, folder: Path, place: Path) -> Figure:
    """Measures one way in a new process, into a new store."""
    import shutil

    from harness import measure

    try:
        return measure(load, way=way, folder=str(folder), target=str(place))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    """Prints the tables."""
    given = options("What does an import cost?", sizes=(10_000, 100_000), quick=(400,), runs=3)
    results = Results("sources", given)
    with workplace(given) as place:
        for name in FORMATS:
            for size in given.sizes:
                folder = place / f"{name} {size}"
                write(name, size, folder)
                found = medians(given.runs, {way: partial(run, way, folder, place / "store") for way in WAYS})
                for way, figure in found.items():
                    results.add(f"{name}: {way}", size, figure)
    results.say(table(("MB/s", *(f"{size:,} lines" for size in given.sizes)), rows(results)), goals(results))


def rows(results: Results) -> Iterator[Sequence[str]]:
    """Yields a row for each format and way."""
    for name in FORMATS:
        for way in WAYS:
            rates = [results.get(f"{name}: {way}", size, "rate") for size in results.given.sizes]
            yield f"{name}: {way}", *("—" if rate is None else f"{rate:.1f}" for rate in rates)


def goals(results: Results) -> str:
    """Returns the table of targets, for the largest size."""
    size = max(results.given.sizes)
    found = [
        judge_least(name, results.get(f"{name}: {way}", size, "rate"), lambda rate: f"{rate:.1f} MB/s", TARGET)
        for name in FORMATS
        for way in WAYS[1:]
    ]
    named = [(f"{row[0]}: {way}", *row[1:]) for row, way in zip(found, WAYS[1:] * len(FORMATS), strict=True)]
    return table(TARGET_HEADS, named)


if __name__ == "__main__":
    main()
