"""Google's ADK over convtree: a tool turn, a rewind, a question asked anew, a crash, and a look at it all.

Needs `pip install 'convtree[cli,google-adk]'`. A scripted model stands for a real one, so no key is needed.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator

from google.adk.agents import LlmAgent
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.tools import ToolContext
from google.genai import types

from convtree import MessageEntry
from convtree.adapters.google_adk import ConvtreeSessionService

CRASHED = 9
SESSION = {"app_name": "trips", "user_id": "ada", "session_id": "rome"}


class ScriptedModel(BaseLlm):  # type: ignore[misc]  # where the framework is not installed
    """Answers with what it is given: texts, or the name of a city, for which it calls the tool."""

    steps: list[str]

    async def generate_content_async(
        self,
        llm_request: LlmRequest,  # noqa: ARG002
        stream: bool = False,  # noqa: ARG002
    ) -> AsyncGenerator[LlmResponse, None]:
        """Yields the next step."""
        step = self.steps.pop(0)
        if step.startswith("weather in "):
            call = types.FunctionCall(name="weather", args={"city": step.removeprefix("weather in ")})
            part = types.Part(function_call=call)
        else:
            part = types.Part(text=step)
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


def weather(city: str, tool_context: ToolContext) -> dict[str, str]:
    """Returns the weather in a city."""
    tool_context.state["city"] = city
    return {"weather": f"sunny in {city}"}


def runner(service: ConvtreeSessionService, *steps: str) -> Runner:
    """What a service makes for each request. `steps` is what the model will answer."""
    agent = LlmAgent(name="guide", model=ScriptedModel(model="scripted", steps=list(steps)), tools=[weather])
    return Runner(app_name="trips", agent=agent, session_service=service)


async def ask(service: ConvtreeSessionService, question: str, *steps: str) -> tuple[str, str]:
    """Asks the agent; returns the ids of its last event and of the invocation."""
    message = types.Content(role="user", parts=[types.Part(text=question)])
    run = runner(service, *steps).run_async(user_id="ada", session_id="rome", new_message=message)
    async for event in run:
        last = event
    print(f"{question} {steps[-1]}", flush=True)
    return last.id, last.invocation_id


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        service = ConvtreeSessionService(folder)  # in place of InMemorySessionService()
        await service.create_session(app_name="trips", user_id="ada", session_id="rome")
        answer, _ = await ask(service, "How is the weather?", "weather in Rome", "It is sunny.")
        _, invocation = await ask(service, "And how long shall we stay?", "A week.")

        # ADK's own rewind, and an edit: go on behind an earlier event. Both keep what they take back.
        await runner(service).rewind_async(user_id="ada", session_id="rome", rewind_before_invocation_id=invocation)
        await ask(service, "And by train?", "Yes, over night.")
        await service.branch(**SESSION, entry=answer)
        await ask(service, "And by ship?", "Via Naples.")
        leaves = [branch.leaf for branch in await service.branches(**SESSION)]
        print("all are kept:", [leaf.text for leaf in leaves if isinstance(leaf, MessageEntry)], flush=True)
        await service.close()

        # A process that dies behind its run loses nothing; the next one goes on.
        died = subprocess.run([sys.executable, __file__, folder], check=False)
        assert died.returncode == CRASHED
        service = ConvtreeSessionService(folder)
        await ask(service, "And the food?", "Eat where you see no menu.")
        session = await service.get_session(**SESSION)
        assert session is not None
        print("state:", session.state, flush=True)
        with service.log(**SESSION) as log:
            subprocess.run([sys.executable, "-m", "convtree", "inspect", log.location], check=True)
        await service.close()


async def die(folder: str) -> None:
    """The process that dies."""
    await ask(ConvtreeSessionService(folder), "What to pack?", "A raincoat.")
    os._exit(CRASHED)


if __name__ == "__main__":
    asyncio.run(die(sys.argv[1]) if len(sys.argv) > 1 else main())
