"""Rollouts of Codex: sessions over several files, usage, names, and who is speaking.

The form is what Codex 0.171 writes: see `tests/tools`.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import contents

from convtree import ExtensionDataEntry, MessageEntry, ModelChangeEntry, Session, SessionStore, open_store
from convtree.exchange import ImportReport, import_file, import_into, read_foreign

HOME, FORK = (f"019f0000-0000-7000-8000-00000000000{letter}" for letter in "ab")
SEGMENT = "019f0000-0000-7000-8000-0000000000ff"


def line(ordinal: int, kind: str, payload: dict[str, Any], **more: Any) -> bytes:
    """A line of a rollout."""
    fields = {"timestamp": f"2026-11-28T10:00:{ordinal:02}.000Z", "ordinal": ordinal, "type": kind, "payload": payload}
    return json.dumps(fields | more).encode() + b"\n"


def meta(ordinal: int, thread: str, **more: Any) -> bytes:
    """The first line of a file."""
    return line(ordinal, "session_meta", {"id": thread, "model_provider": "openai", "cli_version": "0.171.0", **more})


def said(ordinal: int, role: str, text: str, **more: Any) -> bytes:
    """A message."""
    content = [{"type": "input_text" if role == "user" else "output_text", "text": text}]
    return line(ordinal, "response_item", {"type": "message", "role": role, "content": content, **more})


def paid(ordinal: int, tokens: int) -> bytes:
    """The usage of an answer."""
    usage = {"input_tokens": tokens, "cached_input_tokens": 3, "output_tokens": 5, "total_tokens": tokens + 5}
    return line(ordinal, "token_usage_record", {"response_id": f"r{ordinal}", "usage": usage})


def counted(ordinal: int, total: int, last: int) -> bytes:
    """The event with totals, which older versions write only."""
    sums = ({"input_tokens": each, "cached_input_tokens": 0, "output_tokens": each} for each in (total, last))
    info = dict(zip(("total_token_usage", "last_token_usage"), sums, strict=True))
    return line(ordinal, "event_msg", {"type": "token_count", "info": info})


MODEL = {"model": "gpt-5.5", "turn_id": "t"}
FIRST = [
    meta(0, HOME, timestamp="2026-11-28T10:00:00.000Z"),
    line(1, "turn_context", MODEL),
    said(2, "user", "Name a city"),
    said(3, "assistant", "Rome"),
    paid(4, 100),
    said(5, "user", "Another"),
    said(6, "assistant", "Oslo"),
    paid(7, 200),
]


def base(lines: list[bytes], number: int) -> dict[str, Any]:
    """The place behind the first lines of a file, as a later file names it."""
    place = {"end_ordinal_exclusive": number, "end_byte_offset": sum(map(len, lines[:number]))}
    return {"history_base": {"thread_id": HOME, **place}}


def write(folder: Path, name: str, lines: list[bytes]) -> Path:
    """Writes a rollout into the folder of its day."""
    path = folder / "sessions/2026/11/28" / f"rollout-2026-11-28T10-00-00-{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path


@pytest.fixture
def store() -> SessionStore:
    """An empty store."""
    return open_store("memory:")


def imported(source: Path, store: SessionStore) -> dict[str | None, ImportReport]:
    """Imports a folder; the reports of what was imported, by session."""
    return {each.session_id: each for each in import_into(source, store) if each.status == "imported"}


def texts(session: Session, leaf: str | None = None) -> list[str]:
    """The texts of the messages in a context."""
    entries = session.build_context(leaf=leaf or session.leaf_id).entries
    return [entry.text for entry in entries if isinstance(entry, MessageEntry)]


def fork_lines() -> list[bytes]:
    """A fork behind the first answer."""
    begun = meta(5, FORK, forked_from_id=HOME, timestamp="2026-11-28T11:00:00.000Z", **base(FIRST, 5))
    return [begun, said(6, "user", "And its river?"), said(7, "assistant", "The Tiber"), paid(8, 300)]


def reverted_lines() -> list[bytes]:
    """The second file of the session, behind its first answer."""
    begun = meta(5, HOME, timestamp="2026-11-28T12:00:00.000Z", **base(FIRST, 5))
    return [begun, said(6, "user", "Its river?"), said(7, "assistant", "Tiber"), paid(8, 50)]


def test_a_model_is_of_the_provider_of_its_file(tmp_path: Path, store: SessionStore) -> None:
    """What a fork continues keeps its own; the lines of the fork have that of the fork."""
    write(tmp_path, HOME, FIRST)
    begun = meta(5, FORK, forked_from_id=HOME, **base(FIRST, 5) | {"model_provider": "azure"})
    write(tmp_path, FORK, [begun, line(6, "turn_context", MODEL), said(7, "user", "And its river?"), paid(8, 300)])
    imported(tmp_path, store)
    with store.open(FORK) as fork:
        changes = [each.provider for each in fork.path() if isinstance(each, ModelChangeEntry)]
        paid_to = [each.provider for each in fork.path() if isinstance(each, ExtensionDataEntry) and each.usage]
    assert (changes, paid_to[-1]) == (["openai", "azure"], "azure")


def test_a_fork_begins_with_what_it_continues(tmp_path: Path, store: SessionStore) -> None:
    """It holds its own lines only. What was copied counts once."""
    write(tmp_path, HOME, FIRST)
    write(tmp_path, FORK, fork_lines())
    assert [report.written for report in imported(tmp_path, store).values()] == [8, 9]
    with store.open(FORK) as fork:
        assert texts(fork) == ["Name a city", "Rome", "And its river?", "The Tiber"]
    assert (store.info(HOME).usage.total_tokens, store.info(FORK).usage.total_tokens) == (105 + 205, 305)
    parent = store.info(FORK).parent_session
    assert parent is not None
    assert (parent.id, parent.kind) == (HOME, "fork")
    assert {report.written for report in imported(tmp_path, store).values()} == {0}


def test_a_relative_path_leads_to_the_same_files(
    tmp_path: Path, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of a session are the same ones however the folder was named."""
    write(tmp_path, HOME, FIRST)
    write(tmp_path, f"{HOME}_{SEGMENT}", reverted_lines())
    monkeypatch.chdir(tmp_path)
    reports = [each for each in import_into("sessions", store) if each.status != "skipped"]
    assert [(each.status, each.session_id, each.written) for each in reports] == [("imported", HOME, 12)]


