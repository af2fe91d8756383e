"""Vectors of the older entries and marks, and of the fields of messages and summaries that came with them."""

from __future__ import annotations

from typing import Any

from .sealing import HEADER, Vector, changed, compaction, context, entry, in_file, log, mark, reply, said, sealed, user

A, B, C, D = said("a", None), said("b", "a"), said("c", "b"), said("d", "c")
ABC = ["a", "b", "c"]
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "t1", "type": "function", "function": {}}]}


def _summary(text: str) -> dict[str, str]:
    return {"summary": text}


def _bad_body(name: str, about: str, line: str, *, on_path: str = "BrokenPath") -> Vector:
    """A log whose second entry verifies and does not fit its type."""
    return Vector(
        name=name,
        about=about,
        log=log(A, line, said("e", "a")),
        records="a e",
        leaf="e",
        says=["a", "e"],
        more_findings=[("bad_body", 3)],
        contexts=[context("b", on_path)],
    )


def _bad_mark(name: str, about: str, line: str, **more: Any) -> Vector:
    """A log with a mark that has no effect, and then an entry."""
    return Vector(name=name, about=about, log=log(A, B, line, C), records="a b c", leaf="c", says=ABC, **more)


COMPACTIONS = [
    Vector(
        name="compaction",
        about="The summary stands for what is before the kept range.",
        log=log(A, B, C, compaction("k", "c", "c"), said("d", "k")),
        records="a b c k d",
        leaf="d",
        says=[_summary("k"), "c", "d"],
        contexts=[context("k", [_summary("k"), "c"]), context("c", ABC)],
    ),
    Vector(
        name="compaction-that-keeps-nothing",
        about="`first_kept_entry_id` is null.",
        log=log(A, B, compaction("k", "b", None), said("c", "k")),
        records="a b k c",
        leaf="c",
        says=[_summary("k"), "c"],
    ),
    Vector(
        name="compaction-and-a-pinned-message",
        about="A pinned message from before the kept range stays.",
        log=log(said("a", None, pinned=True), B, C, compaction("k", "c", "c"), said("d", "k")),
        records="a b c k d",
        leaf="d",
        says=["a", _summary("k"), "c", "d"],
    ),
    Vector(
        name="compaction-twice",
        about="The last compaction decides. It keeps a message from before the first, which appears again.",
        log=log(A, B, C, compaction("k", "c", "c"), said("d", "k"), compaction("l", "d", "b"), said("e", "l")),
        records="a b c k d l e",
        leaf="e",
        says=[_summary("l"), "b", "c", "d", "e"],
        contexts=[context("d", [_summary("k"), "c", "d"])],
    ),
    Vector(
        name="compaction-keeps-another-branch",
        about="`first_kept_entry_id` is no ancestor of the compaction.",
        log=log(A, B, said("x", "a"), compaction("k", "b", "x"), said("c", "k")),
        records="a b x k c",
        leaf="c",
        says="BrokenPath",
        more_findings=[("bad_kept", 5)],
        contexts=[context("b", ["a", "b"])],
    ),
    Vector(
        name="compaction-keeps-what-is-missing",
        about="`first_kept_entry_id` is not in the log.",
        log=log(A, B, compaction("k", "b", "x"), said("c", "k")),
        records="a b k c",
        leaf="c",
        says="BrokenPath",
        more_findings=[("bad_kept", 4)],
        contexts=[context("b", ["a", "b"])],
    ),
    _bad_body(
        "compaction-without-a-summary",
        "`summary` is missing.",
        entry("b", "a", "compaction", first_kept_entry_id=None),
    ),
    Vector(
        name="compaction-damaged",
        about="The compaction does not verify, and what is below it is an orphan.",
        log=in_file(changed(sealed(HEADER, A, compaction("k", "a", "a"), said("c", "k")), 3, b'ary":"k"', b'ary":"x"')),
        records="a c",
        leaf="c",
        says="BrokenPath",
        findings=[("bad_seal", 3), ("orphan", 4)],
        contexts=[context("a", ["a"])],
    ),
]

