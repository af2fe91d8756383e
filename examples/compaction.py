"""Compact a long conversation: the log keeps everything, the model sees a summary and the most recent messages.

Needs only convtree, no extra.
"""

from convtree import CompactionPlan, Session


def summarize(plan: CompactionPlan) -> str:
    """Returns the summary. In practice a model writes it, from `plan.messages` and `plan.previous_summary`."""
    return f"{len(plan.messages)} messages, beginning with {plan.messages[0]['content']!r}"


def main() -> None:
    session = Session.memory()
    for number in range(1, 11):
        session.append({"role": "user", "content": f"question {number}"})
        session.append({"role": "assistant", "content": f"answer {number}"}, model="m", provider="p")

    # The length is measured in tokens. To keep this example simple, every message counts as one token.
    assert session.build_context().count_tokens(lambda _: 1) == 20
    compaction = session.compact(summarize, keep_tokens=4, count_tokens=lambda _: 1)
    assert compaction is not None
    session.append({"role": "user", "content": "question 11"})
    context = session.build_context()
    print(len(session.path()), "entries,", len(context.messages), "messages in the context, model", context.model)
    print(context.messages[0]["content"].splitlines()[-2])

    # The context before the compaction is still there. Building it changes nothing.
    print(len(session.build_context(leaf=compaction.parent_id).messages), "messages before it")

    # `render` chooses the wording and the role of the summary.
    shouted = session.build_context(render=lambda entry: {"role": "user", "content": entry.summary.upper()})
    print(shouted.messages[0]["content"])


if __name__ == "__main__":
    main()
