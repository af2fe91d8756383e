"""The types say what the engine does: users' programs are checked strictly, and run."""

import asyncio
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from convtree import CompactionEntry, Session, aio

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted(path.stem for path in (ROOT / "tests" / "users_code").glob("*.py"))


def test_users_programs_and_examples_pass_in_strict_mode() -> None:
    """mypy --strict finds nothing in them. Pyright, too, has its turn in `.ci/run types`."""
    command = [sys.executable, "-m", "mypy", "--strict", "examples", "tests/users_code", "tests/test_typing.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.partition(":")[0]) == (0, "Success"), done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_users_programs_do_what_their_types_say(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the type checkers have read runs without an error."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "users_code")
    import_module(program).main(tmp_path)


def test_wrong_calls_are_errors_of_type() -> None:
    """What a type checker refuses raises TypeError: the ignored errors below are asserted by mypy."""
    session = Session.memory()
    question = session.append({"role": "user", "content": "Hi"})
    summary = CompactionEntry(summary="S", first_kept_entry_id=question.id)
    with pytest.raises(TypeError):
        session.append(summary, provider="p")  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        session.append({"role": "user", "content": "Hi"}, providr="p")  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        session.build_context(leave=None)  # type: ignore[call-arg]


def test_wrong_async_calls_are_errors_of_type() -> None:
    """No argument becomes Any on its way to the sync call."""

    async def main() -> Any:
        async with aio.Session.memory() as session:
            question = await session.append({"role": "user", "content": "Hi"})
            summary = CompactionEntry(summary="S", first_kept_entry_id=question.id)
            with pytest.raises(TypeError):
                await session.append(summary, provider="p")  # type: ignore[call-overload]
            with pytest.raises(TypeError):
                await session.build_context(leave=None)  # type: ignore[call-arg]
            with pytest.raises(TypeError):
                await aio.Session.open(mode="a")  # type: ignore[call-arg]

    asyncio.run(main())
