"""
Where dlt lives while it works for us, and where we stand between it and what it would trust: the environment, the
files at home, a server's word about schema and state, a server that takes its time.

Some of what is replaced here is no promise of dlt's. Each has a test that fails when an upgrade moves it.
"""

import base64
import math
import select
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import psycopg2
import psycopg2.extensions
from dlt.common import versioned_state
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import ConfigProvider
from dlt.common.configuration.providers.dictionary import DictionaryProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.data_types import coerce_value
from dlt.common.normalizers.json import relational
from dlt.common.runtime.run_context import RunContext
from dlt.common.schema import normalizers
from dlt.pipeline import state_sync

from syncs import starting
from syncs.destinations.target import received
from syncs.engine.rows import BIGGEST, clean

MOST_TOLD = 64 * 1024 * 1024  # bytes on one connection; what dlt asks for is schema, state and names
SILENCE = 310.0  # seconds that dlt's driver waits for a server; a statement may take 300
CONNECT = 15.0
LARGEST_STATE = 8 * 1024 * 1024  # bytes
NORMALIZERS = "dlt.common.normalizers."

ready = threading.Lock()
this_slice = threading.local()  # `ends_at`: when its time at the destination is over


class Surroundings(RunContext):
    """Where dlt lives while it works for us: its configuration is ours, whatever the environment and home hold."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = str(folder)

    run_dir = local_dir = data_dir = global_dir = property(lambda self: self.folder)

    def initial_providers(self) -> list[ConfigProvider]:
        provider = DictionaryProvider()
        provider._config_doc = {  # it reads none of its own
            "runtime": {"dlthub_telemetry": False, "log_level": "CRITICAL"},
            "extract": {"workers": 1},
            "normalize": {"workers": 1},
            "load": {"workers": 1, "truncate_staging_dataset": True, "raise_on_max_retries": 1},
            "providers": {"enable_airflow_secrets": False},
        }
        return [provider]


def settle() -> None:
    """Give dlt its surroundings, its driver some impatience, and its conversions PostgreSQL's limits; and have it take
    what a customer's database tells it with a pinch of salt: schema and state are read from there.
    """
    with ready:
        psycopg2.extensions.set_wait_callback(wait)
        cast(Any, relational).coerce_value = converted
        cast(Any, normalizers).import_module = imported
        cast(Any, state_sync).decompress_state = inflated
        here = Container()
        if PluggableRunContext in here and isinstance(here[PluggableRunContext].context, Surroundings):
            return
        starting.home().mkdir(mode=0o700, parents=True, exist_ok=True)
        # Before anybody asks for dlt's own, which would begin to report what we do
        here[PluggableRunContext] = PluggableRunContext(Surroundings(starting.home()))


def wait(connection: Any) -> None:
    """Whatever dlt's driver waits for. A server that is slow on purpose would else hold a thread for ever: libpq has a
    limit for connecting alone, and the one for statements is the server's own.
    """
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        is_connected = connection.status != psycopg2.extensions.STATUS_SETUP
        left = max(0.0, getattr(this_slice, "ends_at", math.inf) - time.monotonic())
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT)
        if not left or not poll.poll(1000 * min(left, SILENCE if is_connected else CONNECT)):
            raise psycopg2.OperationalError("The server has fallen silent.")
        if received(connection.fileno()) > MOST_TOLD:
            raise psycopg2.OperationalError("The server says more than anybody asked it.")


@contextmanager
def this_long(seconds: float) -> Iterator[None]:
    """All that this thread waits for in the block, on dlt's driver's connections, has one deadline."""
    this_slice.ends_at = time.monotonic() + seconds
    try:
        yield
    finally:
        this_slice.ends_at = math.inf


def imported(name: str, package: str | None = None) -> ModuleType:
    """What a schema may name: dlt's own ways with names. It comes from the destination, whoever writes there."""
    if not name.startswith(NORMALIZERS):
        raise ImportError("A schema names a module that is none of dlt's.")
    return import_module(name, package)


def inflated(state: str) -> dict[str, Any]:
    """What dlt keeps beside the rows. It comes from the destination, and must not fill the memory."""
    unpacking = zlib.decompressobj()
    unpacking.decompress(base64.b64decode(state[: LARGEST_STATE + 1]), LARGEST_STATE)
    if len(state) > LARGEST_STATE or unpacking.unconsumed_tail:
        raise ValueError("The state is larger than any of ours.")
    return versioned_state.decompress_state(state)


def converted(to_type: Any, from_type: Any, value: Any) -> Any:
    """What dlt makes of a value whose column has another type. Raises ValueError for what PostgreSQL would refuse: it
    then has a column of its own beside that one.
    """
    try:
        made: Any = coerce_value(to_type, from_type, value)
        made = within_the_calendar(made) if to_type == "timestamp" else made
    except (ArithmeticError, OSError, RecursionError) as exc:  # a time beyond all calendars, for one
        raise ValueError("That cannot be converted.") from exc
    if to_type == "bigint" and not -BIGGEST <= made < BIGGEST:
        raise ValueError("That is no bigint.")
    if to_type == "double" and not math.isfinite(made):
        raise ValueError("That is no number.")
    return clean(made) if to_type == "json" else made


def within_the_calendar(moment: datetime) -> datetime:
    """It is written as UTC, and the last hours of the year 9999 may be of the next year there."""
    try:
        moment.astimezone(UTC)
    except OverflowError:
        return moment.replace(tzinfo=UTC)
    return moment
