"""Which file systems a log can be written on: `flock` must exclude writers, which it does not across a network."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"}
    | {f"fuse.{name}" for name in ("blobfuse", "davfs2", "gcsfuse", "glusterfs", "goofys", "juicefs", "rclone")}
    | {f"fuse.{name}" for name in ("s3fs", "seaweedfs", "sshfs", "vmhgfs-fuse")}
)


def refuse_network(path: Path, device: int) -> None:
    """Raises OSError (ENOTSUP) when the file at `path`, on this device, lies on a network file system.

    Only Linux tells; elsewhere, and where it does not know the device, nothing is refused.
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    kind = type_of(mounts, device)
    if kind in _NETWORK:
        raise OSError(
            errno.ENOTSUP,
            f"{kind} is a network file system, where locks do not keep writers apart: use a SQL store, "
            "or pass allow_network=True when there is only one writer",
            str(path),
        )


def type_of(mounts: str, device: int) -> str | None:
    """Returns the file system type of a device, from the text of Linux's mountinfo (see proc(5))."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) > 2 and fields[2] == wanted and "-" in fields:
            return fields[fields.index("-") + 1]
    return None
