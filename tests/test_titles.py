"""The titles of sessions: what a person asked. The conformance suite has the same rule for stores."""

import json
from pathlib import Path

import pytest

from convtree.exchange import list_foreign


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["Where to?", "And back?"], ("Where to?", "Where to?")),
        (["/model opus", "continue", "Where\n to?"], ("Where to?", "/model opus")),
        (["/model opus"], ("/model opus", "/model opus")),
        (["/etc/hosts is broken"], ("/etc/hosts is broken", "/etc/hosts is broken")),
        (["# AGENTS.md of /a", "<session_context>\nof a tool", "12 a"], ("12 a", "# AGENTS.md of /a")),
        (["<b> is bold, isn't it?"], ("<b> is bold, isn't it?", "<b> is bold, isn't it?")),
        (["こんにちは"], ("こんにちは", "こんにちは")),
        (["!", "😀", "x" * 300], ("!", "!")),
    ],
)
def test_the_title_of_another_tools_session(said: list[str], expected: tuple[str, str], tmp_path: Path) -> None:
    """The first message that is no command, no single word, and not of the tool; else the first."""
    path = tmp_path / "messages.json"
    answer = {"role": "assistant", "content": "All right."}
    path.write_text(json.dumps([each for text in said for each in ({"role": "user", "content": text}, answer)]))
    (found,) = list_foreign(path)
    assert (found.title, found.first_user_message) == expected
