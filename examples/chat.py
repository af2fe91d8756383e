"""A chat in the terminal. It continues the last conversation of this directory, or of this git repository.

    python examples/chat.py

Needs only convtree, no extra; for a real model also the SDK: pip install anthropic, or openai.

Conversations are stored in ~/.convtree-chat, or in the store at CONVTREE_URL (a folder, sqlite:///… or postgresql://…).
With ANTHROPIC_API_KEY or OPENAI_API_KEY set, the model CHAT_MODEL of that provider answers. Without a key, the chat
repeats what you type.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from convtree import Context, MessageEntry, Session, SessionStore, open_store

Model = Callable[[Context], Any]  # returns a message: a dict, or an object of an SDK
SYSTEM = "You are a helpful assistant in a terminal. Answer in plain text."
HELP = "/new starts another conversation, /again asks for another answer, /list lists conversations, ctrl-D ends"


def echo(context: Context) -> dict[str, Any]:
    return {"role": "assistant", "content": f"You said: {context.messages[-1]['content']}"}


def choose_model() -> Model:
    name = os.environ.get("CHAT_MODEL", "")
    if "ANTHROPIC_API_KEY" in os.environ:
        from anthropic import Anthropic

        claude = Anthropic()
        return lambda context: claude.messages.create(model=name, max_tokens=4000, **context.to("anthropic"))
    if "OPENAI_API_KEY" in os.environ:
        from openai import OpenAI

        gpt = OpenAI()
        return lambda context: gpt.chat.completions.create(model=name, **context.to("openai-chat"))
    return echo


def answer(session: Session, model: Model, question: MessageEntry) -> None:
    """Asks the model and stores its answer below the question. A second answer becomes an alternative to the first."""
    try:
        reply = model(session.build_context(leaf=question.id))
    except Exception as error:  # the question is stored, so /again can ask it again
        print(f"{type(error).__name__}: {error}")
    else:
        print(session.append(reply, reply_to=question.id).text)


def last_question(session: Session) -> MessageEntry | None:
    return next((each for each in session.walk_up(type=MessageEntry) if each.role == "user"), None)


def greet(session: Session) -> None:
    print(f"Continuing {session.name or session.id!r}." if session.leaf_id else f"A new conversation. {HELP}")
    for entry in session.path(last=4, type=MessageEntry):
        if entry.role != "system":
            print(f"  {entry.role}: {entry.text}")


def chat(store: SessionStore, model: Model, cwd: str, git_root: str | None) -> None:
    session = store.resume(cwd=cwd, git_root=git_root, max_age=timedelta(days=7), on_stale="branch")
    if session is None:
        session = store.create(cwd=cwd, git_root=git_root)
    greet(session)
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            break
        if text == "/new":
            session.close()
            session = store.create(cwd=cwd, git_root=git_root)
            greet(session)
        elif text == "/list":
            for info in store.list(cwd=cwd):
                print(f"  {info.last_activity}  {info.name or info.id}")
        elif text == "/again":
            if (question := last_question(session)) is not None:
                answer(session, model, question)
        elif text.startswith("/"):
            print(HELP)
        elif text:
            if session.leaf_id is None:
                session.rename(text[:60])
            session.set_system(SYSTEM)  # writes nothing if the conversation says it already
            answer(session, model, session.append({"role": "user", "content": text}))
    session.close()
    print()


if __name__ == "__main__":
    here = Path.cwd()
    root = next((str(each) for each in (here, *here.parents) if (each / ".git").exists()), None)
    with open_store(os.environ.get("CONVTREE_URL") or Path.home() / ".convtree-chat") as conversations:
        chat(conversations, choose_model(), str(here), root)
