"""The guide to frameworks: what the tests run of it."""

import re
from pathlib import Path

import convtree

_GUIDE = Path(convtree.__file__).parent / "docs" / "guides" / "frameworks.md"


def block_of(heading: str) -> str:
    """Returns the Python of the section with a heading."""
    _, _, section = _GUIDE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    (block,) = re.findall(r"```py\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    return str(block)
