"""
When each credential was last read, for the order of refreshes, each API token used, and how often who read what, for
the audit log. Reading writes nothing: uses are collected in memory and written all at once, some seconds later.
"""

import threading
import uuid
from collections.abc import Mapping
from datetime import datetime

from django.utils import timezone

from credentials.models import ReadCount, Token
from credentials.models.read_count import Reads
from oauth_apps import api_tokens
from sequin_auth.lib import writer

collected: dict[uuid.UUID, datetime] = {}
api_tokens_shown: set[uuid.UUID] = set()
reads: dict[Reads, tuple[int, str]] = {}  # how many, and from where the last one came
lock = threading.Lock()


def note(credential_id: uuid.UUID, api_token_id: uuid.UUID, *, account_id: uuid.UUID, address: str) -> None:
    """Remember that the credential was read now, with this API token of this account."""
    now = timezone.now()
    one = Reads(account_id, api_token_id, credential_id, now.replace(second=0, microsecond=0))
    with lock:
        collected[credential_id] = now
        api_tokens_shown.add(api_token_id)
        number, _ = reads.get(one, (0, ""))
        reads[one] = number + 1, address
    writer.keep_calling(write)
    writer.keep_calling(write_reads)


def write() -> int:
    """Write when credentials were read; of how many. What could not be written is forgotten."""
    with lock:
        uses, shown = list(collected.items()), list(api_tokens_shown)
        collected.clear()
        api_tokens_shown.clear()
    if uses:
        Token.objects.note_uses(uses)
        api_tokens.note_uses(shown)
    return len(uses)


def write_reads() -> int:
    """Write how often credentials were read; how often in all. While the database is away they stay."""
    with lock:
        numbers = dict(reads)
        reads.clear()
    writer.add(numbers, ReadCount.objects.add, put_back=put_back)
    return sum(number for number, _ in numbers.values())


def put_back(numbers: Mapping[Reads, tuple[int, str]]) -> None:
    with lock:
        for one, (number, address) in numbers.items():
            later, last = reads.get(one, (0, address))
            reads[one] = number + later, last
