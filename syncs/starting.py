"""Before the first slice: is the library there, and has anybody left customers' rows lying about?"""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from django.conf import settings

HINT = "The dependency group `syncs` is not installed: `make install`, or `uv sync --group syncs`."


def is_installed() -> bool:
    """Whether this machine can sync. Finding out costs nothing; importing the library is left to the first slice."""
    return importlib.util.find_spec("dlt") is not None


def home() -> Path:
    return Path(settings.VAR_DIR) / "dlt"


@contextmanager
def folder() -> Iterator[Path]:
    """For one slice; customers' rows pass through it."""
    home().mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"slice-{os.getpid()}-", dir=home()))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def sweep() -> None:
    """Remove the folders of slices whose process is gone, which a kill has left behind."""
    for left in home().glob("slice-*"):
        pid = int(left.name.split("-")[1])
        if pid == os.getpid() or not psutil.pid_exists(pid):
            shutil.rmtree(left, ignore_errors=True)
