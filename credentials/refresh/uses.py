"""
When each credential was last read, for the order of refreshes, and each API token used. Reading writes nothing: uses
are collected in memory and written all at once, some seconds later.
"""

import threading
import uuid
from datetime import datetime

from django.utils import timezone

from credentials.models import Token
from credentials.refresh import writer
from oauth_apps import api_tokens

collected: dict[uuid.UUID, datetime] = {}
api_tokens_shown: set[uuid.UUID] = set()
lock = threading.Lock()


def note(credential_id: uuid.UUID, api_token_id: uuid.UUID) -> None:
    """Remember that the credential was read now, with this API token."""
    with lock:
        collected[credential_id] = timezone.now()
        api_tokens_shown.add(api_token_id)
    writer.have_written(write)


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
