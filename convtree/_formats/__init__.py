"""Formats of other tools: one module or folder each, shared parts in `common`.

`registry` lists the formats that are read. `WRITERS` lists the ones that are written; it imports none of them.
"""

#: name of a format -> its module, which has a function `write`
WRITERS = {
    "pi": "convtree._formats.pi.writer",
    "kit": "convtree._formats.kit.writer",
    "json": "convtree._formats.documents.json",
    "markdown": "convtree._formats.documents.markdown",
    "html": "convtree._formats.documents.html",
    "claude-code": "convtree._formats.claude_code.writer",
    "codex": "convtree._formats.codex.writer",
    "openai-jsonl": "convtree._formats.message_list.writer",
    "picoclaw": "convtree._formats.picoclaw",
    "atif": "convtree._formats.atif.writer",
    "hf-traces": "convtree._formats.documents.traces",
}
#: formats that hold the contexts of all leaves, and have no leaf of their own
ALL_LEAVES = frozenset({"openai-jsonl"})
#: formats that hold all branches; the others hold the path to one leaf
ALL_BRANCHES = frozenset({"pi", "kit", "json", "html", "claude-code"}) | ALL_LEAVES
#: formats whose times are for people, in a zone that the caller chooses
ZONED = frozenset({"markdown"})
#: formats that are made to be published: secrets are removed unless that is switched off
PUBLISHED = frozenset({"hf-traces"})
