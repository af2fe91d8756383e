"""LangGraph over convtree: a tool turn, a question edited and answered anew, a crash, and a look at what is stored.

Needs `pip install 'convtree[cli,langgraph]' langgraph`. A scripted model stands for a real one: no key is needed.
"""

import os
import subprocess
import sys
import tempfile
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from convtree import MessageEntry
from convtree.adapters.langgraph import ConvtreeSaver

CRASHED = 9
TRIP: Any = {"configurable": {"thread_id": "trip"}}


def model(state: MessagesState) -> dict[str, Any]:
    """Calls the tool for a question, and says what it returned."""
    last = state["messages"][-1]
    if isinstance(last, ToolMessage):
        return {"messages": [AIMessage(f"It is {last.content}.")]}
    city = str(last.content).split()[-1].strip("?")
    return {"messages": [AIMessage("", tool_calls=[{"name": "weather", "args": {"city": city}, "id": f"call-{city}"}])]}


def tools(state: MessagesState) -> dict[str, Any]:
    """Returns the weather in a city. In Pisa, the process dies."""
    (call,) = state["messages"][-1].tool_calls
    city = call["args"]["city"]
    if city == "Pisa" and len(sys.argv) > 1:
        os._exit(CRASHED)
    return {"messages": [ToolMessage(f"sunny in {city}", tool_call_id=call["id"])]}


def graph_with(saver: ConvtreeSaver) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("model", model)
    builder.add_node("tools", tools)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    builder.add_edge("tools", "model")
    return builder.compile(checkpointer=saver)  # in place of InMemorySaver()


def ask(graph: Any, question: str | None) -> str:
    """Asks a question; None goes on where the last run stopped."""
    state = graph.invoke(None if question is None else {"messages": [("user", question)]}, TRIP, durability="sync")
    return str(state["messages"][-1].content)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        saver = ConvtreeSaver(folder)
        graph = graph_with(saver)
        print(ask(graph, "How is the weather in Rome?"))
        saver.branch("trip", None)  # edit the first question
        print(ask(graph, "How is the weather in Oslo?"))
        with saver.log("trip") as log:
            ends = [log.path(each.leaf, last=1, type=MessageEntry) for each in saver.branches("trip")]
            said = [end[0].text for end in ends if end]
            assert said == ["It is sunny in Rome.", "It is sunny in Oslo."], said
            rome = next(each.id for _, each in log.records() if isinstance(each, MessageEntry) and "Rome" in each.text)
        saver.checkout("trip", rome)
        saver.close()

        # A process that dies in the tool loses nothing that was stored; the next one goes on at that step.
        died = subprocess.run([sys.executable, __file__, folder], check=False)
        assert died.returncode == CRASHED
        saver = ConvtreeSaver(folder)
        graph = graph_with(saver)
        answer = ask(graph, None)
        assert answer == "It is sunny in Pisa.", answer
        assert len(graph.get_state(TRIP).values["messages"]) == 8
        saver.prune(["trip"])  # keeps the newest checkpoint, and the conversation
        saver.close()
        subprocess.run([sys.executable, "-m", "convtree", "inspect", f"{folder}/trip.jsonl"], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:  # the process that dies
        ask(graph_with(ConvtreeSaver(sys.argv[1])), "And in Pisa?")
    main()
