"""How far a command is: a bar on standard error, if that is a terminal, while something takes longer than a second.

The bar is drawn by rich, and is gone when the work has ended. Output and exit codes are the same with and without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock, Timer
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeVar

from convtree._cli.output import terminal_stderr
from convtree._cli.terminal import readable_size
from convtree._model.terminal_text import escape_controls

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import Task

    from convtree.stores.base import Progress

T = TypeVar("T")

AFTER_S = 1.0
"""How long something takes before it is shown."""


@contextmanager
def progress(what: str, unit: Literal["bytes", "sessions"] = "sessions") -> Iterator[Progress | None]:
    """Shows how far the work in the block is. `what` it is may hold any text.

    Yields a function that is called with (done, of); None if standard error is not a terminal. If it is never called,
    the time that has passed is shown.
    """
    stream = terminal_stderr()
    if stream is None:
        yield None
        return
    shown = _Shown(what, unit, stream)
    timer = Timer(AFTER_S, shown.begin)
    timer.daemon = True
    timer.start()
    try:
        yield shown.report
    finally:
        timer.cancel()
        shown.end()


def counted(items: Sequence[T], report: Progress | None) -> Iterator[T]:
    """Yields items, and reports after each how many of them are done."""
    for number, item in enumerate(items, 1):
        yield item
        if report is not None:
            report(number, len(items))


class _Shown:
    """A bar that begins in the thread of the timer, unless the work has ended before."""

    def __init__(self, what: str, unit: str, stream: TextIO) -> None:
        self._what = escape_controls(what)
        self._unit = unit
        self._stream = stream
        self._lock = Lock()
        self._bar: Bar | None = None
        self._done: tuple[int, int | None] = 0, None
        self._has_ended = False

    def begin(self) -> None:
        """Draws the bar."""
        with self._lock:
            if not self._has_ended:
                self._bar = _bar_on(self._stream)
                self._bar.add_task(self._what, total=None, amount="")
                self._update(self._bar)
                self._bar.start()

    def report(self, done: int, total: int) -> None:
        """Notes how far the work is."""
        with self._lock:
            self._done = done, total
            if self._bar is not None:
                self._update(self._bar)

    def end(self) -> None:
        """Removes the bar."""
        with self._lock:
            self._has_ended = True
            if self._bar is not None:
                self._bar.stop()

    def _update(self, bar: Bar) -> None:
        done, total = self._done
        if total is not None:
            texts = (
                (readable_size(done), readable_size(total)) if self._unit == "bytes" else (f"{done:,}", f"{total:,}")
            )
            bar.update(bar.task_ids[0], completed=done, total=total, amount=" of ".join(texts))


def _bar_on(stream: TextIO) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column
    from rich.text import Text

    class KnownBar(BarColumn):
        """A bar once the total is known: rich draws a full one before, which looks like the end."""

        def render(self, task: Task) -> Any:
            """Returns the bar of a task."""
            return Text("") if task.total is None else super().render(task)

    one_line = Column(no_wrap=True, overflow="ellipsis")
    what = TextColumn("{task.description}", markup=False, table_column=one_line)
    amount = TextColumn("{task.fields[amount]}", markup=False)
    console = Console(file=stream, markup=False, emoji=False, highlight=False)
    return Progress(
        *(what, KnownBar(), amount, TimeElapsedColumn()),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
