"""Hypothesis profiles, and sessions over both logs."""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from citus import citus_url, schemas  # noqa: F401  # fixtures for all
from hypothesis import HealthCheck, settings
from loops import run  # noqa: F401  # asyncio and trio
from postgres import postgres_server, postgres_url  # noqa: F401  # fixtures for all

from convtree import Session

#: the command line keeps its default store and the last list there
_HOMES = TemporaryDirectory(prefix="convtree-home-")
os.environ |= dict.fromkeys(("XDG_DATA_HOME", "XDG_STATE_HOME"), _HOMES.name)
os.environ.pop("CONVTREE_URL", None)

collect_ignore_glob = ["adapters/*_plugin.py"]  # of the environments of the frameworks

pytest.register_assert_rewrite("convtree.testing")  # its asserts say what they have found, as those here do

settings.register_profile("ci", max_examples=40, stateful_step_count=30, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "long",
    max_examples=3_000,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")  # --hypothesis-profile=long wins over this


#: modules whose tests are run without measuring coverage, which doubles their time; the others cover the core
NOT_MEASURED = (
    "test_benchmarks",
    "test_browse",
    "test_cli_",
    "test_examples",
    "test_export",
    "test_formats_",
    "test_harness_",
    "test_hostile_sources",
    "test_html_",
    "test_import_discover",
    "test_import_into",
    "test_import_processes",
    "test_import_search",
    "test_import_shrunk",
    "test_import_watch",
    "test_layers",
    "test_packaging",
    "test_providers_laws",
    "test_readme",
    "test_schema",
    "test_service",
    "test_tool_bench",
    "test_turns",
    "test_typing",
    "test_vectors",
    "test_web_chat",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that are not measured."""
    for item in items:
        if item.path.name.startswith(NOT_MEASURED):
            item.add_marker("no_cover")


def pytest_collection_finish() -> None:
    """Takes what the collection of thousands of tests has made out of the sight of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    """Where a log may be; there is none yet."""
    return tmp_path / "log.jsonl"


@pytest.fixture(params=["memory", "jsonl"])
def session(request: pytest.FixtureRequest, log_path: Path) -> Iterator[Session]:
    """A new session, over each log."""
    opened = Session.memory() if request.param == "memory" else Session.open(log_path, durability="process")
    with opened:
        yield opened


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says once which servers were not there to be tested on: `s` among thousands of dots is not seen."""
    skipped = terminalreporter.stats.get("skipped", ())
    reasons = [each.longrepr[2].removeprefix("Skipped: ") for each in skipped if isinstance(each.longrepr, tuple)]
    for reason, times in Counter(reason for reason in reasons if reason.startswith("NOT TESTED")).items():
        terminalreporter.write_line(f"{reason} ({times} tests)", yellow=True)
