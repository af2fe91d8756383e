"""Append, branch, compact, build the context: the main calls of convtree in one file.

Needs only convtree, no extra. Pass a path to keep the log. Without one, it is deleted at the end. Running it again with
the same path continues the same log.
"""

import sys
import tempfile
from pathlib import Path

import convtree


def main(path: Path) -> None:
    with convtree.Session.open(path, name="A trip") as session:
        session.set_system("You plan trips.")  # stays after a compaction; a second run writes nothing here
        question = session.append({"role": "user", "content": "Where shall we go in March?"})
        answer = {"role": "assistant", "content": "To Rome."}
        rome = session.append(answer, reply_to=question.id, provider="anthropic", model="claude")

        # Regenerate: the second answer is a sibling of the first.
        session.append({"role": "assistant", "content": "To Oslo."}, reply_to=question.id)
        session.label(rome.id, "the warm one")

        # Go back to the first answer. The move is recorded, so it survives a restart.
        session.branch(rome.id)
        wish = session.append({"role": "user", "content": "Three days, on foot."})
        session.append({"role": "assistant", "content": "Day one: the Forum."}, reply_to=wish.id)

        # A summary replaces the messages before the kept entry. The log keeps everything.
        session.append(convtree.CompactionEntry(summary="They chose Rome.", first_kept_entry_id=wish.id))
        session.append({"role": "user", "content": "And day two?"})

        context = session.build_context()
        print(f"the next request goes to {context.provider} / {context.model}:")
        for message in context.messages:
            print(f"  {message['role']:>9}: {' '.join(message['content'].split())}")
        print(f"the log: {path}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder) / "trip.jsonl")
