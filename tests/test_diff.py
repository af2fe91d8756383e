"""The difference of two branches, by `Session.diff` and by the command `diff`."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from helpers import assistant, ids, log_of, node, user
from hypothesis import given
from test_providers_laws import sessions

import convtree
from convtree import (
    BranchSummaryEntry,
    BrokenPath,
    CompactionEntry,
    EntryNotFound,
    ModelChangeEntry,
    Session,
    VacuumEntry,
)
from convtree._cli.app import app
from convtree._engine.diff import BranchDelta, Diff, Model
from convtree._model.usage import Usage


def spent(read: int, written: int) -> dict[str, Any]:
    return {"input_tokens": read, "output_tokens": written, "cost": 0.25}


def fill(session: Session) -> None:
    """Adds a question with two answers; two models work on the second."""
    session.append(user("Where?"), id="q")
    session.append(assistant("Rome?"), id="rome", provider="p", model="m", usage=spent(10, 5))
    session.append(user("Why?"), id="why")
    session.append(assistant("Oslo?"), id="oslo", parent_id="q", provider="p", model="m", usage=spent(10, 6))
    session.append(ModelChangeEntry(provider="r", model="n"), id="change")
    session.append(assistant("Oslo!"), id="sure", provider="r", model="n", usage=spent(20, 1))


def test_diff_of_two_branches(session: Session) -> None:
    """It has the last common entry, and the entries, models and tokens of each branch below it.

    B is the leaf if omitted.
    """
    fill(session)
    a = Usage(input_tokens=10, output_tokens=5, cost=0.25)
    m = Usage(input_tokens=10, output_tokens=6, cost=0.25)
    n = Usage(input_tokens=20, output_tokens=1, cost=0.25)
    both = Usage(input_tokens=30, output_tokens=7, cost=0.5)
    expected = Diff(
        ancestor_id="q",
        a=BranchDelta(
            leaf_id="why",
            entries=[session.entry("rome"), session.entry("why")],
            models=[Model(provider="p", model="m", usage=a)],
            usage=a,
        ),
        b=BranchDelta(
            leaf_id="sure",
            entries=[session.entry("oslo"), session.entry("change"), session.entry("sure")],
            models=[Model(provider="p", model="m", usage=m), Model(provider="r", model="n", usage=n)],
            usage=both,
        ),
    )
    assert session.diff("why", "sure") == expected
    assert session.diff("why") == expected
    assert session.leaf_id == "sure"


def test_summaries_count_for_the_model_that_they_name(session: Session) -> None:
    """They do not change the model that replies count for. Without a model and without usage they are no model's."""
    session.append(user("Where?"), id="q")
    session.append(assistant("Rome?"), provider="p", model="m", usage=spent(10, 5))
    session.append(CompactionEntry(summary="S", first_kept_entry_id=None, usage=spent(7, 1), provider="r", model="n"))
    session.append(BranchSummaryEntry(summary="B", from_id=None, usage=spent(2, 1)))
    session.append(BranchSummaryEntry(summary="B", from_id=None))
    session.append(CompactionEntry(summary="S", first_kept_entry_id=None, model="idle"))
    session.append(assistant("Oslo?"), id="oslo", usage=spent(1, 1))
    found = session.diff("q", "oslo").b
    assert [(each.provider, each.model, each.usage.total_tokens) for each in found.models] == [
        ("p", "m", 17),
        ("r", "n", 8),
        (None, None, 3),
        (None, "idle", 0),
    ]
    assert found.usage == Usage(input_tokens=20, output_tokens=8, cost=1.0)


def test_what_a_vacuum_dropped_counts_on_its_branch(session: Session) -> None:
    """For the models that the entry lists."""
    totals: list[dict[str, Any]] = [
        {"provider": "p", "model": "m", "answers": 2, "input_tokens": 5},
        {"provider": "p", "model": "n", "answers": 1, "output_tokens": 3},
    ]
    session.extend([VacuumEntry(id="v", parent_id=None, provider="p", model="m", usage=totals, dropped=3)])
    session.append(assistant("Rome?"), id="rome", usage=spent(1, 1))
    session.append(user("Again"), id="again", parent_id=None)
    found = session.diff("rome", "again").a
    assert [(each.model, each.usage.total_tokens) for each in found.models] == [("m", 7), ("n", 3)]


