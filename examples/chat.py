"""A chat in the terminal that goes on where it was left off in this directory, or in this git checkout.

    python examples/chat.py

The conversations are in ~/.convtree-chat, or wherever CONVTREE_URL says (a folder, sqlite:///…, postgresql://…). The
model is one of Anthropic's with ANTHROPIC_API_KEY, of OpenAI's with OPENAI_API_KEY, CHAT_MODEL says which; without a
key it is an echo.
"""

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from convtree import Context, MessageEntry, Session
from convtree._engine.sdk_objects import SDKObject
from convtree.stores._session_store import SessionStore, open_store

Model = Callable[[Context], Mapping[str, Any] | SDKObject]
HELP = "/new begins another conversation, /again asks for another answer, /list shows what there is, ctrl-D ends"


def echo(context: Context) -> dict[str, Any]:
    return {"role": "assistant", "content": f"You said: {context.messages[-1]['content']}"}


def choose_model() -> Model:
    name = os.environ.get("CHAT_MODEL", "")
    if "ANTHROPIC_API_KEY" in os.environ:
        from anthropic import Anthropic

        claude = Anthropic()
        return lambda context: claude.messages.create(model=name, max_tokens=4000, messages=context.messages)
    if "OPENAI_API_KEY" in os.environ:
        from openai import OpenAI

        gpt = OpenAI()
        return lambda context: gpt.chat.completions.create(model=name, messages=context.messages)
    return echo


def answer(session: Session, model: Model, question: MessageEntry) -> None:
    """Asks, and stores the answer below its question: the second time it is an alternative to the first."""
    try:
        reply = model(session.build_context(leaf=question.id))
    except Exception as error:  # the question is stored: /again asks again
        print(f"{type(error).__name__}: {error}")
    else:
        print(session.append(reply, parent_id=question.id).text)


def last_question(session: Session) -> MessageEntry | None:
    asked = [each for each in session.path() if isinstance(each, MessageEntry) and each.role == "user"]
    return asked[-1] if asked else None


def greet(session: Session) -> None:
    print(f"Going on with {session.name or session.id!r}." if session.leaf_id else f"A new conversation. {HELP}")
    for entry in session.path()[-4:]:
        if isinstance(entry, MessageEntry):
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
            answer(session, model, session.append({"role": "user", "content": text}))
    session.close()
    print()


if __name__ == "__main__":
    here = Path.cwd()
    root = next((str(each) for each in (here, *here.parents) if (each / ".git").exists()), None)
    with open_store(os.environ.get("CONVTREE_URL") or Path.home() / ".convtree-chat") as conversations:
        chat(conversations, choose_model(), str(here), root)
