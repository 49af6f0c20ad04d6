"""VAR_DIR: whether it can be written, has room, and what waits there for the database."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from django.conf import settings

from credentials.refresh import spool
from sequin_auth.doctor import Finding, duration, error, ok, size, warning

LITTLE: Final = 1 << 30  # bytes
TOO_LITTLE: Final = 100 << 20
ROOM: Final = (
    "Make room, or have VAR_DIR name a larger disk: without it, no answer of a provider waits for the database."
)


def look() -> Iterator[Finding]:
    folder = Path(settings.VAR_DIR)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield error(
            "VAR_DIR is not a directory that this user may write.",
            "Create it for the user who serves, or have VAR_DIR name another one.",
        )
        return
    free = shutil.disk_usage(folder).free
    if free < LITTLE:
        tell = error if free < TOO_LITTLE else warning
        yield tell(f"The disk of VAR_DIR has {size(free)} left.", ROOM)
    else:
        yield ok(f"The disk of VAR_DIR has {size(free)} left.")
    waiting = spool.entries()
    if not waiting:
        yield ok("No answer of a provider waits to be stored.")
        return
    oldest = min(path.stat().st_mtime for path in waiting)
    yield warning(
        f"{len(waiting)} answers of providers wait to be stored, the oldest for {duration(time.time() - oldest)}.",
        "The web server and the worker put them into the database once it answers: see that they run.",
    )
