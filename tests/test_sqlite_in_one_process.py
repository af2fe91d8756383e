"""Several stores on one SQLite file in one process: each must keep the locks of the others.

The locks of SQLite belong to the process, and closing any descriptor of the file drops them.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import contents, user

from convtree import NotALog, open_store
from convtree.exchange import import_into
from convtree.testing import ids

OTHER = """
import sys
import convtree
with convtree.open_store(sys.argv[1]) as store, store.open("s") as session:
    session.append({"role": "user", "content": "theirs"}, id=sys.argv[2])
"""


@pytest.mark.parametrize("create", [None, True, False])
def test_a_second_store_does_not_let_another_process_delete_the_wal(create: bool | None, tmp_path: Path) -> None:
    """What the first one acknowledges after that is in the file, and not in a WAL that was deleted."""
    url = f"sqlite:///{tmp_path}/x.db"
    with open_store(url) as store, store.create(id="s", on_stale="rebase") as session:
        session.append(user("a"))
        with open_store(url, create=create):
            subprocess.run([sys.executable, "-c", OTHER, url, "b"], check=True, timeout=60)
            session.append(user("c"))
            subprocess.run([sys.executable, "-c", OTHER, url, "d"], check=True, timeout=60)
        session.append(user("e"))
        with open_store(url) as late, late.open("s") as seen:
            assert contents(seen) == ["a", "theirs", "c", "theirs", "e"]


def test_a_second_list_does_not_let_another_process_delete_the_wal_of_the_catalogue(tmp_path: Path) -> None:
    """Both stores of this process list what the other process appended, from the file that all share."""
    with open_store(tmp_path) as store, store.create(id="s") as session, open_store(tmp_path) as second:
        session.append(user("a"))
        assert [info.messages for info in store.list()] == [1]
        assert [info.messages for info in second.list()] == [1]
        program = f"import convtree; convtree.open_store({str(tmp_path)!r}).list()"
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
        assert (tmp_path / ".catalogue.sqlite-wal").exists()


@pytest.mark.parametrize("name", ["x.db", ".catalogue.sqlite"])
def test_an_import_does_not_open_the_store_that_it_imports_into(name: str, tmp_path: Path) -> None:
    """It is passed over, and the locks stay. When the store is closed, it is a file as any other."""
    url = str(tmp_path) if name.startswith(".") else f"sqlite:///{tmp_path}/x.db"
    with open_store(url) as store, store.create(id="s") as session:
        session.append(user("a"))
        assert ids(store.list()) == ["s"]
        assert is_locked(tmp_path / name)
        with pytest.raises(NotALog, match="this process has it open as a store"):
            import_into(tmp_path / name, store)
        import_into(tmp_path, store)
        assert is_locked(tmp_path / name)
        (tmp_path / "gone.db").touch()
        with open_store(f"sqlite:///{tmp_path}/gone.db"):
            (tmp_path / "gone.db").unlink()
            import_into(tmp_path, store)
    with open_store("memory:") as other, pytest.raises(NotALog, match="not a session of a known format"):
        import_into(tmp_path / name, other)


def test_a_store_that_was_opened_by_a_relative_path_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the program has changed its directory since."""
    monkeypatch.chdir(tmp_path)
    with open_store("sqlite:///x.db") as store, store.create(id="s") as session:
        session.append(user("a"))
        monkeypatch.chdir("/")
        with pytest.raises(NotALog, match="this process has it open as a store"):
            import_into(tmp_path / "x.db", store)


def is_locked(path: Path) -> bool:
    """Whether this process has a lock on a database, as another process sees it."""
    shared_first, shared_size = 0x40000002, 510  # see "os.h" of SQLite
    program = f"""
import fcntl
with open({str(path)!r}, "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, {shared_size}, {shared_first})
"""
    tried = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert tried.returncode == 0 or "BlockingIOError" in tried.stderr
    return tried.returncode != 0
