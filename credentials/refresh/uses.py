"""
When each credential was last read, for the order of refreshes, and each API token used. Reading writes nothing: uses
are collected in memory and written all at once, some seconds later, by a thread that nobody waits for. A process that
is killed forgets a few.
"""

import atexit
import threading
import uuid
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from credentials.models import Token
from oauth_apps import api_tokens

collected: dict[uuid.UUID, datetime] = {}
api_tokens_shown: set[uuid.UUID] = set()
lock = threading.Lock()
writer: threading.Thread | None = None
stopping = threading.Event()


def note(credential_id: uuid.UUID, api_token_id: uuid.UUID) -> None:
    """Remember that the credential was read now, with this API token."""
    with lock:
        collected[credential_id] = timezone.now()
        api_tokens_shown.add(api_token_id)
    if settings.USES_WRITTEN_EVERY:
        start_writer()


def write() -> int:
    """Write what was collected; of how many credentials. What could not be written is forgotten."""
    with lock:
        uses, shown = list(collected.items()), list(api_tokens_shown)
        collected.clear()
        api_tokens_shown.clear()
    if uses:
        Token.objects.note_uses(uses)
        api_tokens.note_uses(shown)
    return len(uses)


def start_writer() -> None:
    global writer  # noqa: PLW0603 - one thread in a process
    with lock:
        if writer is not None and writer.is_alive():
            return
        writer = threading.Thread(target=write_now_and_then, name="uses", daemon=True)
    writer.start()
    atexit.register(stopping.set)


def write_now_and_then() -> None:
    while not stopping.wait(settings.USES_WRITTEN_EVERY):
        try:
            write()
        except DatabaseError:
            pass  # the order of refreshes is worth no noise
        finally:
            connection.close()
