"""
Clients that send, or read, by drips. gunicorn reads in the thread that a request has, and waits for ever: as many
silent clients as there are threads would be the end of the service. A proxy that takes in whole requests before it
passes them on is better still, and docs/limits.md says so.
"""

import errno
import socket
import struct
import time

from gunicorn.http.unreader import SocketUnreader

PATIENCE = 10.0  # seconds that a head, or ENOUGH of a body, may keep a thread waiting; and a client that does not read
ENOUGH = 32 * 1024  # bytes
WHOLE = 30.0  # seconds that a whole body may keep a thread waiting, however much of it has come
WHOLE_STREAM = 600.0  # the same of an import, which may be of any length


class PatientReader(SocketUnreader):  # type: ignore[misc]
    """gunicorn's reader of one connection, which gives up a client as if that had hung up."""

    def __init__(self, sock: socket.socket, *rest: int) -> None:
        super().__init__(sock, *rest)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(PATIENCE), 0))
        self.begin()

    def begin(self, *, whole: float = WHOLE) -> None:
        """Of a head, or of a body; `whole`: seconds that may be waited for all of it."""
        self.left = whole
        self.begin_part()

    def begin_part(self) -> None:
        self.waited = 0.0
        self.received = 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Raises ConnectionResetError, which gunicorn passes over and Django takes for a body that broke off."""
        before: float | None = self.sock.gettimeout()
        left = max(min(PATIENCE - self.waited, self.left), 0.001)
        self.sock.settimeout(left if before is None else min(before, left))
        started = time.monotonic()
        try:
            data: bytes = super().chunk(size_hint)
        except TimeoutError:
            if before is not None and before < left:
                raise
            raise ConnectionResetError(errno.ECONNRESET, "Too little came in too long a time.") from None
        finally:
            passed = time.monotonic() - started
            self.waited += passed
            self.left -= passed
            self.sock.settimeout(before)
        self.received += len(data)
        if self.received >= ENOUGH:
            self.begin_part()
        return data
