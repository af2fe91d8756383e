"""Runs a private PostgreSQL server from the system's packages, and creates databases on it.

The benchmarks load this file by its path, so it imports nothing of the tests.
"""

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

_PACKAGES = Path("/usr/lib/postgresql")
_MEMORY = Path("/dev/shm")  # a disk in memory
_ROOM_BYTES = 2 << 30
_FAST = (
    "-c listen_addresses='' -c unix_socket_directories={socket} -c fsync={sync} -c max_connections=200 "
    "-c max_wal_size=128MB"
)
# `public` as in PostgreSQL 15: its owner is the owner of the database, and others may only use it.
_EMPTY = """
DO $$
DECLARE
  each record;
BEGIN
  PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid();
  FOR each IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', each.nspname);
  END LOOP;
  CREATE SCHEMA public AUTHORIZATION pg_database_owner;
  GRANT USAGE ON SCHEMA public TO PUBLIC;
END $$
"""


class Absent(Exception):
    """No server can be started. The message says why."""


class Server:
    """A server in a directory of its own."""

    def __init__(self, programs: Path, home: Path, *, sync: bool = False, settings: str = "") -> None:
        self._programs = programs
        self._data = home / "data"
        self._home = home
        self._options = f"{_FAST.format(socket=home, sync='on' if sync else 'off')} {settings}"
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(home, "postgres", "postgres")
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C.UTF-8")
        self.start()

    @property
    def socket(self) -> Path:
        """The socket that it listens on."""
        return self._home / ".s.PGSQL.5432"

    @property
    def url(self) -> str:
        """The URL of its maintenance database."""
        return f"postgresql://postgres@/postgres?host={self._home}"

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        self._run("pg_ctl", "-D", self._data, "-w", "-l", self._home / "log", "-o", self._options, "start")

    def kill(self) -> None:
        """Ends all its processes at once. The next start recovers from the write-ahead log."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: object) -> None:
        own = {"user": self._user, "group": "postgres", "extra_groups": []} if self._user else {}
        command = [str(self._programs / program), *map(str, arguments)]
        subprocess.run(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, **own)  # type: ignore[call-overload]


def programs() -> Path:
    """Returns the directory with the programs of the newest PostgreSQL.

    Raises:
        Absent: PostgreSQL is not installed, or this user may not run it.
    """
    found = sorted(_PACKAGES.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found:
        raise Absent("PostgreSQL is not installed here (apt-get install postgresql)")
    if os.geteuid() == 0 and not any(each.pw_name == "postgres" for each in pwd.getpwall()):
        raise Absent(f"{getpass.getuser()} cannot run a server, and there is no user postgres")
    return found[-1].parent


@contextmanager
def private_server(*, sync: bool = False, settings: str = "") -> Iterator[Server]:
    """Runs a server during the block, with `settings` as on its command line.

    Without `sync`, its files are in memory if there is room for them. A table or a database is a number of files, and
    on a disk the server waits for each of them.

    Raises:
        Absent: PostgreSQL is not installed, or this user may not run it.
    """
    found = programs()
    in_memory = not sync and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    # Not below tmp_path, which only its owner may enter.
    home = Path(tempfile.mkdtemp(prefix="ct-pg-", dir=_MEMORY if in_memory else None))
    try:
        server = Server(found, home, sync=sync, settings=settings)
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """Creates an empty database for the block, and yields its URL."""
    url = create_database(server_url)
    yield url
    _run_sql(server_url, f"DROP DATABASE {_name_of(url)} WITH (FORCE)")


def create_database(server_url: str) -> str:
    """Creates an empty database. Returns its URL."""
    import sqlalchemy

    name = f"ct_{uuid4().hex[:12]}"
    _run_sql(server_url, f"CREATE DATABASE {name}")
    url = sqlalchemy.make_url(server_url).set(drivername="postgresql+psycopg", database=name)
    return url.render_as_string(hide_password=False)


def empty_database(url: str) -> None:
    """Makes a database as it was when it was created, in much less time than a new one takes.

    Ends the connections that others have to it, and drops every schema.
    """
    _run_sql(url, _EMPTY)


def _run_sql(url: str, statement: str) -> None:
    import psycopg
    import sqlalchemy

    plain = sqlalchemy.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(statement.encode())


def _name_of(url: str) -> str:
    import sqlalchemy

    return sqlalchemy.make_url(url).database or ""
