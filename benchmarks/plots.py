"""Plots figures that resume.py and appends.py saved with --json: time and memory by length of the conversation."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from report import growth

_OURS = ("convtree", "convtree, no index", 'convtree, durability="process"', "convtree, branch to the middle + append")
_KEYS = {"seconds": (1e3, "ms"), "bytes": (1e-6, "MB")}
# file name: question, key, title, contenders that are left out
PLOTS = {
    "resume-time.svg": ("resume", "seconds", "open a conversation, get its last 50 messages", ()),
    "resume-memory.svg": ("resume", "bytes", "peak memory of that, above the imports", ("reading the file",)),
    "append-time.svg": ("appends", "seconds", "append one message", ("100 in one call",)),
}


def main() -> None:
    """Draws the plots of every given file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", metavar="FILE", help="a file saved with --json")
    parser.add_argument("--to", type=Path, default=Path(__file__).with_name("plots"), help="directory for the plots")
    given = parser.parse_args()
    given.to.mkdir(exist_ok=True)
    for found in (json.loads(path.read_text(encoding="utf-8")) for path in given.results):
        for name, (question, key, title, left_out) in PLOTS.items():
            if found["question"] == question:
                draw(given.to / name, lines(found["figures"], key, left_out), key, f"{title}\n{found['machine']}")


def lines(figures: dict[str, Any], key: str, left_out: tuple[str, ...]) -> dict[str, dict[int, float]]:
    """Returns the points of each contender that was measured."""
    found = {}
    for name, by_size in figures.items():
        points = {int(size): figure[key] for size, figure in by_size.items() if figure.get(key)}
        if points and not name.endswith(left_out):
            found[name] = points
    return found


def draw(path: Path, contenders: dict[str, dict[int, float]], key: str, title: str) -> None:
    """Draws one plot, with the exponents in the legend. The same figures give the same bytes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "convtree", "font.size": 9})
    from matplotlib import pyplot

    factor, unit = _KEYS[key]
    figure, axes = pyplot.subplots(figsize=(9, 5))
    colours = matplotlib.colormaps["tab20"].colors
    for number, (name, points) in enumerate(contenders.items()):
        ours = name in _OURS
        style = {"linewidth": 2.4 if ours else 1.1, "linestyle": "-" if ours else "--", "markersize": 5}
        style |= {"marker": "os^vD<>pX*P"[number % 11], "color": colours[number * 2 % 20 + number * 2 // 20]}
        values = [value * factor for value in points.values()]
        axes.plot(list(points), values, label=f"{name}  {growth(points)}", **style)
    axes.set(xscale="log", yscale="log", xlabel="entries", ylabel=unit)
    axes.set_title(title, fontsize=9, loc="left")
    axes.grid(which="major", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main()
