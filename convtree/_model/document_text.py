r"""Makes foreign text safe in a document for people. Pure.

A document shows what was said, so text stays as it is, to the character. There are two exceptions. Controls (C0, C1 and
DEL, without tab and newline) are not text, and are shown as escapes. A bidi control could reorder text of others,
so every line is isolated: a document that puts lines together in one paragraph keeps their order.
"""

from __future__ import annotations

import re

from convtree._model.terminal_text import BIDI_CONTROLS, CONTROLS, json_escape, visible_escape

_CONTROL = re.compile(f"[{CONTROLS}]")
_BIDI_CONTROL = re.compile(f"[{BIDI_CONTROLS}]")
_CONTROL_IN_JSON = re.compile(f"[{CONTROLS}{BIDI_CONTROLS}]")
_BLANKS = re.compile(r"[ \t\r\n]+")
_LINE_END = re.compile("([\n\u2029])")  # what ends a paragraph in the bidi algorithm, and is no control

_ISOLATES = "\u2066\u2067\u2068"
_POP_EMBEDDING, _POP_ISOLATE = "\u202c", "\u2069"
_FIRST_STRONG_ISOLATE = "\u2068"

# What is open at a place in a line. `_ADDED` is an isolate that the text did not have.
_EMBEDDING, _ISOLATE, _ADDED = range(3)


def escape_text(text: str, *, lines: bool = False) -> str:
    r"""Returns the text with controls written as `\x1b` and bidi controls isolated.

    The result is one line with single spaces. With `lines`, newlines and tabs stay.
    """
    text = text.replace("\r\n", "\n") if lines else _BLANKS.sub(" ", text)
    text = _CONTROL.sub(visible_escape, text)
    if _BIDI_CONTROL.search(text) is None:
        return text
    return "".join(map(_isolate, _LINE_END.split(text)))


def escape_json(document: str) -> str:
    r"""Returns a JSON document with the same value in which controls and bidi controls are written as `\u202e`."""
    return _CONTROL_IN_JSON.sub(json_escape, document)


def _isolate(line: str) -> str:
    """Returns a line whose embeddings and overrides are in isolates, and whose isolates are closed.

    Isolates that the line closes itself stay as they are. A control without effect stays, too.
    """
    written, at, is_open = list[str](), 0, list[int]()
    for found in _BIDI_CONTROL.finditer(line):
        written += (line[at : found.start()], _isolated(found[0], is_open))
        at = found.end()
    return "".join([*written, line[at:], _POP_ISOLATE * sum(each != _EMBEDDING for each in is_open)])


def _isolated(control: str, is_open: list[int]) -> str:
    """Returns a control with the isolate that it needs; brings `is_open` up to date. Rules X2 to X7 of UAX 9."""
    if control in _ISOLATES:
        is_open.append(_ISOLATE)
    elif control == _POP_ISOLATE:
        while is_open and is_open.pop() == _EMBEDDING:  # it also ends the embeddings within the isolate
            pass
    elif control == _POP_EMBEDDING:
        if is_open and is_open[-1] == _EMBEDDING:
            is_open.pop()
            if is_open[-1] == _ADDED:
                is_open.pop()
                return control + _POP_ISOLATE
    else:
        is_needed = not is_open
        is_open += [_ADDED, _EMBEDDING] if is_needed else [_EMBEDDING]
        return _FIRST_STRONG_ISOLATE + control if is_needed else control
    return control
