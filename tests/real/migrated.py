"""A database that is migrated already, for gateways where no test asks how a first start goes: that takes seconds."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sequin_auth.lib.embedded_postgres.server import prepare_directory
from tests.real.machine import BASE_DIR

KEPT = BASE_DIR / "var" / "test" / "migrated"  # of all runs, for as long as no migration changes
UNFINISHED = KEPT / "unfinished"
PARTS = ("sequin_auth", "providers", "oauth_apps", "credentials", "syncs")


def put_migrated_database(directory: Path, environment: dict[str, str]) -> None:
    """Lay down the data of the embedded PostgreSQL of `directory`, as if it had been stopped.

    `environment`: for `manage.py migrate`. A server with these data survives a crash of its own, not the machine's.
    """
    KEPT.mkdir(mode=0o711, parents=True, exist_ok=True)
    with alone():
        kept = KEPT / fingerprint()
        if not kept.exists():
            make(environment)
            (UNFINISHED / "postgres" / "data").rename(kept)
            shutil.rmtree(UNFINISHED)
        prepare_directory(directory)
        subprocess.run(["cp", "-Rp", kept, directory / "data"], check=True)


def fingerprint() -> str:
    """Of whatever makes the database what it is."""
    files = [BASE_DIR / "uv.lock", BASE_DIR / "sequin_auth" / "lib" / "embedded_postgres" / "server.py", Path(__file__)]
    files += sorted(file for part in PARTS for file in (BASE_DIR / part).rglob("migrations/*.py"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def make(environment: dict[str, str]) -> None:
    for outdated in KEPT.iterdir():
        if outdated.is_dir():
            shutil.rmtree(outdated)
    UNFINISHED.mkdir(mode=0o711)
    migrate = [sys.executable, "manage.py", "migrate"]
    how = environment | {"VAR_DIR": str(UNFINISHED)}
    subprocess.run(migrate, cwd=BASE_DIR, env=how, capture_output=True, check=True)
    with (UNFINISHED / "postgres" / "data" / "postgresql.auto.conf").open("a") as settings:
        settings.write("fsync = off\n")


@contextmanager
def alone() -> Iterator[None]:
    """No other process of any run looks there meanwhile."""
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
