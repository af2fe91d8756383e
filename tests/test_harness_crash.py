"""The crash and concurrency harnesses in their quick sizes, and proof that they notice a broken engine.

They run in processes of their own, as anyone would run them; the long sizes are in the README.
"""

from __future__ import annotations

import json

import pytest
from harness_runs import run


@pytest.mark.parametrize(("option", "cycles"), [("", 25), ("--indexed", 25), ("--sqlite", 12)])
def test_kill(option: str, cycles: int) -> None:
    """When processes are killed nothing acknowledged is lost, and the log stays readable; with an index, in SQLite."""
    code, result, _ = run("kill", "--cycles", cycles, *filter(None, [option]))
    found = (code, result["ok"], result["lost"], result["unreadable"], result["cycles"])
    assert found == (0, True, 0, 0, cycles), json.dumps(result)
    assert result["indexed"] > 0 or option != "--indexed"


@pytest.mark.parametrize("option", ["", "--sqlite", "--postgres"])
def test_retention(option: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """When writers, pruners and deleters are killed, nothing acknowledged is deleted with what was judged before."""
    if option == "--postgres":
        monkeypatch.setenv("CONVTREE_TEST_PG", request.getfixturevalue("postgres_server"))
    code, result, _ = run("retention", "--cycles", 12, *filter(None, [option]))
    found = (code, result["ok"], result["lost"], result["unreadable"], result["cycles"])
    assert found == (0, True, 0, 0, 12), json.dumps(result)
    assert result["acknowledged"] > 0


@pytest.mark.parametrize("option", ["", "--sqlite", "--postgres"])
def test_vacuuming(option: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """When writers and vacuumers are killed, nothing acknowledged is lost, and nothing that was dropped comes back."""
    if option == "--postgres":
        monkeypatch.setenv("CONVTREE_TEST_PG", request.getfixturevalue("postgres_server"))
    code, result, _ = run("vacuuming", "--cycles", 12, *filter(None, [option]))
    found = (code, result["ok"], result["lost"], result["unreadable"], result["cycles"])
    assert found == (0, True, 0, 0, 12), json.dumps(result)
    assert min(result["acknowledged"], result["vacuums"], result["reads"]) > 0


@pytest.mark.parametrize("variant", [None, "abandoned_call_kept"])
def test_cancelling(variant: str | None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call may be cancelled at any moment: it has run or not, and the next one works. A leak is noticed."""
    sizes = ("--rounds", "1") if variant is None else ("--rounds", "1", "--sabotage", variant)
    if variant is None:
        monkeypatch.setenv("CONVTREE_TEST_PG", request.getfixturevalue("postgres_server"))
    code, result, _ = run("cancelling", *sizes)
    assert (code, result["ok"]) == ((0, True) if variant is None else (1, False)), json.dumps(result)
    assert min(result["ended"]["cancelled"], result["ended"]["done"], result["repeated"]) > 0


def test_contention() -> None:
    """Six processes with 800 appends each make one chain of 4,800 entries, and none of them starves."""
    code, result, _ = run("contention", "--processes", 6, "--appends", 800, "--fairness", 0.2)
    assert (code, result["entries"]) == (0, 4800), json.dumps(result)


def test_holder() -> None:
    """Whoever has the lock may be killed, stopped, forked or interrupted, and the log be replaced or removed."""
    code, result, _ = run("holder", "--rounds", 4, "--interrupts", 200, "--limit-ms", 10_000.0)
    assert (code, result["ok"]) == (0, True), json.dumps(result)


def test_calls() -> None:
    """Every writing operation asks of the operating system what it must, in order."""
    code, result, _ = run("calls")
    assert (code, result["ok"]) == (0, True), json.dumps(result)


def test_power() -> None:
    """After power cuts, everything that was acknowledged with durability="power" is there."""
    code, result, _ = run("power", "--cuts", 16)
    if "skipped" in result:
        pytest.skip(f"no power was cut: {result['skipped']}")
    assert (code, result["ok"], result["cuts"]) == (0, True, 16), json.dumps(result)


def test_watching() -> None:
    """Stores that watch a folder say what is in its files, whatever happens to it."""
    code, result, _ = run("watching", "--rounds", 2)
    if "skipped" in result:
        pytest.skip(result["skipped"])
    assert (code, result["ok"], result["exchange"]) == (0, True, 2), json.dumps(result)
    assert result["looks spared"] > result["looks at all"] > 0


@pytest.mark.parametrize(
    ("variant", "harness", "sizes"),
    [
        ("no_tail_check", "calls", ()),
        ("two_writes", "calls", ()),
        ("no_sync", "calls", ()),
        ("no_directory_sync", "calls", ()),
        ("rename_without_sync", "calls", ()),
        ("sync_retried", "calls", ()),
        ("no_lock", "contention", ("--processes", 4, "--appends", 300)),
        ("stale_leaf_ignored", "contention", ("--processes", 4, "--appends", 50)),
        ("no_inode_check", "holder", ("--rounds", 2, "--interrupts", 10)),
        ("no_second_look", "retention", ("--cycles", 60)),
        ("ledger_forgotten", "retention", ("--cycles", 60, "--sqlite")),
        ("vacuum_of_an_old_look", "vacuuming", ("--cycles", 20)),
        ("event_lost", "watching", ("--rounds", 1)),
        ("folder_exchange_unseen", "watching", ("--rounds", 2)),
    ],
)
def test_sabotage(variant: str, harness: str, sizes: tuple[object, ...]) -> None:
    """A deliberately broken engine is caught."""
    code, result, _ = run(harness, "--sabotage", variant, *sizes)
    if "skipped" in result:
        pytest.skip(result["skipped"])
    assert (code, result["ok"], result["sabotage"]) == (1, False, variant), json.dumps(result)
    assert result["broken"] > 0
