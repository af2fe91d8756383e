"""Summarise what has grown too long: the log keeps everything, the model sees a summary and the rest."""

from convtree import CompactionEntry, Session


def compact(session: Session, keep: int) -> CompactionEntry:
    """Keeps the last `keep` messages of the context and lets a summary stand for the others."""
    context = session.build_context()
    cut, kept = context.entries[:-keep], context.entries[-keep:]
    summary = f"{len(cut)} messages, beginning with {context.messages[0]['content']!r}"  # a model would write this
    return session.append(CompactionEntry(summary=summary, first_kept_entry_id=kept[0].id, messages_removed=len(cut)))


def main() -> None:
    session = Session.memory()
    for number in range(1, 11):
        session.append({"role": "user", "content": f"question {number}"})
        session.append({"role": "assistant", "content": f"answer {number}"}, model="m", provider="p")

    compaction = compact(session, keep=4)
    session.append({"role": "user", "content": "question 11"})
    context = session.build_context()
    print(len(session.path()), "entries,", len(context.messages), "messages in the context, model", context.model)
    print(context.messages[0]["content"].splitlines()[-2])

    # Before the compaction, the model saw everything: looking there changes nothing.
    print(len(session.build_context(leaf=compaction.parent_id).messages), "messages before it")

    # Other wording, or another role, for the summary.
    shouted = session.build_context(render=lambda entry: {"role": "user", "content": entry.summary.upper()})
    print(shouted.messages[0]["content"])


if __name__ == "__main__":
    main()
