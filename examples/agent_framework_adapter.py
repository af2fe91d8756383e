"""Microsoft Agent Framework over convtree: a tool turn, a question edited, a crash, and a look at what is stored.

Needs `pip install 'convtree[cli,agent-framework]'`. A scripted client stands for a real one, so no key is needed.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Sequence
from typing import Any

from agent_framework import (
    Agent,
    BaseChatClient,
    ChatResponse,
    Content,
    FunctionInvocationLayer,
    Message,
    UsageDetails,
)

from convtree import MessageEntry
from convtree.adapters.agent_framework import ConvtreeHistoryProvider

CRASHED = 9


class ScriptedClient(FunctionInvocationLayer, BaseChatClient):  # type: ignore[misc]  # where it is not installed
    """Calls the tool for a question, and says what it returned."""

    def _inner_get_response(self, *, messages: Sequence[Message], **_: Any) -> Awaitable[ChatResponse]:
        async def answer() -> ChatResponse:
            last = messages[-1]
            if last.role == "tool":
                contents: list[Any] = [f"It is {last.contents[0].result}."]
            else:
                city = last.text.split()[-1].strip("?")
                contents = [Content.from_function_call("call-1", "weather", arguments={"city": city})]
            usage = UsageDetails(input_token_count=7, output_token_count=2)
            return ChatResponse(messages=[Message("assistant", contents)], usage_details=usage, model="scripted")

        return answer()


def weather(city: str) -> str:
    """Returns the weather in a city."""
    return f"sunny in {city}"


async def ask(provider: ConvtreeHistoryProvider, question: str) -> None:
    """What a service does for each request."""
    agent = Agent(client=ScriptedClient(), name="guide", tools=[weather], context_providers=[provider])
    answer = await agent.run(question, session=agent.create_session(session_id="trip"))
    print(f"{question} {answer.text}", flush=True)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        provider = ConvtreeHistoryProvider(folder)  # in place of InMemoryHistoryProvider()
        await ask(provider, "How is the weather in Rome?")

        await provider.branch("trip", None)  # edit the first question
        await ask(provider, "How is the weather in Oslo?")
        leaves = [branch.leaf for branch in await provider.branches("trip")]
        print("both are kept:", [leaf.text for leaf in leaves if isinstance(leaf, MessageEntry)], flush=True)
        await provider.checkout("trip", leaves[0].id)
        provider.close()

        # A process that dies behind its run loses nothing; the next one goes on.
        died = subprocess.run([sys.executable, __file__, folder], check=False)
        assert died.returncode == CRASHED
        provider = ConvtreeHistoryProvider(folder)
        await ask(provider, "And in Bari?")
        print(len(await provider.get_messages("trip")), "messages of three questions", flush=True)
        provider.close()

        subprocess.run([sys.executable, "-m", "convtree", "inspect", f"{folder}/trip.jsonl"], check=True)


async def die(folder: str) -> None:
    """The process that dies."""
    await ask(ConvtreeHistoryProvider(folder), "And in Pisa?")
    os._exit(CRASHED)


if __name__ == "__main__":
    asyncio.run(die(sys.argv[1]) if len(sys.argv) > 1 else main())
