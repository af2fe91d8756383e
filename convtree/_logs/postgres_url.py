"""The URL of a PostgreSQL database: what the driver connects with, and what may be shown of it.

`postgresql://user:password@host:port/name?parameter=value`, as SQLAlchemy reads it, with the parameters of libpq. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qs, quote, quote_plus, unquote

EXPECTED_URLS = "sqlite:///file.db or postgresql://user:password@host/name"
_SCHEMES = ("postgres", "postgresql", "postgresql+psycopg")
_URL = re.compile(
    r"""(?P<scheme>[\w+]+)://
    (?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?
    (?:\[(?P<ipv6>[^/?\]]+)\]|(?P<host>[^/:?]+))?(?::(?P<port>[^/?]*))?
    (?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?""",
    re.VERBOSE | re.DOTALL,
)
_SHOWN = ("host", "port")  # of the parameters: others may be secrets


class PostgresUrl(NamedTuple):
    """What a URL says: the parameters of libpq, and the URL without secrets."""

    parameters: dict[str, str]
    shown: str


def read_url(url: str) -> PostgresUrl:
    """Reads a URL.

    Raises:
        ValueError: it is not the URL of a database that convtree can use. The message has no part of it but the kind.
    """
    found = _URL.fullmatch(url)
    if found is None or not re.fullmatch("[0-9]*", found["port"] or ""):
        raise ValueError(f"not the URL of a database; expected {EXPECTED_URLS}")
    if found["scheme"] not in _SCHEMES:
        raise ValueError(f"unknown kind of database {found['scheme']!r}; expected {EXPECTED_URLS}")
    given = {name: unquote(found[name]) for name in ("user", "password", "dbname") if found[name] is not None}
    given |= {"host": found["ipv6"] or found["host"] or "", "port": found["port"] or ""}
    query = parse_qs(found["query"] or "")
    parameters = {name: value for name, value in given.items() if value}
    parameters |= {name: ",".join(values) for name, values in query.items()}
    return PostgresUrl(parameters | _hosts(query.get("host", [])), _shown(given, query))


def _hosts(hosts: list[str]) -> dict[str, str]:
    """Returns host and port for hosts of the form `name:port`, which libpq wants apart."""
    pairs = [host.partition(":") for host in hosts]
    if not any(port for _, _, port in pairs):
        return {}
    return {"host": ",".join(name for name, _, _ in pairs), "port": ",".join(port for _, _, port in pairs)}


def _shown(given: dict[str, str], query: dict[str, list[str]]) -> str:
    user = (
        "" if "user" not in given else quote(given["user"], safe=" +") + (":***" if "password" in given else "") + "@"
    )
    host = f"[{given['host']}]" if ":" in given["host"] else given["host"]
    port = f":{given['port']}" if given["port"] else ""
    name = "" if "dbname" not in given else "/" + quote(given["dbname"], safe=" +/")
    shown = "&".join(f"{key}={quote_plus(value)}" for key in _SHOWN for value in query.get(key, ()))
    return f"postgresql+psycopg://{user}{host}{port}{name}{'?' + shown if shown else ''}"
