"""Vectors of what lines say: headers and versions, ids, parents, types, needs; and of lines without seals."""

from __future__ import annotations

from typing import Any

from .sealing import (
    HEADER,
    PLAIN_HEADER,
    Vector,
    changed,
    context,
    entry,
    header,
    in_file,
    log,
    mark,
    plain,
    said,
    sealed,
    to_json,
    user,
)

A, B, C, D = said("a", None), said("b", "a"), said("c", "b"), said("d", "c")
LINES = sealed(HEADER, A, B, C)
ABC = ["a", "b", "c"]
E = said("e", "a")
MARK = mark("m", "label", target_id="a", label="x")


def _ab(name: str, about: str, data: bytes, *findings: tuple[str, int], **more: Any) -> Vector:
    """A log from which a reader gets the messages a and b, and no more."""
    more = {"records": "a b", "leaf": "b", "says": ["a", "b"]} | more
    return Vector(name=name, about=about, log=data, findings=findings, **more)


HEADERS = [
    Vector(name="header-alone", about="A log without records.", log=log(), says=[]),
    Vector(
        name="header-with-every-old-key",
        about="Every key of a header, but for those that forks and imports add.",
        log=log(
            A,
            first=header(
                cwd="/home/ann",
                git_root="/home",
                owner="ann",
                name="trip",
                parent_session={"id": "s0", "entry_id": None, "kind": "task"},
                metadata={"tag": "fun"},
            ),
        ),
        records="a",
        leaf="a",
        says=["a"],
        session={"name": "trip", "metadata": {"tag": "fun"}},
        header_fields={
            "cwd": "/home/ann",
            "git_root": "/home",
            "owner": "ann",
            "name": "trip",
            "parent_session": {"id": "s0", "entry_id": None, "kind": "task"},
        },
    ),
    _ab(
        "header-damaged",
        "The header does not verify. The records are read; nothing is written.",
        in_file(changed(LINES[:3], 1, b'"id":"s1"', b'"id":"s2"')),
        ("bad_header", 1),
        read_only=True,
    ),
    _ab(
        "header-missing",
        "The first line is a sealed record.",
        in_file(LINES[1:3]),
        ("bad_header", 1),
        ("prev_mismatch", 1),
        read_only=True,
    ),
    _ab("header-twice", "A header inside a log: two logs in one file.", log(A, HEADER, B), ("second_header", 3)),
    Vector(name="not-a-log-text", about="Not JSON.", log=b"hello\n", error="NotALog"),
    Vector(
        name="not-a-log-json",
        about="A session of another tool.",
        log=b'{"type":"session","version":3,"id":"x"}\n',
        error="NotALog",
    ),
    Vector(name="not-a-log-half-a-line", about="A text without a newline.", log=b"hello", error="NotALog"),
    _ab(
        "version-newer",
        "A newer version is read and not written to.",
        log(A, B, first=HEADER.replace('"version":1', '"version":2')),
        ("newer_version", 1),
        read_only=True,
    ),
]

IDS = [
    _ab(
        "id-repeated",
        "The record a is there again, behind b: ignored.",
        log(A, B, A),
        ("duplicate", 4),
    ),
    _ab(
        "id-taken",
        "Another entry has the id of the first. The first line counts, and the leaf is uncertain.",
        log(A, B, said("a", "b", user("x"))),
        ("id_conflict", 4),
        uncertain=True,
        says="LeafUncertain",
        contexts=[context("a", ["a"]), context("b", ["a", "b"])],
    ),
    _ab(
        "id-of-an-entry-taken-by-a-mark",
        "Entries and marks share one namespace.",
        log(A, B, mark("a", "label", target_id="b", label="x")),
        ("id_conflict", 4),
        uncertain=True,
        says="LeafUncertain",
        session={"labels": {}},
    ),
    Vector(
        name="id-of-a-mark-taken-by-an-entry",
        about="The entry m is not in the tree, and what is below it is an orphan.",
        log=log(A, MARK, said("m", "a"), said("e", "m")),
        records="a m e",
        leaf="e",
        says="BrokenPath",
        findings=[("id_conflict", 4), ("orphan", 5)],
    ),
    Vector(
        name="id-of-every-kind",
        about="Ids of one and of 128 characters, with each of the signs.",
        log=log(said("A", None), said("0._:-z", "A"), said("x" * 128, "0._:-z")),
        records="A 0._:-z " + "x" * 128,
        leaf="x" * 128,
        says=["A", "0._:-z", "x" * 128],
    ),
    *(
        Vector(
            name=f"id-{name}",
            about=f"Not an id: {about}.",
            log=log(A, said(id, "a"), E),
            records="a e",
            leaf="e",
            says=["a", "e"],
            findings=[("bad_line", 3)],
        )
        for name, id, about in (
            ("empty", "", "no character"),
            ("too-long", "x" * 129, "129 characters"),
            ("with-a-slash", "../b", "a path"),
            ("begins-with-a-dash", "-b", "the first character is a letter or a digit"),
            ("with-a-newline", "b\n", "a newline at its end"),
            ("not-ascii", "é", "a letter of another alphabet"),
        )
    ),
]

