"""Runs the tests of the adapters, and the frameworks' own tests with convtree as the store.

    python tests/adapters/run.py                      all frameworks
    python tests/adapters/run.py openai-agents        one of them
    python tests/adapters/run.py --own                our tests only, not those of the framework

Each framework has an environment of its own, because their pins collide. The environments are in $CONVTREE_FRAMEWORKS,
or thrown away; so are the sdists and repositories that the frameworks' tests come from. Ends with a table of how many
tests passed, failed as expected, and failed. Exits 1 if a test failed, or if the tests of a framework cannot be had.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.append(str(HERE.parent))
from private_postgres import Absent, programs  # noqa: E402  # it is beside the folder of this script

OURS = ["pytest>=8", "pytest-asyncio>=0.24", "pytest-timeout>=2", "hypothesis>=6.100"]


class Suite(NamedTuple):
    """The tests of a framework that run against an adapter.

    Attributes:
        package: the name on PyPI of the framework, whose sdist has the tests.
        needs: packages that the tests import.
        plugin: the module here that puts the adapter in the place of the framework's own store; None if the framework
            has no tests for stores.
        paths: these tests, in the unpacked sdist, or in the repository.
        newer: more of them, which only newer versions have.
        repository: where they are, if the sdist does not have them: a URL of git, whose tags are "v" and the version.
        stores: the values of CONVTREE_STORE with which they run. "postgresql" is left out where there is no server.
        options: more arguments of pytest.
    """

    package: str
    needs: tuple[str, ...] = ()
    plugin: str | None = None
    paths: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()
    repository: str | None = None
    stores: tuple[str, ...] = ("folder", "sqlite")
    options: tuple[str, ...] = ()


SUITES = {
    "openai-agents": Suite(
        package="openai-agents",
        needs=("inline-snapshot", "fakeredis", "cryptography", "sqlalchemy", "aiosqlite"),
        plugin="openai_agents_plugin",
        paths=(
            "tests/memory/test_session.py",
            "tests/memory/test_session_limit.py",
            "tests/memory/test_session_persistence_sanitize.py",
            "tests/memory/test_session_context_wrapper.py",
            "tests/memory/test_openai_responses_compaction_session.py",
            "tests/memory/test_compaction_suffix.py",
            "tests/memory/test_compaction_model_visibility.py",
            "tests/deferred_session_writes",
            "tests/test_hitl_session_scenario.py",
        ),
        stores=("folder", "sqlite", "postgresql"),
    ),
    "langgraph": Suite(
        package="langgraph",
        needs=(
            *("langgraph>=1.2", "langgraph-checkpoint-conformance", "langgraph-checkpoint-sqlite"),
            *("langgraph-checkpoint-postgres", "psycopg[binary,pool]", "redis"),
            *("pycryptodome", "pytest-mock", "syrupy"),
        ),
        plugin="langgraph_plugin",
        paths=("tests",),
        options=("-o", "addopts=", "--snapshot-warn-unused"),
    ),
    "pydantic-ai": Suite(package="pydantic-ai-slim", needs=("trio",)),
    "claude-agent-sdk": Suite(
        package="claude-agent-sdk",
        needs=("anyio[trio]",),
        plugin="claude_agent_sdk_plugin",
        paths=(
            "tests/test_session_helpers_store.py",
            "tests/test_session_import.py",
            "tests/test_session_resume.py",
            "tests/test_session_store_anyio.py",
            "tests/test_session_store_conformance.py",
            "tests/test_session_summary.py",
            "tests/test_transcript_mirror.py",
        ),
        stores=("memory", "folder", "sqlite", "postgresql"),
        options=("-p", "anyio", "-c", os.devnull, "--rootdir", ".", "--import-mode=importlib"),
    ),
    "google-adk": Suite(
        package="google-adk",
        needs=("google-adk[db]", "redis"),
        plugin="google_adk_plugin",
        paths=("tests/unittests/sessions/test_session_service.py",),
        newer=("tests/unittests/sessions/test_get_user_state.py",),
        repository="https://github.com/google/adk-python",
        stores=("memory", "folder", "sqlite"),
        options=("-c", os.devnull, "--rootdir", ".", "-o", "asyncio_mode=auto"),
    ),
    "chatkit": Suite(package="openai-chatkit"),
    "agent-framework": Suite(package="agent-framework-core"),
}


class Result(NamedTuple):
    """A row of the table."""

    framework: str
    version: str
    tests: str
    counts: dict[str, int]
    code: int


def main() -> int:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frameworks", nargs="*", choices=[[], *SUITES], metavar="FRAMEWORK", help=", ".join(SUITES))
    parser.add_argument("--own", action="store_true", help="our tests only")
    chosen = parser.parse_args()
    with working_folder() as work:
        results = [each for name in chosen.frameworks or SUITES for each in run(name, work, own=chosen.own)]
    print(f"\n{datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}")
    print("| framework | version | tests | passed | failed as expected | skipped | failed |")
    print("|---|---|---|---|---|---|---|")
    for result in results:
        counted = [result.counts.get(name, 0) for name in ("passed", "xfailed", "skipped")]
        failed = sum(result.counts.get(name, 0) for name in ("failed", "error", "errors", "xpassed"))
        row = [result.framework, result.version, result.tests, *map(str, counted), str(failed)]
        print(f"| {' | '.join(row)} |")
    return int(any(result.code for result in results))


@contextmanager
def working_folder() -> Iterator[Path]:
    """Gives the folder for environments and sdists."""
    if kept := os.environ.get("CONVTREE_FRAMEWORKS"):
        Path(kept).mkdir(parents=True, exist_ok=True)
        yield Path(kept).absolute()
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def run(name: str, work: Path, *, own: bool) -> Iterator[Result]:
    """Yields the results of our tests of an adapter, and of the framework's tests for each store."""
    suite, python = SUITES[name], environment(name, work)
    version = output(python, "-c", f"from importlib.metadata import version; print(version({suite.package!r}))")
    ours = HERE / f"test_{name.replace('-', '_')}.py"
    options = ["-c", os.devnull, "--rootdir", str(HERE), "-o", "asyncio_default_fixture_loop_scope=function"]
    yield tested(name, version, "ours", python, [*options, str(ours)], HERE, {})
    if own or suite.plugin is None:
        return
    try:
        source = checkout(suite, version, work) if suite.repository else sdist(suite.package, version, python, work)
    except subprocess.CalledProcessError as error:
        print(f"{name}: its own tests cannot be had: {error}", flush=True)
        yield Result(name, version, "its own: not to be had", {}, 1)
        return
    paths = [*suite.paths, *(each for each in suite.newer if (source / each).exists())]
    for store in suite.stores:
        if store == "postgresql" and not has_server():
            print(f"{name}: its own tests do not run on PostgreSQL, which is not installed here", flush=True)
            continue
        settings = {"CONVTREE_STORE": store, "PYTHONPATH": os.pathsep.join([str(HERE), str(source)])}
        yield tested(
            name,
            version,
            f"its own, {store}",
            python,
            [*suite.options, "-p", suite.plugin, *paths],
            source,
            settings,
        )


