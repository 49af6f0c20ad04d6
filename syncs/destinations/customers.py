"""
A customer's PostgreSQL: where it is, whether we may go there, and whether it lets us do what we have to.

Parts only, never a connection string, whose parameters reach into libpq. The name is resolved and judged each time, as
`sequin_auth.lib.http` judges those of providers, and the connection goes to the addresses that were judged.
"""

import ipaddress
import re
import time
from typing import Final

import psycopg
from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from sequin_auth.lib import http
from sequin_auth.lib.addresses import is_public, resolve
from sequin_auth.lib.encryption import Unreadable
from syncs.destinations.schemas import both
from syncs.destinations.target import (
    BROKEN,
    CheckFailed,
    Connection,
    DestinationUnavailable,
    Target,
    connect,
    cut_off_after,
    told_in_our_words,
)
from syncs.models import Destination

DEADLINE: Final = 10.0  # seconds, for a check in all
RESOLVE_TIMEOUT: Final = 2.0  # seconds
LOWEST_PORT: Final = 1024
NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?", re.ASCII)
ADDRESS: Final = re.compile(r"[0-9a-f.:]{2,45}", re.ASCII)
# A connection string in the place of a name would be read as one
IDENTIFIER: Final = re.compile(r"""[^\s/\\='"`]{1,63}""")

NO_NAME = "The host has no address."
NOT_PUBLIC = "The host has an address that is not public. Whoever runs this gateway can allow it by EGRESS_ALLOW."
NO_PLAIN = "A connection without TLS is for hosts that EGRESS_ALLOW names alone."
SEALED = "The stored password does not open: its key is missing from ENCRYPTION_KEYS. Save the password again."
REPLICA = "The server takes no writes: it is a replica, or set to read only. Name the primary."


def is_allowed(host: str, port: int) -> bool:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return authority in {entry.strip().lower() for entry in settings.EGRESS_ALLOW}


def accept_host(host: str) -> str:
    """A name or an IP address, in lower case. Raises ValueError, which says the rule."""
    host = host.lower()
    if ADDRESS.fullmatch(host) and ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            pass
    elif NAME.fullmatch(host) and ".." not in host:
        return host
    raise ValueError("Must be one name or IP address, without port, path or scheme.")


@sensitive_variables()
def target(destination: Destination, **changes: str) -> Target:
    """As it is kept, but for `changes`: username, password, sslmode. Raises DestinationUnavailable."""
    try:
        password = changes.get("password") or destination.password or ""  # a new one heals one that does not open
    except Unreadable:
        raise DestinationUnavailable(SEALED, reason="password") from None
    return target_at(
        host=destination.host,
        port=destination.port,
        database=destination.database,
        username=changes.get("username", destination.username),
        password=password,
        sslmode=changes.get("sslmode", destination.sslmode),
    )


@sensitive_variables()
def target_at(*, host: str, port: int, database: str, username: str, password: str, sslmode: str) -> Target:
    """Resolved and judged now. Raises DestinationUnavailable."""
    http.no_transaction_waits()
    may_be_private = is_allowed(host, port)
    if sslmode == Destination.SSLMode.DISABLE and not may_be_private:
        raise DestinationUnavailable(NO_PLAIN, reason="blocked")
    addresses = resolve(host, port, timeout=RESOLVE_TIMEOUT)
    if not addresses:
        raise DestinationUnavailable(NO_NAME, reason="name")
    if not may_be_private and not all(is_public(address.ip) for address in addresses):
        raise DestinationUnavailable(NOT_PUBLIC, reason="blocked")
    first_of_each = {address.family: address.ip for address in reversed(addresses)}  # more would take too long
    is_verified = sslmode == Destination.SSLMode.VERIFY_FULL
    return Target(
        host=host,
        port=port,
        database=database,
        username=username,
        password=password,
        sslmode=sslmode,
        hostaddr=",".join(first_of_each[family] for family in dict.fromkeys(address.family for address in addresses)),
        # Whoever stands in for a server whose certificate nobody checks shall not be handed the password itself
        more={"sslrootcert": http.authorities()} if is_verified else {"require_auth": "!password,!gss,!sspi"},
    )


def check(target: Target, *, ends_at: float | None = None) -> None:
    """Raises CheckFailed with the statement that gives what is missing; DestinationUnavailable if nobody answers.

    `ends_at`: of `time.monotonic()`, DEADLINE from now unless said.
    """
    ends_at = ends_at or time.monotonic() + DEADLINE
    with told_in_our_words(), connect(target) as there, cut_off_after(ends_at - time.monotonic(), there):
        for right in ("CREATE", "TEMPORARY"):
            if not holds(there, f"has_database_privilege(current_database(), '{right}')"):
                raise CheckFailed(f"A right is missing: {grant(right, target)}")
        if holds(there, "pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"):
            raise CheckFailed(REPLICA)


def holds(there: Connection, condition: str) -> bool:
    """Raises DestinationUnavailable for an answer that is none."""
    try:
        row = there.execute(f"SELECT {condition}").fetchone()
    except (ValueError, TypeError):  # a server of nobody knows whose making
        row = None
    if row is None or not isinstance(row[0], bool):
        raise DestinationUnavailable(BROKEN, reason="server")
    return row[0]


def grant(right: str, target: Target) -> str:
    return f"GRANT {right} ON DATABASE {quoted(target.database)} TO {quoted(target.username)};"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def prepare(destination: Destination, schema: str) -> None:
    """Have both schemas. Raises CheckFailed if they are not there and may not be made."""
    names, found = both(schema), target(destination)
    with told_in_our_words(), connect(found) as there, cut_off_after(DEADLINE, there):
        for name in names:
            if there.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [name]).fetchone():
                continue
            try:
                there.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(name)}")
            except psycopg.errors.InsufficientPrivilege:
                whose = f"AUTHORIZATION {quoted(found.username)}"
                statements = " ".join(f"CREATE SCHEMA {quoted(name)} {whose};" for name in names)
                either = f"{grant('CREATE', found)} or: {statements}"
                raise CheckFailed(f"A right is missing: {either}") from None