PARENTS = [
    Vector(
        name="parents-branches",
        about="Two entries with one parent, and a second root.",
        log=log(A, B, E, said("r", None)),
        records="a b e r",
        leaf="r",
        says=["r"],
        contexts=[context("b", ["a", "b"]), context("e", ["a", "e"]), context(None, [])],
    ),
    Vector(
        name="parent-missing",
        about="The parent was never written.",
        log=log(A, said("d", "x"), said("f", "d")),
        records="a d f",
        leaf="f",
        says="BrokenPath",
        findings=[("orphan", 3)],
        contexts=[
            context("a", ["a"]),
            context("d", "BrokenPath"),
            context("f", ["d", "f"], gaps_allowed=True, gaps=1),
        ],
    ),
    Vector(
        name="parent-later",
        about="A parent is on an earlier line.",
        log=log(A, C, B),
        records="a c b",
        leaf="b",
        says=["a", "b"],
        findings=[("orphan", 3)],
        contexts=[context("c", "BrokenPath")],
    ),
    Vector(
        name="parent-is-a-mark",
        about="A mark has no children.",
        log=log(A, MARK, said("d", "m")),
        records="a m d",
        leaf="d",
        says="BrokenPath",
        findings=[("orphan", 4)],
    ),
    Vector(
        name="parent-is-itself",
        about="An entry is no parent of itself.",
        log=log(A, said("d", "d")),
        records="a d",
        leaf="d",
        says="BrokenPath",
        findings=[("orphan", 3)],
    ),
]

TYPES = [
    Vector(
        name="type-of-another-tool",
        about="An entry and a mark of unknown types, with a dot, and fields of any kind.",
        log=log(A, entry("x", "a", "tool.note", text="t", deep=[{}]), said("b", "x"), mark("y", "tool.mark", n=1)),
        records="a x b y",
        leaf="b",
        says=["a", "b"],
        contexts=[context("x", ["a"])],
        record_fields={"x": {"type": "tool.note", "text": "t", "deep": [{}]}, "y": {"type": "tool.mark", "n": 1}},
    ),
    Vector(
        name="type-of-a-later-version",
        about="An entry and a mark of unknown types without a dot: kept, and without effect.",
        log=log(A, entry("x", "a", "thought"), said("b", "x"), mark("y", "star")),
        records="a x b y",
        leaf="b",
        says=["a", "b"],
    ),
    *(
        Vector(
            name=f"type-{name}",
            about=f"Not a type: {about}.",
            log=log(A, entry("b", "a", type), E),
            records="a e",
            leaf="e",
            says=["a", "e"],
            findings=[("bad_line", 3)],
        )
        for name, type, about in (
            ("empty", "", "no character"),
            ("too-long", "x" * 65, "65 characters"),
            ("in-upper-case", "Note", "an upper-case letter"),
        )
    ),
    Vector(
        name="type-entry-without-a-parent",
        about="An entry has a parent_id.",
        log=log(A, mark("b", "message", message=user("b")), E),
        records="a e",
        leaf="e",
        says=["a", "e"],
        findings=[("bad_line", 3)],
    ),
    Vector(
        name="type-mark-with-a-parent",
        about="A mark has none.",
        log=log(A, entry("b", "a", "label", target_id="a", label="x"), E),
        records="a e",
        leaf="e",
        says=["a", "e"],
        findings=[("bad_line", 3)],
        session={"labels": {}},
    ),
    Vector(
        name="critical-entry",
        about="No context is built through it; other paths are as before. Nothing is written.",
        log=log(A, entry("x", "a", "tool.note", critical=True), said("b", "x"), mark("l", "leaf", target_id="b")),
        records="a x b l",
        leaf="b",
        says="UnknownEntry",
        findings=[("critical_unknown", 3)],
        contexts=[context("x", "UnknownEntry"), context("a", ["a"])],
        read_only=True,
    ),
    Vector(
        name="critical-mark",
        about="No context is built at all.",
        log=log(A, mark("x", "tool.mark", critical=True)),
        records="a x",
        leaf="a",
        says="UnknownEntry",
        findings=[("critical_unknown", 3)],
        read_only=True,
    ),
    *(
        Vector(
            name=f"critical-{name}",
            about=f"`critical` is {value!r} and not true: an unknown type like others.",
            log=log(A, entry("x", "a", "tool.note", critical=value), said("b", "x")),
            records="a x b",
            leaf="b",
            says=["a", "b"],
        )
        for name, value in (("false", False), ("one", 1), ("text", "true"), ("null", None))
    ),
    _ab("critical-known-type", "`critical` says nothing on a known type.", log(A, said("b", "a", critical=True))),
]

