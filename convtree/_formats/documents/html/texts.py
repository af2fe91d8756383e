"""Foreign text as safe markup: Markdown, highlighted code, plain text. Pure.

Everything here returns `Markup` whose text is escaped and whose elements are made here, by markdown-it-py with raw HTML
off, or by Pygments. Text that would take long to parse or to highlight is shown as it is: both need time that can grow
with the square of the length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import msgspec
import orjson
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape
from pygments import format as formatted  # type: ignore[import-untyped]  # it has no types
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]  # it has no types
from pygments.lexer import Lexer  # type: ignore[import-untyped]  # it has no types
from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]  # it has no types
from pygments.token import Error  # type: ignore[import-untyped]  # it has no types

from convtree._formats.documents.html.images import image_source
from convtree._model.document_text import escape_text
from convtree._model.terminal_text import BIDI_CONTROLS, CONTROLS, visible_escape

_MARKDOWN_LIMIT = 40_000  # characters of a text that is read as Markdown
_CODE_LIMIT = 30_000  # characters of code that is highlighted
_SLOW_LIMIT = 8_000  # the same, where Pygments looks for functions in a time that grows with the square of the length
_ERRORS = 300  # places that Pygments cannot read, each perhaps after reading all that follows
_SLOW = ("c", "cpp", "csharp", "java")
_LINE_LIMIT = 2_000  # characters of a line of code that is highlighted
_SHOWN = 20_000  # characters of a long text that are shown before it is unfolded
_NOT_CODE = re.compile(f"[{CONTROLS}{BIDI_CONTROLS}]")
_EMPTY_LINES = re.compile(r"(?:\n[ \t]*){50}")  # Pygments' lexer of C reads many of them in quadratic time
_WORDS = re.compile(r"(?:\b\w[\w\[\]]*+\s++){150}")  # its lexer of C# looks through all of them for a method, at each
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
#: a text without any of these is a plain paragraph in Markdown, too
_MARKED = re.compile(r"[\\`*_\[\]<>#|~&!\t\r\n]|^\s|^(?:[-+=]|\d+[.)])|  $")
_DIFF = re.compile(r"(?:^|\n)(?:diff --git |@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@|\*\*\* Begin Patch)")
_PAGES = ("http", "https")
#: names of languages, also as they end file names -> Pygments' lexers
_LEXERS: dict[str, str] = {
    name: lexer
    for lexer, names in {
        "bash": "bash sh shell zsh",
        "c": "c h",
        "console": "console shell-session",
        "cpp": "cpp c++ cc hpp cxx",
        "csharp": "csharp cs c#",
        "css": "css scss",
        "diff": "diff patch udiff",
        "docker": "docker dockerfile",
        "elixir": "elixir ex exs",
        "go": "go golang",
        "graphql": "graphql gql",
        "haskell": "haskell hs",
        "html": "html htm vue svelte",
        "ini": "ini cfg conf",
        "java": "java",
        "javascript": "javascript js mjs cjs jsx",
        "json": "json jsonl jsonc",
        "kotlin": "kotlin kt",
        "lua": "lua",
        "make": "make makefile mk",
        "markdown": "markdown md",
        "nix": "nix",
        "perl": "perl pl",
        "php": "php",
        "powershell": "powershell ps1",
        "protobuf": "protobuf proto",
        "python": "python py pyi python3",
        "ruby": "ruby rb",
        "rust": "rust rs",
        "scala": "scala",
        "sql": "sql",
        "swift": "swift",
        "terraform": "terraform tf hcl",
        "toml": "toml",
        "typescript": "typescript ts tsx mts",
        "xml": "xml",
        "yaml": "yaml yml",
        "zig": "zig",
    }.items()
    for name in names.split()
}
_DARK = ':root[data-theme="dark"] '
_HIGHLIGHTED = HtmlFormatter(nowrap=True, classprefix="h-")


def markdown(text: str) -> Markup:
    """Returns a text for people that may hold Markdown."""
    if len(text) > _MARKDOWN_LIMIT:
        return plain(text)
    if _MARKED.search(text) is None:
        return Markup("<p>%s</p>") % escape_text(text, lines=True)
    return Markup(_parser().render(escape_text(text, lines=True)))  # escaped by the parser


def plain(text: str) -> Markup:
    """Returns a text as it is; the end of a very long one is folded."""
    return _folded(escape_text(text, lines=True), "plain")


def code(text: str, language: str = "") -> Markup:
    """Returns code or the output of a program, highlighted where the language is known and the text is short.

    Characters that could reorder code are shown as escapes.
    """
    text = _NOT_CODE.sub(visible_escape, text.replace("\r\n", "\n"))
    lexer = _lexer(language.lower())
    is_slow = _LEXERS.get(language.lower()) in _SLOW
    is_short = len(text) <= (_SLOW_LIMIT if is_slow else _CODE_LIMIT)
    is_short = is_short and max(map(len, text.split("\n"))) <= _LINE_LIMIT
    is_short = is_short and not (is_slow and _WORDS.search(text))
    if lexer is None or not is_short or _EMPTY_LINES.search(text) is not None:
        return _folded(text, "code")
    coloured = _highlighted(text, lexer)
    return _folded(text, "code") if coloured is None else coloured


def output(text: str, language: str = "") -> Markup:
    """Returns what a tool printed, without the colours of a terminal. Diffs are found by their look."""
    text = without_colours(text)
    return code(text, "diff" if _DIFF.search(text[:_LINE_LIMIT]) else language)


def without_colours(text: str) -> str:
    """Returns a text without the colours of a terminal."""
    return _COLOURS.sub("", text)


def data(value: Any) -> Markup:
    """Returns a JSON value, whole."""
    return code(pretty(value), "json")


def pretty(value: Any) -> str:
    """Returns a JSON value on several lines. msgspec encodes the integers that orjson refuses."""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except (TypeError, orjson.JSONEncodeError):
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def language_of(path: str) -> str:
    """Returns the language of a file by its name; empty if it is not known."""
    name = path.replace("\\", "/").rpartition("/")[2].lower()
    ending = name.rpartition(".")[2]
    return ending if ending in _LEXERS else ""


def link(url: str) -> Markup | None:
    """Returns a link to an address that may be followed; None for any other address."""
    return Markup('<a href="%s" rel="noopener noreferrer">%s</a>') % (url, _one_line(url)) if is_safe(url) else None


def is_safe(url: str) -> bool:
    """Returns whether an address leads to a page or to mail."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return False
    return parts.scheme == "mailto" or (parts.scheme in _PAGES and bool(parts.netloc))  # http:x is relative