def has_server() -> bool:
    """Returns whether there is a PostgreSQL server, or one can be started."""
    try:
        return bool(os.environ.get("CONVTREE_TEST_PG") or programs())
    except Absent:
        return False


def environment(name: str, work: Path) -> str:
    """Returns the Python of an environment with convtree, the framework, and what its tests need."""
    place = work / name
    python = str(place / "bin" / "python")
    if not (place / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        pip = [python, "-m", "pip", "install", "-q"]
        subprocess.run([*pip, "-e", f"{ROOT}[cli,postgres,{name}]", *OURS, *SUITES[name].needs], check=True)
        (place / "complete").touch()
    return python


def sdist(name: str, version: str, python: str, work: Path) -> Path:
    """Returns the folder of the unpacked sdist of the installed version."""
    stem = f"{name.replace('-', '_')}-{version}"
    if not (work / stem).exists():
        download = [python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(work)]
        subprocess.run([*download, f"{name}=={version}"], check=True)
        with tarfile.open(work / f"{stem}.tar.gz") as archive:
            archive.extractall(work, filter="data")
    return work / stem


def checkout(suite: Suite, version: str, work: Path) -> Path:
    """Returns the folder of the framework's repository, at the tag of the installed version."""
    place = work / f"{suite.package}-{version}"
    if not place.exists():
        clone = ["git", "clone", "-q", "-c", "advice.detachedHead=false", "--depth", "1", "--branch", f"v{version}"]
        subprocess.run([*clone, str(suite.repository), str(place)], check=True)
    return place


def tested(
    name: str, version: str, tests: str, python: str, arguments: list[str], folder: Path, settings: dict[str, str]
) -> Result:
    """Runs pytest and returns what it counted. Its output is shown."""
    print(f"\n== {name} {version}: {tests}", flush=True)
    command = [python, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True, check=False
    )
    print(done.stdout, flush=True)
    counts = {
        word: int(count) for count, word in re.findall(r"(\d+) ([a-z]+)", done.stdout.strip().rsplit("\n", 1)[-1])
    }
    return Result(name, version, tests, counts, done.returncode)


def output(*command: str) -> str:
    """Returns what a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