def test_replies_count_for_the_model_named_last(session: Session) -> None:
    """The model may be named on the shared path or on the branch, as for `build_context`."""
    session.append(ModelChangeEntry(provider="p", model="m"))
    session.append(user("Where?"), id="q")
    session.append(assistant("Rome?"), id="rome", usage=spent(10, 5))
    session.append(assistant("Oslo?"), parent_id="q")
    session.append(ModelChangeEntry(provider=None, model="n"))
    session.append(assistant("Oslo!"), id="oslo", usage=spent(1, 1))
    found = session.diff("rome", "oslo")
    assert [(each.provider, each.model, each.usage.total_tokens) for each in found.a.models] == [("p", "m", 15)]
    assert [(each.provider, each.model, each.usage.total_tokens) for each in found.b.models] == [
        ("p", "m", 0),
        (None, "n", 2),
    ]
    assert session.diff("q", "rome").a.models == []


def test_damage_above_the_branches_hides_the_model(log_path: Path) -> None:
    """The branches can still be compared, but the model of their replies is unknown."""
    log_path.write_bytes(
        log_of(
            node("a", None, "model_change", model=7),
            node("b", "a"),
            node("c", "b", message=assistant("c"), usage=spent(1, 1)),
            node("d", "b"),
        )
    )
    with Session.open(log_path, mode="r") as session:
        found = session.diff("c", "d")
    assert (found.ancestor_id, ids(found.a.entries), ids(found.b.entries)) == ("b", ["c"], ["d"])
    assert [(each.model, each.usage.total_tokens) for each in found.a.models] == [(None, 2)]


def test_diff_of_nested_and_of_separate_branches(session: Session) -> None:
    """One branch may contain the other, and two may have no common entry."""
    fill(session)
    same = session.diff("q", "q")
    assert (same.ancestor_id, same.a.entries, same.b.entries) == ("q", [], [])
    longer = session.diff("q", "rome")
    assert (longer.ancestor_id, longer.a.entries, ids(longer.b.entries)) == ("q", [], ["rome"])
    other = session.append(user("Again"), parent_id=None).id
    apart = session.diff(other, "rome")
    assert (apart.ancestor_id, ids(apart.a.entries), ids(apart.b.entries)) == (None, [other], ["q", "rome"])
    start = session.diff(None, "q")
    assert (start.a.leaf_id, start.a.entries, ids(start.b.entries)) == (None, [], ["q"])
    with pytest.raises(EntryNotFound):
        session.diff("q", "nobody")


def test_diff_below_a_missing_parent(log_path: Path) -> None:
    """It raises, unless both branches are below the same missing parent."""
    log_path.write_bytes(log_of(node("a", None), node("b", "gone"), node("c", "b"), node("d", "b")))
    with Session.open(log_path, mode="r") as session:
        with pytest.raises(BrokenPath):
            session.diff("a", "c")
        found = session.diff("c", "d")
        assert (found.ancestor_id, ids(found.a.entries), ids(found.b.entries)) == ("b", ["c"], ["d"])


@pytest.mark.no_cover
@given(sessions())
def test_common_path_and_delta_are_the_whole_path(session: Session) -> None:
    """For any two entries, the shared path and the entries of one branch make up its path."""
    whole = session.path()
    if not whole:
        return
    other = session.append(user("aside"), parent_id=whole[len(whole) // 2].id).id
    for a in (whole[-1].id, whole[0].id):
        found = session.diff(a, other)
        shared = session.path(found.ancestor_id)
        assert shared + found.a.entries == session.path(a)
        assert shared + found.b.entries == session.path(other)


# --- the command ---


@pytest.fixture
def log(log_path: Path) -> Path:
    with Session.open(log_path, durability="process") as session:
        fill(session)
    return log_path


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "60"})
    return done.exit_code, done.stdout, done.stderr


