"""Edit, regenerate, and switch between alternatives, as a chat window with a "2/3" switcher does.

Needs only convtree, no extra.
"""

from convtree import MessageEntry, Session


def regenerate(session: Session, answer: MessageEntry, text: str) -> MessageEntry:
    """Stores another answer to the same question: a sibling of the first."""
    return session.append({"role": "assistant", "content": text}, reply_to=answer.reply_to)


def edit(session: Session, question: MessageEntry, text: str) -> MessageEntry:
    """Stores another question in the same place. The old question keeps its answers."""
    return session.append({"role": "user", "content": text}, parent_id=question.parent_id)


def switch(session: Session, entry: MessageEntry, step: int) -> str:
    """Moves to another alternative, and there to the entry that was appended last."""
    alternatives = session.siblings(entry.id)
    index = next(i for i, each in enumerate(alternatives) if each.id == entry.id)
    chosen = alternatives[(index + step) % len(alternatives)]
    session.branch(session.tip(chosen.id))
    return f"{(index + step) % len(alternatives) + 1}/{len(alternatives)} {chosen.text}"


def main() -> None:
    session = Session.memory()
    question = session.append({"role": "user", "content": "Name a city."})
    first = session.append({"role": "assistant", "content": "Rome"}, reply_to=question.id)
    session.append({"role": "user", "content": "Why?"})
    session.append({"role": "assistant", "content": "The light."})

    second = regenerate(session, first, "Oslo")
    print(switch(session, second, -1))  # back to Rome, and to the last answer below it
    print([message["content"] for message in session.build_context().messages])

    edited = edit(session, question, "Name a small city.")
    print([entry.text for entry in session.siblings(edited.id)])

    # A summary tells the model what happened on the branch that is abandoned.
    session.branch(second.id, summary="Rome was discussed; the light speaks for it.")
    print([entry.type for entry in session.path()])


if __name__ == "__main__":
    main()