NEEDS = [
    *(
        Vector(
            name=f"needs-{name}-on-an-entry",
            about=f"`needs` is {needs!r}: the entry is a critical one of an unknown type.",
            log=log(A, said("b", "a", needs=needs), C),
            records="a b c",
            leaf="c",
            says="UnknownEntry",
            findings=[("critical_unknown", 3)],
            contexts=[context("b", "UnknownEntry"), context("a", ["a"])],
            read_only=True,
        )
        for name, needs in (("unknown", ["blobs"]), ("two", ["blobs", "crypt"]), ("text", "blobs"), ("number", [7]))
    ),
    Vector(
        name="needs-unknown-on-a-mark",
        about="The mark has no effect, and no context is built.",
        log=log(A, B, mark("m", "leaf", target_id="a", needs=["blobs"])),
        records="a b m",
        leaf="b",
        says="UnknownEntry",
        findings=[("critical_unknown", 4)],
        contexts=[context("a", "UnknownEntry")],
        read_only=True,
    ),
    Vector(
        name="needs-unknown-on-the-header",
        about="As with a critical mark.",
        log=log(A, first=header(needs=["blobs"])),
        records="a",
        leaf="a",
        says="UnknownEntry",
        findings=[("critical_unknown", 1)],
        read_only=True,
    ),
    _ab(
        "needs-nothing",
        "Empty lists on the header, an entry and a mark.",
        log(
            A, said("b", "a", needs=[]), mark("m", "label", target_id="a", label="x", needs=[]), first=header(needs=[])
        ),
        records="a b m",
        session={"labels": {"a": "x"}},
    ),
    _ab(
        "needs-unknown-on-a-damaged-line",
        "A line that does not verify needs nothing.",
        in_file(changed(sealed(HEADER, A, said("x", "a", needs=["blobs"]), B), 3, b"blobs", b"blobz")),
        ("bad_seal", 3),
    ),
]

UNSEALED = [
    Vector(
        name="unsealed-damage",
        about="Without seals, a line that is no record is damage; one that was changed cannot be noticed.",
        log=plain(A, "<<<<<<< HEAD", "[]", "42", to_json({"id": "x"}), said("b", "a", user("changed"))),
        records="a b",
        leaf="b",
        says=["a", "changed"],
        findings=[("unsealed", 1), *(("bad_line", line) for line in range(3, 7))],
    ),
    Vector(
        name="unsealed-wrong-field",
        about="Without seals, a field of the wrong type makes a line damage when it is read.",
        log=plain(A, entry("b", "a", "message", message="text"), E, first=PLAIN_HEADER),
        records="a e",
        leaf="e",
        says=["a", "e"],
        findings=[("unsealed", 1), ("bad_line", 3)],
    ),
    Vector(
        name="unsealed-repeated",
        about="A record that is there twice, without seals.",
        log=plain(A, B, A),
        records="a b",
        leaf="b",
        says=["a", "b"],
        findings=[("unsealed", 1), ("duplicate", 4)],
    ),
]

VECTORS = [*HEADERS, *IDS, *PARENTS, *TYPES, *NEEDS, *UNSEALED]