SUMMARIES = [
    Vector(
        name="branch-summary",
        about="A branch that was left, and its summary on the other one.",
        log=log(A, B, entry("s", "a", "branch_summary", from_id="b", summary="left"), said("c", "s")),
        records="a b s c",
        leaf="c",
        says=["a", _summary("left"), "c"],
    ),
    _bad_body(
        "branch-summary-without-a-summary", "`summary` is missing.", entry("b", "a", "branch_summary", from_id=None)
    ),
    Vector(
        name="usage-of-replies",
        about="The usage of replies, summed for each model.",
        log=log(
            A,
            said("b", "a", reply("b"), provider="p", model="m", usage={"input_tokens": 9, "output_tokens": 3}),
            said("c", "b", reply("c"), provider="p", model="m", usage={"input_tokens": 1, "output_tokens": 2}),
        ),
        records="a b c",
        leaf="c",
        says=ABC,
        contexts=[context("c", ABC, provider="p", model="m")],
        usage=[{"provider": "p", "model": "m", "input_tokens": 10, "output_tokens": 5}],
    ),
    Vector(
        name="usage-of-summaries",
        about="A summary has usage, provider and model. They count, and do not set the conversation's model.",
        log=log(
            A,
            said("b", "a", reply("b"), provider="p", model="m", usage={"input_tokens": 9, "output_tokens": 3}),
            compaction("k", "b", "b", usage={"input_tokens": 7, "output_tokens": 1}, provider="q", model="n"),
            entry(
                "s",
                "k",
                "branch_summary",
                from_id=None,
                summary="left",
                usage={"input_tokens": 5, "output_tokens": 2},
                provider="q",
                model="n",
            ),
        ),
        records="a b k s",
        leaf="s",
        says=[_summary("k"), "b", _summary("left")],
        contexts=[context("s", [_summary("k"), "b", _summary("left")], provider="p", model="m")],
        usage=[
            {"provider": "p", "model": "m", "input_tokens": 9, "output_tokens": 3},
            {"provider": "q", "model": "n", "input_tokens": 12, "output_tokens": 3},
        ],
    ),
    _bad_body(
        "usage-of-a-compaction-not-an-object",
        "`usage` is a number.",
        compaction("b", "a", None, usage=9),
    ),
    _bad_body(
        "usage-of-a-branch-summary-not-an-object",
        "`usage` is a text.",
        entry("b", "a", "branch_summary", from_id=None, summary="s", usage="9"),
    ),
]

MODELS = [
    Vector(
        name="model-change",
        about="The model is the one named last on the path, the settings those of the last change that has any.",
        log=log(
            A,
            entry("x", "a", "model_change", provider="p", model="m", settings={"effort": "low"}),
            said("b", "x"),
            entry("y", "b", "model_change", provider=None, model="n"),
            said("c", "y"),
        ),
        records="a x b y c",
        leaf="c",
        says=ABC,
        contexts=[
            context("a", ["a"], provider=None, model=None, settings={}),
            context("b", ["a", "b"], provider="p", model="m", settings={"effort": "low"}),
            context("c", ABC, provider=None, model="n", settings={"effort": "low"}),
        ],
    ),
    Vector(
        name="model-of-a-reply",
        about="A reply that names its model sets it; model and settings from before a compaction stay in effect.",
        log=log(
            entry("x", None, "model_change", provider="p", model="m", settings={"effort": "low"}),
            said("a", "x"),
            said("b", "a", reply("b"), provider="q", model="n"),
            compaction("k", "b", None),
        ),
        records="x a b k",
        leaf="k",
        says=[_summary("k")],
        contexts=[context("k", [_summary("k")], provider="q", model="n", settings={"effort": "low"})],
    ),
    _bad_body(
        "model-change-without-a-model",
        "`model` is missing.",
        entry("b", "a", "model_change", provider="p"),
        on_path="BrokenPath",
    ),
    Vector(
        name="extension-data",
        about="Data is in no context. The last of a type on the path counts.",
        log=log(
            A,
            entry("x", "a", "extension_data", ext_type="tool.todo", data=["pack"]),
            said("b", "x"),
            entry("y", "b", "extension_data", ext_type="tool.todo", data=None),
            entry("z", "y", "extension_data", ext_type="plan", data={"n": 1}),
        ),
        records="a x b y z",
        leaf="z",
        says=["a", "b"],
        contexts=[
            context("b", ["a", "b"], state={"tool.todo": ["pack"], "plan": None}),
            context("z", ["a", "b"], state={"tool.todo": None, "plan": {"n": 1}}),
        ],
    ),
]

