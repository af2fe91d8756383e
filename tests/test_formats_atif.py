"""ATIF: trajectories in, and paths of sessions out, valid by the models of the package."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from exported import PIXEL, chat_session, sessions
from foreign import SAMPLES, encoded
from foreign_agents import write_atif
from hypothesis import given

from convtree import BranchSummaryEntry, CompactionEntry, ExtensionDataEntry, MessageEntry, ModelChangeEntry, Session
from convtree.exchange import export_file, export_lines, import_into, list_foreign, read_foreign
from convtree.stores._open import open_store

Fields = dict[str, Any]
PICTURE = {"type": "image", "source": {"media_type": "image/png", "path": f"data:image/png;base64,{PIXEL}"}}


def trajectory(session: Session) -> Fields:
    """An exported session, checked by the models."""
    document: Fields = json.loads(b"".join(export_lines(session, "atif")))
    check(document)
    return document


def check(document: Fields) -> None:
    """Fails unless the package's models take a document."""
    atif = pytest.importorskip("atif", reason="the package atif has the models; it is in the extra `test`")
    atif.Trajectory.model_validate(document)


def read_one(folder: Path, document: Fields) -> Session:
    """The session that an import makes of a document."""
    (folder / "in.json").write_text(json.dumps(document))
    return read_foreign(folder / "in.json")[0]


# --- in ---


def test_a_trajectory_is_a_chain(tmp_path: Path) -> None:
    """Each step a message, each result below it; reasoning, pictures, models, and what happened besides."""
    session, report = read_foreign(write_atif(tmp_path))
    entries = [entry for entry in session.path() if isinstance(entry, MessageEntry)]
    assert (report.format, session.id, len(report.findings)) == ("atif", "run_4711", 0)
    assert [(entry.role, entry.model, entry.visible_to) for entry in entries] == [
        ("system", None, "all"),
        ("user", None, "all"),
        ("assistant", "model-y", "all"),
        ("user", None, "all"),
        ("user", None, "model"),
        ("assistant", "model-x", "all"),
    ]
    image = {"type": "image", "source": {"type": "url", "url": "shots/one.png"}}
    assert entries[1].message["content"] == [{"type": "text", "text": "Say alpha"}, image]
    assert entries[2].message["content"] == [
        {"type": "thinking", "thinking": "Hm, alpha"},
        {"type": "text", "text": "Right away"},
        {"type": "tool_use", "id": "call_7", "name": "bash", "input": {"cmd": "echo alpha"}},
    ]
    assert entries[3].message["content"] == [{"type": "tool_result", "tool_use_id": "call_7", "content": "alpha"}]
    assert [entry.usage is None for entry in entries] == [True, True, False, True, True, True]


def test_a_grown_trajectory_adds_what_is_new(tmp_path: Path) -> None:
    """Also a result that came to a step that was there."""
    path = write_atif(tmp_path)
    whole = json.loads(path.read_text())
    first = whole | {"steps": [*whole["steps"][:2], {**whole["steps"][2], "observation": None}]}
    with open_store("memory:") as store:
        path.write_text(json.dumps(first))
        (one,) = import_into(path, store)
        path.write_text(json.dumps(whole))
        (two,) = import_into(path, store)
        (three,) = import_into(path, store)
        with store.open("run_4711", read_only=True) as session:
            assert len(session.leaves()) == 1
    assert (one.written, two.written, two.already_there, three.written) == (4, 3, 4, 0)


def test_embedded_trajectories_are_tasks(tmp_path: Path) -> None:
    """Of the one around them; without an id, one is known by its first steps."""
    step = {"step_id": 1, "source": "user", "message": "a"}
    agent = {"name": "x", "version": "1"}
    inner = {"schema_version": "ATIF-v1.7", "trajectory_id": "inner", "agent": agent, "steps": [step]}
    outer = {"schema_version": "ATIF-v1.7", "agent": agent, "steps": [step], "subagent_trajectories": [inner, 1]}
    (tmp_path / "in.json").write_text(json.dumps(outer))
    first, second = list_foreign(tmp_path / "in.json")
    task, _ = read_foreign(tmp_path / "in.json", session_id=second.id)
    assert (second.id, task.header.parent_session and task.header.parent_session.id) == ("inner", first.id)
    assert task.header.parent_session is not None
    assert task.header.parent_session.kind == "task"
    assert [each.id for each in list_foreign(tmp_path / "in.json")] == [first.id, "inner"]


