"""opencode: its databases, the files from before them, and exports; what a person typed; sub-agents and forks.

The form is what opencode 1.18 writes: see `tests/tools`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from foreign_stores import write_database, write_json

from convtree import MessageEntry, Session, SessionStore, SeveralSessions, open_store
from convtree.exchange import ImportReport, import_file, import_into, list_foreign, read_foreign

SCHEMA = """
create table if not exists session(id text primary key, project_id text, parent_id text, slug text, directory text,
    title text, version text, cost real, tokens_input integer, tokens_cache_read integer, revert text,
    summary_additions integer, permission text, time_created integer, time_updated integer, time_archived integer);
create table if not exists message(id text primary key, session_id text, time_created integer, data text);
create table if not exists part(id text primary key, message_id text, session_id text, data text);
"""
START = 1795941560000
TOKENS = {"total": 1136, "input": 912, "output": 16, "reasoning": 6, "cache": {"read": 102, "write": 100}}
PNG = "data:image/png;base64,AAAA"
Said = tuple[str, dict[str, Any], list[dict[str, Any]]]


def asked(id: str, *parts: dict[str, Any], at: int = 1, **more: Any) -> Said:
    """A user's message."""
    return id, {"role": "user", "time": {"created": START + at}, **more}, list(parts)


def answered(id: str, *parts: dict[str, Any], at: int = 2, **more: Any) -> Said:
    """An answer that has ended."""
    time = {"created": START + at, "completed": START + at + 500}
    paid = {"tokens": TOKENS, "cost": 0.25, "modelID": "m", "providerID": "p", "finish": "stop"}
    return id, {"role": "assistant", "time": time, **paid, **more}, list(parts)


def text(id: str, said: str, **more: Any) -> dict[str, Any]:
    """A part with text."""
    return {"id": id, "type": "text", "text": said, **more}


def called(id: str, **state: Any) -> dict[str, Any]:
    """A part with a call that has ended."""
    facts = {"status": "completed", "input": {"cmd": "ls"}, "output": "a.txt", "title": "List", "time": {"end": 9000}}
    return {"id": id, "type": "tool", "tool": "bash", "callID": f"call_{id}", "state": facts | state}


TALK = [asked("msg_1", text("prt_1", "Name a city")), answered("msg_2", text("prt_2", "Rome", time={"end": 7777}))]
INFO = {
    "id": "ses_1",
    "slug": "shiny-star",
    "projectID": "global",
    "directory": "/home/me/w",
    "title": "A trip",
    "version": "1.18.33",
    "summary": {"additions": 7},
    "cost": 0.25,
    "tokens": {"input": 912, "cache": {"read": 102}},
    "permission": [{"action": "deny"}],
    "time": {"created": START, "updated": START + 9},
}
COLUMNS = {
    "id": "ses_1",
    "slug": "shiny-star",
    "project_id": "global",
    "directory": "/home/me/w",
    "title": "A trip",
    "version": "1.18.33",
    "summary_additions": 7,
    "cost": 0.25,
    "tokens_input": 912,
    "tokens_cache_read": 102,
    "permission": '[{"action": "deny"}]',
    "time_created": START,
    "time_updated": START + 9,
}


