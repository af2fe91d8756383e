"""The types say what the engine does, checked by mypy in strict mode against the providers' SDK types."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import assert_type

import pytest
from anthropic.types import Message, MessageParam
from google.genai.types import ContentDict
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam
from openai.types.responses import ResponseInputItemParam

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    Context,
    Entry,
    ExtensionDataEntry,
    Mark,
    MessageEntry,
    Session,
    aio,
)
from convtree._catalogue.types import SessionInfo
from convtree.stores._results import Hit, Page
from convtree.stores.base import StoreFinding

ROOT = Path(__file__).parents[1]


def test_examples_and_this_file_pass_in_strict_mode() -> None:
    """mypy --strict has nothing to say about the examples and about the functions below."""
    command = [sys.executable, "-m", "mypy", "--strict", "examples", "tests/test_typing.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["Success: no issues found in 10 source files"])


def test_append_returns_the_class_it_was_given() -> None:
    """A dict gives a message entry, an entry its own class."""
    session = Session.memory()
    question = session.append({"role": "user", "content": "Hi"})
    assert_type(question, MessageEntry)
    assert_type(session.append(CompactionEntry(summary="S", first_kept_entry_id=question.id)), CompactionEntry)
    assert_type(session.append(ExtensionDataEntry(ext_type="a.b", data=1)), ExtensionDataEntry)
    assert_type(session.append_many([{"role": "user", "content": "Hi"}]), list[Entry])
    assert_type(session.branch(question.id), BranchSummaryEntry | None)
    assert_type(session.siblings(question.id), list[MessageEntry])


def test_the_sdks_dicts_are_messages() -> None:
    """Every provider's TypedDict can be appended as it is, and the context passes as their list."""
    session = Session.memory()
    chat: ChatCompletionMessageParam = {"role": "user", "content": "Hi"}
    anthropic: MessageParam = {"role": "user", "content": "Hi"}
    item: ResponseInputItemParam = {"type": "function_call_output", "call_id": "c", "output": "x"}
    content: ContentDict = {"role": "user", "parts": [{"text": "Hi"}]}
    for message in (chat, anthropic, item, content):
        assert_type(session.append(message), MessageEntry)
    messages = session.build_context().messages
    for_chat: list[ChatCompletionMessageParam] = messages
    for_anthropic: list[MessageParam] = messages
    for_responses: list[ResponseInputItemParam] = messages
    for_gemini: list[ContentDict] = messages
    assert len(for_chat) == len(for_anthropic) == len(for_responses) == len(for_gemini) == 4


def test_async_callers_are_told_the_same_types() -> None:
    """Every call is awaited for what the sync one returns; no argument is lost or made Any on the way."""

    async def main() -> None:
        async with aio.Session.memory() as session:
            assert_type(session, aio.Session)
            question = await session.append({"role": "user", "content": "Hi"}, provider="p")
            assert_type(question, MessageEntry)
            summary = CompactionEntry(summary="S", first_kept_entry_id=question.id)
            assert_type(await session.append(summary, parent_id=question.id), CompactionEntry)
            assert_type(await session.append(ExtensionDataEntry(ext_type="a.b", data=1)), ExtensionDataEntry)
            assert_type(await session.append_many([{"role": "user", "content": "Hi"}]), list[Entry])
            assert_type(await session.branch(question.id), BranchSummaryEntry | None)
            assert_type(await session.siblings(question.id), list[MessageEntry])
            assert_type(await session.build_context(), Context)
            assert_type(await session.tip(question.id), str)
            assert_type((await session.outline()).row(question.id), int | None)
            assert_type([each async for each in session.follow(timeout_s=0)], list[Entry | Mark])
            assert_type([each async for each in session.records()], list[tuple[int, Entry | Mark]])
            assert_type(session.leaf_id, str | None)
            with pytest.raises(TypeError):
                await session.append(summary, provider="p")  # type: ignore[call-overload]
            with pytest.raises(TypeError):
                await session.build_context(leave=None)  # type: ignore[call-arg]
            with pytest.raises(TypeError):
                await aio.Session.open(mode="a")  # type: ignore[call-arg]

    asyncio.run(main())


def test_async_stores_are_typed_as_well() -> None:
    """What opens a session gives an async one."""

    async def main() -> None:
        store = await aio.open_store("memory:")
        assert_type(store, aio.SessionStore)
        async with store, store.create(id="s") as session:
            assert_type(session, aio.Session)
            await session.append({"role": "user", "content": "Hi"})
            assert_type(await store.fork("s"), aio.Session)
            assert_type(await store.resume(cwd=None), aio.Session | None)
            assert_type(await store.list(limit=1), Page)
            assert_type(await store.latest(), SessionInfo | None)
            assert_type(await store.search("Hi"), list[Hit])
            assert_type(await store.findings(), list[StoreFinding])
            assert_type(await store.delete("s"), list[str])

    asyncio.run(main())


def take(session: Session, reply: Message, completion: ChatCompletion) -> list[MessageEntry]:
    """Checked by mypy only: the SDKs' objects can be appended as they are."""
    return [session.append(reply), session.append(completion), session.append(completion, usage=completion.usage)]
