"""
For the operator's `GET /metrics`: what there is now, in all accounts together. How many credentials and how they do,
and which keys have sealed what: only reading whole tables tells. So a worker counts now and then, and what is asked for
is what it has found last. What happened on a day is counted elsewhere: models/daily_count.py.

At a million credentials that is a second or two of the database's time. It is never more than a hundredth: the longer
a count takes, the longer is the pause after it.
"""

import time
from collections import Counter
from collections.abc import Iterator

from django.db import transaction
from django.db.models import Count
from django.utils import timezone
from procrastinate.contrib.django import app
from prometheus_client.core import GaugeMetricFamily, Metric

from credentials.models import Credential, Token
from credentials.models.token import TERMINAL
from oauth_apps.models import Measure
from providers import catalogue
from sequin_auth.lib.encryption import keys_in_use, sealed_fields

CREDENTIALS, TO_REAUTHORIZE, SEALED = "stock_credentials", "stock_to_reauthorize", "stock_sealed"
TAKEN_AT, SECONDS = "stock_taken_at", "stock_seconds"
NAMES = (CREDENTIALS, TO_REAUTHORIZE, SEALED, TAKEN_AT, SECONDS)
PAUSE = 100  # times as long as the last count took

Numbers = Counter[tuple[str, str]]  # by name and labels


@app.periodic(cron="*/5 * * * *")
@app.task(queue="housekeeping", queueing_lock="take_stock")
def take_stock_job(timestamp: int) -> None:
    if is_due():
        take_stock()


def is_due() -> bool:
    last = dict(Measure.objects.filter(name__in=[TAKEN_AT, SECONDS]).values_list("name", "value"))
    return timezone.now().timestamp() >= last.get(TAKEN_AT, 0.0) + PAUSE * last.get(SECONDS, 0.0)


def take_stock() -> None:
    """Count, and put what was found in the place of what was."""
    started = time.perf_counter()
    numbers = counted()
    rows = [Measure(name=name, labels=labels, value=number) for (name, labels), number in numbers.items()]
    rows.append(Measure(name=SECONDS, value=time.perf_counter() - started))
    rows.append(Measure(name=TAKEN_AT, value=timezone.now().timestamp()))
    with transaction.atomic():
        Measure.objects.filter(name__in=NAMES).delete()
        Measure.objects.bulk_create(rows)


def counted() -> Numbers:
    found: Numbers = Counter()
    for provider, health, number in (
        Credential.objects.order_by().values_list("provider", "health_status").annotate(number=Count("pk"))
    ):
        found[CREDENTIALS, f"{slug_of(provider)},{health}"] += number
    ended = Token.objects.filter(failure__in=TERMINAL).order_by()
    for provider, number in ended.values_list("credential__provider").annotate(number=Count("pk")):
        found[TO_REAUTHORIZE, slug_of(provider)] += number
    for field in sealed_fields():
        for key_id, number in keys_in_use(field).items():
            found[SEALED, key_id or ""] += number
    return found


def slug_of(provider: str) -> str:
    """What an operator has taken out of the catalogue is `other`."""
    return provider if provider in catalogue.load() else "other"


# ---- telling ---------------------------------------------------------------------------------------------------------


def families() -> Iterator[Metric]:
    """What was found last. One statement, which reads a few rows."""
    stock = list(Measure.objects.filter(name__in=NAMES).order_by("name", "labels"))
    health = GaugeMetricFamily("credentials", "Credentials, by their health.", labels=["provider", "health"])
    ended = GaugeMetricFamily(
        "credentials_to_reauthorize", "Credentials whose owners have to agree again.", labels=["provider"]
    )
    sealed = GaugeMetricFamily("sealed_values", "Stored secrets, by the key that has sealed them.", labels=["key_id"])
    families_of = {CREDENTIALS: health, TO_REAUTHORIZE: ended, SEALED: sealed}
    for row in stock:
        if row.name in families_of:
            families_of[row.name].add_metric(row.labels.split(","), row.value)
    yield from families_of.values()
    taken_at = next((row.value for row in stock if row.name == TAKEN_AT), 0.0)
    yield GaugeMetricFamily(
        "stock_timestamp_seconds", "When credentials and sealed values were last counted.", value=taken_at
    )