def test_the_beginning_of_a_fork_may_be_missing(tmp_path: Path) -> None:
    """Without the other file there is a finding, and what the fork has itself."""
    session, report = read_foreign(write(tmp_path, FORK, fork_lines()))
    assert texts(session) == ["And its river?", "The Tiber"]
    assert [finding.code for finding in report.findings] == ["source_torn_off"]


def test_a_fork_of_a_changed_file_is_torn_off(tmp_path: Path) -> None:
    """The place is one of bytes: a file that does not have a line there is not continued."""
    write(tmp_path, HOME, [FIRST[0][:-1] + b"  \n", *FIRST[1:]])
    _, report = read_foreign(write(tmp_path, FORK, fork_lines()))
    assert [finding.code for finding in report.findings] == ["source_torn_off"]


def test_a_revert_is_a_branch(tmp_path: Path, store: SessionStore) -> None:
    """A second file of the same session continues an earlier place. One import has all of both."""
    write(tmp_path, HOME, FIRST)
    write(tmp_path, f"{HOME}_{SEGMENT}", reverted_lines())
    assert [(each.session_id, each.written) for each in imported(tmp_path, store).values()] == [(HOME, 12)]
    assert {report.written for report in imported(tmp_path, store).values()} == {0}
    with store.open(HOME) as session:
        leaves = {entry.id for entry in session.leaves()}
        assert sorted(texts(session, leaf) for leaf in leaves) == [
            ["Name a city", "Rome", "Another", "Oslo"],
            ["Name a city", "Rome", "Its river?", "Tiber"],
        ]
        assert texts(session)[-1] == "Tiber"
    assert store.info(HOME).usage.total_tokens == 105 + 205 + 55


