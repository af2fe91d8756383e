"""Edit and regenerate, as a chat window with a "2/3" switcher does it."""

from convtree import MessageEntry, Session


def regenerate(session: Session, answer: MessageEntry, text: str) -> MessageEntry:
    """Another answer to the same question: a sibling."""
    return session.append({"role": "assistant", "content": text}, parent_id=answer.parent_id)


def edit(session: Session, question: MessageEntry, text: str) -> MessageEntry:
    """Another question in the same place; the old one keeps its answers."""
    return session.append({"role": "user", "content": text}, parent_id=question.parent_id)


def switch(session: Session, entry: MessageEntry, step: int) -> str:
    """Moves to the next or previous alternative, to where it was last continued."""
    alternatives = session.siblings(entry.id)
    place = next(i for i, each in enumerate(alternatives) if each.id == entry.id)
    chosen = alternatives[(place + step) % len(alternatives)]
    session.branch(session.tip(chosen.id))
    return f"{(place + step) % len(alternatives) + 1}/{len(alternatives)} {chosen.text}"


def main() -> None:
    session = Session.memory()
    question = session.append({"role": "user", "content": "Name a city."})
    first = session.append({"role": "assistant", "content": "Rome"})
    session.append({"role": "user", "content": "Why?"})
    session.append({"role": "assistant", "content": "The light."})

    second = regenerate(session, first, "Oslo")
    print(switch(session, second, -1))  # back to Rome, at the end of what was said there
    print([message["content"] for message in session.build_context().messages])

    edited = edit(session, question, "Name a small city.")
    print([entry.text for entry in session.siblings(edited.id)])

    # What happened on the way that is left can go along as a summary.
    session.branch(second.id, summary="Rome was discussed; the light speaks for it.")
    print([entry.type for entry in session.path()])


if __name__ == "__main__":
    main()
