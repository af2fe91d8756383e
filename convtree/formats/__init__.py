"""Other tools' files: one module each, records out, and for some of them a way back.

`FORMATS` lists what can be read, in the order in which they are asked; `WRITERS` what can be written.
"""

from collections.abc import Callable, Iterator

from convtree.formats import claude_code, codex, gemini_cli, kit, markdown, pi, plain
from convtree.formats.base import Exported, Format

FORMATS: tuple[Format, ...] = (kit, pi, claude_code, codex, gemini_cli)
WRITERS: dict[str, Callable[[Exported], Iterator[bytes]]] = {
    module.NAME: module.write for module in (pi, kit, plain, markdown)
}
