"""Vectors of visibility marks."""

from __future__ import annotations

from typing import Any

from .sealing import HEADER, Said, Vector, changed, compaction, context, entry, in_file, log, mark, reply, said, sealed

A, B, C, D = said("a", None), said("b", "a"), said("c", "b"), said("d", "c")
ABC = ["a", "b", "c"]
K, AFTER = compaction("k", "c", "c"), said("d", "k")
SUMMARY = {"summary": "k"}


def see(target: str, visible_to: str | None = None, *, pinned: bool | None = None, id: str = "m", **more: Any) -> str:
    """A visibility mark."""
    fields = {"visible_to": visible_to, "pinned": pinned}
    given = {name: value for name, value in fields.items() if value is not None}
    return mark(id, "visibility", target_id=target, **given, **more)


def _seen(name: str, about: str, says: Said, *marks: str, **more: Any) -> Vector:
    """The messages a, b and c, and marks behind them."""
    ids = ["m", "n", "o"][: len(marks)]
    return Vector(
        name=f"visibility-{name}",
        about=about,
        log=log(A, B, C, *marks),
        records=" ".join([*"abc", *ids]),
        leaf="c",
        says=says,
        **more,
    )


def _compacted(name: str, about: str, says: Said, *marks: str, first: str = A, before: str | None = None) -> Vector:
    """The messages a, b and c, a compaction that keeps c, d, and marks; one of them perhaps before the compaction."""
    ids = ["m", "n", "o"][: len(marks)]
    lines = [first, B, C, *([] if before is None else [before]), K, AFTER, *marks]
    records = ["a", "b", "c", *([] if before is None else ["x"]), "k", "d", *ids]
    return Vector(
        name=f"visibility-before-the-kept-range-{name}",
        about=about,
        log=log(*lines),
        records=" ".join(records),
        leaf="d",
        says=says,
    )


MARKS = [
    _seen("absent", "No mark.", ABC),
    _seen("hidden", "A message is hidden from the model.", ["a", "c"], see("b", "user")),
    _seen("hidden-from-both", "A message is for nobody.", ["a", "c"], see("b", "nobody")),
    _seen("model-only", "A message that the user does not see.", ABC, see("b", "model")),
    _seen("hidden-and-shown", "The last mark counts.", ABC, see("b", "user"), see("b", "all", id="n")),
    _seen(
        "shown-and-hidden",
        "The last mark counts.",
        ["a", "c"],
        see("b", "user"),
        see("b", "all", id="n"),
        see("b", "nobody", id="o"),
    ),
    _seen(
        "field-by-field",
        "A mark that only pins leaves the message hidden.",
        ["a", "c"],
        see("b", "user"),
        see("b", pinned=True, id="n"),
    ),
    _seen("of-the-leaf", "Hiding does not move the leaf.", ["a", "b"], see("c", "user")),
    Vector(
        name="visibility-shown-against-its-own-field",
        about="A message that was appended for the user is shown to the model.",
        log=log(A, said("b", "a", visible_to="user"), C, see("b", "all")),
        records="a b c m",
        leaf="c",
        says=ABC,
    ),
    Vector(
        name="visibility-on-every-path",
        about="A mark counts on every path through its target, wherever it stands in the log.",
        log=log(A, B, said("e", "a"), see("a", "user"), mark("l", "leaf", target_id="b")),
        records="a b e m l",
        leaf="b",
        says=["b"],
        contexts=[context("e", ["e"]), context("a", [])],
    ),
    Vector(
        name="visibility-and-a-later-entry",
        about="What is appended later is not hidden.",
        log=log(A, B, see("b", "user"), C),
        records="a b m c",
        leaf="c",
        says=["a", "c"],
    ),
    Vector(
        name="visibility-of-a-branch-summary",
        about="A branch summary can be hidden.",
        log=log(A, entry("s", "a", "branch_summary", from_id=None, summary="s"), said("b", "s"), see("s", "user")),
        records="a s b m",
        leaf="b",
        says=["a", "b"],
    ),
]

