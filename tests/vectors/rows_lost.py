"""Vectors of lost entries, and of vacuum entries."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import Any

from .sealing import (
    HEADER,
    Vector,
    body_crc,
    changed,
    compaction,
    context,
    entry,
    in_file,
    log,
    mark,
    reply,
    said,
    sealed,
    user,
)

A, B, C = said("a", None), said("b", "a"), said("c", "b")
LOST = entry("b", "a", "lost", line_crc=body_crc(B))


def _lost(
    name: str, about: str, *more: str, lost: str = LOST, findings: Any = (("lost_entry", 3),), **stated: Any
) -> Vector:
    """The message a, a lost entry, and the message c below it."""
    expected = {"records": "a b c", "leaf": "c", "says": "BrokenPath"} | stated
    return Vector(name=f"lost-{name}", about=about, log=log(A, lost, C, *more), findings=findings, **expected)


LOST_ENTRIES = [
    _lost(
        "on-the-path",
        "No context leads through a lost entry.",
        contexts=[
            context("a", ["a"]),
            context("b", "BrokenPath"),
            context("c", "BrokenPath"),
            context("c", ["a", "c"], gaps_allowed=True, gaps=1),
        ],
        record_fields={"b": {"type": "lost", "parent_id": "a", "line_crc": body_crc(B)}},
    ),
    _lost("without-a-checksum", "Nothing is known of the line that was there.", lost=entry("b", "a", "lost")),
    Vector(
        name="lost-on-another-branch",
        about="Other branches are as before.",
        log=log(A, LOST, C, said("e", "a")),
        records="a b c e",
        leaf="e",
        says=["a", "e"],
        findings=[("lost_entry", 3)],
        contexts=[context("c", "BrokenPath")],
    ),
    Vector(
        name="lost-root",
        about="The first entry is lost.",
        log=log(entry("a", None, "lost", line_crc=body_crc(A)), B),
        records="a b",
        leaf="b",
        says="BrokenPath",
        findings=[("lost_entry", 2)],
        contexts=[context("b", ["b"], gaps_allowed=True, gaps=1)],
    ),
    Vector(
        name="lost-before-the-kept-range",
        about="The lost entry is above a compaction. No context leads through it all the same.",
        log=log(A, LOST, C, compaction("k", "c", "c"), said("d", "k")),
        records="a b c k d",
        leaf="d",
        says="BrokenPath",
        findings=[("lost_entry", 3)],
    ),
    Vector(
        name="lost-and-an-orphan",
        about="The parent of the lost entry is missing, too.",
        log=log(A, entry("b", "x", "lost", line_crc=body_crc(B)), C),
        records="a b c",
        leaf="c",
        says="BrokenPath",
        findings=[("orphan", 3), ("lost_entry", 3)],
    ),
    Vector(
        name="lost-two-in-a-row",
        about="A lost entry below another.",
        log=log(A, LOST, entry("c", "b", "lost", line_crc=body_crc(C)), said("d", "c")),
        records="a b c d",
        leaf="d",
        says="BrokenPath",
        findings=[("lost_entry", 3), ("lost_entry", 4)],
        contexts=[context("d", ["a", "d"], gaps_allowed=True, gaps=2)],
    ),
    _lost(
        "as-the-leaf",
        "A leaf mark may lead to a lost entry.",
        mark("m", "leaf", target_id="b"),
        records="a b c m",
        leaf="b",
        contexts=[context("a", ["a"])],
    ),
    _lost(
        "and-restored",
        "An entry with this id, parent and checksum is the one that was lost.",
        B,
        findings=[],
        says=["a", "b", "c"],
        contexts=[context("b", ["a", "b"])],
        record_fields={"b": {"type": "message"}},
    ),
    _lost(
        "and-restored-before-more",
        "The leaf moves on from the entry that was restored as from any.",
        B,
        said("d", "c"),
        findings=[],
        records="a b c d",
        leaf="d",
        says=["a", "b", "c", "d"],
    ),
    _lost(
        "and-other-content",
        "Another entry has the id: its checksum differs.",
        said("b", "a", user("x")),
        findings=[("lost_entry", 3), ("id_conflict", 5)],
        uncertain=True,
        says="LeafUncertain",
        contexts=[context("c", "BrokenPath"), context("a", ["a"])],
    ),
    _lost(
        "and-another-parent",
        "The entry would hang elsewhere. `line_crc` is that of this very line.",
        said("b", None),
        lost=entry("b", "a", "lost", line_crc=body_crc(said("b", None))),
        findings=[("lost_entry", 3), ("id_conflict", 5)],
        uncertain=True,
        says="LeafUncertain",
        contexts=[context("c", "BrokenPath")],
    ),
    _lost(
        "without-a-checksum-and-not-restored",
        "Without a checksum nothing proves that this is the entry.",
        B,
        lost=entry("b", "a", "lost"),
        findings=[("lost_entry", 3), ("id_conflict", 5)],
        uncertain=True,
        says="LeafUncertain",
        contexts=[context("c", "BrokenPath")],
    ),
    Vector(
        name="lost-behind-the-true-entry",
        about="The entry is in the log already: the first line counts.",
        log=log(A, B, LOST),
        records="a b",
        leaf="b",
        uncertain=True,
        says="LeafUncertain",
        findings=[("id_conflict", 4)],
        contexts=[context("b", ["a", "b"])],
    ),
    Vector(
        name="lost-as-a-mark",
        about="A lost entry has a parent_id.",
        log=log(A, mark("b", "lost", line_crc=body_crc(B)), said("e", "a")),
        records="a e",
        leaf="e",
        says=["a", "e"],
        findings=[("bad_line", 3)],
    ),
    Vector(
        name="lost-damaged",
        about="The lost entry does not verify itself.",
        log=in_file(changed(sealed(HEADER, A, LOST, C), 3, b'"line_crc"', b'"line_crx"')),
        records="a c",
        leaf="c",
        says="BrokenPath",
        findings=[("bad_seal", 3), ("orphan", 4)],
    ),
]

SETTINGS = {"effort": "low"}
STATE = {"tool.todo": ["pack"], "plan": {"n": 1}}


def _hashes(*ids: str) -> str:
    return b64encode(b"".join(sorted(sha256(id.encode()).digest()[:8] for id in ids))).decode()


WHOLE = {
    "provider": "p",
    "model": "m",
    "settings": SETTINGS,
    "state": STATE,
    "usage": [{"provider": "p", "model": "m", "answers": 2, "input_tokens": 9, "output_tokens": 3}],
    "dropped": 2,
    "dropped_ids": _hashes("x", "y"),
}


def vacuum(id: str = "v", parent_id: str | None = None, **fields: Any) -> str:
    """A vacuum entry with all fields, or with these."""
    return entry(id, parent_id, "vacuum", **(fields or WHOLE))


NOTHING: dict[str, Any] = {"provider": None, "model": None, "settings": {}, "state": {"tool.todo": None}}

VACUUMS = [
    Vector(
        name="vacuum-of-many-ids",
        about="The ids that were dropped are a set of hashes.",
        log=log(vacuum(dropped=9, dropped_ids=_hashes(*(f"x{number}" for number in range(9)))), said("a", "v")),
        records="v a",
        leaf="a",
        says=["a"],
        dropped=" ".join(f"x{number}" for number in range(9)),
    ),
    Vector(
        name="vacuum",
        about="The first entry says what the dropped part contributes. It is no message.",
        log=log(vacuum(), said("a", "v"), said("b", "a")),
        records="v a b",
        leaf="b",
        says=["a", "b"],
        contexts=[
            context("v", [], provider="p", model="m", settings=SETTINGS, state=STATE),
            context("b", ["a", "b"], provider="p", model="m", settings=SETTINGS, state=STATE),
        ],
        record_fields={"v": {"type": "vacuum", "parent_id": None} | WHOLE},
        dropped="x y",
        usage=[{"provider": "p", "model": "m", "input_tokens": 9, "output_tokens": 3}],
    ),
    Vector(
        name="vacuum-absent",
        about="A log from which nothing was dropped.",
        log=log(A, B),
        records="a b",
        leaf="b",
        says=["a", "b"],
        contexts=[context("b", ["a", "b"], **NOTHING)],
    ),
    Vector(
        name="vacuum-with-few-fields",
        about="`dropped` is the only field that is always there.",
        log=log(vacuum(dropped=1), said("a", "v")),
        records="v a",
        leaf="a",
        says=["a"],
        contexts=[context("a", ["a"], **NOTHING)],
    ),
    Vector(
        name="vacuum-and-newer-values",
        about="What comes below counts before it; usage is added.",
        log=log(
            vacuum(),
            entry("x", "v", "extension_data", ext_type="tool.todo", data="new"),
            entry("y", "x", "model_change", provider="q", model="n", settings={"effort": "high"}),
            said("a", "y", reply("a"), provider="p", model="m", usage={"input_tokens": 1, "output_tokens": 1}),
        ),
        records="v x y a",
        leaf="a",
        says=["a"],
        contexts=[
            context("v", [], provider="p", model="m", settings=SETTINGS, state=STATE),
            context(
                "y",
                [],
                provider="q",
                model="n",
                settings={"effort": "high"},
                state={"tool.todo": "new", "plan": {"n": 1}},
            ),
            context("a", ["a"], provider="p", model="m", settings={"effort": "high"}),
        ],
        usage=[{"provider": "p", "model": "m", "input_tokens": 10, "output_tokens": 4}],
    ),
    Vector(
        name="vacuum-and-another-root",
        about="It is in effect below it, and not below another root.",
        log=log(vacuum(), said("a", "v"), said("r", None)),
        records="v a r",
        leaf="r",
        says=["r"],
        contexts=[context("r", ["r"], **NOTHING), context("a", ["a"], provider="p", model="m", settings=SETTINGS)],
    ),
    Vector(
        name="vacuum-behind-a-mark",
        about="It is the first entry, and not the first record: kept, and without effect.",
        log=log(mark("m", "session_info", name="x"), vacuum(), said("a", "v")),
        records="m v a",
        leaf="a",
        says=["a"],
        findings=[("bad_vacuum", 3)],
        contexts=[context("a", ["a"], **NOTHING)],
        session={"name": "x"},
    ),
    Vector(
        name="vacuum-not-first",
        about="It is another root behind an entry: kept, and without effect.",
        log=log(A, vacuum(), said("c", "v")),
        records="a v c",
        leaf="c",
        says=["c"],
        findings=[("bad_vacuum", 3)],
        contexts=[context("c", ["c"], **NOTHING), context("a", ["a"])],
    ),
    Vector(
        name="vacuum-below-an-entry",
        about="It has a parent: kept, and without effect.",
        log=log(A, vacuum("v", "a"), said("c", "v")),
        records="a v c",
        leaf="c",
        says=["a", "c"],
        findings=[("bad_vacuum", 3)],
        contexts=[context("c", ["a", "c"], **NOTHING)],
    ),
    Vector(
        name="vacuum-with-a-missing-parent",
        about="It is the first entry and has a parent.",
        log=log(vacuum("v", "x"), said("a", "v")),
        records="v a",
        leaf="a",
        says="BrokenPath",
        findings=[("orphan", 2), ("bad_vacuum", 2)],
    ),
    Vector(
        name="vacuum-twice",
        about="Only the first counts.",
        log=log(
            vacuum(dropped=1, provider="p", model="m"),
            vacuum("w", None, dropped=1, provider="q", model="n"),
            said("a", "w"),
        ),
        records="v w a",
        leaf="a",
        says=["a"],
        findings=[("bad_vacuum", 3)],
        contexts=[context("a", ["a"], provider=None, model=None), context("v", [], provider="p", model="m")],
    ),
    Vector(
        name="vacuum-damaged",
        about="It does not verify: what is below it is an orphan.",
        log=in_file(changed(sealed(HEADER, vacuum(), said("a", "v")), 2, b'"dropped":2', b'"dropped":3')),
        records="a",
        leaf="a",
        says="BrokenPath",
        findings=[("bad_seal", 2), ("orphan", 3)],
    ),
]

VECTORS = [*LOST_ENTRIES, *VACUUMS]
