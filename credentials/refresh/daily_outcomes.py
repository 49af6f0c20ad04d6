"""
Of refreshes: how many went well and how many did not, of each account, day by day, for the dashboard (`DailyCount`).

A refresh writes nothing for it: its outcome is collected in memory and written some seconds later, with others. Trips
are counted into the same numbers, but when they are deleted (deleted_trips.py); reads of access tokens are in uses.py.
"""

import datetime
import threading
import uuid
from collections import Counter
from collections.abc import Mapping

from credentials.models import Counted, DailyCount
from sequin_auth.lib import writer

collected: Counter[tuple[uuid.UUID, datetime.date, str]] = Counter()
lock = threading.Lock()


def note(account_id: uuid.UUID, *, is_renewed: bool) -> None:
    """Remember that a refresh of one of the account's credentials has just come to its end."""
    today = datetime.datetime.now(datetime.UTC).date()
    what = Counted.REFRESHED if is_renewed else Counted.NOT_REFRESHED
    with lock:
        collected[account_id, today, str(what)] += 1
    writer.keep_calling(write)


def write() -> int:
    """Write what was collected; of how many refreshes. While the database is away they stay."""
    with lock:
        counts = Counter(collected)
        collected.clear()
    writer.add(counts, DailyCount.objects.add, put_back=put_back)
    return counts.total()


def put_back(counts: Mapping[tuple[uuid.UUID, datetime.date, str], int]) -> None:
    with lock:
        collected.update(counts)
