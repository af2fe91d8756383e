"""Writes pictures of a conversation: `python examples/picture.py [FILE.svg | FILE.png]`.

An SVG file shows `convtree inspect`, and needs `pip install 'convtree[cli]'`. A PNG file shows the page that `convtree
export --to html` makes, in few colours to be small; it needs `pip install 'convtree[cli,html]' pillow`, and Chromium.
The conversation is made up here, with fixed times and ids, so the first picture is the same every time.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

import convtree
import convtree.exchange

PAGE = (1200, 760)  # pixels
COLUMNS = 92  # the picture is made for this width
START_NS = 1_772_445_600 * 10**9  # 2026-03-02T10:00:00Z
#: rich's own form asks the web for a font; this one asks for nothing
SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1160 {terminal_height}">
<style>
.{unique_id}-matrix {{ font: {char_height}px "DejaVu Sans Mono", Menlo, Consolas, monospace; }}
{styles}
</style>
<defs>{lines}</defs>
<rect fill="#0c0c0c" width="100%" height="100%" rx="8"/>
<g transform="translate(18, 14)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def ticks() -> Iterator[int]:
    """Yields times, 20 seconds apart."""
    return (START_NS + number * 20 * 10**9 for number in count())


def converse(path: Path) -> None:
    """Writes a conversation with tools, two answers, another model and a compaction."""
    clock, ids = ticks(), (f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in count(1))
    with convtree.Session.open(
        path, id="3f1c7a", name="Fix the flaky test", clock=lambda: next(clock), id_source=lambda: next(ids)
    ) as session:

        def ask(text: str) -> convtree.MessageEntry:
            return session.append({"role": "user", "content": text})

        def answer(text: str, tokens: int, model: str = "claude-sonnet") -> convtree.MessageEntry:
            usage = {"input_tokens": tokens, "output_tokens": tokens // 20, "cost": tokens * 4e-6}
            return session.append({"role": "assistant", "content": text}, model=model, usage=usage)

        def work(*tools: str) -> None:
            calls = [
                {"type": "tool_use", "id": f"{name}{at}", "name": name, "input": {}} for at, name in enumerate(tools)
            ]
            session.append({"role": "assistant", "content": calls}, model="claude-sonnet")
            results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "ok"} for call in calls]
            session.append({"role": "user", "content": results})

        session.set_system("You are a careful engineer.")
        ask("test_follow fails once in fifty runs. Find out why.")
        work("read", "read", "bash")
        found = answer("The test waits for a file, but the watcher reads the folder only every second.", 18_400)
        session.label(found.id, "the cause")
        ask("Fix it with a longer timeout.")
        work("edit", "bash")
        answer("Done: the timeout is 5 s. 200 runs passed, but the suite takes 40 s longer.", 24_900)
        session.branch(found.id)
        ask("No timeout. Make the watcher tell the test when it has read.")
        work("read", "edit", "edit", "bash")
        answer("The watcher sets an event after each pass, and the test waits for that. 500 runs passed.", 31_200)
        session.append(
            convtree.CompactionEntry(summary="The flaky test waits for an event now.", first_kept_entry_id=None)
        )
        ask("Write the changelog entry.")
        answer("Fixed: `follow` could miss a file that appeared between two passes.", 2_100, "claude-haiku")


def picture(path: Path) -> str:
    """Returns what `convtree inspect` prints, as SVG."""
    settings = {"COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "TZ": "UTC", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "convtree", "inspect", str(path)]
    printed = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, check=True).stdout.decode()
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(printed), no_wrap=True)
    return console.export_svg(theme=MONOKAI, code_format=SVG, unique_id="t")


def photograph(log: Path, target: Path) -> None:
    """Writes a picture of the page of a log, made by Chromium without a window."""
    try:
        image: Any = import_module("PIL.Image")  # not a requirement of the tests
    except ImportError:
        sys.exit("a picture of the page needs pillow: pip install pillow")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("a picture of the page needs Chromium")
    page = log.with_suffix(".html")
    convtree.exchange.export_file(convtree.Session.open(log, mode="r"), page, "html")
    size = f"--window-size={PAGE[0]},{PAGE[1]}"
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--hide-scrollbars",
        size,
        f"--screenshot={target}",
        page.as_uri(),
    ]
    subprocess.run(command, env={**os.environ, "TZ": "UTC"}, capture_output=True, check=True)
    with image.open(target) as taken:
        taken.convert("RGB").quantize(32, dither=image.Dither.NONE).save(target, optimize=True)


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "trip.jsonl")
        converse(log)
        if target.suffix == ".png":
            photograph(log, target.absolute())
        else:
            target.write_text(picture(log), encoding="utf-8")
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "inspect.svg"))
