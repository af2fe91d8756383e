"""Several stores on one SQLite file in one process: each must keep the locks of the others.

The locks of SQLite belong to the process, and closing any descriptor of the file drops them.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import contents, user

from convtree import open_store

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