def test_any_file_of_a_session_can_be_named(tmp_path: Path) -> None:
    """The whole session is read, whichever of its files is given."""
    first = write(tmp_path, HOME, FIRST)
    second = write(tmp_path, f"{HOME}_{SEGMENT}", reverted_lines()[:2])
    assert import_file(second, tmp_path / "a.jsonl").written == 10
    assert import_file(first, tmp_path / "a.jsonl").written == 0


def test_a_session_grows_and_is_reverted_between_imports(tmp_path: Path, store: SessionStore) -> None:
    """Each import adds what is new, and the leaf is where Codex would go on."""
    path = write(tmp_path, HOME, FIRST[:4])
    assert [each.written for each in imported(tmp_path, store).values()] == [4]
    path.write_bytes(b"".join(FIRST))
    assert [each.written for each in imported(tmp_path, store).values()] == [4]
    write(tmp_path, f"{HOME}_{SEGMENT}", reverted_lines()[:2])
    assert [each.written for each in imported(tmp_path, store).values()] == [2]
    with store.open(HOME) as session:
        assert texts(session) == ["Name a city", "Rome", "Its river?"]
    assert store.info(HOME).usage.total_tokens == 105 + 205


def test_totals_count_what_they_grew_by(tmp_path: Path) -> None:
    """They are repeated without an answer, and may begin again; with a record of each answer they count nothing."""
    lines = [*FIRST[:4], counted(4, 10, 10), counted(5, 10, 10), counted(6, 25, 15), counted(7, 4, 4)]
    path = write(tmp_path, HOME, lines)
    store = open_store("memory:")
    imported(path, store)
    assert store.info(HOME).usage.total_tokens == 2 * (10 + 15 + 4)
    both = open_store("memory:")
    imported(write(tmp_path, HOME, [*FIRST[:5], counted(5, 100, 100), counted(6, 300, 200)]), both)
    assert both.info(HOME).usage.total_tokens == 105
    assert [(row.provider, row.model) for row in both.usage(HOME, by="model")] == [("openai", "gpt-5.5")]


def old(lines: list[bytes], second: int) -> list[bytes]:
    """Lines as older versions wrote them: without an ordinal; all of a copy have one time."""
    fields = [json.loads(each) for each in lines]
    stamp = {"timestamp": f"2026-11-28T11:00:{second:02}.000Z"}
    return [json.dumps({name: each[name] for name in ("type", "payload")} | stamp).encode() + b"\n" for each in fields]


def test_a_fork_of_an_older_version_counts_its_own_lines(tmp_path: Path, store: SessionStore) -> None:
    """They copy the history into the file of the fork. Without the parent's file it is its own."""
    first = [meta(0, HOME), said(1, "user", "Name a city"), said(2, "assistant", "Rome"), counted(3, 10, 10)]
    begun = meta(0, FORK, forked_from_id=HOME, timestamp="2026-11-28T11:00:05.000Z")
    own = [said(4, "user", "In the fork"), said(5, "assistant", "Yes"), counted(6, 14, 4)]
    path = write(tmp_path, FORK, old([begun, *first, *own], 9))
    imported(path, alone := open_store("memory:"))
    assert alone.info(FORK).usage.total_tokens == 2 * 14
    write(tmp_path, HOME, old([*first, said(7, "user", "Elsewhere")], 1))
    imported(tmp_path, store)
    assert (store.info(HOME).usage.total_tokens, store.info(FORK).usage.total_tokens) == (2 * 10, 2 * 4)
    with store.open(FORK) as fork:
        assert texts(fork) == ["Name a city", "Rome", "In the fork", "Yes"]
        assert fork.header.copied_to == fork.path()[4].id


