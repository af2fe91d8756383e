"""pydantic-ai over convtree: a tool turn, a question edited and answered anew, a crash, and a look at what is stored.

Needs `pip install 'convtree[cli,pydantic-ai]'`. A scripted model stands for a real one, so no key is needed.
"""

import asyncio
import os
import subprocess
import sys
import tempfile

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from convtree import MessageEntry
from convtree.adapters.pydantic_ai import ConvtreeConversationStore

CRASHED = 9


def scripted(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
    """Calls the tool for a question, and says what it returned."""
    request = messages[-1]
    assert isinstance(request, ModelRequest)
    last = request.parts[-1]
    if last.part_kind == "tool-return":
        return ModelResponse(parts=[TextPart(f"It is {last.content}.")])
    city = str(last.content).split()[-1].strip("?")
    return ModelResponse(parts=[ToolCallPart("weather", {"city": city})])


def weather(city: str) -> str:
    """Returns the weather in a city."""
    return f"sunny in {city}"


agent = Agent(FunctionModel(scripted, model_name="scripted"), tools=[weather])


async def ask(folder: str, question: str) -> None:
    """What a service does for each request: load, run, save."""
    store = ConvtreeConversationStore(folder)  # in place of InMemoryConversationStore()
    conversation = await store.load("trip") or Conversation(conversation_id="trip")
    result = await agent.run(question, conversation=conversation)
    await store.save(result)
    print(f"{question} {result.output}", flush=True)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        await ask(folder, "How is the weather in Rome?")

        store = ConvtreeConversationStore(folder)
        record = await store.read_record("trip")
        assert record is not None
        await store.branch("trip", at=0, expected_revision=record.revision)  # edit the first question
        await ask(folder, "How is the weather in Oslo?")
        rome, oslo = await store.branches("trip")
        print(
            "both are kept:",
            [each.leaf.text for each in (rome, oslo) if isinstance(each.leaf, MessageEntry)],
            flush=True,
        )
        await store.checkout("trip", rome.leaf.id)
        store.close()

        # A process that dies behind the save loses nothing; the next one goes on.
        died = subprocess.run([sys.executable, __file__, folder, "And in Pisa?"], check=False)
        assert died.returncode == CRASHED
        await ask(folder, "And in Bari?")

        subprocess.run([sys.executable, "-m", "convtree", "inspect", f"{folder}/trip.jsonl"], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:  # the process that dies
        asyncio.run(ask(*sys.argv[1:]))
        os._exit(CRASHED)
    asyncio.run(main())