def database(path: Path, messages: list[Said], **columns: Any) -> Path:
    """A database with a session."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = COLUMNS | columns
    rows, parts = [], []
    for id, data, pieces in messages:
        place = {"id": id, "session_id": row["id"], "time_created": data["time"]["created"]}
        rows.append(place | {"data": json.dumps(data)})
        for piece in pieces:
            stored = json.dumps({name: value for name, value in piece.items() if name != "id"})
            parts.append({"id": piece["id"], "message_id": id, "session_id": row["id"], "data": stored})
    return write_database(path, SCHEMA, session=[row], message=rows, part=parts)


def exported(path: Path, messages: list[Said], **info: Any) -> Path:
    """What `opencode export` prints."""
    items = []
    for id, data, pieces in messages:
        own = {"sessionID": "ses_1", "messageID": id}
        items.append({"info": data | {"id": id, "sessionID": "ses_1"}, "parts": [piece | own for piece in pieces]})
    path.write_text(json.dumps({"info": INFO | info, "messages": items}, indent=2))
    return path


def filed(root: Path, messages: list[Said], **info: Any) -> Path:
    """The files from before the database."""
    about = INFO | info
    write_json(root / "session" / "global" / f"{about['id']}.json", about)
    for id, data, pieces in messages:
        own = {"sessionID": about["id"], "messageID": id}
        write_json(root / "message" / str(about["id"]) / f"{id}.json", {"id": id, "sessionID": about["id"]} | data)
        for piece in pieces:
            write_json(root / "part" / id / f"{piece['id']}.json", piece | own)
    return root


@pytest.fixture
def store() -> SessionStore:
    """An empty store."""
    return open_store("memory:")


def imported(source: Path, store: SessionStore) -> list[ImportReport]:
    """Imports a source; the reports of what was imported."""
    return [each for each in import_into(source, store) if each.status != "skipped"]


def said(session: Session) -> list[tuple[str | None, str, str]]:
    """Role, text and visibility of every message."""
    found = (entry for _, entry in session.records() if isinstance(entry, MessageEntry))
    return [(entry.role, entry.text, entry.visible_to) for entry in found]


def test_the_three_stores_tell_the_same(tmp_path: Path, store: SessionStore) -> None:
    """An export, or the files, add nothing to what came from the database; not even metadata."""
    long = [*TALK, asked("msg_3", text("prt_3", "List"), at=3), answered("msg_4", called("prt_4"), at=4)]
    (first,) = imported(database(tmp_path / "o.db", long), store)
    (again,) = imported(exported(tmp_path / "export.json", long), store)
    (old,) = imported(filed(tmp_path / "storage", long), store)
    assert (first.written, again.written, old.written) == (7, 0, 0)
    assert (first.findings, again.findings, old.findings) == ((), (), ())
    with store.open("ses_1") as session:
        assert session.metadata["opencode"] == {
            "slug": "shiny-star",
            "projectID": "global",
            "version": "1.18.33",
            "summary": {"additions": 7},
            "cost": 0.25,
            "tokens": {"input": 912, "cache": {"read": 102}},
            "permission": [{"action": "deny"}],
            "time": {"updated": START + 9},
        }


def test_what_is_not_in_a_block_is_kept_with_the_message(tmp_path: Path) -> None:
    """Every part has its place there, with what the model does not see."""
    session, _ = read_foreign(database(tmp_path / "o.db", [answered("msg_2", called("prt_1"), text("prt_2", "Done"))]))
    entry = session.entry("msg_2")
    assert isinstance(entry, MessageEntry)
    assert entry.message["opencode"] == {
        "finish": "stop",
        "time": {"completed": START + 502},
        "parts": [
            {"id": "prt_1", "type": "tool", "state": {"status": "completed", "title": "List", "time": {"end": 9000}}},
            {"id": "prt_2", "type": "text"},
        ],
    }


def test_usage_counts_cache_and_reasoning(tmp_path: Path, store: SessionStore) -> None:
    """Reasoning is not part of opencode's output, and its input is what the cache leaves."""
    imported(database(tmp_path / "o.db", TALK), store)
    usage = store.info("ses_1").usage
    assert (usage.input_tokens, usage.output_tokens) == (912, 22)
    assert (usage.cache_read_tokens, usage.cache_write_tokens, usage.cost) == (102, 100, 0.25)


def folder_of_the_tool(tmp_path: Path) -> Path:
    """The folder with a database, the files from before it, and an export that somebody put there."""
    folder = tmp_path / "opencode"
    filed(folder / "storage", TALK)
    filed(folder / "storage", [asked("msg_o", text("prt_o", "Forgotten"))], id="ses_0")
    database(folder / "opencode.db", TALK)
    database(folder / "opencode.db", [asked("msg_n", text("prt_n", "New"), at=5)], id="ses_2")
    database(folder / "opencode-dev.db", [asked("msg_d", text("prt_d", "Dev"))], id="ses_3")
    (folder / "log").mkdir()
    (folder / "log" / "dev.log").write_text("INFO started")
    (folder / "kept").mkdir()
    exported(folder / "kept" / "export.json", TALK, id="ses_4")
    return folder