MESSAGES = [
    _bad_body("message-without-a-message", "`message` is missing.", entry("b", "a", "message")),
    _bad_body("message-not-an-object", "`message` is a text.", entry("b", "a", "message", message="b")),
    Vector(
        name="message-visible-to",
        about="Contexts leave out messages for the user and for nobody.",
        log=log(
            A,
            said("u", "a", visible_to="user"),
            said("m", "u", visible_to="model"),
            said("n", "m", visible_to="nobody"),
            said("l", "n", visible_to="all"),
        ),
        records="a u m n l",
        leaf="l",
        says=["a", "m", "l"],
        contexts=[context("u", ["a"])],
    ),
    _bad_body(
        "message-visible-to-another-word", "`visible_to` is none of the four words.", said("b", "a", visible_to="some")
    ),
    Vector(
        name="message-source-id",
        about="Any entry may have the id it had in another tool.",
        log=log(said("a", None, source_id="1/é")),
        records="a",
        leaf="a",
        says=["a"],
        record_fields={"a": {"source_id": "1/é"}},
    ),
    Vector(
        name="message-times",
        about="Times order nothing, and need not be times.",
        log=log(
            A.replace('"timestamp":null', '"timestamp":"2026-01-02T03:04:05.678901Z"'), B.replace("null", '"then"')
        ),
        records="a b",
        leaf="b",
        says=["a", "b"],
        record_fields={"a": {"timestamp": "2026-01-02T03:04:05.678901Z"}, "b": {"timestamp": "then"}},
    ),
    Vector(
        name="reply-to",
        about="A reply names the entry it answers. That changes no context.",
        log=log(A, said("n", "a"), said("b", "n", reply("b"), reply_to="a")),
        records="a n b",
        leaf="b",
        says=["a", "n", "b"],
        record_fields={"a": {"reply_to": None}, "b": {"reply_to": "a"}},
    ),
    Vector(
        name="reply-to-what-is-missing",
        about="A reply to an entry that is not in the log, to itself, and to a later one.",
        log=log(
            A, said("b", "a", reply_to="x"), said("c", "b", reply_to="c"), said("d", "c", reply_to="e"), said("e", "d")
        ),
        records="a b c d e",
        leaf="e",
        says=["a", "b", "c", "d", "e"],
        record_fields={"b": {"reply_to": "x"}},
    ),
    _bad_body("reply-to-not-a-text", "`reply_to` is a number.", said("b", "a", reply_to=7)),
    Vector(
        name="status-interrupted",
        about="The calls of a reply that was stopped are not open.",
        log=log(A, said("b", "a", CALL, status="interrupted")),
        records="a b",
        leaf="b",
        says=["a", CALL],
        contexts=[context("b", ["a", CALL], open_calls=[])],
        record_fields={"a": {"status": None}, "b": {"status": "interrupted"}},
    ),
    Vector(
        name="status-absent",
        about="A call without a result is open.",
        log=log(A, said("b", "a", CALL)),
        records="a b",
        leaf="b",
        says=["a", CALL],
        contexts=[context("b", ["a", CALL], open_calls=["t1"])],
    ),
    _bad_body("status-another-word", "`status` is another word.", said("b", "a", status="stopped")),
    Vector(
        name="extra",
        about="Data that a framework must get back. It is not part of the message.",
        log=log(A, said("b", "a", extra={"run": 7, "deep": [None]})),
        records="a b",
        leaf="b",
        says=["a", user("b")],
        record_fields={"a": {"extra": None}, "b": {"extra": {"run": 7, "deep": [None]}}},
    ),
    _bad_body("extra-not-an-object", "`extra` is a list.", said("b", "a", extra=[1])),
    _bad_body("usage-of-a-message-not-an-object", "`usage` is a number.", said("b", "a", usage=9)),
]

