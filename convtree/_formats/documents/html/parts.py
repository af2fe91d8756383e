"""The parts of a message as pieces for the template: texts, thinking, calls, results, files. Pure.

What no reader knows is a piece, too, and is shown whole, as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import unified_diff
from typing import Any, NamedTuple

from markupsafe import Markup

from convtree._formats.documents.html import texts
from convtree._formats.documents.html.images import image_source
from convtree._messages.parts import Call, Hosted, Media, Part, Result, Text, Thinking, Unknown
from convtree._providers.writing import as_object, as_text, named

_GIST = 160  # characters of arguments beside the name of a tool
_NAME = 120  # characters of a name
_DIFFED = 400  # lines of a text that is compared with another
_REMEMBERED = 10_000  # calls whose files are known when their results come
_CODE = {"command": "bash", "cmd": "bash", "script": "bash", "patch": "diff", "diff": "diff", "sql": "sql"}
_CONTENTS = ("content", "file_text", "contents", "code")
_PATHS = ("path", "file_path", "filename", "file", "filePath")
#: what a tool for edits calls the text before and after
_EDITS = (("oldText", "newText"), ("old_string", "new_string"), ("old_str", "new_str"), ("old_text", "new_text"))


class Piece(NamedTuple):
    """A part as the template shows it.

    Attributes:
        kind: text, thought, call, result, file or unknown.
        title: the name of a tool, or a text in place of content that is not shown.
        body: the content.
        gist: the beginning of the content, as one line.
        id: connects a call with its result.
        is_error: whether the tool failed.
        image: the source of an image.
    """

    kind: str
    title: str = ""
    body: Markup = Markup()
    gist: str = ""
    id: str = ""
    is_error: bool = False
    image: str | None = None


class Pieces:
    """Makes the pieces of messages. Remembers which files were read, to highlight what the tool returns."""

    def __init__(self) -> None:
        self._languages: dict[str, str] = {}  # by the id of a call

    def of(self, parts: Iterable[Part]) -> Iterator[Piece]:
        """Yields the pieces of a message."""
        for part in parts:
            match part:
                case Text():
                    if part.text.strip():
                        yield Piece("text", body=texts.markdown(part.text))
                case Thinking():
                    yield self._thought(part)
                case Media():
                    yield from _media(part)
                case Call():
                    yield self._call(part)
                case Result():
                    yield from self._result(part)
                case Hosted():
                    body = texts.plain(part.text) if part.text else texts.data(part.raw)
                    yield Piece("unknown", "Done by a tool of the provider", body)
                case Unknown():
                    yield Piece("unknown", f"Not understood: {texts.one_line(part.why, _NAME)}", texts.data(part.value))

    def _thought(self, part: Thinking) -> Piece:
        if part.text.strip():
            return Piece("thought", "Thinking", texts.markdown(part.text), texts.one_line(part.text, _GIST))
        return Piece("thought", "Thinking, readable by its model only", texts.data(part.raw))

    def _call(self, part: Call) -> Piece:
        id, arguments = part.id or part.name, as_object(part)
        path = next((arguments[key] for key in _PATHS if isinstance(arguments.get(key), str)), "")
        if len(self._languages) >= _REMEMBERED:
            self._languages.pop(next(iter(self._languages)))
        self._languages[id] = texts.language_of(path)
        try:
            body = _arguments(arguments, path)
        except RecursionError:  # a text of arguments may be nested deeper than an entry
            body = texts.code(as_text(part.arguments))
        return Piece("call", texts.one_line(part.name, _NAME), body, _gist(arguments, path), id)

    def _result(self, part: Result) -> Iterator[Piece]:
        id = part.id or part.name
        said = texts.without_colours("\n".join(each.text for each in part.content if isinstance(each, Text)))
        body = texts.output(said, self._languages.get(id) or _look(said)) if said.strip() else Markup()
        name = texts.one_line(part.name, _NAME) if part.name else ""
        yield Piece("result", name, body, texts.one_line(said, _GIST), id, part.is_error)
        for each in part.content:
            if isinstance(each, Media):
                yield from _media(each)


def _media(part: Media) -> Iterator[Piece]:
    size = f", {len(part.data) * 3 // 4:,} bytes" if part.data is not None else ""
    title = f"{part.kind.capitalize()}{size}: " if size else f"{part.kind.capitalize()}: "
    title += texts.one_line(" ".join(filter(None, (part.name, part.mime))) or named(part), _NAME)
    image = image_source(part.data, part.mime) if part.kind == "image" and part.data is not None else None
    if image is not None:
        yield Piece("file", title, image=image)
        return
    if part.kind == "image" and part.data is not None:
        title += " (not shown)"
    body = texts.plain(part.text) if part.text else Markup()
    if part.url and not part.url.startswith("data:"):
        body += texts.link(part.url) or texts.plain(part.url)
    yield Piece("file", title, body)


def _look(said: str) -> str:
    """Returns the language of a tool's output, by its first character."""
    return "json" if said.lstrip()[:1] in ("{", "[") else ""


def _gist(arguments: dict[str, Any], path: str) -> str:
    """Returns what a call is about: a command, a file, or the first text."""
    first = next((value for value in arguments.values() if isinstance(value, str) and value.strip()), "")
    command = next((value for key in ("command", "cmd") if isinstance(value := arguments.get(key), str)), "")
    return texts.one_line(command or path or first, _GIST)


def _arguments(arguments: dict[str, Any], path: str) -> Markup:
    """Returns the arguments of a call: edits as diffs, commands and files as code, all others as JSON."""
    left, shown = dict(arguments), Markup()
    edits = left.pop("edits") if _are_edits(left.get("edits")) else []
    for edit in [left, *edits]:
        rest = edit if edit is left else dict(edit)
        for before, after in _EDITS:
            if isinstance(rest.get(before), str) and isinstance(rest.get(after), str):
                shown += _difference(rest.pop(before), rest.pop(after), path)
        if edit is not left and rest:
            shown += texts.data(rest)
    for key, value in arguments.items():
        if key not in left or not isinstance(value, str):
            continue
        if key in _CODE:
            shown += texts.output(left.pop(key), _CODE[key])
        elif key in _CONTENTS or (key == "input" and "\n" in value):
            shown += texts.output(left.pop(key), texts.language_of(path))
    is_said = list(left.values()) == [path] and len(path) < _GIST  # beside the name of the tool
    return (texts.data(left) if left and not is_said else Markup()) + shown


def _are_edits(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _difference(before: str, after: str, path: str) -> Markup:
    """Returns two texts as a diff, or one after the other where comparing them would take long."""
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > _DIFFED:
        language = texts.language_of(path)
        return texts.code(before, language) + texts.code(after, language)
    lines = list(unified_diff(old, new, lineterm="", n=3))[2:]
    return texts.code("\n".join(lines), "diff")