def test_the_folder_of_the_tool_has_all_its_stores(tmp_path: Path, store: SessionStore) -> None:
    """A session that was migrated comes from the database, once. What is not opencode's own is looked at, too."""
    folder = folder_of_the_tool(tmp_path)
    reports = import_into(folder, store)
    assert [(each.session_id, each.written, each.status) for each in reports] == [
        ("ses_3", 3, "imported"),
        ("ses_1", 4, "imported"),
        ("ses_2", 3, "imported"),
        ("ses_0", 3, "imported"),
        ("ses_4", 4, "imported"),
    ]
    assert {each.written for each in imported(tmp_path, store)} == {0}
    assert [each.id for each in list_foreign(folder)] == ["ses_3", "ses_1", "ses_2", "ses_0", "ses_4"]
    assert read_foreign(folder, session_id="ses_2")[0].name == "A trip"
    with pytest.raises(SeveralSessions, match="ses_2"):
        import_file(folder, tmp_path / "log")
    assert [each.session_id for each in imported(folder / "storage", store)] == ["ses_0", "ses_1"]


def test_a_damaged_database_beside_the_files_is_reported(tmp_path: Path, store: SessionStore) -> None:
    """The files are read, and the database is no secret."""
    filed(tmp_path / "opencode" / "storage", TALK)
    (tmp_path / "opencode" / "opencode.db").write_bytes(b"SQLite format 3\0" + b"x" * 100)
    (tmp_path / "opencode" / "opencode.db-shm").write_bytes(b"")
    reports = import_into(tmp_path / "opencode", store)
    assert [(Path(each.source).name, each.status) for each in reports] == [
        ("opencode", "imported"),
        ("opencode.db", "skipped"),
    ]
    assert "cannot be read" in str(reports[1].reason)


def test_parts_without_a_message_are_reported_from_the_folder(tmp_path: Path, store: SessionStore) -> None:
    """As they are from the database alone."""
    filed(tmp_path / "storage", TALK)
    write_database(database(tmp_path / "opencode.db", TALK), SCHEMA, part=[{"id": "prt_9", "message_id": "gone"}])
    assert [[each.code for each in one.findings] for one in imported(tmp_path, store)] == [[], ["source_left_out"]]


def test_what_opencode_says_for_the_user_is_for_the_model(tmp_path: Path) -> None:
    """A person typed the first text only. The text of a file is there already, so the file itself is not sent."""
    file = {"id": "prt_4", "type": "file", "mime": "text/plain", "filename": "a.txt", "url": "file:///a.txt"}
    parts = [text("prt_1", "Read it"), text("prt_2", "Called Read", synthetic=True), file]
    task = {"id": "prt_5", "type": "subtask", "agent": "general", "prompt": "Name a river"}
    session, _ = read_foreign(database(tmp_path / "o.db", [asked("msg_1", *parts), asked("msg_2", task, at=2)]))
    assert said(session) == [
        ("user", "Read it", "all"),
        ("user", "Called Read", "model"),
        ("user", "The following tool was executed by the user", "model"),
    ]
    entry = session.entry("msg_1")
    assert isinstance(entry, MessageEntry)
    assert entry.message["opencode"]["parts"] == [
        {"id": "prt_1", "type": "text"},
        {"id": "prt_2", "type": "text", "synthetic": True},
        file,
    ]
    started = session.entry("msg_2")
    assert isinstance(started, MessageEntry)
    assert started.message["opencode"]["parts"] == [task]


def test_pictures_are_images(tmp_path: Path) -> None:
    """Of the user and of a call; a document, too. What else it is stays a part of its own kind."""
    files = [
        {"id": f"prt_{number}", "type": "file", "mime": mime, "url": f"data:{mime};base64,AAAA"}
        for number, mime in enumerate(("image/png", "application/pdf", "audio/wav"))
    ]
    picture = {"type": "file", "mime": "image/png", "url": PNG}
    link = {"type": "file", "mime": "image/png", "url": "https://example.com/a.png"}
    call = called("prt_7", attachments=[picture, link])
    path = database(tmp_path / "o.db", [asked("msg_1", *files), answered("msg_2", call, at=3)])
    asking, calling, result = (
        entry.message for entry in read_foreign(path)[0].path() if isinstance(entry, MessageEntry)
    )
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}
    assert asking["content"] == [image, document, files[2]]
    assert result["content"][0]["content"] == [{"type": "text", "text": "a.txt"}, image]
    (kept,) = calling["opencode"]["parts"]
    assert kept["state"]["attachments"] == [{"type": "file", "mime": "image/png"}, link]


