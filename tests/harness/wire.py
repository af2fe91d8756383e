"""A proxy between a client and a PostgreSQL server that follows the protocol and breaks it at a chosen request.

A request is what the client sends before it waits for an answer: the startup of a connection, a query, or messages up
to a Sync. Requests are counted over all connections. The answer to a request ends with ReadyForQuery.
"""

from __future__ import annotations

import selectors
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Literal

#: before: the request never arrives. after: it arrives, and its answer does not. half: a part of the answer arrives.
#: late: as before, but the server learns of it only after a while. terminate: the server ends the session first.
Way = Literal["before", "after", "half", "late", "terminate"]
WAYS: tuple[Way, ...] = ("before", "after", "half", "late", "terminate")

_LATE_S = 0.15
_STARTUP, _SSL, _GSS, _CANCEL = 196608, 80877103, 80877104, 80877102


@dataclass
class Plan:
    """What breaks next, and what was asked since the plan was made."""

    at: int = -1  # the number of the request, from 0; -1: none
    way: Way = "before"
    among: str | tuple[str, ...] = ""  # counts only requests that begin so
    stays_away: bool = False  # afterwards, connections are refused until the next plan
    requests: list[str] = field(default_factory=list, repr=False)
    broken: int = 0


def proxied(url: str, terminate: Callable[[int], None] = lambda _: None) -> tuple[Proxy, str]:
    """Starts a proxy for the server of a URL. Returns it, and the URL that leads through it.

    Args:
        url: a database on the server.
        terminate: ends the session with this process id at the server.
    """
    import sqlalchemy

    direct = sqlalchemy.make_url(url)
    proxy = Proxy(str(direct.query.get("host") or direct.host or "localhost"), int(direct.port or 5432), terminate)
    query = {"sslmode": "disable", "gssencmode": "disable"}
    through = direct.set(host="127.0.0.1", port=proxy.port, query=query)
    return proxy, through.render_as_string(hide_password=False)


class Proxy:
    """Listens on a port of its own. `plan` may be replaced at any time."""

    def __init__(self, host: str, port: int, terminate: Callable[[int], None]) -> None:
        self.plan = Plan()
        self._target = host, port
        self._terminate = terminate
        self._lock = Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Ends the proxy; connections that are open stay until their ends close."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.plan.stays_away and self.plan.broken:
                    client.close()
                    continue
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        host, port = self._target
        try:
            if host.startswith("/"):
                server = socket.socket(socket.AF_UNIX)
                server.connect(f"{host}/.s.PGSQL.{port}")
            else:
                server = socket.create_connection((host, port))
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # it is restarting
            client.close()
            return
        with client, server, suppress(OSError):
            _Connection(self, client, server).run()

    def breaks(self, request: bytes) -> Way | None:
        """Counts a request; returns how it breaks."""
        with self._lock:
            plan, text = self.plan, _text_of(request)
            if not text.startswith(plan.among):
                return None
            plan.requests.append(text)
            if len(plan.requests) - 1 != plan.at:
                return None
            plan.broken += 1
            return plan.way

    def end_backend(self, pid: int) -> None:
        """Ends a session at the server."""
        self._terminate(pid)


class _Connection:
    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._asked = bytearray()  # bytes of the client, not yet a whole message
        self._request = bytearray()  # whole messages, not yet a request
        self._started = False
        self._sent = 0  # requests
        self._answered = 0
        self._said = bytearray()  # bytes of the server, not yet a whole message
        self._breaks_at: tuple[int, Way] | None = None  # in the answer to this request
        self._pid = 0

    def run(self) -> None:
        """Passes messages on until an end closes, or the connection breaks."""
        with selectors.DefaultSelector() as ready:
            ready.register(self._client, selectors.EVENT_READ)
            ready.register(self._server, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(2**16)  # type: ignore[union-attr]
                    if not data:
                        return
                    goes_on = self._from_client(data) if key.fileobj is self._client else self._from_server(data)
                    if not goes_on:
                        return

    def _from_client(self, data: bytes) -> bool:
        self._asked += data
        for message in self._messages():
            if message[:1] in (b"X", b"H"):  # the end, and a flush: nothing answers them
                self._server.sendall(message)
                continue
            self._request += message
            if message[:1] in (b"Q", b"S") or not self._started:
                self._started = True
                if not self._pass(bytes(self._request)):
                    return False
                self._request.clear()
        return True

    def _messages(self) -> Iterator[bytes]:
        while True:
            head = 5 if self._started else 4
            if len(self._asked) < head:
                return
            (length,) = struct.unpack("!I", self._asked[head - 4 : head])
            end = head - 4 + length
            if len(self._asked) < end:
                return
            message = bytes(self._asked[:end])
            del self._asked[:end]
            if not self._started and struct.unpack("!I", message[4:8])[0] in (_SSL, _GSS):
                self._client.sendall(b"N")
                continue
            yield message

    def _pass(self, request: bytes) -> bool:
        """Passes a request on, unless it breaks here."""
        way = self._proxy.breaks(request)
        if way == "before":
            return False
        if way == "late":
            self._client.close()
            with suppress(OSError):
                self._server.settimeout(_LATE_S)
                self._server.recv(1)
            return False
        if way == "terminate":
            self._proxy.end_backend(self._pid)
        elif way is not None:
            self._breaks_at = self._sent, way
        self._sent += 1
        self._server.sendall(request)
        return True

    def _from_server(self, data: bytes) -> bool:
        self._said += data
        while len(self._said) >= 5:
            (length,) = struct.unpack("!I", self._said[1:5])
            if len(self._said) < length + 1:
                break
            message = bytes(self._said[: length + 1])
            del self._said[: length + 1]
            if message[:1] == b"K":
                (self._pid,) = struct.unpack("!I", message[5:9])
            if not self._answer(message):
                return False
        return True

    def _answer(self, message: bytes) -> bool:
        """Passes a message of the server on, unless it is of the answer that does not arrive."""
        breaks = self._breaks_at is not None and self._breaks_at[0] == self._answered
        if not breaks:
            self._client.sendall(message)
        elif self._breaks_at == (self._answered, "half"):
            self._client.sendall(message[:3])
            self._breaks_at = self._answered, "after"
        if message[:1] == b"Z":
            self._answered += 1
            return not breaks
        return True


def _text_of(request: bytes) -> str:
    """Returns the first words of a request."""
    if request[:1] == b"Q":
        text = request[5:]
    elif request[:1] == b"P":
        text = request[5:].partition(b"\0")[2]
    else:
        text = b"startup" if request[4:8] == struct.pack("!I", _STARTUP) else request[:1]
    return " ".join(text.partition(b"\0")[0].decode(errors="replace").split()[:3])
