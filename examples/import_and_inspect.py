"""Import a pi session with its branches, and draw it. Pass a file, or run it without one to use a small sample.

Needs the extra `cli` for the drawing: pip install '.[cli]'
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from convtree import Session
from convtree.exchange import import_file

STAMP = "2026-01-02T03:04:05.678Z"
SAMPLE: list[dict[str, object]] = [
    {"type": "session", "version": 3, "id": "8f14e45f", "timestamp": STAMP, "cwd": "/home/ann"},
    {"type": "message", "id": "0000000a", "parentId": None, "message": {"role": "user", "content": "Hello"}},
    {"type": "message", "id": "0000000b", "parentId": "0000000a", "message": {"role": "assistant", "content": "Hi."}},
    {"type": "message", "id": "0000000c", "parentId": "0000000a", "message": {"role": "assistant", "content": "Hey!"}},
]


def main(source: Path, log: Path) -> None:
    report = import_file(source, log)
    print(report.format, "session", report.session_id, "-", report.written, "records written")
    print("again:", import_file(source, log).written, "records written")
    with Session.open(log, mode="r") as session:
        print(len(session.leaves()), "branches,", len(session.build_context().messages), "messages in the context")
    subprocess.run([sys.executable, "-m", "convtree", "inspect", str(log)], check=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "sample.jsonl"
        sample.write_text("".join(json.dumps({**line, "timestamp": STAMP}) + "\n" for line in SAMPLE))
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else sample, Path(folder) / "log.jsonl")
