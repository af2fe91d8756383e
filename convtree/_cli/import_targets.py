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
    sources = [Path(path) for path in paths[:-1]]
    refuse_source(paths[-1], sources)
    return sources, paths[-1]


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


def refuse_source(target: str, sources: Sequence[Path] = ()) -> None:
    """Raises UsageError if the target looks like one more source: it is, or has, a session of another tool.

    One file may be imported into any folder. So may a folder into the one that it is in.
    """
    path = Path(target)
    if is_url(target) or not path.exists():
        return
    if path.is_file():
        found: object = recognised(path)
    elif is_store_folder(path) or (sources and not any(source.is_dir() for source in sources)):
        return
    else:
        found = next((each for each in sources_in([path]) if _is_another(each, sources)), None)
    if not isinstance(found, KnownSource):
        return
    if found.source.path == path:
        what = "is a session of another tool"
    else:
        what = f"has sessions of another tool ({found.source.path.relative_to(path)})"
    raise click.UsageError(f"TARGET {target}: {what}; the last argument is the log or the store to import into")


def _is_another(found: object, sources: Sequence[Path]) -> bool:
    return isinstance(found, KnownSource) and not any(
        found.source.path.resolve().is_relative_to(source.resolve()) for source in sources
    )
