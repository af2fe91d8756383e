"""The programs in the guide to frameworks."""

import re
from pathlib import Path

import convtree

GUIDE = Path(convtree.__file__).parent / "docs" / "guides" / "frameworks.md"


def run_block(*words: str) -> None:
    """Runs the first program of the guide in which all these words are."""
    blocks = re.findall(r"```py\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    exec(next(block for block in blocks if all(word in block for word in words)), {})
