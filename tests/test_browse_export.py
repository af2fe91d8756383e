"""The export dialog of `convtree browse`."""

from __future__ import annotations

from pathlib import Path

import pytest
from browsing import Hand, browse
from helpers import user

import convtree


@pytest.mark.parametrize(
    ("keys", "said", "is_kept"), [((), "", True), (("tab", "space"), "; 2 secrets redacted", False)]
)
def test_an_export_without_secrets(keys: tuple[str, ...], said: str, is_kept: bool, tmp_path: Path) -> None:
    """The dialog has a box for it. The secret is in the title and in the message."""
    secret, target = "ghp_0123456789abcdefghijABCDEFGHIJ012345", tmp_path / "x.md"
    with convtree.Session.open(tmp_path / "log.jsonl") as session:
        session.append(user(f"my key is {secret}"))

    async def steps(hand: Hand) -> None:
        await hand.press("e")
        await hand.type(str(target))
        await hand.press(*keys)
        box = "[x]" if keys else "[ ]"
        assert any(f"{box} redact secrets" in line for line in hand.lines)
        await hand.press(*(("shift+tab",) if keys else ()), "enter")
        assert hand.said == [f"written: {target}{said}"]

    browse(tmp_path / "log.jsonl", steps)
    assert (secret in target.read_text()) is is_kept
