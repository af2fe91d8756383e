"""The contenders of a run: finds those that are installed, and creates their conversations."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from conversation import Peer
from harness import Figure, FigureFailed, measure
from ours import (
    Branching,
    ByHand,
    Cold,
    Elsewhere,
    Indexed,
    JsonLines,
    OrjsonLines,
    Raw,
    RawSynced,
    ReadFile,
    Stored,
    StoredUnsynced,
    Unsynced,
)
from peers import LMDB, AgentsAdvanced, AgentsSQLite, LangGraph, Pi, PiPython, RocksDB, SQLiteTable
from report import Results

PEERS: dict[str, type[Peer]] = {
    peer.name: peer
    for peer in (
        *(Indexed, Cold, Unsynced, Branching, Elsewhere, Stored, StoredUnsynced),
        *(RawSynced, Raw, ByHand, ReadFile, OrjsonLines, JsonLines),
        *(SQLiteTable, RocksDB, LMDB, AgentsSQLite, AgentsAdvanced, LangGraph, Pi, PiPython),
    )
}


def here(results: Results, names: Sequence[str], peers: Mapping[str, type[Peer]] = PEERS) -> list[str]:
    """Returns the installed peers, or those of `--only`, with their versions. The others keep a row, with a note."""
    found = []
    for name in names:
        missing = peers[name].missing(results.given.npm)
        if results.given.only and name not in results.given.only:
            missing = "not asked for"
        if missing:
            results.note(name, missing)
            continue
        found.append(name)
        if version := peers[name].version():
            results.versions[peers[name].distribution or name] = version
    return found


def prepare(results: Results, names: Sequence[str], directory: Path) -> dict[int, dict[str, str]]:
    """Creates the conversations of every size. Returns the path for each peer that can handle the size."""
    paths = {size: _prepare(results, names, size, directory / str(size)) for size in results.given.sizes}
    if hasattr(os, "sync"):
        os.sync()  # otherwise the new files are written to disk while something is timed
    return paths


def _prepare(results: Results, names: Sequence[str], size: int, directory: Path) -> dict[str, str]:
    directory.mkdir()
    paths: dict[str, str] = {}
    for name in names:
        peer, path = PEERS[name], str(directory / PEERS[name].file)
        if size > peer.most:
            results.note(name, f"not measured at {size:,}: {peer.why_no_more}")
            continue
        try:
            if path not in paths.values():
                measure(make, peer=name, path=path, entries=size, npm=str(results.given.npm))
            paths[name] = path
        except FigureFailed as failed:
            results.note(name, f"failed at {size:,}: {failed}")
    return paths


def make(peer: str, path: str, entries: int, npm: str) -> Figure:
    """Creates a peer's conversation and prints how long that took."""
    start = time.perf_counter()
    get(peer, npm).make(path, entries)
    return {"seconds": time.perf_counter() - start}


def get(peer: str, npm: str) -> Peer:
    """Returns a peer after it has imported its packages."""
    Pi.npm = Path(npm)
    return PEERS[peer]()
