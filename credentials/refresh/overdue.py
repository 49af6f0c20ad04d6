"""Which refreshes are overdue now, for `GET /metrics` and the doctor."""

from collections.abc import Iterator
from typing import Final

from django.db import connection
from prometheus_client.core import GaugeMetricFamily, Metric

from credentials.models import Token

MOST: Final = 10_000  # of which the exact number is told


def families() -> Iterator[Metric]:
    """One statement, which reads the rows that are due."""
    number, lag = refreshes()
    yield GaugeMetricFamily("refreshes_overdue", f"Refreshes that are due, at most {MOST}.", value=number)
    yield GaugeMetricFamily(
        "refresh_lag_seconds", "How long the refresh that waits the longest is overdue.", value=round(lag, 3)
    )


def refreshes() -> tuple[int, float]:
    """How many, and seconds since the first of them was due. Of what is tried again later, the pause does not count."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT count(*), coalesce(extract(epoch FROM statement_timestamp() - min(due_at)), 0)::float
            FROM (
                SELECT due_at FROM {Token._meta.db_table} WHERE due_at <= statement_timestamp()
                ORDER BY due_at LIMIT %s
            ) overdue
            """,  # noqa: S608 (names of ours, no values)
            [MOST],
        )
        number, seconds = cursor.fetchone()
    return int(number), float(seconds)
