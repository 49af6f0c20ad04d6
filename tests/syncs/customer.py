"""A customer's PostgreSQL: on TCP, with passwords, and TLS in front of it (ours is built without)."""

import select
import shutil
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from sequin_auth.lib.embedded_postgres.server import SUPERUSER, Server, prepare_directory
from tests.lib.servers import Authority

PASSWORD = "canary-warehouse-password"
HOST = "db.example.com"
HBA = """
local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""
SSL_REQUEST = 8  # bytes


class Customer:
    """`warehouse` is a database of his role `loader`, who may do all in it; `onlooker` may connect.

    `port`: of TLS; `plain_port`: without.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server = Server(directory)
        prepare_directory(directory)
        self.authority = Authority(directory)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.plain_port: int = probe.getsockname()[1]
        self.front = Front(self.authority.context_for(HOST), to=self.plain_port)
        self.port = self.front.port
        how = ("--no-sync", "--no-instructions", "--auth=trust", f"--username={SUPERUSER}", "--encoding=UTF8")
        assert self.server._run("initdb", *how, "--locale=C", "-D", self.server.data)
        (self.server.data / "pg_hba.conf").write_text(HBA)
        self.run("start", "-s", "-w", "-l", self.server.log, "-o", self.options())
        with self.superuser() as server:
            for role in ("loader", "onlooker"):
                server.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), PASSWORD))
            server.execute("CREATE DATABASE warehouse OWNER loader")
            server.execute("REVOKE TEMPORARY ON DATABASE warehouse FROM PUBLIC")

    def options(self) -> str:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.plain_port,
            "unix_socket_directories": self.directory,
            "fsync": "off",
            "shared_buffers": "16MB",
        }
        return " ".join(f"--{name}={value}" for name, value in settings.items())

    def run(self, what: str, *arguments: str | Path) -> None:
        assert self.server._run("pg_ctl", what, "-D", self.server.data, *arguments)

    def stop(self) -> None:
        self.front.stop()
        self.run("stop", "-m", "immediate")
        shutil.rmtree(self.directory)

    def superuser(self, database: str = "postgres") -> "psycopg.Connection[Any]":
        return psycopg.connect(
            host=str(self.directory), port=self.plain_port, user=SUPERUSER, dbname=database, autocommit=True
        )

    @property
    def connection(self) -> dict[str, Any]:
        """As the API takes it."""
        return {
            "host": HOST,
            "port": self.port,
            "database": "warehouse",
            "username": "loader",
            "password": PASSWORD,
            "sslmode": "require",
        }

    @property
    def authorities(self) -> list[str]:
        """For EGRESS_ALLOW."""
        return [f"{HOST}:{self.port}", f"{HOST}:{self.plain_port}"]


class Front:
    """Agrees to TLS as PostgreSQL does, and passes on what is said within."""

    def __init__(self, tls: ssl.SSLContext, *, to: int) -> None:
        self.tls, self.to = tls, to
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                visitor, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=[visitor], daemon=True).start()

    def serve(self, visitor: socket.socket) -> None:
        with suppress(OSError), visitor:
            visitor.recv(SSL_REQUEST)
            visitor.sendall(b"S")
            with self.tls.wrap_socket(visitor, server_side=True) as inner, socket.socket() as server:
                server.connect(("127.0.0.1", self.to))
                while pass_on(inner, server):
                    pass

    def stop(self) -> None:
        self.listener.close()


def pass_on(visitor: ssl.SSLSocket, server: socket.socket) -> bool:
    """What is there to be read next; False when one of the two has left."""
    ready = [visitor] if visitor.pending() else select.select([visitor, server], [], [])[0]
    for source, target in ((visitor, server), (server, visitor)):
        if source in ready:
            piece = source.recv(65536)
            if not piece:
                return False
            target.sendall(piece)
    return True
