"""Copying one session from one store to another."""

from __future__ import annotations

from collections.abc import Callable

from convtree._engine.log import Log, LogReplaced
from convtree._logs.copy import Copied, copy_log
from convtree._model.errors import ConvtreeError


def copy_session(id: str, source: Log, open_target: Callable[[], Log]) -> Copied:
    """Copies a log's lines byte for byte, and says how that went. Closes both logs.

    Raises:
        OSError: from the storage.
    """
    try:
        target = open_target()
        try:
            began = any(chunk.lines for chunk in target.read())
            lines = copy_log(source, target)
        finally:
            target.close()
    except LogReplaced:
        reason = f"{source.location}: another log took its place while it was copied; copy it again"
        return Copied(id=id, status="refused", reason=reason)
    except (ConvtreeError, UnicodeError) as error:
        return Copied(id=id, status="refused", reason=str(error))
    finally:
        source.close()
    return Copied(id=id, status=("continued" if began else "copied") if lines else "unchanged", lines=lines)
