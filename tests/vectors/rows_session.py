"""Vectors of what describes a session: `session_info` marks, and the header of a fork or an import."""

from __future__ import annotations

from typing import Any

from .sealing import HEADER, Vector, changed, context, header, in_file, log, mark, reply, said, sealed

A, B = said("a", None), said("b", "a")
FORK = {"id": "s0", "entry_id": "b", "kind": "fork"}


def info(id: str = "m", **fields: Any) -> str:
    """A session_info mark."""
    return mark(id, "session_info", **fields)


def _session(name: str, about: str, first: str, /, *marks: str, **session: Any) -> Vector:
    """A log with a message and marks."""
    ids = ["m", "n", "o"][: len(marks)]
    return Vector(
        name=name,
        about=about,
        log=log(A, *marks, first=first),
        records=" ".join(["a", *ids]),
        leaf="a",
        says=["a"],
        session=session,
    )


NAMED = header(name="old", metadata={"tag": "fun", "n": 1})
PLACED = header(cwd="/home/ann", git_root="/home")

WRONG_TYPES: list[tuple[str, Any]] = [
    ("name", 7),
    ("archived", "yes"),
    ("metadata", [1]),
    ("cwd", 7),
    ("git_root", []),
    ("hold", "no"),
]

INFO = [
    _session(
        "info-absent",
        "The header's own name and metadata.",
        NAMED,
        name="old",
        archived=False,
        metadata={"tag": "fun", "n": 1},
    ),
    _session(
        "info-name",
        "A mark changes the name; what it leaves out is unchanged.",
        NAMED,
        info(name="new"),
        name="new",
        metadata={"tag": "fun", "n": 1},
    ),
    _session("info-name-removed", "Null removes the name.", NAMED, info(name=None), name=None),
    _session(
        "info-archived",
        "The last mark counts.",
        HEADER,
        info(archived=True),
        info("n", archived=False),
        info("o", archived=True),
        archived=True,
    ),
    _session(
        "info-archived-removed",
        "Null takes the flag away.",
        HEADER,
        info(archived=True),
        info("n", archived=None),
        archived=False,
    ),
    _session(
        "info-metadata-merged",
        "Metadata is merged by top-level key. A null removes its key.",
        NAMED,
        info(metadata={"n": {"deep": 1}, "new": True}),
        info("n", metadata={"tag": None, "n": {"other": 2}}),
        metadata={"n": {"other": 2}, "new": True},
    ),
    _session("info-metadata-removed", "Null removes all metadata.", NAMED, info(metadata=None), metadata={}),
    _session("info-of-nothing", "A mark without a field changes nothing.", NAMED, info(), name="old"),
    Vector(
        name="info-damaged",
        about="A mark that does not verify has no effect.",
        log=in_file([*changed(sealed(HEADER, A, info(name="new"), B), 3, b'"new"', b'"nex"')]),
        records="a b",
        leaf="b",
        says=["a", "b"],
        findings=[("bad_seal", 3)],
        session={"name": None},
    ),
    *(
        Vector(
            name=f"info-{field}-of-the-wrong-type",
            about=f"`{field}` is {value!r}: the mark is damage, and none of it has an effect.",
            log=log(A, info("m", **{"name": "new", field: value}), B),
            records="a b",
            leaf="b",
            says=["a", "b"],
            findings=[("bad_line", 3)],
            session={} if field == "name" else {"name": None},
        )
        for field, value in WRONG_TYPES
    ),
    Vector(
        name="info-as-an-entry",
        about="A session_info has no parent.",
        log=log(A, info(parent_id="a", name="new"), B),
        records="a b",
        leaf="b",
        says=["a", "b"],
        findings=[("bad_line", 3)],
        session={"name": None},
    ),
]

