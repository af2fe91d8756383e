"""What is opened is looked at, not what had the name a moment before."""

import os
from pathlib import Path

import pytest

from convtree import open_store
from convtree._logs.descriptors import with_regular


def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    """A pipe does not block, a directory is no file, and the descriptor is closed again."""
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/dev/fd"))
    for name in ("pipe", "."):
        with pytest.raises(FileExistsError, match="not a regular file"):
            with_regular(tmp_path / name, os.close)
    assert with_regular(tmp_path / "file", lambda fd: os.read(fd, 9)) == b"x"
    assert len(os.listdir("/dev/fd")) == before


def test_a_ledger_that_is_a_pipe_is_a_finding(tmp_path: Path) -> None:
    """Its lines are not there, the store says so, and goes on."""
    os.mkfifo(tmp_path / ".ledger")
    with open_store(str(tmp_path)) as store:
        assert store.ledger() == []
        assert [finding.code for finding in store.findings] == ["bad_ledger"]
