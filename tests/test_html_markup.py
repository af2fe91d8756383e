"""The markup of entries in HTML pages: diffs, code, long texts, calls of tools. Without a browser."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from typing import Any

import pytest
from markupsafe import Markup

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    ExtensionDataEntry,
    ModelChangeEntry,
    Session,
)
from convtree._formats.documents.html import texts
from convtree._formats.documents.html.entries import EntryMarkup
from convtree._formats.documents.html.words import words_of
from convtree._model.entries import Entry
from convtree.exchange import export_lines


def markup_of(message: dict[str, Any]) -> str:
    """The markup of a message."""
    with Session.memory() as session:
        session.append(message)
        render = EntryMarkup(session.outline())
        return next(render.of(row, each).markup for row, each in session.records() if isinstance(each, Entry))


def shown(message: dict[str, Any]) -> str:
    """The text of the markup of a message."""
    return Markup(markup_of(message).replace("<pre", " <pre")).striptags()


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A message that calls a tool."""
    return {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": name, "input": arguments}]}


@pytest.mark.parametrize("names", [("oldText", "newText"), ("old_string", "new_string"), ("old_str", "new_str")])
def test_an_edit_is_a_diff(names: tuple[str, str]) -> None:
    """Whatever the tool calls the two texts; other arguments are beside it."""
    edit = dict(zip(names, ("a\nb\nc", "a\nB\nc"), strict=True))
    assert shown(call("edit", {"path": "x.py", **edit})) == "edit x.py @@ -1,3 +1,3 @@ a -b +B c"
    assert shown(call("edit", {"path": "x.py", "edits": [edit, edit]})).count("-b +B") == 2
    more = shown(call("edit", {"path": "x.py", **edit, "all": True}))
    assert more.startswith('edit x.py { "path": "x.py", "all": true } @@')


def test_a_command_is_code() -> None:
    """Other arguments are JSON, whole."""
    assert shown(call("bash", {"command": "ls -l", "timeout": 5})) == 'bash ls -l { "timeout": 5 } ls -l'
    assert shown(call("write", {"path": "a.py", "content": "x = 1"})) == "write a.py x = 1"
    assert "h-mi" in markup_of(call("write", {"path": "a.py", "content": "x = 1"}))
    assert shown(call("search", {"what": {"deep": [1]}})).endswith('{ "what": { "deep": [ 1 ] } }')
    assert texts.data({"large": 2**70}).striptags() == f'{{ "large": {2**70} }}'


@pytest.mark.parametrize("depth", [100, 300, 1000, 5000])
def test_arguments_of_any_depth(depth: int) -> None:
    """A text of arguments may be nested deeper than what a log takes. All of it is shown."""
    arguments = '{"a":' + "[" * depth + "]" * depth + "}"
    function = {"name": "deep", "arguments": arguments}
    text = shown({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": function}]})
    assert text.count("]") == depth


def test_output_has_no_colours_of_a_terminal() -> None:
    """A diff in it is found by its look. Other controls are shown."""
    assert texts.output("\x1b[31mred\x1b[0m \x07").striptags() == "red \\x07"
    assert "h-gd" in texts.output("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b")


def test_long_texts_are_folded_and_whole() -> None:
    """Not a character is lost; what takes long to highlight is not highlighted."""
    for text in ("x" * 100_000, "word " * 20_000, "a\n" * 50_000):
        for made in (texts.markdown(text), texts.plain(text), texts.code(text, "python")):
            folded = re.sub("<summary>.*?</summary>", "", made)
            assert Markup(re.sub("<[^>]*>", "", folded)).unescape() == text
            assert "<details" in made
    assert "h-" in texts.code("int a;\n" * 1000, "c")
    for quick, language in ((True, "python"), (False, "c")):
        assert ("h-" in texts.code("aa = bb\n" * 2000, language)) == quick
    assert "h-" not in texts.code("int a;" + "\n" * 60, "c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a *b*", "<p>a <em>b</em></p>\n"),
        ("a\nb", "<p>a<br />\nb</p>\n"),
        ("<b>", "<p>&lt;b&gt;</p>\n"),
        ("plain", "<p>plain</p>"),
        ("[a](https://b)", '<p><a href="https://b" rel="noopener noreferrer">a</a></p>\n'),
        ("[a](javascript:b)", "<p>[a](javascript:b)</p>\n"),
        ("![a](https://b)", '<p>[image: a <a href="https://b" rel="noopener noreferrer">https://b</a>]</p>\n'),
        ("~~a~~", "<p><s>a</s></p>\n"),
        ("سلام", "<p>سلام</p>"),
    ],
)
def test_markdown(text: str, expected: str) -> None:
    """Its usual parts, without HTML, and with links that may be followed."""
    assert texts.markdown(text) == expected


def test_the_words_of_a_conversation() -> None:
    """Of all messages and summaries, in lower case, each once."""
    with Session.memory() as session:
        session.append({"role": "user", "content": "Go to Tehran, go: تهران"})
        session.append({"role": "assistant", "content": "I x " + "y" * 50})
        assert words_of(session.records(), "A Title") == ["go", "tehran", "title", "to", "y" * 40, "تهران"]


def test_a_redacted_page_has_no_secret() -> None:
    """Wherever it was: also in the arguments of tools, in encoded files, in data and in the header."""
    secrets = [f"ghp_{number:02}aZ9bY8cX7dW6eV5fU4gT3hS2iR1jQ0kP9l" for number in range(40)]
    left = iter(secrets)

    def secret() -> str:
        return next(left)

    session = Session.memory(
        name=secret(), cwd=f"/home/{secret()}", git_root=f"/{secret()}", owner=secret(), metadata={"key": secret()}
    )
    encoded = b64encode(f"token {secret()}".encode()).decode()
    document = {"type": "document", "source": {"type": "base64", "media_type": "text/plain", "data": encoded}}
    arguments = {"command": f"curl -H 'Authorization: Bearer {secret()}'", "env": {"TOKEN": secret()}, secret(): "x"}
    edit = {"path": f"/{secret()}/f.py", "oldText": secret(), "newText": secret()}
    function = {"name": "x", "arguments": json.dumps({"a": secret()})}
    with session:
        session.label(session.append({"role": "user", "content": f"key {secret()}"}), secret())
        session.append({"role": "user", "content": [{"type": "text", "text": "see"}, document]})
        blocks = [
            {"type": "thinking", "thinking": secret(), "signature": "s"},
            {"type": "tool_use", "id": "t1", "name": "bash", "input": arguments},
            {"type": "tool_use", "id": "t2", "name": "edit", "input": edit},
        ]
        session.append({"role": "assistant", "content": blocks}, model=secret(), provider=secret())
        session.append({"role": "assistant", "tool_calls": [{"id": "t3", "type": "function", "function": function}]})
        session.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": secret()}]})
        session.append({"role": "tool", "tool_call_id": "t3", "content": secret()})
        session.append({"strange": {secret(): secret()}})
        leaf = session.leaf_id
        session.extend(
            [
                CompactionEntry(
                    id="c",
                    parent_id=leaf,
                    summary=secret(),
                    first_kept_entry_id=leaf,
                    details={"x": secret()},
                    read_files=[f"/{secret()}"],
                ),
                BranchSummaryEntry(id="b", parent_id="c", from_id="c", summary=secret(), details=secret()),
                ModelChangeEntry(id="m", parent_id="b", provider="p", model=secret(), settings={"k": secret()}),
                ExtensionDataEntry(id="x", parent_id="m", ext_type="x", data={"d": [secret()]}),
            ]
        )
        planted = secrets[: secrets.index(secret())]
        page = b"".join(export_lines(session, "html", redact=True)).decode()
    shown = [page, *(b64decode(each + "==").decode("latin-1") for each in re.findall(r"[A-Za-z0-9+/]{40,}", page))]
    assert (len(planted), [each for each in planted if any(each in text for text in shown)]) == (30, [])
    assert page.count("[REDACTED:github_token]") > 25
