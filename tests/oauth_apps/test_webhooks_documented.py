"""docs/webhooks.md: its code verifies what we send, its table has every event."""

import re
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from oauth_apps.webhooks import delivery, endpoints, events, signing

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "webhooks.md").read_text()


@pytest.fixture
def verified() -> Any:
    """The function as a reader copies it."""
    names: dict[str, Any] = {}
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], names)  # type: ignore[index]  # noqa: S102
    return names["verified"]


def test_the_code_takes_ours_and_no_other(verified: Any) -> None:
    secrets, body = [signing.new_secret(), signing.new_secret()], '{"type":"ping"}'
    headers = dict(signing.headers(uuid.uuid4(), body, secrets, timezone.now()))

    assert [verified(headers, body.encode(), secret) for secret in secrets] == [body.encode()] * 2
    with pytest.raises(ValueError, match="not signed"):
        verified(headers, body.encode(), signing.new_secret())
    with pytest.raises(ValueError, match="not signed"):
        verified(headers, b'{"type":"pong"}', secrets[0])
    old = dict(signing.headers(uuid.uuid4(), body, secrets, timezone.now() - timedelta(seconds=302)))
    with pytest.raises(ValueError, match="older than five minutes"):
        verified(old, body.encode(), secrets[0])


def test_the_specification_s_own_example() -> None:
    """Source: https://github.com/standard-webhooks/standard-webhooks, the reference implementation's test vector."""
    secret, webhook_id, timestamp = (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
    )

    signature = signing.signature(secret, webhook_id, timestamp, '{"test": 2432232314}')

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_table_has_every_event() -> None:
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (.*) \|$", PAGE.partition("|---|")[2], re.MULTILINE))

    assert set(rows) == {*events.EVENTS, events.PING}
    assert [name for name, sentence in events.EVENTS.items() if not rows[name].startswith(sentence)] == []


def test_the_numbers_are_ours() -> None:
    assert "5 seconds, 5 minutes, 30 minutes,\n2, 5, 10, 14, 20 and 24 hours" in PAGE
    hours = [round(pause.total_seconds()) for pause in delivery.RETRIES]
    assert hours == [5, 300, 1800, *(3600 * count for count in (2, 5, 10, 14, 20, 24))]
    assert f"at most {endpoints.MOST} endpoints" in PAGE
    assert f"from 0 to\n{int(endpoints.LONGEST_OVERLAP.total_seconds())}" in PAGE
