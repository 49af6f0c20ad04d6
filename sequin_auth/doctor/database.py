"""PostgreSQL: whether it answers, knows our tables, has room for our connections, and what time it has."""

import time
from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, NotSupportedError, connection
from django.db.migrations.executor import MigrationExecutor

from sequin_auth.doctor import Finding, error, ok, size, warning
from sequin_auth.lib import schema

MOST_SKEW: Final = 2.0  # seconds
TOO_MUCH_SKEW: Final = 30.0  # of the lease of a refresh, which is somewhat longer than a minute
OF_WORKERS: Final = 2  # processes with a pool of their own, beside the web's
MOST_USED: Final = 0.8  # of the connections that the server allows
CLOCKS: Final = "Have both machines take the time from NTP (`timedatectl set-ntp true`, chrony)."
FACTS: Final = """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS allowed,
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
        pg_database_size(current_database()) AS size,
        pg_is_in_recovery() AS is_standby,
        has_schema_privilege(current_schema(), 'CREATE') AS may_create,
        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
        coalesce(inet_client_addr() <<= '127.0.0.0/8' OR inet_client_addr() <<= '::1/128', true) AS is_near,
        coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted,
        extract(epoch FROM clock_timestamp())::float AS now
"""


def answers() -> Finding | None:
    """What is wrong if it does not, or is none to work with, so that everything else about it is moot."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {schema.IS_MARKED}")
            ((is_marked,),) = cursor.fetchall()
    except NotSupportedError:
        return error("PostgreSQL is too old.", f"Upgrade it to {oldest()} or newer.")
    except DatabaseError as exc:
        return error(
            f"The database does not answer ({type(exc).__name__}).",
            "Start it, or correct DATABASE_URL; its own log says whom it turns away.",
        )
    if is_marked:
        return error(
            "`move_database` has not finished with this database.",
            "Run it again, with DATABASE_URL naming the old database, which is the one to start with until then.",
        )
    return None


def oldest() -> int:
    return int((connection.features.minimum_database_version or (0,))[0])


def look() -> Iterator[Finding]:
    version = pg_version()
    facts, skew = asked()
    yield ok(f"PostgreSQL {version // 10_000} answers; the database has {size(facts['size'])}.")
    yield migrations()
    yield from of_rights(facts)
    yield from of_connections(facts)
    yield of_clock(skew)


def pg_version() -> int:
    connection.ensure_connection()
    return int(getattr(connection, "pg_version", 0))


def asked() -> tuple[dict[str, Any], float]:
    """What FACTS finds, and how many seconds the clock there is ahead of ours."""
    before = time.time()
    with connection.cursor() as cursor:
        cursor.execute(FACTS)
        row = cursor.fetchone()
        names = [column.name for column in cursor.description or ()]
    facts = dict(zip(names, row, strict=True))
    return facts, facts["now"] - (before + time.time()) / 2


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    waiting = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if waiting:
        return error(f"{waiting} migrations wait.", "Run `manage.py migrate`, or `make serve`, which does so.")
    return ok("All migrations have run.")


def of_rights(facts: dict[str, Any]) -> Iterator[Finding]:
    if facts["is_standby"]:
        yield error("It is a standby, which takes no writes.", "Have DATABASE_URL name the primary.")
    if not facts["may_create"]:
        yield warning(
            "Our role may not create tables, so the next upgrade cannot migrate.",
            "GRANT CREATE ON SCHEMA public to the role, or let another role migrate.",
        )
    if facts["is_superuser"] and settings.DATABASES["default"].get("HOST"):
        yield warning(
            "Our role is a superuser, who may do more than its own database needs.",
            "Let a role without SUPERUSER own the database, and name that in DATABASE_URL.",
        )
    if not facts["is_near"] and not facts["is_encrypted"] and not is_meant_to_be_plain():
        yield warning(
            "The connection to the database crosses a network and is not encrypted.",
            "Add ?sslmode=verify-full to DATABASE_URL, with the server's authority; or ?sslmode=disable, if that"
            " network is nobody else's, such as one of containers.",
        )


def is_meant_to_be_plain() -> bool:
    return bool(settings.DATABASES["default"].get("OPTIONS", {}).get("sslmode") == "disable")


def of_connections(facts: dict[str, Any]) -> Iterator[Finding]:
    pool = settings.DATABASES["default"]["OPTIONS"].get("pool") or {}
    needed = (settings.WEB_CONCURRENCY + OF_WORKERS) * int(pool.get("max_size", 1))
    allowed, used = facts["allowed"], facts["used"]
    room = "Raise max_connections, or put pgbouncer in between."
    if used >= MOST_USED * allowed:
        yield warning(f"{used} of the {allowed} connections that the server allows are taken.", room)
    elif needed > allowed:
        yield warning(f"The server allows {allowed} connections; this machine alone may want {needed}.", room)
    else:
        yield ok(f"{used} of {allowed} connections are taken.")


def of_clock(skew: float) -> Finding:
    if abs(skew) <= MOST_SKEW:
        return ok("Its clock and ours agree.")
    tell = error if abs(skew) > TOO_MUCH_SKEW else warning
    return tell(f"Its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours.", CLOCKS)
