"""Side files: they belong to whom the log belongs, and what somebody else put in their place is left alone."""

import errno
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from helpers import as_file, contents, log_of, node, user
from planted import GITHUB

from convtree import Session, open_store
from convtree._logs import side_files
from convtree.repair import redact_log, redact_session, repair, verify
from convtree.stores._folder import FolderBackend

NOBODY, GROUP = 65534, 65533
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="SKIPPED: other users' files need root")


def as_nobody(act: Callable[[], Any]) -> Any:
    """Calls a function in a child process of another user, and returns the text of its result or error."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            os.setgroups([GROUP])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            said = repr(act())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode()[:4000])
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Does everything once: the other user may not be able to read the files of Python."""
    folder = tmp_path_factory.mktemp("imported")
    with open_store(folder) as store:
        with store.create(id="a") as session:
            session.append_many([user(str(number)) for number in range(50)])
        heal(folder / "a.jsonl")
        redact_session(folder, "a", in_place=True)
        damage_and_repair(folder / "a.jsonl")
        store.search("7")
        store.delete("a")


@pytest.fixture(params=["own", "sticky"])
def shared(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder in which another user has a log: that user's own, or root's for everybody."""
    request.getfixturevalue("imported")
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        folder = Path(place, "folder")
        folder.mkdir()
        if request.param == "own":
            os.chown(folder, NOBODY, NOBODY)
            folder.chmod(0o755)
        else:
            folder.chmod(0o1777)

        def make() -> None:
            with Session.open(folder / "a.jsonl") as session:
                session.append_many([user(str(number)) for number in range(50)])

        assert as_nobody(make) == "None"
        yield folder


def heal(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b'{"torn')
    with Session.open(path) as session:
        session.append(user("x"), parent_id=None)


def damage_and_repair(path: Path) -> tuple[str | None, str | None]:
    lines = path.read_bytes().split(b"\n")
    lines[5] = lines[5][:40] + b"!" + lines[5][41:]
    with open(path, "r+b") as file:
        file.write(b"\n".join(lines))
    done = repair(path, dry_run=False)
    return done.original and Path(done.original).name, done.quarantine and Path(done.quarantine).name


def listed(folder: Path) -> tuple[int, int, list[Any]]:
    with open_store(folder) as store:
        return len(store.list()), len(store.search("7")), [found.code for found in store.findings]


def owners(folder: Path) -> dict[str, tuple[int, int, str]]:
    found = {each.name: each.stat() for each in folder.iterdir()}
    return {name: (s.st_uid, s.st_gid, oct(stat.S_IMODE(s.st_mode))) for name, s in sorted(found.items())}


@pytest.mark.no_cover
@needs_root
def test_what_root_leaves_belongs_to_the_owner_of_the_log(shared: Path) -> None:
    """Whatever root did before, the owner lists, heals, redacts, repairs and deletes."""
    path = shared / "a.jsonl"
    heal(path)
    with Session.open(path) as session:
        session.append_many([user("r")] * 6000)  # enough for an index
    assert listed(shared)[0] == 1
    assert as_nobody(lambda: redact_log(path, in_place=True).lines) == "0"
    assert damage_and_repair(path) == ("a.jsonl.original", "a.jsonl.quarantine")
    with Session.open(path) as session:
        session.append_many([user("r")] * 6000, parent_id=None)
    theirs = (NOBODY, NOBODY, "0o600")
    names = ["a.jsonl", "a.jsonl.index", "a.jsonl.original", "a.jsonl.quarantine", "a.jsonl.torn"]
    own = shared.stat().st_uid == NOBODY
    catalogue = theirs if own else (0, 0, "0o600")
    tables = dict.fromkeys((".catalogue.sqlite", ".catalogue.sqlite-stamp"), catalogue)
    assert owners(shared) == tables | dict.fromkeys(names, theirs)

    assert as_nobody(lambda: listed(shared)) == "(1, 1, ['orphan'])"  # below the damaged line
    assert as_nobody(lambda: heal(path)) == "None"
    assert as_nobody(lambda: damage_and_repair(path)) == "('a.jsonl.original-2', 'a.jsonl.quarantine-2')"
    assert damage_and_repair(path) == ("a.jsonl.original-3", "a.jsonl.quarantine-3")

    def delete() -> Any:
        with open_store(shared) as store:
            done = store.delete("a")
            return done, done.pending

    left = () if own else (".catalogue.sqlite",)
    assert as_nobody(delete) == repr((["a"], left))
    assert sorted(os.listdir(shared)) == [".catalogue.sqlite", ".catalogue.sqlite-stamp", ".ledger"]


@needs_root
def test_the_ledger_and_catalogue_of_somebody_else(shared: Path) -> None:
    """They are not needed: another ledger is begun, the catalogue is replaced in one's own folder, else in memory."""
    with open_store(shared) as store:
        with store.create(id="b") as session:
            session.append(user("b"), usage={"input_tokens": 1})
        store.list()
        store.delete("b")
    for name in (".catalogue.sqlite", ".ledger"):
        os.chown(shared / name, 0, 0)
    own = shared.stat().st_uid == NOBODY

    def use() -> Any:
        with open_store(shared) as store:
            before = [(found.code, found.place) for found in store.findings]
            deleted = store.delete("a")
            return len(store.list()), before, list(deleted)

    said = as_nobody(use)
    assert said == repr((0, [("bad_ledger", ".ledger")], ["a"]))
    assert (shared / ".catalogue.sqlite").stat().st_uid == (NOBODY if own else 0)
    assert (shared / ".ledger-2").stat().st_uid == NOBODY
    with open_store(shared) as store:
        assert [gone.id for gone in store._backend.catalogue().gone()] == ["b", "a"]
        assert store.findings == []


@needs_root
def test_delete_names_what_is_left(shared: Path) -> None:
    """Files of other users next to the log, in a folder where they cannot be removed."""
    own = shared.stat().st_uid == NOBODY
    (shared / "a.jsonl.torn").write_bytes(b"root's")
    (shared / "a.jsonl.original").mkdir()

    def delete() -> Any:
        with open_store(shared) as store:
            done = store.delete("a")
            return list(done), done.pending

    left = ("a.jsonl.original",) if own else ("a.jsonl.original", "a.jsonl.torn")
    said = as_nobody(delete)
    assert said in {repr((["a"], left)), repr((["a"], left[::-1]))}


@needs_root
def test_a_log_that_cannot_be_deleted(shared: Path) -> None:
    """The error names it. What can be deleted is deleted."""
    path = shared / "a.jsonl"
    path.chmod(0o666)
    if shared.stat().st_uid == NOBODY:
        os.chown(shared, 0, 0)
        shared.chmod(0o1777)
    os.chown(path, 0, 0)

    def delete() -> Any:
        with open_store(shared) as store:
            store.delete("a")

    assert as_nobody(delete) == (
        f"PermissionError: [Errno {errno.EPERM}] Operation not permitted; deleted: nothing; left: a.jsonl: '{shared}'"
    )
    assert path.exists()


@needs_root
def test_redaction_beside_a_catalogue_that_cannot_be_removed(shared: Path) -> None:
    """It says that the catalogue may still hold the secret."""
    if shared.stat().st_uid == NOBODY:
        pytest.skip("the owner of the folder can remove it")

    def begin() -> None:
        with Session.open(shared / "s.jsonl") as session:
            session.append(user(GITHUB))

    as_nobody(begin)
    assert listed(shared)[0] == 2
    said = as_nobody(lambda: (done := redact_session(shared, "s", in_place=True)) and (done.complete, done.pending))
    assert said == repr((("s.jsonl", "s.jsonl.index"), (".catalogue.sqlite",)))


@needs_root
@pytest.mark.parametrize(
    ("group", "mode", "becomes"), [(0, 0o666, 0o606), (NOBODY, 0o660, 0o660)], ids=["everybody", "group"]
)
def test_a_log_of_somebody_else_is_repaired(group: int, mode: int, becomes: int, shared: Path) -> None:
    """If its owner can use the new one. If the file cannot have the group, no group may read it."""
    path = shared / "a.jsonl"
    shared.chmod(0o777)
    os.chown(path, 0, group)
    path.chmod(mode)
    assert as_nobody(lambda: damage_and_repair(path)) == "('a.jsonl.original', 'a.jsonl.quarantine')"
    assert owners(shared)["a.jsonl"] == (NOBODY, NOBODY, oct(becomes))


@needs_root
def test_a_log_of_somebody_else_is_not_taken_away(shared: Path) -> None:
    """Its owner could not use the new one: nothing is done, and the error says what to do."""
    path = shared / "a.jsonl"
    shared.chmod(0o777)
    os.chown(path, 0, GROUP)
    path.chmod(0o660)
    data = path.read_bytes().replace(b'"3"', b'"x"')
    path.write_bytes(data)

    def without_chown() -> None:
        with patch.object(os, "fchown", side_effect=PermissionError(errno.EPERM, "Operation not permitted")):
            repair(path, dry_run=False)

    said = as_nobody(without_chown)
    assert said.startswith(f"PermissionError: [Errno {errno.EPERM}] it belongs to another user")
    assert said.endswith(f"do this as that user or as root: '{path}'")
    assert path.read_bytes() == data
    assert as_nobody(lambda: repair(path, dry_run=False).needed) == "True"
    assert owners(shared)["a.jsonl"] == (NOBODY, GROUP, "0o660")


def test_a_file_system_that_gives_new_files_to_somebody_else(tmp_path: Path) -> None:
    """A repair refuses to replace a log that its owner could not use any more."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(as_file([*log_of(node("a", None)).splitlines(), b"no record"]))
    path.chmod(0o600)
    data = path.read_bytes()
    stat_of = os.stat

    def of_another_user(name: Any, **named: Any) -> os.stat_result:
        status = stat_of(name, **named)
        if not str(name).endswith(".tmp"):
            return status
        return os.stat_result([*status[:4], status.st_uid + 1, *status[5:10]])

    with patch.object(os, "stat", of_another_user), pytest.raises(PermissionError, match="as that user or as root"):
        repair(path, dry_run=False)
    assert path.read_bytes() == data


# --- planted --------------------------------------------------------------------------------------------------------

PLANTED: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda name, victim: name.symlink_to(victim),
    "dangling link": lambda name, victim: name.symlink_to(victim.with_name("nowhere")),
    "hard link": lambda name, victim: os.link(victim, name),
    "pipe": lambda name, _: os.mkfifo(name),
    "device": lambda name, _: name.symlink_to("/dev/null"),
    "folder": lambda name, _: name.mkdir(),
}


@pytest.fixture(params=PLANTED)
def plant(request: pytest.FixtureRequest) -> Callable[[Path, Path], object]:
    return PLANTED[request.param]


def test_a_torn_tail_is_not_written_to_what_is_planted(plant: Callable[[Path, Path], object], tmp_path: Path) -> None:
    """It is saved under the next name, and the log is healed."""
    victim, path = tmp_path / "victim", tmp_path / "log.jsonl"
    victim.write_bytes(b"precious")
    path.write_bytes(log_of(node("a", None)) + b'{"id":"half')
    plant(path.with_name("log.jsonl.torn"), victim)
    plant(path.with_name("log.jsonl.torn-2"), victim)
    with Session.open(path) as session:
        session.append(user("b"))
        assert contents(session) == ["a", "b"]
    assert path.with_name("log.jsonl.torn-3").read_bytes() == b'{"id":"half\n'
    assert victim.read_bytes() == b"precious"
    assert not victim.with_name("nowhere").exists()


def test_a_torn_tail_that_cannot_be_saved(tmp_path: Path) -> None:
    """An error of the disk is not taken for a file of somebody else; the log is as it was."""
    path = tmp_path / "log.jsonl"
    torn = log_of(node("a", None)) + b'{"id":"half'
    path.write_bytes(torn)
    path.with_name("log.jsonl.torn").write_bytes(b"earlier\n")
    os_open = os.open

    def failing(name: Any, flags: int, mode: int = 0o777) -> int:
        if str(name).endswith(".torn") and not flags & os.O_EXCL:
            raise OSError(errno.EIO, "Input/output error", str(name))
        return os_open(name, flags, mode)

    with Session.open(path) as session, patch.object(os, "open", failing), pytest.raises(OSError, match="Input/output"):
        session.append(user("b"))
    assert sorted(os.listdir(tmp_path)) == ["log.jsonl", "log.jsonl.torn"]
    assert path.read_bytes() == torn


def test_too_many_names_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the file to move away, and the log is as it was."""
    monkeypatch.setattr(side_files, "_TRIED", 3)
    path = tmp_path / "log.jsonl"
    torn = log_of(node("a", None)) + b'{"id":"half'
    path.write_bytes(torn)
    for name in ("log.jsonl.torn", "log.jsonl.torn-2"):
        (tmp_path / name).mkdir()
    with Session.open(path) as session, pytest.raises(FileExistsError, match=r"move it away: .*log\.jsonl\.torn'"):
        session.append(user("b"))
    assert path.read_bytes() == torn


def test_a_repair_does_not_use_what_is_planted(plant: Callable[[Path, Path], object], tmp_path: Path) -> None:
    """The original and what was removed are kept under the next names."""
    victim, path = tmp_path / "victim", tmp_path / "log.jsonl"
    victim.write_bytes(b"precious")
    path.write_bytes(as_file([*log_of(node("a", None)).splitlines(), b"no record"]))
    harmed = path.read_bytes()
    for end in ("index", "original", "quarantine"):
        plant(path.with_name(f"log.jsonl.{end}"), victim)
    done = repair(path, dry_run=False)
    assert (done.original, done.quarantine) == (f"{path}.original-2", f"{path}.quarantine-2")
    assert Path(f"{path}.original-2").read_bytes() == harmed
    assert verify(path).entries == 1
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal"])
def test_a_catalogue_is_not_written_to_what_is_planted(
    end: str, plant: Callable[[Path, Path], object], tmp_path: Path
) -> None:
    """The store lists all the same."""
    victim = tmp_path / "victim"
    folder = tmp_path / "folder"
    with open_store(folder) as store, store.create(id="s") as session:
        session.append(user("hello"))
    victim.write_bytes(b"precious")
    plant(folder / f".catalogue.sqlite{end}", victim)
    with open_store(folder) as store:
        assert [info.id for info in store.list()] == ["s"]
        assert [hit.session_id for hit in store.search("hello")] == ["s"]
        assert store.findings == []
        assert store.delete("s") == ["s"]
    assert victim.read_bytes() == b"precious"
    assert not victim.with_name("nowhere").exists()


def test_a_ledger_is_not_written_to_what_is_planted(plant: Callable[[Path, Path], object], tmp_path: Path) -> None:
    """The next name is used. What cannot be read is reported by name."""
    victim = tmp_path / "victim"
    folder = tmp_path / "folder"
    victim.write_bytes(b"precious")
    with open_store(folder) as store:
        plant(folder / ".ledger", victim)
        with store.create(id="s") as session:
            session.append(user("hello"), usage={"input_tokens": 1})
        assert store.delete("s") == ["s"]
        assert [gone.id for gone in store._backend.catalogue().gone()] == ["s"]
        found = {(finding.code, finding.place) for finding in store.findings}
        assert found == (set() if stat.S_ISREG(os.lstat(folder / ".ledger").st_mode) else {("bad_ledger", ".ledger")})
    assert (folder / ".ledger-2").read_bytes().count(b"\n") == 1
    assert victim.read_bytes() == b"precious"
    assert not victim.with_name("nowhere").exists()


def test_a_ledger_whose_first_file_was_deleted(tmp_path: Path) -> None:
    """The second one still counts."""
    with open_store(tmp_path) as store:
        for id, blocked in (("a", True), ("b", False)):
            if blocked:
                (tmp_path / ".ledger").mkdir()
            with store.create(id=id) as session:
                session.append(user("hello"), usage={"input_tokens": 1})
            store.delete(id)
        (tmp_path / ".ledger").rmdir()
        assert [gone.id for gone in store._backend.catalogue().gone()] == ["a", "b"]


if sys.platform != "linux":  # pragma: no cover
    pytestmark = pytest.mark.skip(reason="SKIPPED: only Linux lets root act as another user in a child of a test")


def test_a_log_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are deleted, and the error names both."""
    remove = FolderBackend._remove

    def failing(backend: FolderBackend, path: Path) -> Any:
        if path.name == "a.jsonl":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return remove(backend, path)

    with open_store(tmp_path / "s") as store:
        for id, parent in (("a", None), ("b", None)):
            with store.create(id=id) as session:
                session.append(user(id), parent_id=parent)
        monkeypatch.setattr(FolderBackend, "_remove", failing)
        with pytest.raises(OSError, match=r"left: a\.jsonl") as caught:
            store.delete("a")
        assert caught.value.errno == errno.EACCES
        assert [info.id for info in store.list()] == ["b", "a"]