def test_what_is_no_step_is_kept_and_reported(tmp_path: Path) -> None:
    """A step of another source, one that is no object, content of other types; and a document that is no trajectory."""
    sound = {"type": "audio", "source": {"media_type": "audio/wav", "path": "a.wav"}}
    steps = [
        {"source": "robot", "message": "beep"},
        7,
        {"source": "user", "message": [sound, "bare"]},
        {"source": "agent", "message": "", "tool_calls": [{"tool_call_id": "c", "function_name": "f"}]},
        {"source": "agent", "message": "no model", "llm_call_count": 0},
        {"source": "agent", "message": "", "observation": {"results": [{"source_call_id": "gone", "content": "r"}]}},
    ]
    document = {"schema_version": "ATIF-v1.8", "session_id": "s", "agent": {"model_name": "m"}, "steps": steps}
    (tmp_path / "in.json").write_text(json.dumps([document, {"schema_version": "ATIF-v1.8", "agent": {}}]))
    with open_store("memory:") as store:
        reports = import_into(tmp_path / "in.json", store)
        assert [(each.status, [one.code for one in each.findings]) for each in reports] == [
            ("imported", ["source_bad_record", "source_bad_record"]),
            ("imported", ["source_bad_record"]),
        ]
        with store.open("s", read_only=True) as session:
            said = [
                (entry.text, entry.model) if isinstance(entry, MessageEntry) else ("data", None)
                for entry in session.path()
            ]
    assert [text for text, _ in said[:2]] == ["beep", "7"]
    assert '"path":"a.wav"' in said[2][0]
    assert said[3:5] == [("", "m"), ("no model", None)]
    assert said[-1] == ("r", None)


# --- out ---


def test_a_path_is_a_trajectory() -> None:
    """With calls, their results in the observation, pictures, what was paid, and the ids that everything has here."""
    session = chat_session(name="A trip")
    ids = [entry.id for entry in session.path()]
    document = trajectory(session)
    assert {name: document[name] for name in ("schema_version", "session_id", "trajectory_id", "agent")} == {
        "schema_version": "ATIF-v1.8",
        "session_id": session.id,
        "trajectory_id": session.id,
        "agent": {"name": "convtree", "version": "unknown", "model_name": "gpt-5"},
    }
    assert document["extra"] == {"convtree": {"leaf": ids[-1], "name": "A trip"}}
    assert document["final_metrics"] == {
        "total_prompt_tokens": 50,
        "total_completion_tokens": 7,
        "total_cached_tokens": 20,
        "total_steps": 6,
    }
    steps = document["steps"]
    assert [(step["source"], step["message"]) for step in steps] == [
        ("system", "Be brief"),
        ("user", "Look"),
        ("agent", "I look"),
        ("agent", "Done"),
        ("user", [{"type": "text", "text": "And this?"}, PICTURE]),
        ("agent", "One pixel"),
    ]
    assert steps[2]["tool_calls"][0] == {"tool_call_id": "c1", "function_name": "ls", "arguments": {"path": "/"}}
    assert steps[2]["observation"]["results"] == [
        {"source_call_id": "c1", "content": "a.txt"},
        {"source_call_id": "c2", "content": "/"},
    ]
    assert steps[2]["metrics"] == {"prompt_tokens": 50, "completion_tokens": 7, "cached_tokens": 20}
    assert [step["extra"]["convtree"]["ids"] for step in steps] == [
        [ids[0]],
        [ids[1]],
        ids[2:5],
        [ids[5]],
        [ids[6]],
        [ids[7]],
    ]