PLACES = [
    _session(
        "directories-of-the-header",
        "No mark changes them.",
        PLACED,
        info(name="x"),
        cwd="/home/ann",
        git_root="/home",
        hold=False,
    ),
    _session(
        "directories-changed",
        "One is changed, the other is not.",
        PLACED,
        info(cwd="/tmp"),
        cwd="/tmp",
        git_root="/home",
    ),
    _session(
        "directories-removed", "Null removes a directory.", PLACED, info(git_root=None), cwd="/home/ann", git_root=None
    ),
    _session(
        "directories-removed-and-set",
        "The last mark counts, field by field.",
        PLACED,
        info(cwd=None, git_root=None),
        info("n", cwd="/srv"),
        cwd="/srv",
        git_root=None,
    ),
    _session("hold", "The session is not deleted.", HEADER, info(hold=True), info("n", name="x"), hold=True),
    _session("hold-released", "False takes the hold away.", HEADER, info(hold=True), info("n", hold=False), hold=False),
    _session("hold-removed", "So does null.", HEADER, info(hold=True), info("n", hold=None), hold=False),
]

HEADERS = [
    Vector(
        name="header-of-a-fork",
        about="Entries up to and including `copied_to` were copied. Their usage counts here if there is no parent.",
        log=log(
            A,
            said("b", "a", reply("b"), provider="p", model="m", usage={"input_tokens": 9, "output_tokens": 3}),
            said("c", "b", reply("c"), provider="p", model="m", usage={"input_tokens": 1, "output_tokens": 2}),
            first=header(parent_session=FORK, copied_to="b"),
        ),
        records="a b c",
        leaf="c",
        says=["a", "b", "c"],
        header_fields={"copied_to": "b", "parent_session": FORK},
        usage=[{"provider": "p", "model": "m", "input_tokens": 10, "output_tokens": 5}],
    ),
    Vector(
        name="header-of-a-fork-of-a-branch",
        about="`copied_to` is about lines: an entry that was copied, and is not above the entry that was forked.",
        log=log(
            A,
            said("b", "a", reply("b"), provider="p", model="m", usage={"input_tokens": 9, "output_tokens": 3}),
            said("c", "a", reply("c"), provider="p", model="m", usage={"input_tokens": 5, "output_tokens": 5}),
            said("d", "b", reply("d"), provider="p", model="m", usage={"input_tokens": 1, "output_tokens": 2}),
            first=header(parent_session=FORK, copied_to="c"),
        ),
        records="a b c d",
        leaf="d",
        says=["a", "b", "d"],
        usage=[{"provider": "p", "model": "m", "input_tokens": 15, "output_tokens": 10}],
    ),
    Vector(
        name="header-copied-to-what-is-missing",
        about="No entry has this id: nothing is known to be copied.",
        log=log(A, first=header(parent_session=FORK, copied_to="x")),
        records="a",
        leaf="a",
        says=["a"],
        header_fields={"copied_to": "x"},
    ),
    Vector(
        name="header-of-an-import",
        about="When the session came into this store, and what its id was made from.",
        log=log(A, first=header(arrived="2026-01-02T03:04:05.678901Z", key=["ann", 7, None])),
        records="a",
        leaf="a",
        says=["a"],
        header_fields={"arrived": "2026-01-02T03:04:05.678901Z", "key": ["ann", 7, None]},
    ),
    Vector(
        name="header-without-the-new-keys",
        about="None of them is there.",
        log=log(A),
        records="a",
        leaf="a",
        says=["a"],
        header_fields={"copied_to": None, "arrived": None, "key": None},
    ),
    *(
        Vector(
            name=f"header-{field}-of-the-wrong-type",
            about=f"`{field}` is a number: the header is damaged.",
            log=log(A, first=header(**{field: 7})),
            records="a",
            leaf="a",
            says=["a"],
            findings=[("bad_header", 1)],
            read_only=True,
        )
        for field in ("copied_to", "arrived")
    ),
    Vector(
        name="header-keys-on-an-entry",
        about="On an entry these keys mean nothing.",
        log=log(said("a", None, copied_to="a", arrived=7, hold=True)),
        records="a",
        leaf="a",
        says=["a"],
        session={"hold": False},
        contexts=[context("a", ["a"])],
    ),
]

VECTORS = [*INFO, *PLACES, *HEADERS]
