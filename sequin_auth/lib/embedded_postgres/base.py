"""
DATABASES = {"default": {"ENGINE": "sequin_auth.lib.embedded_postgres", "NAME": …, "DATA_DIR": …}}

The server is started, and the database NAME made, by the first connection of a process: a command that needs no
database starts nothing.
"""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import client

from sequin_auth.lib.postgres import base

from .server import BINARIES, SUPERUSER, Server, server_in


def server_of(settings_dict: Mapping[str, Any]) -> Server:
    """The server behind an entry of DATABASES; nothing is started by asking for it."""
    directory = settings_dict.get("DATA_DIR")
    if not directory:
        raise ImproperlyConfigured("DATABASES: the embedded PostgreSQL needs DATA_DIR.")
    return server_at(str(directory))


@functools.cache
def server_at(directory: str) -> Server:
    """Each request's connection asks; to resolve the path took a tenth of what a statement costs."""
    return server_in(Path(directory))


class DatabaseClient(client.DatabaseClient):
    """`manage.py dbshell`, with the psql that came along."""

    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        server = server_of(settings_dict)
        server.start()
        arguments, environment = super().settings_to_cmd_args_env(settings_dict, parameters)
        where = ["-h", str(server.socket_directory), "-U", SUPERUSER]
        return [str(BINARIES / "psql"), *where, *arguments[1:]], environment


class DatabaseWrapper(base.DatabaseWrapper):
    client_class = DatabaseClient

    def get_connection_params(self) -> dict[str, Any]:
        """Django's, and procrastinate's: asked for before each request's connection, so it finds a server that died."""
        parameters: dict[str, Any] = super().get_connection_params()
        server = server_of(self.settings_dict)
        server.start()
        if self.settings_dict["NAME"]:
            server.create_database(self.settings_dict["NAME"])
        return parameters | {"host": str(server.socket_directory), "user": SUPERUSER}
