"""The table of formats: `FORMATS` is what can be read, in the order in which it is asked, `WRITERS` what is written.

Whoever imports this imports every format, so that is done when a foreign file is met, or one is wanted.
"""

from collections.abc import Callable, Iterator

from convtree.formats import (
    atuin_ai,
    chatgpt,
    claude_ai,
    claude_code,
    codex,
    gemini_checkpoint,
    gemini_cli,
    goose,
    kit,
    kubectl_ai,
    librechat,
    llm,
    markdown,
    opencode,
    openwebui,
    pi,
    picoclaw,
    plain,
)
from convtree.formats.base import Exported, Format

FORMATS: tuple[Format, ...] = (
    *(kit, pi, claude_code, codex, gemini_cli, gemini_checkpoint, picoclaw, kubectl_ai),
    *(chatgpt, claude_ai, openwebui, librechat),
    *(goose, atuin_ai, llm, opencode),
)
WRITERS: dict[str, Callable[[Exported], Iterator[bytes]]] = {
    module.NAME: module.write for module in (pi, kit, plain, markdown)
}
