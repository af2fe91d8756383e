"""Real file systems for tests: one without hard links and with names whose case is ignored, and a small one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

_MAKERS = (("mkfs.vfat", "mount"), ("mkfs.exfat", "mount"), ("mkfs.exfat", "mount.exfat-fuse"))


def run(*command: object) -> str:
    """Runs a command and returns what it printed; skips the test if it fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def _mounted(device: str, place: Path) -> bool:
    """Mounts a device as FAT or exFAT, with the kernel's driver or that of FUSE; returns whether one could."""
    for maker, mount in _MAKERS:
        if shutil.which(maker) and shutil.which(mount):
            subprocess.run([maker, device], capture_output=True, check=False)
            if subprocess.run([mount, device, str(place)], capture_output=True, check=False).returncode == 0:
                return True
    return False


@contextmanager
def fat(folder: Path) -> Iterator[Path]:
    """Mounts a FAT or exFAT file system; skips the test where that is not possible."""
    if os.geteuid() != 0:
        pytest.skip("SKIPPED: mounting a file system without hard links needs root")
    image, place = folder / "image", folder / "fat"
    place.mkdir()
    image.touch()
    os.truncate(image, 32 << 20)
    with ExitStack() as ends:
        device = run("losetup", "--find", "--show", image)
        ends.callback(subprocess.run, ["losetup", "--detach", device], check=False)
        if not _mounted(device, place):
            pytest.skip("SKIPPED: no driver for FAT or exFAT: install dosfstools, or exfatprogs and exfat-fuse")
        ends.callback(subprocess.run, ["umount", "--lazy", str(place)], check=False)
        yield place


@contextmanager
def small_disk(place: Path, size: str = "2m") -> Iterator[Path]:
    """Mounts a small file system in memory; skips the test where that is not possible."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("SKIPPED: mounting a small file system needs root")
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Fills the disk, and returns the file to remove."""
    filler = place / "filler"
    with open(filler, "ab", buffering=0) as file:
        for size in (65536, 4096, 512):
            with suppress(OSError):  # no space left
                while True:
                    file.write(bytes(size))
    return filler
