"""Markdown documents: what a message says is readable, and stays in its place, whatever it says.

A CommonMark parser reads the documents. Its own protection against links is off, so that a dangerous link is found.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from helpers import without_times
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from convtree import CompactionEntry, Session
from convtree.exchange import export_lines

ALLOWED = re.compile(r"https?://|mailto:|(?!//)[^:&]*$", re.IGNORECASE)
ROLES = ["user", "assistant", "tool"]


def parser(*extensions: str) -> MarkdownIt:
    found = MarkdownIt("commonmark", {"maxNesting": 1000}).enable(list(extensions))
    found.validateLink = lambda url: True  # type: ignore[method-assign]  # noqa: ARG005
    return found


PARSERS = [parser(), parser("table", "strikethrough")]


def exported(session: Session) -> str:
    return without_times(b"".join(export_lines(session, "markdown")).decode())


def written(*texts: str) -> str:
    """The part of a document that shows messages of the user with these texts, without the heading."""
    with Session.memory(id="s") as session:
        session.append({"role": "user", "content": [{"type": "text", "text": text} for text in texts]})
        return exported(session).partition("## User\n\n")[2].removesuffix("\n\n")


def all_of(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from token.children or ()


def problems(document: str, expected: list[str]) -> list[str]:
    """What is in a document that no message may bring: other headings than the expected, HTML, pictures, links."""
    found = []
    for each in PARSERS:
        tokens = each.parse(document)
        pairs = pairwise(tokens)
        headings = [f"{'#' * int(one.tag[1:])} {two.content}" for one, two in pairs if one.type == "heading_open"]
        found += [f"headings: {headings}"] * (headings != expected)
        for token in all_of(tokens):
            is_link = token.type == "link_open" and not ALLOWED.match(str(token.attrs["href"]))
            if is_link or token.type in ("html_block", "html_inline", "image"):
                found.append(f"{token.type}: {token.content}{token.attrs}")
    return found


def sections(document: str) -> list[str]:
    """The words below each heading of the document, also those in links and behind fences."""
    found: list[str] = []
    for token in all_of(PARSERS[0].parse(document)):
        if token.type == "heading_open":
            found.append("")
        found[-1] += f" {token.content if token.type != 'inline' else ''} {token.info} {token.attrs}"
    return found


# --- any text ---

SYNTAX = r"""
``` ```` ~~~ ~~~~ ` `` ` # ## ###### - + * 1. 2) 10. > >> --- *** ___ === == = -- [ ] ( ) ![ ]( ]: [a]: [a] [^1]: [^1]
\ \\ | |---| | \| < > <b> </b> <script> <!-- --> <?x ?> <!D <![CDATA[ ]]> <div <pre> <br/> <a href='/'> & &lt; &#35;
<https://x.org> <javascript:x> <a@b.c> [a](javascript:x) ![a](http://x.org/i.png) [a](<b>) ](http://x) [a](https://x.org/`)
[](x) [a](x:y "t") [a](https://x.org "`") [a](java&#115;cript:x) https://x.org/` ~~ ** _ : { {=html} $ $$ ::: +++ js "
""".split()  # noqa: SIM905
SPACES = [
    *" \t\n\r\x0b\x0c\x85\u00a0\u2003\u2028\u202e\u2069\u3000",
    "  ",
    "   ",
    "    ",
    "     ",
    " \t",
    "\n\n",
    "\n  ",
]
SPACES += ["\n   ", "\n    ", "\n\t", "\n- ", "\r\n"]
PIECES = st.one_of(
    st.sampled_from(SYNTAX), st.sampled_from(SPACES), st.just("WORD"), st.just("\n"), st.text(max_size=2)
)
TEXTS = st.lists(PIECES, max_size=25).map("".join) | st.text(alphabet="`~-=#>*[]()<b!\\|: \t\n1.W", max_size=40)


@given(st.lists(st.tuples(st.sampled_from(["text", "thinking", "result", "summary"]), TEXTS), min_size=1, max_size=4))
@example([("text", "- a\n  ```\n<script>alert(1)</script>\n"), ("text", "AFTER")])
@example([("text", "```\ncode\n```\u00a0\n\nno code any more?")])
@example([("text", "[a\n]: javascript:x\n\n[a]")])
@example([("text", "[a](https://x.org/`y) <b>`")])
@example([("text", "|a|b|\n|-|-|\n|`a|b` c `<b>`|")])
@example([("text", "a ` b\n`<b>`")])
@example([("thinking", "- a\n\t```\n\t<b>\n<b>")])
@example([("text", "\t<b>\n\n- a\n\n\t<b>\n    <b>")])
@example([("text", ">>\n\t>><b>")])
@example([("text", "- \n  \n\ta\n    <b>")])
@example([("text", "- \u3000\n- ")])
@example([("text", "text\n- - -\n---\n-")])
@example([("text", "    ~~~\na `b\n\n    [a](javascript:x)\n- <b>")])
def test_no_text_changes_how_the_document_is_read(said: list[tuple[str, str]]) -> None:
    """It has the headings that it makes itself, no HTML, pictures or strange links; words are in their own section."""
    said = [(kind, text.replace("WORD", f"w{number}w ")) for number, (kind, text) in enumerate(said)]
    headings = ["# s"]
    with Session.memory(id="s") as session:
        for kind, text in said:
            block = {"type": kind, kind: text}
            if kind == "summary":
                session.append(CompactionEntry(summary=text, first_kept_entry_id=None))
            elif kind == "result":
                session.append({"role": "tool", "tool_call_id": "1", "content": text})
            else:
                session.append({"role": "assistant", "content": [block, {"type": "text", "text": text}]})
            headings.append(
                {"summary": "## Summary of what came before", "result": "## Tool"}.get(kind, "## Assistant")
            )
        document = exported(session)
    assert problems(document, headings) == []
    for number, section in enumerate(sections(document)[1:]):
        assert set(re.findall(r"w\dw", section)) == set(re.findall(r"w\dw", said[number][1])), document


@given(st.lists(TEXTS, min_size=4, max_size=4))
def test_no_name_changes_how_the_document_is_read(said: list[str]) -> None:
    """Names of sessions, models, tools and labels are text on one line."""
    name, model, tool, label = said
    call = {"id": "1", "type": "function", "function": {"name": tool, "arguments": '{"a": 1}'}}
    with Session.memory(id="s", name=name, cwd=name) as session:
        first = session.append({"role": "assistant", "content": None, "tool_calls": [call]}, model=model or "m")
        session.label(first.id, label[:100] or "l")
        session.append({"role": "user", "content": label}, parent_id=None)
        session.append({"role": "user", "content": "end"}, parent_id=first.id)
        document = exported(session)
    headings = [each.partition(" ")[0] for each in re.findall(r"^#+ .*", document, re.MULTILINE)]
    assert headings == ["#", "##", "##", "##"]
    for each in PARSERS:
        tokens = list(all_of(each.parse(document)))
        assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1", "h2", "h2", "h2"]
        assert not {token.type for token in tokens} & {"html_block", "html_inline", "image", "link_open"}


# --- what is written ---


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# A\n#b\n- ## c\n> # d", "\\# A\n#b\n- \\## c\n> \\# d"),
        ("a\n===\nb\n---\n\n---\n\n***", "a\n\\===\nb\n\\---\n\n---\n\n***"),
        ("<b>x</b> <!-- y --> a < b, 1 <2", "&lt;b>x&lt;/b> &lt;!-- y --> a < b, 1 <2"),
        (r"\<b> \\<b> &lt;b>", r"&lt;b> \\&lt;b> &lt;b>"),
        ("use `<b>` and ``a`<b>``, not ` <b>", "use `<b>` and ``a`<b>``, not \\` &lt;b>"),
        (r"\`<b>` and \\`<b>", r"\`&lt;b>` and \\`&lt;b>"),
        (r"a \\`<b>` b `c", r"a \\`<b>` b \`c"),
        ("| `a|<b>` | `<i>` |\n`a|\\<b>`", "| `a|&lt;b>` | `&lt;i>` |\n`a|\\&lt;b>`"),
        ("https://x.org/`<b>`", "https://x.org/\\`&lt;b>\\`"),
        ("](https://x.org)`<b>` `<b>`", "](https://x.org)\\`&lt;b>\\` `<b>`"),
        ("[`a`](b.md), `<b>`", "[`a`](b.md), `<b>`"),
        ("[a](https://x.org/b_(c)?d=1&e) [b](c/d.md#e)", "[a](https://x.org/b_(c)?d=1&e) [b](c/d.md#e)"),
        ('[a](<https://x.org> "t") <https://x.org> <b>', '[a](<https://x.org> "t") <https://x.org> &lt;b>'),
        ("[a](javascript:x) [b](//x.org) [](https://x.org)", "[a]\\(javascript:x) [b]\\(//x.org) \\[](https://x.org)"),
        ("![a](https://x.org/i.png) ![](x)", "\\![a](https://x.org/i.png) \\!\\[](x)"),
        ("[a]: https://x.org\n[b\nc]: d\n- [ ] e [f]: g", "\\[a]: https://x.org\n\\[b\nc]: d\n- [ ] e [f]: g"),
        ("```py\n<b>\n# c", "```py\n<b>\n# c\n```"),
        (" ```\n <b>\n  c\n ```\n<b>", "```\n<b>\n c\n```\n&lt;b>"),
        ("```\n```\u00a0\n<b>", "````\n```\u00a0\n<b>\n````"),
        ("~~~ a `b`\n~~\n~~~", "~~~a\n`b`\n~~\n~~~"),
        ("```{=html}\n<b>\n```", "```\n{=html}\n<b>\n```"),
        ("- a\n  ```sh\n  <b>\n\n    c\n  ```\n- d", "- a\n  ```sh\n  <b>\n\n    c\n  ```\n- d"),
        ("- a\n  ```\n<b>", "- a\n  ```\n  ```\n&lt;b>"),
        ("1. ```\n\t<b>\n2. c", "1. ```\n    <b>\n   ```\n2. c"),
        ("> ```\n>\n>\t<b>\n<b>", "> ```\n>\n>   <b>\n> ```\n&lt;b>"),
        ("a\n2. ```\n<b>", "a\n2. \\`\\`\\`\n&lt;b>"),
        ("a\n    ~~~\n<b>", "a\n    \\~~~\n&lt;b>"),
        ("    if a < <b>:\n\n\t# c\nd\n    # e", "    if a < <b>:\n\n\t# c\nd\n    \\# e"),
        ("a\u2028# b\u2029```c\u2028`", "a\u2028\\# b\u2029\\`\\`\\`c\u2028\\`"),
        ("- a\n\n\u2028\n\n    <b>\nc\n\nd\n\n    <b>", "- a\n\n\u2028\n\n    &lt;b>\nc\n\nd\n\n    <b>"),
        ("-\n\n      <b>", "-\n\n      &lt;b>"),
        ("-     <b>\n- ***\n***", "-     &lt;b>\n- ***\n***"),
        ("> a\nb\n\nc", "> a\nb\n\nc"),
        ("- " * 40 + "```\n<b>", "- " * 40 + "\\`\\`\\`\n&lt;b>"),
    ],
)
def test_text_is_escaped_where_it_must_be(text: str, shown: str) -> None:
    """Markdown stays. Code is code to its end, and what could reach beyond the message is escaped."""
    assert written(text) == shown


def test_a_second_text_goes_on_with_the_list_of_the_first() -> None:
    """It is read below the first, as a renderer reads it. A block of code ends with its text."""
    assert written("- a", "  ```\n<b>") == "- a\n\n  ```\n  ```\n&lt;b>"
    assert written("- a", "    <b>") == "- a\n\n    &lt;b>"
    assert written("```\na", "<b>") == "```\na\n```\n\n&lt;b>"


def test_long_texts_take_linear_time() -> None:
    """Neither many marks, nor many backticks, nor much white space makes a text expensive."""
    for text in (
        "> " * 50_000,
        "- " * 50_000 + "\n" * 50_000,
        " " * 100_000 + "\n",
        "[" * 100_000,
        "](http://" * 50_000,
    ):
        assert len(written(text + "a")) >= len(text)
    ticks = " ".join("`" * length for length in range(1, 400))
    assert written(ticks) == ticks.replace("`", "\\`")


# --- scripts ---

SENTENCES = {
    "Persian": "می\u200cخواهم کتاب\u200cها را به خانه\u200cی دوستم ببرم.",  # noqa: RUF001
    "Hindi": "क्\u200dष और क्\u200cष अलग दिखते हैं।",
    "Bengali": "র\u200d্যাব এবং উৎ\u200dসব।",
    "Arabic": "قال: \u200f«مرحبا!»\u200f ثم ذهب\u061c.",
    "Hebrew": "הוא אמר \u200eC++\u200e ואז \u200f!",
    "Thai": "ภาษา\u200bไทย\u200bไม่มี\u200bช่องว่าง",
    "Khmer": "ភាសា\u200bខ្មែរ",
    "Chinese": "她说:「你好,世界。」葛\U000e0100",
    "Japanese": "これは ペンです。\u3000神\ufe00",
    "Korean": "나는 학교에 간다\u3164.",
    "Tamil": "க்\u200cஷ மற்றும் ஶ்ரீ",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ\u180b ᠬᠡᠯᠡ\u180e",
    "German": "Donau\u00addampf\u00adschiff, 50\u202f% „ja“",
    "English": "a\u2060b\ufeff, x\u2062y; caf\u0065\u0301\u2028and more\u2029",
    "Emoji": "👨\u200d👩\u200d👧\u200d👦 ❤\ufe0f ✌🏽 🏳\ufe0f\u200d🌈 1\ufe0f\u20e3",
    "Flags": "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f 🇩🇪",
}


@pytest.mark.parametrize("format", ["markdown", "json", "pi", "kit"])
def test_text_of_every_script_is_exported_as_it_was_said(format: str, tmp_path: Path) -> None:
    """To the character, by the command, in every format: as a message, a thought, a result, a call and a name."""
    said = "\n".join(SENTENCES.values())
    call = {"type": "tool_use", "id": "1", "name": "t", "input": {"a": said}}
    with Session.open(tmp_path / "log", name=said[:200]) as session:
        session.append({"role": "user", "content": said})
        session.append({"role": "assistant", "content": [{"type": "thinking", "thinking": said}, call]})
        session.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": said}]})
    command = [sys.executable, "-m", "convtree", "export", str(tmp_path / "log"), "--to", format]
    shown = without_times(subprocess.run(command, check=True, capture_output=True).stdout.decode())
    counts = {language: shown.count(sentence) for language, sentence in SENTENCES.items()}
    assert min(counts.values()) >= 4, counts
    if format == "markdown":
        assert shown.count(f"## User\n\n{said}\n\n") == 1
        assert shown.count(f"Argument **a**:\n\n```\n{said}\n```\n\n") == 1
        assert shown.count(f"Result:\n\n```\n{said}\n```\n\n") == 1


def test_arguments_of_several_lines_are_readable() -> None:
    """They are not JSON strings with escapes. The others are JSON."""
    call = {"type": "tool_use", "id": "1", "name": "edit", "input": {"path": "a.py", "old": "one\n\ttwo", "line": 3}}
    with Session.memory() as session:
        session.append({"role": "assistant", "content": [call]})
        assert exported(session).partition("Calls **edit**:\n\n")[2] == (
            '```json\n{\n  "path": "a.py",\n  "line": 3\n}\n```\n\nArgument **old**:\n\n```\none\n\ttwo\n```\n\n'
        )


@pytest.mark.parametrize("format", ["json", "pi", "kit"])
def test_formats_for_programs_carry_any_text(format: str) -> None:
    """Only Markdown escapes text. In JSON, controls are the same characters after parsing."""
    text = "<b> # \x00\x1b\x7f\x9b\u202e\u2069\u2028 ```"
    with Session.memory() as session:
        session.append({"role": "user", "content": text})
        shown = b"".join(export_lines(session, format)).decode()
    assert text in set(strings(loaded(shown, format)))


def loaded(document: str, format: str) -> object:
    return json.loads(document) if format == "json" else [json.loads(line) for line in document.strip().split("\n")]


def strings(value: object) -> Iterator[str]:
    pending = [value]
    while pending:
        match pending.pop():
            case str(text):
                yield text
            case list(values):
                pending += values
            case dict(fields):
                pending += fields.values()


def test_reordering_text_is_isolated() -> None:
    """An override in a message, a name or a call ends with the line, the name or the string it is in."""
    call = {"type": "tool_use", "id": "1", "name": "t\u202e", "input": {"a": "b\u202ec"}}
    with Session.memory(id="s", name="a\u202eb") as session:
        session.append({"role": "user", "content": "one \u202etwo\nthree"})
        session.append({"role": "assistant", "content": [call]}, model="m\u202e")
        shown = exported(session)
    assert "# a\u2068\u202eb\u2069\n" in shown
    assert "one \u2068\u202etwo\u2069\nthree\n" in shown
    assert "## Assistant, m\u2068\u202e\u2069\n\nCalls **t\u2068\u202e\u2069**:\n" in shown
    assert '"a": "b\\u202ec"\n' in shown


@pytest.mark.parametrize("format", ["markdown", "json", "pi", "kit"])
def test_a_document_on_a_terminal_is_safe_for_it(format: str, tmp_path: Path) -> None:
    """The command escapes what a terminal or its reader could be deceived by. In JSON, the value stays."""
    with Session.open(tmp_path / "log") as session:
        session.append({"role": "user", "content": "a\x9bb\x7fc\u202ed\u2028e\u200cf"})
        plain = b"".join(export_lines(session, format)).decode()
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "convtree", "export", str(tmp_path / "log"), "--to", format]
    subprocess.run(command, check=True, stdout=theirs)
    os.close(theirs)
    shown = os.read(ours, 65536).decode().replace("\r\n", "\n")
    os.close(ours)
    assert set(shown).isdisjoint("\x9b\x7f\u202e\u2028")
    if format == "markdown":
        assert "a\\x9bb\\x7fc<U+2068><U+202E>d<U+2028>e<U+200C>f<U+2069>\n" in shown
    else:
        assert "a\\u009bb\\u007fc\\u202ed\\u2028e\\u200cf" in shown
        assert shown != plain
        assert list(strings(loaded(shown, format))) == list(strings(loaded(plain, format)))