def test_an_unfinished_answer_may_grow(tmp_path: Path, store: SessionStore) -> None:
    """What was there stays; the finished answer is beside it, and the leaf moves there."""
    id, data, parts = answered("msg_2", text("prt_2", "Ro"))
    begun = (id, data | {"time": {"created": START + 2}}, parts)
    summary = {"diffs": [{"file": "a.txt", "additions": 3}]}
    imported(exported(tmp_path / "export.json", [TALK[0], begun]), store)
    question = asked("msg_1", text("prt_1", "Name a city"), summary=summary)
    (report,) = imported(exported(tmp_path / "export.json", [question, TALK[1]]), store)
    assert (report.written, report.status) == (2, "imported")
    with store.open("ses_1") as session:
        assert [entry.text for entry in session.path() if isinstance(entry, MessageEntry)] == ["Name a city", "Rome"]
        assert len(session.leaves()) == 2
        assert session.metadata["opencode"]["summaries"] == {"msg_1": summary}


def test_a_compaction_may_keep_an_unfinished_answer(tmp_path: Path) -> None:
    """It is found under the id that it has here; so is the leaf before a message that was reverted."""
    id, data, parts = answered("msg_2", text("prt_2", "Ro"))
    begun = (id, data | {"time": {"created": START + 2}}, parts)
    compaction = asked("msg_3", {"id": "prt_3", "type": "compaction", "tail_start_id": "msg_2"}, at=3)
    summary = answered("msg_4", text("prt_4", "S"), at=4, summary=True)
    session, report = read_foreign(database(tmp_path / "o.db", [TALK[0], begun, compaction, summary]))
    assert report.findings == ()
    assert [each.type for each in session.build_context().entries] == ["compaction", "message"]
    reverted = [TALK[0], begun, asked("msg_3", text("prt_3", "More"), at=3)]
    session, report = read_foreign(database(tmp_path / "r.db", reverted, revert='{"messageID": "msg_3"}'))
    assert ([each[1] for each in said(session)], report.findings) == (["Name a city", "Ro", "More"], ())
    assert [entry.text for entry in session.path() if isinstance(entry, MessageEntry)] == ["Name a city", "Ro"]


def test_a_part_of_a_message_is_reverted(tmp_path: Path, store: SessionStore) -> None:
    """Its first parts are the leaf. When something else is said, opencode deletes the others: a branch, too."""
    first, second = text("prt_3", "Rome"), text("prt_4", "or Oslo")
    path = database(tmp_path / "o.db", [TALK[0], answered("msg_2", first, second)])
    imported(path, store)
    revert = '{"messageID": "msg_2", "partID": "prt_4"}'
    path.unlink()
    imported(database(path, [TALK[0], answered("msg_2", first, second)], revert=revert), store)
    with store.open("ses_1") as session:
        assert [entry.text for entry in session.path() if isinstance(entry, MessageEntry)] == ["Name a city", "Rome"]
        assert len(session.leaves()) == 2
    path.unlink()
    later = [TALK[0], answered("msg_2", first), asked("msg_5", text("prt_5", "Why?"), at=5)]
    [report] = imported(database(path, later), store)
    assert [finding.code for finding in report.findings] == ["source_contradicted", "source_shrunk"]
    with store.open("ses_1") as session:
        texts = [entry.text for entry in session.path() if isinstance(entry, MessageEntry)]
        assert texts == ["Name a city", "Rome", "Why?"]
    assert store.info("ses_1").usage.output_tokens == 16 + 6
    assert [report.written for report in imported(path, store)] == [0]


def test_a_revert_between_two_imports(tmp_path: Path, store: SessionStore) -> None:
    """opencode has deleted what was reverted: that stays here, and the leaf is where opencode goes on."""
    path = database(tmp_path / "o.db", TALK)
    imported(path, store)
    path.unlink()
    [report] = imported(database(path, [TALK[0], asked("msg_5", text("prt_5", "Or a river"), at=5)]), store)
    assert report.leaf_kept is False
    with store.open("ses_1") as session:
        texts = [entry.text for entry in session.path() if isinstance(entry, MessageEntry)]
        assert (texts, len(session.leaves())) == (["Name a city", "Or a river"], 2)


