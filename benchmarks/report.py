"""Prints figures as Markdown tables, with targets and exponents, and saves them."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from harness import Figure, Measured, machine


def exponent(costs: Mapping[int, float]) -> float | None:
    """Fits `cost = a * size ** k` by least squares on the logarithms; returns k, or `None` below two sizes."""
    points = [(math.log(size), math.log(cost)) for size, cost in costs.items() if cost > 0]
    if len(points) < 2:
        return None
    middle_x, middle_y = (sum(column) / len(points) for column in zip(*points, strict=True))
    covariance = sum((x - middle_x) * (y - middle_y) for x, y in points)
    return covariance / sum((x - middle_x) ** 2 for x, _ in points)


def growth(costs: Mapping[int, float]) -> str:
    """Returns how a cost grows with the size, as text."""
    found = exponent(costs)
    return "—" if found is None else power(found)


class Results:
    """The figures of a script, by contender and size."""

    def __init__(self, question: str, given: argparse.Namespace) -> None:
        self.question = question
        self.given = given
        self.figures: dict[str, dict[int, Figure]] = {}
        self.notes: dict[str, list[str]] = {}
        self.versions: dict[str, str] = {}

    def add(self, contender: str, size: int, figure: Figure) -> None:
        """Stores a figure."""
        self.figures.setdefault(contender, {})[size] = figure

    def add_each(self, size: int, found: Measured, key: str = "seconds") -> None:
        """Stores the number of each contender of a group beside its others, and notes those that failed."""
        for name, seconds in found.items():
            self.add(name, size, {**self.figures.get(name, {}).get(size, {}), key: seconds})
        for name, why in found.failed.items():
            self.note(name, f"failed at {size:,}: {why}")

    def note(self, contender: str, why: str) -> None:
        """Stores a note about a missing figure."""
        if why not in self.notes.setdefault(contender, []):
            self.notes[contender].append(why)

    def get(self, contender: str, size: int, key: str = "seconds") -> float | None:
        """Returns one number, or None if it was not measured."""
        return self.figures.get(contender, {}).get(size, {}).get(key)

    def ratio(self, contender: str, other: str, size: int, key: str = "seconds") -> float | None:
        """Returns the contender's number divided by the other's, or None if one is missing."""
        of, to = self.get(contender, size, key), self.get(other, size, key)
        return None if of is None or not to else of / to

    def costs(self, contender: str, key: str = "seconds") -> dict[int, float]:
        """Returns one number of a contender, for each size that was measured."""
        return {size: figure[key] for size, figure in self.figures.get(contender, {}).items() if key in figure}

    def grid(self, head: str, names: Iterable[str], key: str = "seconds", shown: Callable[[str], str] = str) -> str:
        """Formats one number as a table: a row for each contender, a column for each size, and the growth."""
        word = megabytes if key == "bytes" else duration
        heads = [head, *(f"{size:,}" for size in self.given.sizes), "grows as"]
        rows = []
        for name in names:
            costs = self.costs(name, key)
            cells = [word(costs[size]) if size in costs else "—" for size in self.given.sizes]
            rows.append([shown(name), *cells, growth(costs)])
        return table(heads, rows)

    def say(self, *tables: str) -> None:
        """Prints the tables and the notes, and saves the figures with `--json`."""
        print("\n\n".join(tables))
        said = [f"* {name}: {'; '.join(why)}." for name, why in self.notes.items()]
        said += [f"* Versions: {', '.join(f'{name} {number}' for name, number in self.versions.items())}."]
        print("\n" + "\n".join(said if self.versions else said[:-1]), flush=True)
        if self.given.json:
            found = {
                "question": self.question,
                "machine": machine(self.given.dir),
                "versions": self.versions,
                "notes": self.notes,
                "figures": self.figures,
            }
            self.given.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def judge(what: str, found: float | None, word: Callable[[float], str], most: float) -> Sequence[str]:
    """Makes a row of the table of targets for a number that should be at most `most`."""
    return _verdict(what, f"≤ {word(most)}", found, word, found is not None and found <= most)


def judge_least(what: str, found: float | None, word: Callable[[float], str], least: float) -> Sequence[str]:
    """Makes a row of the table of targets for a number that should be at least `least`."""
    return _verdict(what, f"≥ {word(least)}", found, word, found is not None and found >= least)


def _verdict(what: str, target: str, found: float | None, word: Callable[[float], str], met: bool) -> Sequence[str]:
    return (what, target, "—", "not in this run") if found is None else (what, target, word(found), _MET[met])


_MET = {True: "met", False: "missed"}
TARGET_HEADS = ("target", "", "found", "")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Formats a Markdown table. The first column is text, the others are numbers."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    for line in lines:
        line[:] = [line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def duration(seconds: float) -> str:
    """Formats a time in a fitting unit."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.2f} {unit}"
    return f"{seconds * 1e6:.1f} µs"


def megabytes(size_bytes: float) -> str:
    """Formats an amount of memory."""
    return f"{size_bytes / 1e6:.1f} MB"


def times(factor: float) -> str:
    """Formats a factor."""
    return f"{factor:.0f}x" if factor >= 100 else f"{factor:.2f}x"


def power(found: float) -> str:
    """Formats an exponent."""
    return f"n^{round(found, 2) + 0.0:.2f}"  # + 0.0 avoids n^-0.00
