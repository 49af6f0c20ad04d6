"""
Django's own CONN_HEALTH_CHECKS costs a round trip for every request, and lets psycopg's pool find out about its dead
connections one by one, waiting longer after each: after a restart of the server, eight idle connections were ten
seconds of failing requests. Here a look at the socket does, a microsecond, and one dead connection condemns them all.

DATABASES = {"default": {…, "SESSION": {"statement_timeout": "15s"}}}: what PostgreSQL is told for each connection.
Behind a pooler it is told nothing, since others would find it: the pooler has to tell it (docs/operating.md).
"""

import functools
import select
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import psycopg
from django.db.backends.postgresql import base
from django.db.backends.postgresql.features import DatabaseFeatures as FeaturesOfDjango
from django.db.backends.postgresql.psycopg_any import BaseTzLoader
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap
from psycopg_pool import ConnectionPool

from .pooling import is_pooled

PREPARE_THRESHOLD = 5  # psycopg's own, which Django takes away; its cursors prepare nothing all the same


class DatabaseFeatures(FeaturesOfDjango):
    minimum_database_version = (15,)  # before, there is no NULLS NOT DISTINCT, and Django leaves it out without a word


class DatabaseWrapper(base.DatabaseWrapper):
    features_class = DatabaseFeatures

    def get_connection_params(self) -> dict[str, Any]:
        parameters: dict[str, Any] = super().get_connection_params()
        return parameters | {"context": with_fast_times(parameters["context"])}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        pool = self.pool
        if pool is None or is_sound(connection):
            return connection
        pool.putconn(connection)
        pool.drain()
        return super().get_new_connection(conn_params)

    def _configure_connection(self, connection: psycopg.Connection[Any]) -> bool:
        """Django's hook: for each new connection of the pool."""
        commit: bool = super()._configure_connection(connection)  # type: ignore[misc]  # the stubs do not know it
        if is_pooled(connection):
            connection.prepare_threshold = None
            return commit
        connection.prepare_threshold = PREPARE_THRESHOLD
        session: Mapping[str, str] = self.settings_dict.get("SESSION", {})
        for name, value in session.items():
            connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        return commit

    def chunked_cursor(self) -> Any:
        """Behind a pooler, outside of a transaction, the server's cursor would be lost: all rows come at once."""
        self.ensure_connection()
        if self.get_autocommit() and is_pooled(self.connection):
            return self.cursor()
        return super().chunked_cursor()


class TimeLoader(BaseTzLoader):  # type: ignore[misc]  # it has no types
    """Django's reads a time by a pattern and eight numbers, which took one in ten of a list's milliseconds. The zone of
    a connection is UTC, as Django has it.
    """

    timezone = UTC

    def load(self, data: Buffer) -> datetime:
        text = bytes(data).decode()
        if text.endswith("+00"):
            with suppress(ValueError):  # after the year 9999, which Django's says in its own words
                return datetime.fromisoformat(text)
        return cast(datetime, super().load(data))


@functools.cache
def with_fast_times(adapters: AdaptersMap) -> AdaptersMap:
    fast = AdaptersMap(adapters)
    fast.register_loader("timestamptz", TimeLoader)
    return fast


def is_sound(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server is still there. It speaks to an idle connection to say farewell, and hardly for anything else.

    A peer that vanished without a word is not noticed here: `tcp_user_timeout` and keepalives are for that.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return True
    try:
        ConnectionPool.check_connection(connection)
    except psycopg.Error:
        return False
    return True
