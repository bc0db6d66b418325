"""Starts the model process and carries messages to and from it, off the caller's thread. No Qt, no torch."""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener

from octcube_core.worker_protocol import Reply, Request, receive_message, send_message

WORKER_COMMAND = (sys.executable, "-m", "octcube_core.worker")


class ModelProcess:
    """One run of the model process, from ``start`` to its end.

    No method waits for the process: starting, sending and receiving happen on threads of their own.

    Parameters
    ----------
    on_message : callable
        Gets each reply, on the receiving thread.
    on_end : callable
        Gets the exit code once the process is gone (None if it could not be started), on the same thread.
    command : sequence of str
        Command line of the process.
    """

    def __init__(
        self,
        on_message: Callable[[Reply], None],
        on_end: Callable[[int | None], None],
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        self._on_message = on_message
        self._on_end = on_end
        self._command = list(command)
        self._outbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards the two below against a kill during the start
        self._process: subprocess.Popen[str] | None = None
        self._unwanted = False

    @property
    def pid(self) -> int | None:
        """Process id, None before the start."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process and talk to it, on threads of their own."""
        threading.Thread(target=self._serve, name="octcube model process", daemon=True).start()

    def send(self, request: Request) -> None:
        """Queue a request; it is sent once the process listens."""
        self._outbox.put(request)

    def kill(self) -> None:
        """End the process at once, whatever it is doing."""
        with self._lock:
            self._unwanted = True
            if self._process is not None:
                self._process.kill()

    def _serve(self) -> None:
        try:
            key = secrets.token_bytes(32)
            with Listener(authkey=key) as listener:
                process = self._launch(listener.address, key)
                connection = _accept(listener, process)
            if connection is not None:
                self._converse(connection)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=2)  # it ends by itself when the connection closes
        except OSError:
            pass  # no socket, or the command cannot be started: there is no exit code then
        finally:  # whatever happened, nobody must wait for a reply that never comes
            self._on_end(self._reap())

    def _reap(self) -> int | None:
        """Make sure that the process is gone; return its exit code, None if it never was."""
        self.kill()
        return None if self._process is None else self._process.wait()

    def _launch(self, address: object, key: bytes) -> subprocess.Popen[str]:
        with self._lock:
            self._process = process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, text=True
            )
            if self._unwanted:
                process.kill()
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it may be dead already
            process.stdin.write(json.dumps({"address": address, "authkey": key.hex()}) + "\n")
            process.stdin.close()
        return process

    def _converse(self, connection: Connection) -> None:
        sender = threading.Thread(
            target=self._send_all, args=(connection,), name="octcube sender", daemon=True
        )
        sender.start()
        with connection, contextlib.suppress(EOFError, OSError):
            while True:
                self._on_message(receive_message(connection))
        self._outbox.put(None)
        sender.join()

    def _send_all(self, connection: Connection) -> None:
        with contextlib.suppress(OSError):  # the receiving thread notices the end as well
            while (request := self._outbox.get()) is not None:
                send_message(connection, request)


def _accept(listener: Listener, process: subprocess.Popen[str]) -> Connection | None:
    """Wait for the process to connect; None if it ended before."""
    address = listener.address

    def unblock_when_dead() -> None:
        process.wait()
        with contextlib.suppress(OSError, EOFError):  # nobody listens any more: it had connected
            Client(address).close()

    threading.Thread(target=unblock_when_dead, name="octcube watcher", daemon=True).start()
    try:
        return listener.accept()
    except (EOFError, OSError, AuthenticationError):
        return None
