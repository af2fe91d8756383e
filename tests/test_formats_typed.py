"""The first message of the user is what a person typed, in formats whose tools say things in their role."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import test_formats_cline as cline
import test_formats_copilot_cli as copilot
import test_formats_cursor as cursor
import test_formats_kimi as kimi
import test_formats_opencode as opencode
import test_formats_qwen as qwen
from foreign_stores import write_lines

from convtree import MessageEntry, open_store
from convtree.exchange import import_into, list_foreign

ENVIRONMENT = "<environment_details>\n# Time\nnoon\n</environment_details>"
#: what each tool has of a person who typed "List a", with something of its own first: how it is written, and what of it
#: the model is sent
TYPED: dict[str, tuple[Callable[[Path], Any], Sequence[str]]] = {
    "cline, a task": (
        lambda folder: cline.write(
            folder,
            [cline.said(1, "user", ENVIRONMENT), cline.said(2, "user", "<task>\nList a\n</task>", ENVIRONMENT)],
            [cline.TASK],
        ),
        [ENVIRONMENT, f"<task>\nList a\n</task>\n{ENVIRONMENT}"],
    ),
    "cline, a mode": (
        lambda folder: cline.write(
            folder,
            [
                cline.said(1, "user", "[TASK RESUMPTION] Please continue where you left off."),
                cline.said(2, "user", '<user_input mode="act">List a</user_input>'),
            ],
            [cline.TASK],
        ),
        [
            "[TASK RESUMPTION] Please continue where you left off.",
            '<user_input mode="act">List a</user_input>',
        ],
    ),
    "roo, an answer": (
        lambda folder: cline.write(
            folder, [cline.said(1, "user", "<user_message>\nList a\n</user_message>", ENVIRONMENT)], [cline.TASK]
        ),
        [f"<user_message>\nList a\n</user_message>\n{ENVIRONMENT}"],
    ),
    "kimi-cli": (
        lambda folder: kimi.cli(
            folder,
            [
                kimi.META,
                kimi.wire("TurnBegin", user_input="<system-reminder>\nBe brief.\n</system-reminder>"),
                kimi.wire("TurnBegin", user_input="List a"),
            ],
        ),
        ["<system-reminder>\nBe brief.\n</system-reminder>", "List a"],
    ),
    "kimi-cli, a context alone": (
        lambda folder: write_lines(
            folder / "context.jsonl",
            [
                kimi.OLD[1],
                {"role": "user", "content": [{"type": "text", "text": "<system>CHECKPOINT 0</system>"}]},
                {"role": "user", "content": "List a"},
            ],
        ),
        ["<system>CHECKPOINT 0</system>", "List a"],
    ),
    "cursor-agent": (
        lambda folder: write_lines(
            folder / "a.jsonl",
            [
                cursor.line("user", cursor.words("<user_info>Linux</user_info>")),
                cursor.line("user", cursor.words("<user_query>\nList a\n</user_query>")),
            ],
        ),
        ["<user_info>Linux</user_info>", "<user_query>\nList a\n</user_query>"],
    ),
    "opencode": (
        lambda folder: opencode.database(
            folder / "o.db",
            [
                opencode.asked(
                    "msg_1", opencode.text("prt_1", "Called Read", synthetic=True), opencode.text("prt_2", "List a")
                )
            ],
        ),
        ["Called Read", "List a"],
    ),
    "copilot-cli": (
        lambda folder: write_lines(
            folder / "events.jsonl",
            [copilot.TALK[0], copilot.asked("f1", "e1", "List a", transformedContent="<now>noon</now>\nList a")],
        ),
        ["<now>noon</now>\nList a"],
    ),
    "qwen-code": (
        lambda folder: write_lines(
            folder / "q.jsonl",
            [qwen.said("u1", None, "Task ended", subtype="notification"), qwen.said("u2", "u1", "List a")],
        ),
        ["Task ended", "List a"],
    ),
}


@pytest.mark.parametrize("name", TYPED)
def test_the_first_message_is_what_a_person_typed(name: str, tmp_path: Path) -> None:
    """In the list of a store and in that of a source. The model is sent all of it."""
    write, sent = TYPED[name]
    write(tmp_path)
    store = open_store("memory:")
    (report,) = [each for each in import_into(tmp_path, store) if each.session_id is not None]
    assert store.info(str(report.session_id)).first_user_message == "List a"
    assert [each.first_user_message for each in list_foreign(tmp_path)] == ["List a"]
    with store.open(str(report.session_id)) as session:
        context = session.build_context()
        said = [each for each in context.entries if isinstance(each, MessageEntry) and each.role == "user"]
    assert [each.text for each in said] == list(sent)
