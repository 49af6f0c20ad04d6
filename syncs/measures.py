"""
What syncs do, in numbers, for `GET /metrics`. Counters are rows in the database, since the slices run in other
processes than the one that is asked; they say neither whose syncs they are of nor where their rows are.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from django.db import connection
from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from oauth_apps.models import HealthStatus
from syncs.models import Sync, SyncMeasure

Name = SyncMeasure.Name
TOO_MANY, CLASSES = 429, range(1, 6)
DISCOVERED = "discovered"  # the label of all collections that a customer has made, of which there is no end
SECONDS = {
    Name.WAIT_SECONDS: "Time that slices of syncs waited for their turn to call.",
    Name.SLICE_SECONDS: "Time that slices of syncs took.",
}
ADD = f"""
    INSERT INTO {SyncMeasure._meta.db_table} AS kept (name, provider, label, value)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::double precision[])
    ON CONFLICT (name, provider, label) DO UPDATE SET value = kept.value + excluded.value
"""  # noqa: S608 (names of ours, no values)


def add(provider: str, *, rows: Mapping[str, int], statuses: Mapping[int, int], waited: float, seconds: float) -> None:
    """Count one slice of a sync of `provider`. `rows`: by the bare id of the collection; `statuses`: how often each was
    answered; `waited`: seconds until it was its turn to call; `seconds`: that it took in all.
    """
    counted: Counter[tuple[str, str, str]] = Counter()
    for collection, number in rows.items():
        counted[Name.ROWS, provider, label_of(collection)] += number
    for status, number in statuses.items():
        counted[Name.REQUESTS, provider, class_of(status)] += number
    spent = {(Name.WAIT_SECONDS, "", ""): waited, (Name.SLICE_SECONDS, "", ""): seconds, (Name.SLICES, "", ""): 1}
    # In one order everywhere: of two slices that end together, neither waits for what the other has locked
    ordered = sorted([*counted.items(), *spent.items()])
    names, providers, labels = zip(*(key for key, _ in ordered), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(ADD, [list(names), list(providers), list(labels), [float(value) for _, value in ordered]])


def class_of(status: int) -> str:
    """A provider may answer with any number. 429 stands apart: it is what says that syncs go too fast."""
    if status == TOO_MANY:
        return str(status)
    return f"{status // 100}xx" if status // 100 in CLASSES else "other"


def label_of(collection: str) -> str:
    return DISCOVERED if "." in collection else collection


def families() -> Iterator[Metric]:
    """What is asked for now. Two statements, of which one reads the active syncs."""
    kept = {(row.name, row.provider, row.label): row.value for row in SyncMeasure.objects.order_by("provider", "label")}
    yield counter(kept, Name.ROWS, "sync_rows", "Rows that syncs fetched.", "collection")
    yield counter(kept, Name.REQUESTS, "sync_requests", "Requests of syncs that a provider answered.", "status")
    slices = int(kept.get((Name.SLICES, "", ""), 0))
    for name, told in SECONDS.items():
        yield SummaryMetricFamily(f"sync_{name}", told, count_value=slices, sum_value=kept.get((name, "", ""), 0.0))
    yield from of_active_syncs()


def counter(
    kept: Mapping[tuple[str, str, str], float], wanted: Name, name: str, told: str, label: str
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, told, labels=["provider", label])
    for (kind, provider, value), number in kept.items():
        if kind == wanted:
            family.add_metric([provider, value], number)
    return family


def of_active_syncs() -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "sync_lag_seconds", "How long the active sync that waits the longest is overdue.", labels=["provider"]
    )
    active = GaugeMetricFamily("sync_active", "Active syncs.", labels=["health"])
    now, number_of = timezone.now(), dict.fromkeys(HealthStatus.values, 0)
    due: dict[str, float] = {}
    groups = Sync.objects.active().values_list("provider", "health_status").order_by("provider", "health_status")
    for provider, status, number, next_at in groups.annotate(number=Count("pk"), first=Min("next_at")):
        number_of[status] += number
        due[provider] = max(due.get(provider, 0.0), (now - next_at).total_seconds())
    for provider, seconds in due.items():
        lag.add_metric([provider], round(seconds, 3))
    for status, number in number_of.items():
        active.add_metric([status], number)
    yield lag
    yield active
