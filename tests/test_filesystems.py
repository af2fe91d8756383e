"""Network file systems are recognised and refused."""

import errno
import os
from pathlib import Path

import pytest

from convtree import Session
from convtree._logs import filesystems

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
36 22 0:44 / /mnt/team rw,noatime shared:7 master:2 - nfs4 server:/team rw,vers=4.2
37 22 0:45 / /mnt/with\\040space rw - cifs //server/share rw
40 22 0:47 / /mnt/named rw - tmpfs 9:9 rw
torn line
"""


def test_type_of_reads_mountinfo() -> None:
    """The type follows the dash, after any number of optional fields. The name of a source may look like a device."""
    assert filesystems.type_of(MOUNTS, os.makedev(8, 1)) == "ext4"
    assert filesystems.type_of(MOUNTS, os.makedev(0, 44)) == "nfs4"
    assert filesystems.type_of(MOUNTS, os.makedev(0, 45)) == "cifs"
    assert filesystems.type_of(MOUNTS, os.makedev(9, 9)) is None


def test_writing_on_a_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer is refused before it writes, unless allow_network=True; a reader is not."""
    log = tmp_path / "log.jsonl"
    with Session.open(log) as session:
        session.append({"role": "user", "content": "Hi"})
    before = log.read_bytes()
    monkeypatch.setattr(filesystems, "type_of", lambda *_: "nfs4")
    loaded = tmp_path.parent / f"{tmp_path.name}.types"
    loaded.write_text("nodev\tnfs4\n\text4\n")
    monkeypatch.setattr(filesystems, "_TYPES", os.fspath(loaded))
    with pytest.raises(OSError, match="allow_network") as caught:
        Session.open(log)
    assert (caught.value.errno, log.read_bytes()) == (errno.ENOTSUP, before)
    for refused in (Session.open, Session.memory().fork):
        with pytest.raises(OSError, match="allow_network"):
            refused(tmp_path / "new.jsonl")
    assert list(tmp_path.iterdir()) == [log]
    Session.memory().fork(tmp_path / "new.jsonl", allow_network=True).close()
    with Session.open(log, mode="r") as reader, Session.open(log, allow_network=True) as writer:
        assert reader.leaf_id == writer.leaf_id
        writer.append({"role": "assistant", "content": "Hello"})


@pytest.mark.parametrize("loaded", ["nodev\tnfs4\n\text4\n", "\text4\n\tgfs2\n", None])
@pytest.mark.parametrize("major", [0, 8])
def test_a_mounted_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: str | None, major: int
) -> None:
    """If Linux has loaded a network file system, or does not say, what is mounted decides."""
    mounts, types = tmp_path / "mounts", tmp_path / "types"
    mounts.write_text(f"22 1 {major}:1 / / rw - gfs2 /dev/sda1 rw\n23 1 {major}:2 / / rw - ext4 /dev/sda2 rw\n")
    if loaded is not None:
        types.write_text(loaded)
    monkeypatch.setattr(filesystems, "_MOUNT_TABLE", os.fspath(mounts))
    monkeypatch.setattr(filesystems, "_TYPES", os.fspath(types))
    with pytest.raises(OSError, match="gfs2 is a network file system"):
        filesystems.refuse_network(tmp_path / "log.jsonl", os.makedev(major, 1))
    filesystems.refuse_network(tmp_path / "log.jsonl", os.makedev(major, 2))


def test_without_loaded_networks_only_devices_without_a_disk_are_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk has a major number. `fuse` is one type with many names, on no disk."""
    mounts, types = tmp_path / "mounts", tmp_path / "types"
    types.write_text("nodev\tfuse\n\text4\n")
    mounts.write_text("22 1 0:44 / / rw - fuse.sshfs host: rw\n")
    monkeypatch.setattr(filesystems, "_MOUNT_TABLE", os.fspath(mounts))
    monkeypatch.setattr(filesystems, "_TYPES", os.fspath(types))
    filesystems.refuse_network(tmp_path / "log.jsonl", os.makedev(8, 1))
    with pytest.raises(OSError, match=r"fuse\.sshfs is a network file system"):
        filesystems.refuse_network(tmp_path / "log.jsonl", os.makedev(0, 44))


def test_without_mountinfo_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file system counts as a local one."""
    monkeypatch.setattr(filesystems, "_MOUNT_TABLE", os.fspath(tmp_path / "none"))
    with Session.open(tmp_path / "log.jsonl") as session:
        session.append({"role": "user", "content": "Hi"})
    assert (tmp_path / "log.jsonl").read_bytes().count(b"\n") == 2
