"""The harnesses of a PostgreSQL server that fails, in their quick sizes, and proof that they notice a broken engine."""

from __future__ import annotations

import json

import pytest
from harness_runs import run

PROXY = ("--every", 250, "--only", "append,create,fork,vacuum,delete")


def test_proxy(postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a connection breaks, each call takes effect once or says what it does not know, and a retry is safe."""
    monkeypatch.setenv("CONVTREE_TEST_PG", postgres_server)
    code, result, _ = run("proxy", *PROXY)
    assert (code, result["ok"]) == (0, True), json.dumps(result)
    assert min(result["commits_lost"], result["answered"], result["took_effect"]) > 0


@pytest.mark.usefixtures("postgres_server")
def test_server_faults() -> None:
    """Timeouts, a restart, a server that takes no writes or no connection: an error of its own, and it goes on."""
    code, result, _ = run("server_faults", "--every", 15)
    assert (code, result["ok"], result["cases"]) == (0, True, 7), json.dumps(result)


@pytest.mark.usefixtures("postgres_server")
def test_a_timeout_without_its_name_is_caught() -> None:
    """An engine that raises the same error for everything that a server refuses is caught."""
    code, result, _ = run("server_faults", "--only", "statement_timeout", "--sabotage", "timeouts_not_named")
    assert (code, result["ok"], result["broken"]) == (1, False, 1), json.dumps(result)


@pytest.mark.parametrize(
    ("variant", "only"), [("lost_commit_believed", "append"), ("lost_commit_repeated", "delete,fork")]
)
def test_sabotage(variant: str, only: str, postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deliberately broken engine is caught."""
    monkeypatch.setenv("CONVTREE_TEST_PG", postgres_server)
    code, result, _ = run("proxy", "--every", 1000, "--only", only, "--sabotage", variant)
    assert (code, result["ok"], result["sabotage"]) == (1, False, variant), json.dumps(result)
    assert result["broken"] > 0
