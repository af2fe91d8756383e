"""The tree of runs as text for Graphviz (DOT) and Mermaid, written by anytree's exporters.

The exporters recurse once per level of the tree, so a deep tree would overflow the stack. Therefore they get a tree of
two levels: all runs, and below each run its children. Lines that appear twice are then removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from convtree._cli.describe import describe
from convtree._cli.leaf_view import LeafView
from convtree._cli.terminal import readable_size
from convtree._model.terminal_text import escape_controls

_TEXT_LENGTH = 40  # characters of an entry's text


class Box(NamedTuple):
    """A run as the exporters see it: its number and its children."""

    number: int
    children: tuple[Box, ...] = ()


def dot(view: LeafView) -> Iterator[str]:
    """Yields the tree of runs in the DOT language."""
    from anytree.exporter import DotExporter  # type: ignore[import-untyped]  # it has no types

    labels = _labels(view)

    def attributes(box: Box) -> str:
        text = r"\n".join(_dot_text(line) for line in labels[box.number])
        return f'label="{text}"{", style=bold" if _is_active(view, box) else ""}'

    top = _boxes(view)
    exporter = DotExporter(
        top,
        options=["node [shape=box];"],
        nodenamefunc=_name,
        nodeattrfunc=attributes,
        filter_=lambda box: box is not top,
    )
    yield from dict.fromkeys(exporter)


def mermaid(view: LeafView) -> Iterator[str]:
    """Yields the tree of runs in the Mermaid language."""
    from anytree.exporter import MermaidExporter

    labels = _labels(view)

    def shape(box: Box) -> str:
        text = "<br>".join(_mermaid_text(line) for line in labels[box.number])
        return f'["{text}"]{":::active" if _is_active(view, box) else ""}'

    top = _boxes(view)
    exporter = MermaidExporter(
        top,
        options=["classDef active stroke-width:3px"],
        nodenamefunc=_name,
        nodefunc=shape,
        filter_=lambda box: box is not top,
    )
    yield from dict.fromkeys(exporter)


def _boxes(view: LeafView) -> Box:
    """Returns one box with all runs below it, and below each run the runs that continue it."""
    runs = view.outline.runs
    return Box(-1, tuple(Box(number, tuple(map(Box, run.children))) for number, run in enumerate(runs)))


def _name(box: Box) -> str:
    return f"run{box.number}"


def _is_active(view: LeafView, box: Box) -> bool:
    return view.outline.runs[box.number].rows[0] in view.active


def _labels(view: LeafView) -> list[list[str]]:
    """Returns for each run one line for its first and one for its last entry, escaped."""
    labels = []
    for run in view.outline.runs:
        ends = run.rows if len(run.rows) <= 2 else [run.rows[0], run.rows[-1]]
        lines = []
        for row, entry in zip(ends, view.entries(ends), strict=True):
            described = describe(entry) if entry else None
            text = f"{described.kind}: {described.gist}" if described else "unreadable"
            label = f" [{view.labels[row]}]" if row in view.labels else ""
            mark = " (leaf)" if row == view.leaf else ""
            text = escape_controls(text)
            text = text if len(text) <= _TEXT_LENGTH else text[: _TEXT_LENGTH - 1] + "…"
            lines.append(text + escape_controls(label) + mark)
        if len(run.rows) > 2:
            size = readable_size(sum(view.outline.tree.lengths[row] for row in run.rows[1:-1]))
            lines.insert(1, f"… {len(run.rows) - 2:,} more, {size}")
        labels.append(lines)
    return labels


def _dot_text(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("&", "&amp;")


def _mermaid_text(text: str) -> str:
    """Returns the text with every character that Mermaid or HTML could interpret as a numeric entity."""
    return "".join(each if each.isalnum() or each in " .,…" or each > "\x7f" else f"#{ord(each)};" for each in text)