LEAVES = [
    Vector(
        name="leaf-moved",
        about="A leaf mark moves the leaf.",
        log=log(A, B, mark("m", "leaf", target_id="a")),
        records="a b m",
        leaf="a",
        says=["a"],
    ),
    Vector(
        name="leaf-moved-to-the-beginning",
        about="Null is the place before the first entry.",
        log=log(A, B, mark("m", "leaf", target_id=None)),
        records="a b m",
        leaf=None,
        says=[],
    ),
    Vector(
        name="leaf-moved-and-an-entry",
        about="The entry comes after the mark.",
        log=log(A, B, mark("m", "leaf", target_id="a"), C),
        records="a b m c",
        leaf="c",
        says=ABC,
    ),
    *(
        Vector(
            name=f"leaf-moved-to-{name}",
            about=f"The target is {about}: the mark has no effect, and the leaf is uncertain.",
            log=log(A, B, mark("l", "label", target_id="a", label="x"), mark("m", "leaf", target_id=target), *more),
            records="a b l m",
            leaf="b",
            uncertain=True,
            says="LeafUncertain",
            findings=[("bad_target", 5)],
            contexts=[context("b", ["a", "b"])],
        )
        for name, target, about, more in (
            ("what-is-missing", "x", "not in the log", ()),
            ("a-mark", "l", "a mark", ()),
        )
    ),
    Vector(
        name="leaf-without-a-target",
        about="`target_id` is missing.",
        log=log(A, B, mark("m", "leaf")),
        records="a b",
        leaf="b",
        uncertain=True,
        says="LeafUncertain",
        findings=[("bad_line", 4)],
    ),
    Vector(
        name="leaf-mark-damaged",
        about="A damaged line may have moved the leaf.",
        log=in_file(
            changed(sealed(HEADER, A, B, mark("m", "leaf", target_id="a")), 4, b'"target_id":"a"', b'"target_id":"b"')
        ),
        records="a b",
        leaf="b",
        uncertain=True,
        says="LeafUncertain",
        findings=[("bad_seal", 4)],
    ),
]

LABELS = [
    Vector(
        name="label",
        about="Labels are set, replaced and removed. They do not move the leaf.",
        log=log(
            A,
            B,
            mark("m", "label", target_id="a", label="x"),
            mark("n", "label", target_id="b", label="y"),
            mark("o", "label", target_id="a", label="z"),
            mark("p", "label", target_id="b", label=None),
        ),
        records="a b m n o p",
        leaf="b",
        says=["a", "b"],
        session={"labels": {"a": "z"}},
    ),
    Vector(
        name="label-on-what-is-missing",
        about="The mark has no effect. A later entry with this id is another one.",
        log=log(A, mark("m", "label", target_id="b", label="x"), B),
        records="a m b",
        leaf="b",
        says=["a", "b"],
        findings=[("bad_target", 3)],
        session={"labels": {}},
    ),
    _bad_mark(
        "label-not-a-text",
        "`label` is a number.",
        mark("m", "label", target_id="a", label=7),
        findings=[("bad_line", 4)],
        session={"labels": {}},
    ),
]

VECTORS = [*COMPACTIONS, *SUMMARIES, *MODELS, *MESSAGES, *LEAVES, *LABELS]