def one_line(text: str, longest: int) -> str:
    """Returns the beginning of a text as one line."""
    line = _one_line(text[: longest * 2])
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def style() -> str:
    """Returns the style sheet of highlighted code, for the light and the dark page."""
    rules = _rules("default", "")
    for scope, media in ((':root:not([data-theme="light"]) ', "(prefers-color-scheme: dark)"), (_DARK, "screen")):
        rules += [f"@media {media} {{", *_rules("github-dark", scope), "}"]
    return "\n".join(rules)


def _rules(style: str, scope: str) -> list[str]:
    found = HtmlFormatter(style=style, classprefix="h-").get_style_defs(".code").split("\n")
    return [f"{scope}{rule}" for rule in found if rule.startswith(".code .h-")]


def _one_line(text: str) -> str:
    return escape_text(text).strip()


def _folded(text: str, kind: str) -> Markup:
    """Returns a text in which nothing is markup. What follows its first characters is folded."""
    direction = "ltr" if kind == "code" else "auto"
    shown = Markup('<pre class="%s" dir="%s" tabindex="0">%s</pre>')
    if len(text) <= _SHOWN * 2:
        return shown % (kind, direction, text)
    more = Markup('<details class="more"><summary>%s more characters</summary>%s</details>')
    rest = shown % (kind, direction, text[_SHOWN:])
    return shown % (kind, direction, text[:_SHOWN]) + more % (f"{len(text) - _SHOWN:,}", rest)


def _highlighted(text: str, lexer: Lexer) -> Markup | None:
    """Returns highlighted code; None if too much of it is not of the language."""
    read: list[tuple[Any, str]] = []
    errors = 0
    for kind, value in lexer.get_tokens(text):
        read.append((kind, value))
        errors += kind in Error
        if errors > _ERRORS:
            return None
    return Markup('<pre class="code" dir="ltr" tabindex="0">%s</pre>') % Markup(formatted(read, _HIGHLIGHTED))


@lru_cache(maxsize=len(_LEXERS) + 100)
def _lexer(language: str) -> Lexer | None:
    name = _LEXERS.get(language)
    return None if name is None else get_lexer_by_name(name, stripnl=False)


class _Renderer(RendererHTML):
    """Writes links that leave no trace, code that is highlighted, and no images but those in the text itself."""

    def link_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        """Writes the beginning of a link."""
        tokens[index].attrSet("rel", "noopener noreferrer")
        return self.renderToken(tokens, index, options, env)

    def th_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        """Writes the beginning of a cell. Its alignment is a class, because the page allows no style in it."""
        style = str(tokens[index].attrs.pop("style", "")).removeprefix("text-align:")
        if style in ("center", "right"):
            tokens[index].attrSet("class", style)
        return self.renderToken(tokens, index, options, env)

    td_open = th_open

    def image(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        """Writes an image that is in the text, and of any other image its name and a link."""
        token = tokens[index]
        url = str(token.attrGet("src") or "")
        name = self.renderInlineAsText(token.children, options, env)
        kind, _, base64 = url.removeprefix("data:").partition(";base64,")
        if url.startswith("data:") and (source := image_source(base64, kind)) is not None:
            return Markup('<img src="%s" alt="%s" loading="lazy">') % (source, name)
        found = link(url)
        return Markup("[image: %s%s]") % (name, Markup(" ") + found if found is not None else "")

    def fence(self, tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
        """Writes a block of code."""
        token = tokens[index]
        return code(token.content.removesuffix("\n"), (token.info.split() or [""])[0])

    def code_block(self, tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
        """Writes an indented block of code."""
        return code(tokens[index].content.removesuffix("\n"))

    def text(self, tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
        """Writes a text."""
        return escape(tokens[index].content)


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    options: Mapping[str, Any] = {"html": False, "linkify": False, "breaks": True}
    parser = MarkdownIt("commonmark", options, renderer_cls=_Renderer)
    parser.validateLink = is_readable  # type: ignore[method-assign]  # the way that markdown-it-py documents
    return parser.enable(["table", "strikethrough"])


def is_readable(url: str) -> bool:
    """Returns whether Markdown may hold an address: one that is followed, or a picture, which `image` checks."""
    return is_safe(url) or url.startswith("data:image/")
