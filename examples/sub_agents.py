"""Give work to sub-agents. Each has a session of its own, which belongs to the call that began it.

Needs only convtree, no extra. The model is a function that needs no key.
"""

import json
import sys
import tempfile
from typing import Any

from convtree import MessageEntry, SessionStore, open_store


def model(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Answers as a model would: delegates twice, then says what came back."""
    last = messages[-1]
    if last["role"] == "tool":
        found = [message["content"] for message in messages if message["role"] == "tool"]
        return {"role": "assistant", "content": f"Done. {' '.join(found)}"}
    if "Plan" not in last["content"]:
        return {"role": "assistant", "content": f"{last['content'].removeprefix('Find ').capitalize()}: found."}
    calls = [
        {
            "id": f"call-{number}",
            "type": "function",
            "function": {"name": "delegate", "arguments": json.dumps({"task": f"Find {what}"})},
        }
        for number, what in enumerate(("a train", "a hotel"), 1)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def run_sub_agent(store: SessionStore, parent: str, asked: MessageEntry, call: dict[str, Any]) -> dict[str, Any]:
    """Runs one call in a session of its own, and returns the result for the parent."""
    task = json.loads(call["function"]["arguments"])["task"]
    with store.create_task(parent, asked.id, name=task) as session:
        session.set_system("You are a sub-agent. Answer in one sentence.")
        question = session.append({"role": "user", "content": task})
        messages = session.build_context().to("openai-chat")["messages"]
        answer = session.append(model(messages), reply_to=question.id, usage={"output_tokens": 5})
    return {"role": "tool", "tool_call_id": call["id"], "content": answer.text}


def main(url: str) -> None:
    with open_store(url) as store, store.create(name="A trip") as session:
        session.set_system("You plan trips. Delegate what you can.")
        asked = session.append({"role": "user", "content": "Plan a weekend in Rome."}).id
        while True:
            reply = session.append(model(session.build_context().to("openai-chat")["messages"]), reply_to=asked)
            if not (calls := reply.message.get("tool_calls")):
                break
            results = [run_sub_agent(store, session.id, reply, call) for call in calls]
            asked = session.append_many(results, reply_to=reply.id)[-1].id
        print(reply.text)

        # The parent's context has the results and none of the work. The work is listed and searched on request.
        print(len(session.build_context().messages), "messages in the context of the parent")
        print([info.name for info in store.children(session.id)])
        print(len(store.search("find")), "messages found,", len(store.search("find", tasks=True)), "with sub-agents")
        print(store.usage(session.id)[0].usage.output_tokens, "tokens, sub-agents included")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(folder)
