"""Summarise what has grown too long: the log keeps everything, the model sees a summary and the rest."""

from convtree import CompactionPlan, Session


def summarize(plan: CompactionPlan) -> str:
    """A model would write this, of `plan.messages` and `plan.previous_summary`."""
    return f"{len(plan.messages)} messages, beginning with {plan.messages[0]['content']!r}"


def main() -> None:
    session = Session.memory()
    for number in range(1, 11):
        session.append({"role": "user", "content": f"question {number}"})
        session.append({"role": "assistant", "content": f"answer {number}"}, model="m", provider="p")

    # "Too long?" is asked in tokens; here, for once, every message counts as one.
    assert session.build_context().count_tokens(lambda _: 1) == 20
    compaction = session.compact(summarize, keep_tokens=4, count_tokens=lambda _: 1)
    assert compaction is not None
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
