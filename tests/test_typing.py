"""Users' programs run, and wrong calls are wrong for Python and for mypy. `.ci/run types` checks their types."""

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from convtree import CompactionEntry, Session, aio

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted(path.stem for path in (ROOT / "tests" / "users_code").glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_users_programs_run(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The type-checked programs run without an error."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "users_code")
    import_module(program).main(tmp_path)


def test_wrong_calls_are_errors_of_type() -> None:
    """Calls with wrong arguments raise TypeError, and mypy reports them: it rejects a needless `type: ignore`."""
    session = Session.memory()
    question = session.append({"role": "user", "content": "Hi"})
    summary = CompactionEntry(summary="S", first_kept_entry_id=question.id)
    with pytest.raises(TypeError):
        session.append(summary, providr="p")  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        session.append({"role": "user", "content": "Hi"}, providr="p")  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        session.build_context(leave=None)  # type: ignore[call-arg]


def test_wrong_async_calls_are_errors_of_type() -> None:
    """The async calls are as strict as the sync ones."""

    async def main() -> Any:
        async with aio.Session.memory() as session:
            question = await session.append({"role": "user", "content": "Hi"})
            summary = CompactionEntry(summary="S", first_kept_entry_id=question.id)
            with pytest.raises(TypeError):
                await session.append(summary, providr="p")  # type: ignore[call-overload]
            with pytest.raises(TypeError):
                await session.build_context(leave=None)  # type: ignore[call-arg]
            with pytest.raises(TypeError):
                await aio.Session.open(mode="a")  # type: ignore[call-arg]

    asyncio.run(main())