PLACES = [
    *(
        Vector(
            name=f"visibility-of-{name}",
            about=f"The target is {about}: the mark has no effect.",
            log=log(A, *more, said("b", parent), see(target, "user")),
            records=f"a {records}b m".replace("  ", " "),
            leaf="b",
            says=says,
            findings=[("bad_target", 5 if more else 4)],
        )
        for name, about, target, more, parent, records, says in (
            ("a-mark", "a mark", "x", (mark("x", "label", target_id="a", label="x"),), "a", "x ", ["a", "b"]),
            (
                "a-compaction",
                "a compaction",
                "x",
                (compaction("x", "a", "a"),),
                "x",
                "x ",
                [{"summary": "x"}, "a", "b"],
            ),
            (
                "a-model-change",
                "a model change",
                "x",
                (entry("x", "a", "model_change", provider=None, model="m"),),
                "x",
                "x ",
                ["a", "b"],
            ),
            (
                "extension-data",
                "extension data",
                "x",
                (entry("x", "a", "extension_data", ext_type="t", data=1),),
                "x",
                "x ",
                ["a", "b"],
            ),
            (
                "an-unknown-type",
                "an entry of an unknown type",
                "x",
                (entry("x", "a", "tool.note"),),
                "x",
                "x ",
                ["a", "b"],
            ),
            ("what-is-missing", "not in the log", "x", (), "a", "", ["a", "b"]),
        )
    ),
    Vector(
        name="visibility-of-a-later-entry",
        about="A target is on an earlier line.",
        log=log(A, see("b", "user"), B),
        records="a m b",
        leaf="b",
        says=["a", "b"],
        findings=[("bad_target", 3)],
    ),
    Vector(
        name="visibility-damaged",
        about="What the mark said is lost, so no context is certain; and the line may have moved the leaf.",
        log=in_file(changed(sealed(HEADER, A, B, see("a", "user")), 4, b'"user"', b'"usex"')),
        records="a b",
        leaf="b",
        uncertain=True,
        says="LeafUncertain",
        findings=[("bad_seal", 4)],
        contexts=[context("b", "BrokenPath"), context("b", ["a", "b"], gaps_allowed=True)],
    ),
    *(
        Vector(
            name=f"visibility-{name}",
            about=f"{about}: the mark is damage, and no context is certain.",
            log=log(A, line, B),
            records="a b",
            leaf="b",
            says="BrokenPath",
            findings=[("bad_line", 3)],
            contexts=[context("b", ["a", "b"], gaps_allowed=True)],
        )
        for name, about, line in (
            ("another-word", "`visible_to` is none of the four words", see("a", "some")),
            ("pinned-a-text", "`pinned` is a text", see("a").replace('"a"}', '"a","pinned":"yes"}')),
            ("without-a-target", "`target_id` is missing", mark("m", "visibility", visible_to="user")),
            ("with-a-parent", "A mark has no parent_id", see("a", "user", parent_id="a")),
        )
    ),
    Vector(
        name="visibility-needs-an-unknown-name",
        about="The mark has no effect, and no context is built.",
        log=log(A, see("a", "user", needs=["x"])),
        records="a m",
        leaf="a",
        says="UnknownEntry",
        findings=[("critical_unknown", 3)],
        read_only=True,
    ),
]

PINNED = said("a", None, pinned=True)
COMPACTED = [
    _compacted("absent", "No mark.", [SUMMARY, "c", "d"]),
    _compacted(
        "pinned-later", "A mark behind the compaction may pin.", ["a", SUMMARY, "c", "d"], see("a", pinned=True)
    ),
    _compacted(
        "pinned-sooner",
        "A mark before the compaction pins.",
        ["a", SUMMARY, "c", "d"],
        before=see("a", pinned=True, id="x"),
    ),
    _compacted(
        "hidden-later",
        "A mark behind the compaction may hide a pinned message.",
        [SUMMARY, "c", "d"],
        see("a", "user"),
        first=PINNED,
    ),
    _compacted(
        "unpinned-later",
        "Unpinning has no effect before the next compaction.",
        ["a", SUMMARY, "c", "d"],
        see("a", pinned=False),
        first=PINNED,
    ),
    _compacted(
        "unpinned-sooner",
        "A mark before the compaction unpins.",
        [SUMMARY, "c", "d"],
        first=PINNED,
        before=see("a", pinned=False, id="x"),
    ),
    _compacted(
        "shown-later",
        "Showing has no effect before the next compaction.",
        [SUMMARY, "c", "d"],
        see("a", "all"),
        first=PINNED,
        before=see("a", "user", id="x"),
    ),
    _compacted(
        "shown-sooner",
        "A mark before the compaction shows a pinned message.",
        ["a", SUMMARY, "c", "d"],
        first=said("a", None, pinned=True, visible_to="user"),
        before=see("a", "all", id="x"),
    ),
    _compacted(
        "pinned-and-unpinned-later",
        "Pinning has an effect there, unpinning has none: the message stays.",
        ["a", SUMMARY, "c", "d"],
        see("a", pinned=True),
        see("a", pinned=False, id="n"),
    ),
    _compacted(
        "hidden-and-shown-later",
        "Showing takes back the hiding that came after the compaction.",
        ["a", SUMMARY, "c", "d"],
        see("a", "user"),
        see("a", "all", id="n"),
        first=PINNED,
    ),
    Vector(
        name="visibility-unpinned-and-compacted-again",
        about="The next compaction makes the mark behind the last one count.",
        log=log(PINNED, B, C, K, AFTER, see("a", pinned=False), compaction("l", "d", "d"), said("e", "l")),
        records="a b c k d m l e",
        leaf="e",
        says=[{"summary": "l"}, "d", "e"],
        contexts=[context("d", ["a", SUMMARY, "c", "d"])],
    ),
    Vector(
        name="visibility-in-the-kept-range",
        about="In the kept range and behind it, marks count at any time.",
        log=log(A, B, C, K, AFTER, see("c", "user"), see("d", "user", id="n"), see("c", "all", id="o")),
        records="a b c k d m n o",
        leaf="d",
        says=[SUMMARY, "c"],
    ),
    Vector(
        name="visibility-of-a-path-without-the-compaction",
        about="On another branch there is no compaction: every mark counts.",
        log=log(
            said("a", None, visible_to="user"),
            B,
            C,
            K,
            AFTER,
            said("e", "b"),
            see("a", "all"),
            mark("l", "leaf", target_id="d"),
        ),
        records="a b c k d e m l",
        leaf="d",
        says=[SUMMARY, "c", "d"],
        contexts=[context("e", ["a", "b", "e"])],
    ),
]