def test_the_ids_of_turns_say_where_a_fork_begins(tmp_path: Path) -> None:
    """Without the parent's file: its turns are older than the session, those of the fork are newer."""
    fork, older, newer = (f"01a2272f-{time}-7abc-9b5e-e8804af6d549" for time in ("7bd2", "7aba", "7be5"))
    copied = [meta(0, HOME), line(1, "turn_context", {"turn_id": older}), said(2, "user", "Name a city")]
    copied += [said(3, "assistant", "Rome"), counted(4, 10, 10)]
    begun = meta(0, fork, forked_from_id=HOME, timestamp="2026-11-28T11:00:05.000Z")
    own = [line(5, "turn_context", {"turn_id": newer}), said(6, "user", "In the fork"), counted(7, 14, 4)]
    for lines, number in (([*copied, *own], 5), (copied, 5), ([*copied[:1], *copied[2:]], None)):
        path = write(tmp_path, fork, old([begun, *lines], 9))
        imported(path, store := open_store("memory:"))
        with store.open(fork) as session:
            expected = None if number is None else session.path(session.leaf_id)[number].id
            assert session.header.copied_to == expected


def test_a_fork_may_have_copied_nothing(tmp_path: Path, store: SessionStore) -> None:
    """A parent that begins with other lines says nothing about the fork."""
    write(tmp_path, HOME, old([meta(0, HOME, cwd="/elsewhere")], 1))
    begun = meta(0, FORK, forked_from_id=HOME, timestamp="2026-11-28T11:00:05.000Z")
    write(tmp_path, FORK, old([begun, said(1, "user", "In the fork")], 9))
    imported(tmp_path, store)
    with store.open(FORK) as fork:
        assert (fork.header.copied_to, texts(fork)) == (None, ["In the fork"])


def test_the_first_message_is_what_a_person_typed(tmp_path: Path, store: SessionStore) -> None:
    """Newer files mark what Codex says for the user; in older ones it is known by its words. The model sees both."""
    kinds = {"content_item_kinds": ["environments.environment_context"]}
    typed = {"content_item_kinds": ["user.text"]}
    lines = [
        FIRST[0],
        said(1, "user", "# AGENTS.md instructions for /w\n\nBe kind."),
        said(2, "user", "Today is Monday", internal_chat_message_metadata_passthrough=kinds),
        said(3, "user", "<skill of mine> is what?", internal_chat_message_metadata_passthrough=typed),
    ]
    write(tmp_path, HOME, lines)
    (tmp_path / "session_index.jsonl").write_text(f'{{"id":"{HOME}","thread_name":"Trip to Rome"}}\n')
    imported(tmp_path, store)
    info = store.info(HOME)
    assert (info.name, info.first_user_message) == ("Trip to Rome", "<skill of mine> is what?")
    with store.open(HOME) as session:
        assert len(contents(session)) == 3


def test_what_codex_keeps_beside_an_item_is_not_sent(tmp_path: Path) -> None:
    """It is in `extra`; nothing is dropped."""
    inner = {"internal_chat_message_metadata_passthrough": {"turn_id": "t1"}}
    item = {"type": "reasoning", "id": "r", "summary": []}
    lines = [FIRST[0], line(1, "response_item", item | inner, metadata={"n": 7})]
    session, report = read_foreign(write(tmp_path, HOME, lines))
    entry = session.path()[-1]
    assert entry.to_dict()["extra"] == {"metadata": {"n": 7}, "item": inner}
    assert entry.to_dict()["message"] == item
    assert report.findings == ()


@pytest.mark.parametrize(
    "named",
    [{"parent_thread_id": HOME}, {"source": {"subagent": {"thread_spawn": {"parent_thread_id": HOME, "depth": 1}}}}],
)
def test_a_sub_agent_belongs_to_its_parent(tmp_path: Path, named: dict[str, Any]) -> None:
    """Both places in which versions name it."""
    session, _ = read_foreign(write(tmp_path, FORK, [meta(0, FORK, **named), said(1, "user", "Do it")]))
    parent = session.header.parent_session
    assert parent is not None
    assert (parent.id, parent.kind) == (HOME, "task")
