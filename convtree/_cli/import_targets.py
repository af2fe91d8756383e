"""What the arguments of `convtree import` mean: the sources, and a log or a store as the target."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from convtree._tools.known_sources import KnownSource, is_store_folder, recognised, sources_in


def sources_and_target(paths: Sequence[str]) -> tuple[list[Path], str | None]:
    """Returns the sources, and the target: None, for the default store, if there is one argument.

    Raises:
        click.UsageError: there is no source, or the target is one, too.
    """
    if not paths or (len(paths) == 1 and is_url(paths[0])):
        raise click.UsageError("Missing argument 'SOURCE'.")
    if len(paths) == 1:
        return [Path(paths[0])], None
    refuse_source(paths[-1])
    return [Path(path) for path in paths[:-1]], paths[-1]


def is_store(source: Path, target: str) -> bool:
    """Returns whether the target is a store, not a log."""
    if is_url(target) or target.endswith(("/", os.sep)) or Path(target).is_dir():
        return True
    return source.is_dir() and not is_log(target)


def is_url(target: str) -> bool:
    """Returns whether a target is written as a URL."""
    return "://" in target or target.startswith(("memory:", "file:"))


def is_log(target: str) -> bool:
    """Returns whether a target is a log: a file, or a name that ends with `.jsonl`."""
    return Path(target).is_file() or target.endswith(".jsonl")


def refuse_source(target: str) -> None:
    """Raises UsageError if the target is a session of another tool, or a folder in which one keeps its sessions."""
    path = Path(target)
    if is_url(target) or not path.exists() or (path.is_dir() and is_store_folder(path)):
        return
    found = recognised(path) if path.is_file() else next(filter(_is_known, sources_in([path])), None)
    if not isinstance(found, KnownSource):
        return
    if found.source.path == path:
        what = "is a session of another tool"
    else:
        what = f"has sessions of another tool ({found.source.path.relative_to(path)})"
    raise click.UsageError(f"TARGET {target}: {what}; the last argument is the log or the store to import into")


def _is_known(found: object) -> bool:
    return isinstance(found, KnownSource)
