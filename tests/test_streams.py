"""Exports to devices, pipes and descriptors: they are written into, and never replaced."""

import gzip
import os
import pty
import stat
import subprocess
import sys
import threading
from datetime import UTC, tzinfo
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import user

from convtree import Session, SessionExists
from convtree._cli.app import app
from convtree.exchange import export_file, export_lines

TEXT = "red \x1b[31m words"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    with Session.open(path) as session:
        session.append(user(TEXT))
    return path


def exported(log: Path, zone: tzinfo | None = None) -> bytes:
    """The document, with times as `export --utc` writes them if the zone is UTC."""
    with Session.open(log, mode="r") as session:
        return b"".join(export_lines(session, "markdown", zone=zone))


def shell(log: Path, command: str) -> "subprocess.CompletedProcess[bytes]":
    """Runs a command of bash, in which `$E` exports the log."""
    export = f"{sys.executable} -m convtree export {log} --to markdown --utc"
    environment = os.environ | {"E": export}
    return subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, env=environment, check=False)


@pytest.mark.parametrize("force", ["", "--force"])
@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_a_descriptor(place: str, force: str, log: Path, tmp_path: Path) -> None:
    """It is written to where it is: behind what is there already, into a pipe or a file."""
    done = shell(log, f"echo first; $E -o {place} {force}")
    assert (done.returncode, done.stdout) == (0, b"first\n" + exported(log, UTC))
    done = shell(log, f"(echo first; $E -o {place} {force}; echo last) > {tmp_path}/out")
    assert (done.returncode, (tmp_path / "out").read_bytes()) == (0, b"first\n" + exported(log, UTC) + b"last\n")
    assert stat.S_ISLNK(os.lstat("/dev/stdout").st_mode)


@pytest.mark.parametrize("force", ["", "--force"])
def test_a_process_substitution(force: str, log: Path, tmp_path: Path) -> None:
    """`-o >(gzip)` works."""
    done = shell(log, f"$E -o >(gzip > {tmp_path}/out.gz) {force}; wait $!")
    assert (done.returncode, done.stderr) == (0, b"")
    assert gzip.decompress((tmp_path / "out.gz").read_bytes()) == exported(log, UTC)


@pytest.mark.parametrize("replace", [False, True])
def test_devices_and_pipes(replace: bool, log: Path, tmp_path: Path) -> None:
    """The null device, a link to it, and a named pipe, which waits for its reader."""
    (tmp_path / "null").symlink_to(os.devnull)
    os.mkfifo(tmp_path / "pipe")
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append((tmp_path / "pipe").read_bytes()))
    with Session.open(log, mode="r") as session:
        reader.start()
        for path in (os.devnull, tmp_path / "null", tmp_path / "pipe"):
            export_file(session, path, "markdown", replace=replace)
    reader.join(timeout=30)
    assert heard == [exported(log)]
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert (tmp_path / "null").is_symlink()
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    assert sorted(os.listdir(tmp_path)) == ["log.jsonl", "null", "pipe"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="SKIPPED: no /dev/full here")
def test_a_device_that_is_full(log: Path) -> None:
    """The message has its path."""
    done = shell(log, "$E -o /dev/full; echo $?; $E > /dev/full; echo $?")
    assert done.stdout == b"5\n5\n"
    assert done.stderr.splitlines() == [
        b"convtree: /dev/full: No space left on device",
        b"convtree: standard output: No space left on device",
    ]


def test_a_terminal(log: Path, tmp_path: Path) -> None:
    """Controls are shown as escapes, as on standard output. Other devices and files get what was said."""
    leader, follower = pty.openpty()
    try:
        for output in (os.ttyname(follower), os.devnull, str(tmp_path / "out"), str(tmp_path / "gone" / "out")):
            done = CliRunner().invoke(app, ["export", str(log), "--to", "markdown", "--utc", "-o", output])
            assert (output, done.exit_code) == (output, 3 if "gone" in output else 0)
        shown = os.read(leader, 65536)
    finally:
        os.close(leader)
        os.close(follower)
    done = CliRunner().invoke(
        app, ["export", str(log), "--to", "markdown", "--utc", "-o", str(tmp_path / "out"), "--force"]
    )
    assert done.exit_code == 0
    assert b"words" in shown
    assert b"\x1b" not in shown
    assert (tmp_path / "out").read_bytes() == exported(log, UTC)


def test_a_descriptor_of_this_process(log: Path) -> None:
    """It stays open for its owner."""
    reader, writer = os.pipe()
    with Session.open(log, mode="r") as session, open(reader, "rb") as pipe:
        with open(writer, "wb", buffering=0) as file:
            export_file(session, f"/dev/fd/{writer}", "markdown")
            file.write(b"behind")
        assert pipe.read() == exported(log) + b"behind"


def test_a_file_takes_the_place_of_a_device(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not written into: it is there already."""
    path = tmp_path / "file"
    path.write_bytes(b"precious, " * 1000)
    stat_of = os.stat
    monkeypatch.setattr(os, "stat", lambda name, **named: stat_of(os.devnull if name == path else name, **named))
    with Session.open(log, mode="r") as session, pytest.raises(SessionExists):
        export_file(session, path, "markdown")
    assert path.read_bytes() == b"precious, " * 1000


def test_a_long_chain_of_links(log: Path, tmp_path: Path) -> None:
    """It is not followed to its end, but it is no stream either."""
    for number in range(50):
        (tmp_path / f"l{number}").symlink_to(f"l{number + 1}")
    with Session.open(log, mode="r") as session, pytest.raises(SessionExists):
        export_file(session, tmp_path / "l0", "markdown")


def test_what_is_no_stream(log: Path, tmp_path: Path) -> None:
    """Files and links to files are written whole; a path that cannot be looked at, or a ring of links, is an error."""
    (tmp_path / "7").write_bytes(b"a file whose name is a number")
    (tmp_path / "ring").symlink_to("ring")
    with Session.open(log, mode="r") as session:
        export_file(session, tmp_path / "7", "markdown", replace=True)
        assert (tmp_path / "7").read_bytes() == exported(log)
        with pytest.raises(OSError, match="No such file"):
            export_file(session, tmp_path / "7" / "below", "markdown")
        with pytest.raises(OSError, match="Bad file descriptor"):
            export_file(session, "/dev/fd/987", "markdown")
        export_file(session, tmp_path / "ring", "markdown", replace=True)
        assert (tmp_path / "ring").read_bytes() == exported(log)
