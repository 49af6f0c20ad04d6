"""How well a row is, in a word; of what nothing was observed, that it is not checked yet."""

from datetime import datetime, timedelta
from typing import Protocol

from django.utils.html import format_html
from django.utils.safestring import SafeString

from oauth_apps.models import HealthStatus

AT_ONCE = timedelta(seconds=1)  # within which an OAuth app is registered


class Observed(Protocol):
    health_status: str
    health_time: datetime
    created_at: datetime


def is_unchecked(row: Observed, within: timedelta = AT_ONCE) -> bool:
    """Whether its health is still the one that it began with. `within`: how long after its making that may be set."""
    return row.health_status == HealthStatus.OK and abs(row.health_time - row.created_at) <= within


def badge(row: Observed, *, unchecked: bool) -> SafeString:
    if unchecked:
        return format_html('<span class="sq-badge">{}</span>', "not checked yet")
    return format_html('<span class="sq-badge {0}">{0}</span>', row.health_status)
