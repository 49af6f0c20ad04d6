"""Where a password travels as a parameter of every call, it is in the body alone: in no URL, no checkpoint, no row."""

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qs

import pytest

from oauth_apps.models import Account
from providers import catalogue
from sequin_auth.lib import http
from syncs import engine
from tests.syncs.machine import Machine
from tests.syncs.test_every_collection import UNHINDERED, Wire, credential_of

PASSWORD = "canary-password"
plain = engine.Budget.__init__


def test_a_password_is_in_no_url_and_no_checkpoint(
    account: Account, sync_database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A page a slice, so that each leaves the next request behind"""
    monkeypatch.setattr(engine.Budget, "__init__", lambda self, **given: plain(self, **{**given, "rows": 1}))
    wire = Wire(catalogue.get("checkout-champ"))
    calls: list[tuple[str, bytes]] = []

    def deliver(method: str, url: str, headers: Mapping[str, str], body: bytes) -> http.Response:
        calls.append((url, body))
        return wire.deliver(method, url, headers, body)

    with http.answered_here(deliver):
        machine = Machine(cast(Any, None), account, credential_of(catalogue.get("checkout-champ"), account))
        sync = machine.sync("order", rate_limit=UNHINDERED)
        machine.slice(sync)
        kept = machine.query(sync, "SELECT state FROM {schema}._dlt_pipeline_state ORDER BY version")
        machine.slices(sync)

    assert [url for url, _ in calls] == ["https://api.checkoutchamp.com/order/query/"] * 2
    said = [{name: values[0] for name, values in parse_qs(body.decode()).items()} for _, body in calls]
    assert [one["page"] for one in said] == ["1", "2"]
    assert {(one["loginId"], one["password"], one["dateRangeType"]) for one in said} == {
        ("api", PASSWORD, "dateUpdated")
    }
    states = [zlib.decompress(base64.b64decode(text)).decode() for (text,) in kept]
    checkpoints = [state for state in states if '"page": 2' in json.dumps(json.loads(state))]
    assert checkpoints
    assert not [state for state in states if PASSWORD in state]
    rows = machine.query(sync, "SELECT to_jsonb(o)::text FROM {schema}.order o")
    assert len(rows) == 250
    assert PASSWORD not in "".join(text for (text,) in rows) + caplog.text + json.dumps(sync.progress)
