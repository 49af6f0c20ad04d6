"""
How many refreshes went well and how many did not, of each account, day by day. A refresh writes nothing for it: its
outcome is collected in memory and written some seconds later, with others.
"""

import datetime
import threading
import uuid
from collections import Counter

from django.db import DatabaseError

from credentials.models import Counted, DailyCount
from credentials.refresh import writer

collected: Counter[tuple[uuid.UUID, datetime.date, str]] = Counter()
lock = threading.Lock()


def note(account_id: uuid.UUID, *, is_renewed: bool) -> None:
    """Remember that a refresh of one of the account's credentials has just come to its end."""
    today = datetime.datetime.now(datetime.UTC).date()
    what = Counted.REFRESHED if is_renewed else Counted.NOT_REFRESHED
    with lock:
        collected[account_id, today, str(what)] += 1
    writer.have_written(write)


def write() -> int:
    """Write what was collected; of how many refreshes. What the database does not take now is tried again."""
    with lock:
        counts = Counter(collected)
        collected.clear()
    try:
        DailyCount.objects.add(counts)
    except DatabaseError:
        with lock:
            collected.update(counts)
        raise
    return counts.total()