def test_every_leaf_is_a_file(tmp_path: Path) -> None:
    """The session's own leaf first; what an earlier file has is copied context in a later one."""
    session = chat_session()
    (tmp_path / "out").mkdir()
    assert export_file(session, tmp_path / "out", "atif", all_leaves=True) == ()
    own, other = (leaf.id for leaf in session.leaves())
    files = {path.name: json.loads(path.read_bytes()) for path in (tmp_path / "out").iterdir()}
    assert files.keys() == {f"{session.id}.{own}.json", f"{session.id}.{other}.json"}
    copied = {}
    for name, document in files.items():
        check(document)
        assert document["session_id"] == session.id
        copied[name] = [step.get("is_copied_context", False) for step in document["steps"]]
    assert copied == {f"{session.id}.{own}.json": [False] * 6, f"{session.id}.{other}.json": [True] * 5 + [False]}
    with pytest.raises(ValueError, match="is no folder; create it first"):
        export_file(session, tmp_path / "none", "atif", all_leaves=True)
    with pytest.raises(ValueError, match="the format 'pi' has no file for each leaf"):
        export_file(session, tmp_path / "out", "pi", all_leaves=True)


def test_what_is_no_message_is_a_step_or_named(tmp_path: Path) -> None:
    """Summaries are steps; data is left out; a result without its call, a thought and a level are there."""
    tiff = {"type": "image", "source": {"type": "base64", "media_type": "image/tiff", "data": "AAAA"}}
    thought = {"type": "thinking", "thinking": "hm"}
    failed = {"type": "tool_result", "tool_use_id": "gone", "content": "r", "is_error": True}
    with Session.memory() as session:
        session.append(ModelChangeEntry(provider="p", model="m", settings={"thinkingLevel": "high"}))
        session.append({"role": "user", "content": [failed]})
        usage = {"input_tokens": 1, "output_tokens": 2, "cache_creation_input_tokens": 3, "cost": 0.5}
        session.append({"role": "assistant", "content": [thought, {"type": "text", "text": "a"}]}, usage=usage)
        session.append({"role": "assistant", "content": "b"}, usage={"odd": 1}, status="interrupted")
        session.append({"role": "user", "content": [tiff]}, visible_to="user")
        session.append({"role": "user", "content": []})
        session.append(ExtensionDataEntry(ext_type="app.x", data=1))
        session.append(BranchSummaryEntry(from_id=None, summary="B"))
        session.append(BranchSummaryEntry(from_id=None, summary=""))
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
        findings = export_file(session, tmp_path / "out", "atif")
        steps = trajectory(session)["steps"]
    assert [each.about for each in findings] == [
        "usage in an unknown spelling",
        "image of the type image/tiff",
        "message without a content",
        "app.x",
    ]
    assert steps[0]["observation"] == {"results": [{"content": "r", "extra": {"is_error": True}}]}
    assert steps[1]["reasoning_content"] == "hm"
    assert [steps[1][name] for name in ("model_name", "reasoning_effort")] == ["m", "high"]
    assert steps[1]["metrics"] == {
        "prompt_tokens": 4,
        "completion_tokens": 2,
        "cached_tokens": 0,
        "cost_usd": 0.5,
        "extra": {"cache_creation_input_tokens": 3},
    }
    assert steps[2]["extra"]["convtree"]["status"] == "interrupted"
    assert steps[3]["extra"]["convtree"]["visible_to"] == "user"
    kinds = [step["extra"]["convtree"].get("type") for step in steps]
    assert kinds == [None, None, None, None, "branch_summary", "compaction"]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_import_can_go_out_as_a_trajectory(name: str, tmp_path: Path) -> None:
    """And is valid."""
    (tmp_path / "source").write_bytes(encoded(*SAMPLES[name]))
    session, _ = read_foreign(tmp_path / "source")
    again = read_one(tmp_path, trajectory(session))
    assert again.id == session.id


@given(sessions())
def test_any_path_is_a_valid_trajectory_and_comes_back(session: Session) -> None:
    """Every call has its result, and a second way out says the same as the first."""
    document = trajectory(session)
    with tempfile.TemporaryDirectory() as folder:
        again = read_one(Path(folder), document)
    second = trajectory(again)
    said = [
        [
            (step["source"], step["message"], step.get("tool_calls"), step.get("reasoning_content"))
            for step in each["steps"]
            if step["message"] or step.get("tool_calls")
        ]
        for each in (document, second)
    ]
    assert said[0] == said[1]
    assert document["final_metrics"]["total_prompt_tokens"] == second["final_metrics"]["total_prompt_tokens"]
