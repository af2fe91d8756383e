"""aider's chat history: one Markdown file of many chats, without ids. Its form is that of aider's sources."""

from pathlib import Path

import pytest

from convtree import ExtensionDataEntry, MessageEntry, NotALog, SessionStore, open_store
from convtree.exchange import import_into, list_foreign, read_foreign

BREAK = "  "  # at the end of what is not an answer
FIRST = """
# aider chat started at 2026-01-02 03:04:05

> /usr/bin/aider~
> Main model: gpt-5 with diff edit format, prompt cache~
> Weak model: gpt-5-mini~

#### Name a city~
#### in Italy~

# A city

Rome:

> not said by aider

#### A heading, too

> Tokens: 1,497 sent, 57 received. Cost: $0.0053 message, $0.0053 session.~
""".replace("~", BREAK)
EMPTY = """
# aider chat started at 2026-01-02 04:00:00

> /usr/bin/aider~
""".replace("~", BREAK)
SECOND = """
# aider chat started at 2026-01-02 05:00:00

> Model: claude-opus with diff edit format~

#### And in Norway?~

Oslo

> Tokens: 2.4k sent, 1.9k cache write, 500 cache hit, 129 received.~
> Cost: $0.01 message, $0.01 session.~
> Applied edit to a.py~
""".replace("~", BREAK)


@pytest.fixture
def store() -> SessionStore:
    """An empty store."""
    return open_store("memory:")


def imported(text: str, folder: Path, store: SessionStore) -> list[tuple[str | None, int]]:
    """Imports a history; returns the sessions and how many records were new."""
    path = folder / "history.md"
    path.write_text(text)
    return [(each.session_id, each.written) for each in import_into(path, store)]


def test_each_start_of_aider_is_a_session(tmp_path: Path, store: SessionStore) -> None:
    """If something was said in it. Headings and quotations of an answer stay in it."""
    (first, new), (second, _) = imported(FIRST + EMPTY + SECOND, tmp_path, store)
    assert new == 3 + 2 + 1
    assert imported(FIRST + EMPTY + SECOND, tmp_path, store) == [(first, 0), (second, 0)]
    with store.open(str(first)) as session:
        assert session.header.timestamp == "2026-01-02T03:04:05.000000Z"
        said = [each for each in session.path() if isinstance(each, MessageEntry)]
        assert [(each.role, each.text, each.model) for each in said] == [
            ("user", "Name a city\nin Italy", None),
            (
                "assistant",
                "# A city\n\nRome:\n\n> not said by aider\n\n#### A heading, too",
                "gpt-5",
            ),
        ]
    usage = store.info(str(first)).usage
    assert (usage.input_tokens, usage.output_tokens, usage.cost) == (1497, 57, 0.0053)
    usage = store.info(str(second)).usage
    assert (usage.input_tokens, usage.cache_write_tokens, usage.cache_read_tokens, usage.output_tokens, usage.cost) == (
        *(0, 1900, 500, 129),
        0.01,
    )
    assert [row.model for row in store.usage(str(first), by="model")] == ["gpt-5"]


def test_what_aider_says_is_no_message(tmp_path: Path) -> None:
    """It is kept, line by line."""
    path = tmp_path / "h.md"
    path.write_text(SECOND)
    session, report = read_foreign(path)
    kept = [each.data for each in session.path() if isinstance(each, ExtensionDataEntry)]
    assert [each["text"] for each in kept] == [
        "Model: claude-opus with diff edit format",
        "Tokens: 2.4k sent, 1.9k cache write, 500 cache hit, 129 received.",
        "Cost: $0.01 message, $0.01 session.",
        "Applied edit to a.py",
    ]
    assert (report.format, report.findings) == ("aider", ())


def test_a_history_grows(tmp_path: Path, store: SessionStore) -> None:
    """Only what is new is added. An answer that went on is a branch, where aider goes on; a line in writing waits."""
    answer = SECOND[: SECOND.index("\n> Tokens")]
    ((id, new),) = imported(answer, tmp_path, store)
    assert new == 3
    assert imported(answer + "\n> Tokens: 2", tmp_path, store) == [(id, 0)]
    assert imported(SECOND, tmp_path, store) == [(id, 3)]
    assert imported(SECOND + FIRST, tmp_path, store)[0] == (id, 0)
    fresh = open_store("memory:")
    imported(answer, tmp_path, fresh)
    assert imported(answer + "\nBergen\n", tmp_path, fresh) == [(id, 1)]
    with fresh.open(str(id)) as session:
        assert session.path()[-1].to_dict()["message"]["content"] == "Oslo\n\nBergen"


def test_older_lines_have_no_spaces_at_the_end(tmp_path: Path) -> None:
    """Then every line that looks like one of the user's is one. A chat whose start is missing is read, too."""
    path = tmp_path / "h.md"
    path.write_text("#### Hello\n\nHi\n#### Bye\n> Models: a, b\n" + SECOND.replace("  \n", "\n"))
    first, second = list_foreign(path)
    session, _ = read_foreign(path, session_id=first.id)
    said = [each.text for each in session.path() if isinstance(each, MessageEntry)]
    assert (said, session.header.timestamp) == (["Hello", "Hi", "Bye"], None)
    session, _ = read_foreign(path, session_id=second.id)
    assert [each.text for each in session.path() if isinstance(each, MessageEntry)] == ["And in Norway?", "Oslo"]


def test_odd_bytes_and_numbers(tmp_path: Path) -> None:
    """They are replaced and reported; a number that is none counts nothing."""
    path = tmp_path / "h.md"
    odd = b"> Tokens: 1.2.3 sent, .k received. Cost: $1.2.3 message, x  \n> Cost: $... message, x  \n"
    path.write_bytes(b"# aider chat started at 2026-01-02 03:04:05\n#### a\xff\0b  \n" + odd)
    session, report = read_foreign(path)
    assert session.path()[0].to_dict()["message"]["content"] == "a\ufffdb"
    assert sorted(each.code for each in report.findings) == ["source_nul_bytes", "value_replaced"]
    (paid, free) = (each.to_dict() for each in session.path()[1:])
    assert (paid["usage"], free.get("usage")) == ({"prompt_tokens": 0, "completion_tokens": 0}, None)
    path.write_text('{"text": "x"}\n# aider chat started at 2026-01-02 03:04:05\n')
    with pytest.raises(NotALog):
        read_foreign(path)


def test_a_compressed_history(tmp_path: Path) -> None:
    """Its chats are found by reading on."""
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "h.md.zst"
    path.write_bytes(zstandard.compress((FIRST + SECOND).encode()))
    second = list(list_foreign(path))[1]
    session, _ = read_foreign(path, session_id=second.id)
    assert [each.text for each in session.path() if isinstance(each, MessageEntry)] == ["And in Norway?", "Oslo"]
