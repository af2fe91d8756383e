"""The OpenAI Agents SDK over convtree: a tool turn, a question edited and answered anew, a crash, and a look at it all.

Needs `pip install 'convtree[cli,openai-agents]'`. A scripted model stands for a real one, so no key is needed.
"""

import asyncio
import os
import subprocess
import sys
import tempfile

from agents import Agent, Runner, function_tool, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call

from convtree import MessageEntry
from convtree.adapters.openai_agents import ConvtreeSession

CRASHED = 9


def weather(city: str) -> str:
    """Returns the weather in a city."""
    return f"sunny in {city}"


async def ask(session: ConvtreeSession, question: str, *steps: object) -> None:
    """What a service does for each request. `steps` is what the model will answer."""
    agent = Agent(name="guide", model=ScriptedModel([[step] for step in steps]), tools=[function_tool(weather)])
    result = await Runner.run(agent, question, session=session)
    print(f"{question} {result.final_output}", flush=True)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        session = ConvtreeSession("trip", folder)  # in place of SQLiteSession("trip", "trip.db")
        call = function_call("weather", {"city": "Rome"}, call_id="call_1")
        await ask(session, "How is the weather in Rome?", call, assistant_message("It is sunny."))
        await ask(session, "And how long shall we stay?", assistant_message("A week."))

        await session.branch(3)  # edit the second question: go on behind the fourth item
        await ask(session, "And by train?", assistant_message("Yes, over night."))
        leaves = [branch.leaf for branch in await session.branches()]
        print("both are kept:", [leaf.text for leaf in leaves if isinstance(leaf, MessageEntry)], flush=True)
        session.close()

        # A process that dies behind its run loses nothing; the next one goes on.
        died = subprocess.run([sys.executable, __file__, folder], check=False)
        assert died.returncode == CRASHED
        session = ConvtreeSession("trip", folder)
        await ask(session, "And the food?", assistant_message("Eat where you see no menu."))
        session.close()

        subprocess.run([sys.executable, "-m", "convtree", "inspect", f"{folder}/trip.jsonl"], check=True)


async def die(folder: str) -> None:
    """The process that dies."""
    await ask(ConvtreeSession("trip", folder), "What to pack?", assistant_message("A raincoat."))
    os._exit(CRASHED)


if __name__ == "__main__":
    set_tracing_disabled(True)
    asyncio.run(die(sys.argv[1]) if len(sys.argv) > 1 else main())