def _call(*ids: str) -> dict[str, Any]:
    """A message with calls, in the shape of OpenAI's chat."""
    calls = [{"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}} for id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _result(id: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": text}


def _use(*ids: str) -> dict[str, Any]:
    """A message with calls, in Anthropic's shape."""
    return {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "f", "input": {}} for id in ids]}


def _used(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def _part(id: str, text: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": text}


TEXT = {"type": "text", "text": "and"}
CALLED = (A, said("x", "a", _call("t1")), said("y", "x", _result("t1", "r")), said("b", "y"))

PAIRS = [
    Vector(
        name="visibility-of-a-call",
        about="A hidden call hides its result.",
        log=log(*CALLED, see("x", "user")),
        records="a x y b m",
        leaf="b",
        says=["a", "b"],
    ),
    Vector(
        name="visibility-of-a-call-by-its-own-field",
        about="So does a call that was appended for the user only.",
        log=log(A, said("x", "a", _call("t1"), visible_to="user"), *CALLED[2:]),
        records="a x y b",
        leaf="b",
        says=["a", "b"],
    ),
    Vector(
        name="visibility-of-a-result",
        about="A hidden result leaves its call answered by `hidden`.",
        log=log(*CALLED, see("y", "user")),
        records="a x y b m",
        leaf="b",
        says=["a", _call("t1"), _result("t1", "hidden"), "b"],
        contexts=[context("x", ["a", _call("t1")], open_calls=["t1"])],
    ),
    Vector(
        name="visibility-of-a-call-and-its-result",
        about="Both are hidden.",
        log=log(*CALLED, see("x", "user"), see("y", "nobody", id="n")),
        records="a x y b m n",
        leaf="b",
        says=["a", "b"],
    ),
    Vector(
        name="visibility-of-one-of-two-calls",
        about="Two calls in two messages, their results in one: the result of the hidden call is left out of it.",
        log=log(
            A,
            said("x", "a", _use("t1")),
            said("y", "x", _use("t2")),
            said("z", "y", _used(_part("t1", "r1"), _part("t2", "r2"), TEXT)),
            see("x", "user"),
        ),
        records="a x y z m",
        leaf="z",
        says=["a", _use("t2"), _used(_part("t2", "r2"), TEXT)],
    ),
    Vector(
        name="visibility-of-two-results-in-one-message",
        about="Two calls in one message, their results in one, which is hidden: both calls are answered by `hidden`.",
        log=log(
            A,
            said("x", "a", _use("t1", "t2")),
            said("z", "x", _used(_part("t1", "r1"), _part("t2", "r2"), TEXT)),
            said("b", "z", reply("b")),
            see("z", "user"),
        ),
        records="a x z b m",
        leaf="b",
        says=["a", _use("t1", "t2"), _used(_part("t1", "hidden"), _part("t2", "hidden")), "b"],
    ),
    Vector(
        name="visibility-of-one-of-two-results",
        about="Two calls in one message, their results in two, one of which is hidden.",
        log=log(
            A,
            said("x", "a", _call("t1", "t2")),
            said("y", "x", _result("t1", "r1")),
            said("z", "y", _result("t2", "r2")),
            see("y", "user"),
        ),
        records="a x y z m",
        leaf="z",
        says=["a", _call("t1", "t2"), _result("t1", "hidden"), _result("t2", "r2")],
    ),
    Vector(
        name="visibility-of-a-call-before-the-kept-range",
        about="A hidden call hides its result wherever it lies: here in the kept range.",
        log=log(
            A,
            said("x", "a", _call("t1")),
            said("c", "x", _result("t1", "r")),
            compaction("k", "c", "c"),
            AFTER,
            see("x", "user"),
        ),
        records="a x c k d m",
        leaf="d",
        says=[SUMMARY, "d"],
    ),
]

VECTORS = [*MARKS, *PLACES, *COMPACTED, *PAIRS]