def test_a_message_is_reverted_at_its_first_part(tmp_path: Path) -> None:
    """Nothing of it is left: the leaf is the message before."""
    revert = '{"messageID": "msg_2", "partID": "prt_2"}'
    session, _ = read_foreign(database(tmp_path / "o.db", TALK, revert=revert))
    assert [entry.text for entry in session.path() if isinstance(entry, MessageEntry)] == ["Name a city"]
    assert len(said(session)) == 2


def test_a_sub_agent_is_a_task(tmp_path: Path, store: SessionStore) -> None:
    """Of the session that called it, also where its messages are older than it."""
    path = database(tmp_path / "o.db", TALK)
    imported(database(path, [asked("msg_c", text("prt_c", "Do it"), at=1)], id="ses_c", parent_id="ses_1"), store)
    parent = store.info("ses_c").parent_session
    assert parent is not None
    assert (parent.id, parent.kind) == ("ses_1", "task")


def forked(path: Path, *before: Said) -> Path:
    """A database with a session and a fork of it."""
    database(path, [*TALK, *before])
    copies = [(f"{id}f", data, [piece | {"id": f"{piece['id']}f"} for piece in parts]) for id, data, parts in TALK]
    copies += [(f"{id}f", data, [piece | {"id": f"{piece['id']}f"} for piece in parts]) for id, data, parts in before]
    new = [asked("msg_8", text("prt_8", "Its river?"), at=1001), answered("msg_9", text("prt_9", "Tiber"), at=1002)]
    return database(path, [*copies, *new], id="ses_f", time_created=START + 1000)


def test_what_a_fork_has_copied_counts_once(tmp_path: Path, store: SessionStore) -> None:
    """Messages that are older than their session are copies. An export lacks their session: nothing changes."""
    imported(forked(tmp_path / "o.db"), store)
    parent = store.info("ses_f").parent_session
    assert parent is not None
    assert (parent.id, parent.kind) == ("ses_1", "fork")
    with store.open("ses_f") as session:
        assert session.header.copied_to == "msg_2f"
    assert [store.info(id).usage.input_tokens for id in ("ses_1", "ses_f")] == [912, 912]


def test_the_last_copied_message_may_be_several_entries(tmp_path: Path, store: SessionStore) -> None:
    """The copy ends with the last of them."""
    imported(forked(tmp_path / "o.db", answered("msg_3", called("prt_3"), at=3)), store)
    with store.open("ses_f") as session:
        assert session.header.copied_to == session.children("msg_3f")[0].id


def test_old_messages_that_no_other_session_has_are_no_copies(tmp_path: Path, store: SessionStore) -> None:
    """The session that they came from may be gone."""
    imported(database(tmp_path / "o.db", TALK, time_created=START + 1000), store)
    assert store.info("ses_1").parent_session is None


def test_a_result_that_opencode_dropped_later_is_reported(tmp_path: Path) -> None:
    """Nothing changes here, so that an import before and one after it agree."""
    before, _ = read_foreign(database(tmp_path / "a.db", [answered("msg_2", called("prt_1"))]))
    part = called("prt_1", time={"end": 9000, "compacted": START + 99})
    after, report = read_foreign(database(tmp_path / "b.db", [answered("msg_2", part)]))
    assert [record for _, record in before.records()] == [record for _, record in after.records()]
    assert [each.code for each in report.findings] == ["source_unsupported"]


def test_exports_that_are_damaged_keep_what_they_have(tmp_path: Path) -> None:
    """A message that is none; an object that is no export; a session without an id."""
    items = [7, {"info": {"role": "user", "sessionID": "s"}, "parts": [{"type": "text", "text": "hi"}, {}]}]
    path = tmp_path / "odd.json"
    path.write_text(json.dumps([{"info": {"projectID": "p"}, "messages": items}, {"info": {}, "messages": 1}]))
    session, report = read_foreign(path)
    assert [entry.type for entry in session.path()] == ["extension_data", "message"]
    assert [each.code for each in report.findings] == ["source_bad_record", "source_bad_record"]
