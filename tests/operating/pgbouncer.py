"""Debian's PgBouncer in transaction mode, before the PostgreSQL of a house."""

import os
import socket
import subprocess
from configparser import ConfigParser
from contextlib import suppress
from dataclasses import dataclass

from sequin_auth.lib.embedded_postgres.server import SYSTEM_USER
from tests.documentation.blocks import blocks_of
from tests.operating.house import House
from tests.real.machine import free_ports, program, until

SIZE = 6  # connections to each database of the server
TIMEOUT = "15s"


@dataclass(frozen=True)
class Pooler:
    port: int

    def url(self, database: str = "sequin_auth") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"


def start_pgbouncer(house: House) -> Pooler:
    """Skips the tests where it is not installed."""
    executable, port = program("pgbouncer", "/usr/sbin/pgbouncer"), free_ports()
    users, configuration = house.directory / "pgbouncer-users", house.directory / "pgbouncer.ini"
    users.write_text('"postgres" ""\n')
    with configuration.open("w") as file:
        documented(house, port, str(users)).write(file)
    as_another = ["-u", SYSTEM_USER] if os.geteuid() == 0 else []  # it does not run as root
    with (house.directory / "pgbouncer.log").open("ab") as log:
        command = [executable, *as_another, str(configuration)]
        house.processes.start("pgbouncer", command, stdout=log, stderr=subprocess.STDOUT)
    until(lambda: listens(port), what="PgBouncer listens")
    return Pooler(port)


def documented(house: House, port: int, users: str) -> ConfigParser:
    """What docs/operating.md shows, with the addresses and the trust of this machine."""
    (shown,) = [block for block in blocks_of("docs/operating.md") if block.language == "ini"]
    read = ConfigParser(interpolation=None)
    read.read_string(shown.text)
    way = f"host={house.postgres.socket_directory} user=postgres"
    ours = read["databases"]["sequin_auth"]
    read["databases"].update({"sequin_auth": ours.replace("host=10.0.0.5", way), "*": way})
    read["pgbouncer"].update(listen_port=str(port), unix_socket_dir="", default_pool_size=str(SIZE))
    read["pgbouncer"].update(auth_type="trust", auth_file=users)
    assert read["pgbouncer"]["pool_mode"] == "transaction"
    return read


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
