"""What PostgreSQL is told for each connection, and how its times are read."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import DataError, OperationalError, connection


@pytest.mark.django_db
def test_a_statement_ends_when_its_time_is_over() -> None:
    other = connection.copy()
    other.settings_dict = connection.settings_dict | {
        "OPTIONS": {},
        "SESSION": {"statement_timeout": "20ms", "idle_in_transaction_session_timeout": "7s"},
    }
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT current_setting('idle_in_transaction_session_timeout')")
            assert cursor.fetchone() == ("7s",)
            with pytest.raises(OperationalError):
                cursor.execute("SELECT pg_sleep(5)")
    finally:
        other.close()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23 09:50:02.655886+00", datetime(2026, 11, 23, 9, 50, 2, 655886, UTC)),
        ("2026-11-23 09:50:02.5+00", datetime(2026, 11, 23, 9, 50, 2, 500000, UTC)),
        ("2026-11-23 09:50:02+00", datetime(2026, 11, 23, 9, 50, 2, 0, UTC)),
        ("2026-11-23 09:50:02+05:45", datetime(2026, 11, 23, 9, 50, 2, 0, timezone(timedelta(hours=5, minutes=45)))),
        ("0001-01-01 00:00:00+00", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31 23:59:59.999999+00", datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
    ],
)
def test_a_time_is_read_as_it_was_written(text: str, expected: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::timestamptz", [text])
        (read,) = cursor.fetchone()

    assert (read, read.tzinfo) == (expected, UTC)


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["10000-01-01 00:00:00+00", "infinity", "0044-03-15 00:00:00+00 BC"])
def test_a_time_that_python_does_not_know_is_an_error_of_the_database(text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::timestamptz", [text])
        with pytest.raises(DataError):
            cursor.fetchone()
