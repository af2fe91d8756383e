"""Append, branch, compact, build the context, inspect: the whole of convtree in one file.

Run it with a path to keep the log, or without one to try.
"""

import sys
import tempfile
from pathlib import Path

import convtree


def main(path: Path) -> None:
    with convtree.Session.open(path, name="A trip") as session:
        session.append({"role": "system", "content": "You plan trips."})  # pinned: it survives compactions
        question = session.append({"role": "user", "content": "Where shall we go in March?"})
        rome = session.append({"role": "assistant", "content": "To Rome."}, provider="anthropic", model="claude")

        # Try again: a sibling of the first answer, in one write. Nothing is lost.
        session.append({"role": "assistant", "content": "To Oslo."}, parent_id=question.id)
        session.label(rome.id, "the warm one")

        # Go back to the first answer; the move is recorded and survives a restart.
        session.branch(rome.id)
        wish = session.append({"role": "user", "content": "Three days, on foot."})
        session.append({"role": "assistant", "content": "Day one: the Forum."}, provider="anthropic", model="claude")

        # A summary stands for what lies before the kept entry. The log keeps everything.
        session.append(convtree.CompactionEntry(summary="They chose Rome.", first_kept_entry_id=wish.id))
        session.append({"role": "user", "content": "And day two?"})

        context = session.build_context()
        print(f"next request goes to {context.provider} / {context.model}:")
        for message in context.messages:
            print(f"  {message['role']:>9}: {' '.join(message['content'].split())}")
        print(f"the log: {path}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder) / "trip.jsonl")