def test_the_command_shows_both_branches(log: Path) -> None:
    """It prints the last common entry, then each branch under its models and tokens. B defaults to the leaf."""
    code, out, err = run("diff", log, "why", "sure")
    assert (code, err) == (0, "")
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "both user Where? q",
        "",
        "A: 2 entries, 15 tokens, cost 0.2500, p m",
        "assistant Rome? rome",
        "user Why? why",
        "",
        "B: 3 entries, 37 tokens, cost 0.5000, p m (16), r n (21)",
        "assistant Oslo? oslo",
        "model r n change",
        "assistant Oslo! sure",
    ]
    assert run("diff", log, "why") == (0, out, "")
    assert max(map(len, out.splitlines())) <= 60


def test_the_command_reads_a_store(log: Path, tmp_path: Path) -> None:
    """LOG is then an id in the store, for `export`, too. The store must exist."""
    url = f"sqlite:///{tmp_path}/s.db"
    with Session.open(log, mode="r") as session, convtree.open_store(url) as store:
        id = session.id
        with store.open_or_create(session.header) as stored:
            stored.extend(record for _, record in session.records())
    assert run("diff", id, "why", "sure", "--store", url) == run("diff", log, "why", "sure")
    assert run("export", id, "--store", url, "--to", "markdown") == run("export", log, "--to", "markdown")
    assert run("diff", "nobody", "why", "--store", url)[0] == 3
    assert run("export", id, "--store", f"sqlite:///{tmp_path}/none.db", "--to", "pi")[0] == 3


def test_the_command_prints_json(log: Path) -> None:
    """The document has the entries with all their fields."""
    code, out, err = run("diff", log, "rome", "oslo", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["schema"], found["schema_version"], found["ancestor_id"]) == ("convtree.diff", 1, "q")
    assert [entry["id"] for entry in found["a"]["entries"]] == ["rome"]
    assert found["b"]["entries"][0]["message"] == assistant("Oslo?")
    usage = {"input_tokens": 10, "output_tokens": 6, "cache_read_tokens": 0, "cache_write_tokens": 0, "cost": 0.25}
    assert found["b"]["models"] == [{"provider": "p", "model": "m", "usage": usage}]
    assert found["b"]["usage"] == usage


def test_the_command_reports_unknown_entries(log: Path) -> None:
    """The exit code is 3, and control characters are escaped. Branches without a common entry are shown."""
    assert run("diff", log, "q", "\x1bnobody")[0] == 3
    assert "\x1b" not in run("diff", log, "q", "\x1bnobody")[2]
    assert run("diff", log.with_name("none"), "a", "b")[0] == 3
    with Session.open(log, durability="process") as session:
        session.append(user("\x1b[31mAgain"), parent_id=None, id="again", usage=spent(1, 0))
    code, out, _ = run("diff", log, "again", "q")
    assert (code, out.splitlines()[0]) == (0, "nothing in common")
    assert "unknown model" in out
    assert "\x1b" not in out


def test_the_command_needs_a_session_of_a_source(tmp_path: Path) -> None:
    """For a source with several sessions, `--session` picks one. Without it, they are listed by id."""
    one, two = "01234567-89ab-4cde-8f01-23456789abc1", "01234567-89ab-4cde-8f01-23456789abc2"

    def node(id: str, parent: str | None) -> dict[str, Any]:
        said = {"id": id, "author": {"role": "user"}, "content": {"content_type": "text", "parts": [id[-1]]}}
        return {"id": id, "parent": parent, "children": [], "message": said}

    mapping = {"q": node("q", None), one: node(one, "q"), two: node(two, "q")}
    chats = [{"id": id, "conversation_id": id, "mapping": mapping, "current_node": one} for id in ("c1", "c2")]
    (tmp_path / "chats.json").write_text(json.dumps(chats))
    code, _, err = run("diff", tmp_path / "chats.json", one, two)
    assert (code, "c1, c2 (choose one with --session ID" in err) == (2, True)
    code, out, _ = run("diff", tmp_path / "chats.json", one, two, "--session", "c2")
    assert (code, [line[-36:] for line in out.splitlines() if line.startswith("  ")]) == (0, [one, two])
