"""Servers on loopback that behave as they are told, however badly, and remember what they were sent."""

import datetime
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PATIENCE = 10.0  # seconds; only a test that fails waits that long


class Visit:
    """One connection, seen from the server."""

    def __init__(self, server: "Server", connection: socket.socket) -> None:
        self.server = server
        self.connection = connection

    def read_request(self) -> bytes:
        received = b""
        while b"\r\n\r\n" not in received or len(received) < whole_length(received):
            piece = self.connection.recv(65536)
            if not piece:
                raise ConnectionError
            received += piece
        self.server.requests.append(received)
        return received

    def send(self, *parts: bytes) -> None:
        self.connection.sendall(b"".join(parts))

    def drip(self, byte: bytes) -> None:
        """Faster than any timeout between two reads, for longer than any test should take."""
        for _ in range(200):
            if self.server.stopped.wait(0.02):
                return
            self.send(byte)

    def hang(self) -> None:
        self.server.stopped.wait(PATIENCE)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()


def whole_length(received: bytes) -> int:
    head, _, _ = received.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return len(head) + 4 + int(lengths[0] if lengths else 0)


class Server:
    def __init__(self, behave: Callable[[Visit], None], tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.tls = tls
        self.requests: list[bytes] = []
        self.visits = 0
        self.visited = threading.Semaphore(0)
        self.left = threading.Semaphore(0)
        self.stopped = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.authority}"

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.visits += 1
                self.visited.release()
                thread = threading.Thread(target=self.receive, args=[connection], daemon=True)
                self.threads.append(thread)
                thread.start()

    def receive(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(PATIENCE)
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                self.behave(Visit(self, connection))
        self.left.release()

    def stop(self) -> None:
        self.stopped.set()
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def answering(status: str = "200 OK", *headers: str, body: bytes = b"") -> Callable[[Visit], None]:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", ""))

    def behave(visit: Visit) -> None:
        visit.read_request()
        visit.send(head.encode(), body)

    return behave


class Authority:
    """A certificate authority that nobody knows, unless its `certificate` is named as trusted."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Nobody's authority")])
        self.certificate = directory / "authority.pem"
        self.certificate.write_bytes(self.sign(self.name, self.key.public_key(), x509.BasicConstraints(True, None)))

    def sign(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType, days: int = 1
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self.name, name, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=3))
        builder = builder.not_valid_after(now + datetime.timedelta(days=days))
        certificate = builder.add_extension(extension, critical=False).sign(self.key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)

    def context_for(self, host: str, *, days: int = 1) -> ssl.SSLContext:
        """What a server needs to be `host`, for so many days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        path = self.directory / f"{host}-{days}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + self.sign(x509.Name([]), key.public_key(), names, days)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context
