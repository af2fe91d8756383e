"""Changes a folder in every way while stores watch it, and asks these. Each answer must be what the files say.

Logs are begun, continued, cut, touched, replaced, linked, moved and deleted, by convtree and by other means, in this
process and in another one. The folder is renamed, exchanged for another one, deleted, and reached by another name. So
many files change that the queue of events overflows, and the process forks. Two stores are open all the time and share
a catalogue; both are asked after each change.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from convtree import ConvtreeError, Session, SessionStore, open_store
from convtree._logs import folder_watch
from convtree.stores._folder_logs import FolderLogs
from convtree.stores._look import Look

from . import sabotage
from .common import apart, arguments, finish, in_child, keep, read_plainly
from .samples import folder

_EVENTS = Path("/proc/sys/fs/inotify/max_queued_events")
_RARE = 5  # an overflow in so many rounds, because it takes a while


class Arena:
    """A folder below another folder, a place beside it, and the stores that watch it."""

    def __init__(self, place: Path, seed: int) -> None:
        self.above = place / "above"
        self.path, self.aside = self.above / "store", place / "aside"
        self.path.mkdir(parents=True)
        self.aside.mkdir()
        self.choose = random.Random(seed)
        self.stores = [open_store(self.path, durability="process") for _ in range(2)]
        self.order = self.stores  # in which they are asked after a change
        self.begun = 0
        for _ in range(5):
            self.begin()

    # --- changes ---

    def begin(self) -> None:
        """Begins a session."""
        self.begun += 1
        with self.any_store().create(id=f"s{self.begun}") as session:
            session.append({"role": "user", "content": "hello"})

    def grow(self) -> None:
        """Appends to a log, by its path."""
        log = self.any_log()
        with Session.open(log, mode="r+", durability="process") as session:
            session.append({"role": "user", "content": "more"})

    def grow_elsewhere(self) -> None:
        """Appends to a log in another process."""
        self.any_log()
        apart(self.grow)

    def delete(self) -> None:
        """Deletes a session."""
        log = self.any_log()
        self.any_store().delete(log.stem)

    def remove(self) -> None:
        """Removes a file."""
        log = self.any_log()
        log.unlink()

    def cut(self) -> None:
        """Cuts the end of a log off."""
        log = self.any_log()
        os.truncate(log, log.stat().st_size - 5)

    def touch(self) -> None:
        """Changes the times of a file."""
        log = self.any_log()
        os.utime(log, ns=(0, self.choose.randrange(10**18)))

    def replace(self) -> None:
        """Puts a copy of another log in the place of one."""
        shutil.copy(self.any_log(), self.aside / "copy")
        os.replace(self.aside / "copy", self.any_log())

    def move_out(self) -> None:
        """Moves a log out of the folder."""
        log = self.any_log()
        os.rename(log, self.aside / log.name)

    def move_in(self) -> None:
        """Moves a log back, as it was."""
        if logs := sorted(self.aside.glob("s*.jsonl")):
            log = self.choose.choice(logs)
            os.rename(log, self.path / log.name)

    def move_out_and_in(self) -> None:
        """Moves a log out and back, as it was. One store has removed it from the catalogue in between."""
        log = self.any_log()
        os.rename(log, self.aside / log.name)
        self.order[1].list()
        os.rename(self.aside / log.name, log)

    def write_by_link(self) -> None:
        """Appends to a log under another name, in another folder."""
        log = self.any_log()
        link = self.aside / "link.jsonl"
        link.unlink(missing_ok=True)
        os.link(log, link)
        os.utime(log)  # a link alone is no change of the folder
        for store in self.stores:
            store.list()
        with Session.open(link, mode="r+", durability="process") as session:
            session.append({"role": "user", "content": "more"})

    def exchange(self) -> None:
        """Puts another folder in the place of the folder."""
        other = self.above / "other"
        os.rename(self.path, other)
        shutil.copytree(other, self.path)
        shutil.rmtree(other)
        self.begin()

    def exchange_above(self) -> None:
        """Puts another folder in the place of the one above."""
        other = self.above.with_name("other")
        os.rename(self.above, other)
        shutil.copytree(other, self.above)
        shutil.rmtree(other)
        self.grow()

    def empty(self) -> None:
        """Deletes the folder and makes it anew."""
        shutil.rmtree(self.path)
        self.path.mkdir()
        self.begin()

    def overflow(self) -> None:
        """Changes more than the queue has place for; the change of one file is lost."""
        self.begin()
        logs = (self.any_log(), self.path)  # the same event twice in a row would be one
        for number in range(int(_EVENTS.read_text()) + 2):
            os.utime(logs[number % 2], ns=(0, number))
        self.begin()

    def fork(self) -> None:
        """Asks in a forked process, which must not take the events of this one."""
        self.begin()
        said = in_child(lambda: repr(self.wrong(self.any_store())))
        assert said == "None", said

    def any_store(self) -> SessionStore:
        return self.choose.choice(self.stores)

    def any_log(self) -> Path:
        if not self.logs():
            self.begin()
        return self.choose.choice(self.logs())

    # --- the judge ---

    def wrong(self, store: SessionStore) -> str | None:
        """Returns what a store says, if it is not what is in the files."""
        said: Any
        try:
            said = {info.id: info.messages for info in store.list(limit=None)}
        except Exception as error:
            said = repr(error)
        files = {log.stem: sum(each["type"] == "message" for each in read_plainly(log)) for log in self.logs()}
        there = {id: count for id, count in files.items() if count}
        return None if said == there else f"{said} instead of {there}"

    def logs(self) -> list[Path]:
        return sorted(self.path.glob("s*.jsonl"))


def run(options: Any, place: Path) -> tuple[dict[str, int], list[str]]:
    """Makes changes, and returns what was seen."""
    arena, seen, broken = Arena(place, options.seed), Counter[str](), list[str]()
    often: list[Callable[[Arena], None]] = [
        *(Arena.begin, Arena.grow, Arena.grow, Arena.grow_elsewhere, Arena.delete, Arena.remove, Arena.cut),
        *(Arena.touch, Arena.replace, Arena.move_out, Arena.move_in, Arena.move_out_and_in, Arena.write_by_link),
        *(Arena.exchange, Arena.exchange_above, Arena.empty, Arena.fork),
    ]
    looked = _count_looks(seen)
    for number in range(options.rounds):
        arena.choose.shuffle(often)
        for change in (*often, *([Arena.overflow] if number % _RARE == 0 else [])):
            for store in arena.stores:
                store.list()
            arena.order = arena.choose.sample(arena.stores, 2)
            seen[change.__name__] += 1
            try:
                change(arena)
            except (AssertionError, ConvtreeError, OSError) as error:
                broken.append(f"{change.__name__}: {error!r}")
            for store in arena.order:
                if (wrong := arena.wrong(store)) is not None:
                    broken.append(f"after {change.__name__}: {wrong}")
    for store in arena.stores:
        store.close()
    looked()
    return dict(seen), broken


def _count_looks(seen: Counter[str]) -> Callable[[], None]:
    """Counts looks at all files, and those that a watch spared."""
    look = FolderLogs.look

    def counted(logs: FolderLogs) -> Look:
        stamps = look(logs)
        seen["looks at all" if logs.looked_at is None else "looks spared"] += 1
        return stamps

    FolderLogs.look = counted  # type: ignore[method-assign, assignment]

    def end() -> None:
        FolderLogs.look = look  # type: ignore[method-assign]

    return end


def main() -> None:
    options = arguments(__doc__ or "", rounds=40)
    sabotage.apply(options.sabotage)
    with folder() as place:
        if not _EVENTS.exists() or not _is_watched(place):
            finish(options, {"skipped": "no file system that can be watched"}, [])
        totals, broken = run(options, place)
        if broken:
            keep(place)
    finish(options, totals, broken)


def _is_watched(place: Path) -> bool:
    """Returns whether a watch is to be had there."""
    watch = folder_watch.FolderWatch(place)
    try:
        return [watch.changed(), watch.changed()] == [None, None] and watch.changed() == set()
    finally:
        with suppress(OSError):
            watch.close()


if __name__ == "__main__":
    main()
