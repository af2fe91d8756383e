"""Work that a widget begins and does not wait for. It ends with the widget."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ParamSpec

from textual.dom import DOMNode
from textual.worker import Worker

P = ParamSpec("P")
Work = Callable[P, Coroutine[Any, Any, None]]


def begin(node: DOMNode, group: str, work: Work[P], *args: P.args, **kwargs: P.kwargs) -> None:
    """Begins some work. The coroutine is made when the work begins, which it does not if the widget is gone by then."""
    _: Worker[None] = node.run_worker(partial(work, *args, **kwargs), group=group)


def restart(node: DOMNode, group: str, work: Work[P], *args: P.args, **kwargs: P.kwargs) -> None:
    """Begins some work in the place of what the widget began before in this group."""
    _: Worker[None] = node.run_worker(partial(work, *args, **kwargs), group=group, exclusive=True)
