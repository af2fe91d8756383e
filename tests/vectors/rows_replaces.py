"""Vectors of messages that replace others."""

from __future__ import annotations

from typing import Any

from .rows_visibility import see
from .sealing import HEADER, Said, Vector, changed, compaction, context, entry, in_file, log, said, sealed

A, B, D = said("a", None), said("b", "a"), said("d", "c")
SUMMARY = {"summary": "k"}


def _replaced(name: str, about: str, says: Said, *lines: str, leaf: str, **more: Any) -> Vector:
    """A log whose ids are one letter each."""
    ids = " ".join(line.split('"')[3] for line in lines)
    return Vector(name=f"replaces-{name}", about=about, log=log(*lines), records=ids, leaf=leaf, says=says, **more)


SYSTEM = said("s", None, {"role": "system", "content": "s"}, pinned=True)
TEXTS = (said("a", "s"), said("b", "a"))
NEW = {"role": "system", "content": "t"}

REPLACES = [
    _replaced(
        "on-the-path",
        "Below the new message the old one is in no context; above it nothing changes.",
        ["b", "c"],
        A,
        B,
        said("c", "b", replaces="a"),
        leaf="c",
        contexts=[context("b", ["a", "b"])],
        record_fields={"b": {"replaces": None}, "c": {"replaces": "a"}},
    ),
    _replaced(
        "on-one-of-two-branches",
        "The other branch keeps the old message.",
        ["a", "d"],
        A,
        said("b", "a"),
        said("c", "b", replaces="a"),
        said("d", "a"),
        leaf="d",
        contexts=[context("c", ["b", "c"])],
    ),
    *(
        _replaced(
            name,
            f"{about}: it has no effect.",
            ["a", "c", "e"],
            A,
            B,
            said("c", "a", replaces=target),
            said("e", "c"),
            leaf="e",
            more_findings=[("bad_replaces", 4)],
        )
        for name, about, target in (
            ("on-another-branch", "The entry is not on the path", "b"),
            ("what-is-missing", "The entry is not in the log", "x"),
            ("itself", "An entry is not above itself", "c"),
            ("a-later-entry", "The entry is further down", "e"),
        )
    ),
    _replaced(
        "twice",
        "The replacement is replaced, too.",
        ["b", "d"],
        A,
        B,
        said("c", "b", replaces="a"),
        said("d", "c", replaces="c"),
        leaf="d",
        contexts=[context("c", ["b", "c"])],
    ),
    _replaced(
        "the-same-twice",
        "Two messages replace the same: both are there.",
        ["b", "c", "d"],
        A,
        B,
        said("c", "b", replaces="a"),
        said("d", "c", replaces="a"),
        leaf="d",
    ),
    _replaced(
        "and-is-hidden",
        "A hidden replacement replaces, too.",
        ["b", "d"],
        A,
        B,
        said("c", "b", replaces="a"),
        D,
        see("c", "user"),
        leaf="d",
    ),
    _replaced(
        "a-pinned-message-before-a-compaction",
        "A new system prompt behind a compaction: the old one is not in the context.",
        [SUMMARY, "b", NEW],
        SYSTEM,
        *TEXTS,
        compaction("k", "b", "b"),
        said("t", "k", NEW, pinned=True, replaces="s"),
        leaf="t",
        contexts=[context("k", ["s", SUMMARY, "b"])],
    ),
    _replaced(
        "a-pinned-message-and-a-compaction",
        "Both system prompts are before the kept range, and only the new one is pinned into the context.",
        [NEW, SUMMARY, "c"],
        SYSTEM,
        *TEXTS,
        said("t", "b", NEW, pinned=True, replaces="s"),
        said("c", "t"),
        compaction("k", "c", "c"),
        leaf="k",
    ),
    _replaced(
        "a-pinned-message-twice",
        "The second system prompt is replaced by a third, behind a compaction.",
        [SUMMARY, "b", {"role": "system", "content": "u"}],
        SYSTEM,
        *TEXTS,
        said("t", "b", NEW, pinned=True, replaces="s"),
        compaction("k", "t", "b"),
        said("u", "k", {"role": "system", "content": "u"}, pinned=True, replaces="t"),
        leaf="u",
        contexts=[context("k", [SUMMARY, "b", NEW])],
    ),
    _replaced(
        "a-branch-summary",
        "Any entry that is shown can be replaced.",
        ["a", "b", "c"],
        A,
        entry("s", "a", "branch_summary", from_id=None, summary="s"),
        said("b", "s"),
        said("c", "b", replaces="s"),
        leaf="c",
    ),
    Vector(
        name="replaces-not-a-text",
        about="`replaces` is a number.",
        log=log(A, said("b", "a", replaces=7), said("e", "a")),
        records="a e",
        leaf="e",
        says=["a", "e"],
        findings=[("bad_line", 3)],
    ),
    Vector(
        name="replaces-damaged",
        about="The new message does not verify: the old one is there, and the leaf is uncertain.",
        log=in_file(
            changed(sealed(HEADER, A, B, said("c", "b", replaces="a")), 4, b'"replaces":"a"', b'"replaces":"b"')
        ),
        records="a b",
        leaf="b",
        uncertain=True,
        says="LeafUncertain",
        findings=[("bad_seal", 4)],
        contexts=[context("b", ["a", "b"])],
    ),
]

VECTORS = REPLACES
