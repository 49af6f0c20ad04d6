"""What this machine has to have. Somebody's own may lack it, and the tests are skipped; the one of CI fails them."""

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

BASE_DIR = Path(__file__).resolve().parent.parent.parent

Found = TypeVar("Found")


def is_lacking(what: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in {"true", "1"}:
        pytest.fail(f"{what} is not there, and CI has to have it.", pytrace=False)
    pytest.skip(f"{what} is not there.")


def program(*names: str) -> str:
    """The path of the first of these programs that is installed."""
    for name in names:
        if path := shutil.which(name):
            return path
    is_lacking(f"The program {names[0]}")


def uv() -> str:
    """The one that `make install` uses: this machine's own, else the one that it has fetched."""
    fetched = BASE_DIR / "var" / "uv" / "bin" / "uv"
    return shutil.which("uv") or (str(fetched) if fetched.exists() else program("uv"))


def node_with_oidc_provider() -> str:
    if not (BASE_DIR / "node_modules" / "oidc-provider").is_dir():
        is_lacking("The Node package oidc-provider (`make install` fetches it)")
    return program("node")


def until(condition: Callable[[], Found], *, what: str, deadline: float = 90.0) -> Found:
    """What `condition` returns, once that is true. Fails the test if it is not within the deadline, in seconds."""
    ends_at = time.monotonic() + deadline
    while not (found := condition()):
        if time.monotonic() > ends_at:
            pytest.fail(f"Not within {deadline:.0f} seconds: {what}", pytrace=False)
        time.sleep(0.02)
    return found


def stand_still() -> None:
    """Stop this whole process just here, until SIGCONT.

    The signal goes to the calling thread. One to the process may be met by any thread of it, and this one would go on
    until that thread has its turn.
    """
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def free_ports(count: int = 1) -> int:
    """The first of so many neighbouring ports that nobody listens at."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                for neighbour in range(port + 1, port + count):
                    socket.create_server(("127.0.0.1", neighbour)).close()
            except (OSError, OverflowError):
                continue
            return port
