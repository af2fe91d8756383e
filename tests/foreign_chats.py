"""Samples of still more formats, of the same kind as those in `foreign_whole`."""

from __future__ import annotations

import json
from pathlib import Path

import test_formats_lmstudio as lmstudio
from foreign_stores import write_json
from foreign_sums import Counts, Sample, kinds, total, words


def write_lmstudio(folder: Path) -> Path:
    """An answer with a call, and another version of it."""
    other = [lmstudio.step(5, lmstudio.text("A file."), **lmstudio.made(555, 222))]
    asked = lmstudio.user("What is in a?", shade="viridian", number=4711)
    messages = [asked, lmstudio.answers(lmstudio.WITH_TOOL, other)]
    about = {"name": "About a", "createdAt": lmstudio.BEGUN, "messages": messages, "preset": "cerulean"}
    return write_json(folder / "1.conversation.json", about)


def count_lmstudio(path: Path) -> Counts:
    """By its versions; a generation may have several steps."""
    messages = json.loads(path.read_text())["messages"]
    versions = [version for message in messages for version in message["versions"]]
    steps = [step for version in versions for step in version.get("steps", ())]
    paid = {json.dumps(step["genInfo"]["stats"]) for step in steps if "genInfo" in step}
    stats = [json.loads(each) for each in paid]
    parts = [part for step in steps for part in step.get("content", ())]
    return Counts(
        total(stats, "promptTokensCount"),
        total(stats, "predictedTokensCount"),
        messages=len(messages),
        calls=kinds(parts, "toolCallRequest"),
        results=kinds(parts, "toolCallResult"),
        leaves=1 + sum(len(message["versions"]) - 1 for message in messages),
    )


CHATS = {
    "lmstudio": Sample(
        write_lmstudio, count_lmstudio, words("multiStep", "singleStep", "toolCallRequest", "toolCallResult")
    ),
}
