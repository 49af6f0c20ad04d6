"""The keys of a checkout: written at its first start, before Django, which does not start without them, is set up."""

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
KEYS = ("SECRET_KEY", "ENCRYPTION_KEYS")


def prepare(environment: Mapping[str, str]) -> Path | None:
    """Have keys, and the directory for what a start leaves behind. Returns the file, if it is new.

    Raises ImproperlyConfigured if the file is gone and the data that its keys have sealed is still there.
    """
    directory = Path(environment.get("VAR_DIR") or BASE_DIR / "var").resolve()
    prepare_directory(directory)
    env_file = Path(environment.get("ENV_FILE", directory / "development.env"))
    if env_file.is_file() or all(environment.get(name) for name in KEYS):
        return None
    if env_file.name == "":
        raise ImproperlyConfigured("ENV_FILE is set to nothing, and SECRET_KEY or ENCRYPTION_KEYS is missing.")
    if (directory / "postgres" / "data").exists():
        raise ImproperlyConfigured(
            f"{env_file} is gone, and without its keys the data in {directory / 'postgres'} cannot be read. "
            "Put the file back, or remove both to begin anew."
        )
    try:
        write_private(env_file, text_of_keys(), replace=False)
    except FileExistsError:
        return None  # another start was faster
    return env_file


def prepare_directory(directory: Path) -> None:
    """Nobody else reads it. (Passing through may stay allowed: as root, PostgreSQL runs as another user.)"""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(directory.stat().st_mode & 0o711)


def text_of_keys() -> str:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return (
        "# The keys of this checkout. Whoever has them and the database reads every secret; without them nobody does.\n"
        f"SECRET_KEY={secrets.token_urlsafe(48)}\n"
        f"ENCRYPTION_KEYS=dev-{secrets.token_hex(4)}:{key}\n"
    )


def write_private(path: Path, text: str, *, replace: bool = True) -> None:
    """Write the file, whole or not at all, for its owner alone. Raises FileExistsError if it must not be replaced."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    if replace:
        unfinished.replace(path)
        return
    try:
        path.hardlink_to(unfinished)
    finally:
        unfinished.unlink()
