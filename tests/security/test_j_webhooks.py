"""J01 to J06: what developers are told, and how they know that it is from us."""

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import pytest

from tests.real.machine import BASE_DIR, until
from tests.security.stand_in import Behaviour, Request, StandIn, answering, answering_json
from tests.security.tenant import Tenant

PATH = "/v1/webhook-endpoints"
OK, BROKEN = answering("200 OK"), answering("500 Broken")


@dataclass(frozen=True)
class Hook:
    """An endpoint of Arrakis', at a path of the stand-in's."""

    tenant: Tenant
    provider: StandIn
    id: str
    path: str
    secret: str

    def ping(self) -> str:
        """The delivery's id."""
        return str(self.tenant.made(f"{PATH}/{self.id}/ping", {})["id"])

    def came(self, count: int = 1) -> list[Request]:
        """What came here, once it is so much."""
        until(lambda: len(self.provider.sent_to(self.path)) >= count, what=f"{count} calls of {self.path}")
        return self.provider.sent_to(self.path)

    def seen(self) -> dict[str, Any]:
        document: dict[str, Any] = self.tenant.call("GET", f"{PATH}/{self.id}").json()
        return document

    def latest(self) -> dict[str, Any]:
        """The newest delivery, once an attempt of it is over."""
        return until(self.newest_tried, what="the outcome of an attempt")

    def newest_tried(self) -> dict[str, Any]:
        """Empty until then."""
        found: dict[str, Any] = self.tenant.call("GET", f"{PATH}/{self.id}/deliveries").json()["data"][0]
        is_over = found["delivered_at"] or (found["last_failure"] and found["attempts"])
        return found if is_over else {}

    def sql(self, statement: str, *values: object) -> None:
        """A look into the future, or what somebody else has done."""
        with psycopg.connect(self.tenant.gateway.database_uri, autocommit=True) as connection:
            connection.execute(statement, [*values, self.id])

    def due_now(self) -> None:
        self.sql("UPDATE oauth_apps_webhookdelivery SET due_at = now() WHERE due_at IS NOT NULL AND endpoint_id = %s")


NewHook = Callable[..., Hook]


@pytest.fixture
def hook(arrakis: Tenant, provider: StandIn) -> Iterator[NewHook]:
    """Makes one, which answers as it is told."""
    made: list[Hook] = []

    def new(behaviour: Behaviour = OK, **fields: Any) -> Hook:
        path = f"/hook/{uuid.uuid4().hex}"
        provider.behaves(path, behaviour)
        row = arrakis.made(PATH, {"url": provider.url + path} | fields)
        made.append(Hook(arrakis, provider, row["id"], path, row["secret"]))
        return made[-1]

    yield new
    for one in made:
        assert one.tenant.call("DELETE", f"{PATH}/{one.id}").status_code == 200


def verified(request: Request, secret: str, *, now: float | None = None) -> dict[str, Any]:
    """What a receiver does with a call; raises ValueError. Source: the Standard Webhooks specification."""
    webhook_id, timestamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    if abs((now or time.time()) - int(timestamp)) > 300:
        raise ValueError("too old or too new")
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    signed = b".".join([webhook_id.encode(), timestamp.encode(), request.body])
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    for signature in request.headers["webhook-signature"].split(" "):
        version, _, given = signature.partition(",")
        if version == "v1" and hmac.compare_digest(given, expected):
            document: dict[str, Any] = json.loads(request.body)
            return document
    raise ValueError("nobody who knows the secret has signed that")


def changed(request: Request, *, body: bytes | None = None, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", request.target, dict(request.headers) | named, request.body if body is None else body)


def test_j01_a_forged_call(hook: NewHook, arrakis: Tenant) -> None:
    """Body, time and id are signed with a secret of this endpoint alone"""
    one, other = hook(), hook()
    delivery = one.ping()
    [request] = one.came()

    document = verified(request, one.secret)

    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == delivery
    assert document["type"] == "ping"
    assert document["data"] == {"webhook_endpoint_id": one.id, "account_id": arrakis.id}
    assert len(base64.b64decode(one.secret.removeprefix("whsec_"), validate=True)) == 32
    later = str(int(request.headers["webhook-timestamp"]) + 1)
    for forged, secret in (
        (request, other.secret),
        (changed(request, body=request.body.replace(b"ping", b"pong")), one.secret),
        (changed(request, webhook_timestamp=later), one.secret),
        (changed(request, webhook_id=str(uuid.uuid4())), one.secret),
    ):
        with pytest.raises(ValueError, match="nobody who knows"):
            verified(forged, secret)


def test_j02_a_replayed_call(hook: NewHook) -> None:
    """A retry has the id of the first attempt and a time of its own, so that a receiver may refuse what is old"""
    one = hook(BROKEN)
    one.ping()
    [first] = one.came()
    assert one.latest()["last_status"] == 500
    one.provider.behaves(one.path, OK)
    until(lambda: int(time.time()) > int(first.headers["webhook-timestamp"]), what="another second")
    one.due_now()

    second = one.came(2)[1]

    assert second.headers["webhook-id"] == first.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    assert second.headers["webhook-signature"] != first.headers["webhook-signature"]
    assert verified(second, one.secret) == verified(first, one.secret)
    with pytest.raises(ValueError, match="too old"):
        verified(first, one.secret, now=time.time() + 302)
    documented = (BASE_DIR / "docs" / "webhooks.md").read_text()
    assert "five minutes" in documented
    assert "`webhook-id`" in documented


def test_j03_a_secret_is_rotated(hook: NewHook, arrakis: Tenant) -> None:
    """Both secrets sign during the overlap, then the new one alone; neither is read again"""
    one = hook()
    answer = arrakis.call("POST", f"{PATH}/{one.id}/rotate-secret", {"overlap_seconds": 600}).json()
    new = answer["secret"]
    one.ping()
    [during] = one.came()
    one.sql("UPDATE oauth_apps_webhookendpoint SET previous_secret_until = now() WHERE id = %s")
    one.ping()
    after = one.came(2)[1]

    assert new != one.secret
    assert answer["previous_secret_until"]
    assert verified(during, one.secret) == verified(during, new)
    assert len(during.headers["webhook-signature"].split(" ")) == 2
    assert verified(after, new)["type"] == "ping"
    with pytest.raises(ValueError, match="nobody who knows"):
        verified(after, one.secret)
    pages = arrakis.call("GET", PATH).text + arrakis.call("GET", f"{PATH}/{one.id}").text
    assert not [secret for secret in (new, one.secret) if secret in pages]


def test_j04_an_address_of_our_own_network_is_not_registered(arrakis: Tenant, provider: StandIn) -> None:
    for url in (
        "https://169.254.169.254/latest/meta-data/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://2130706433/",
        "https://localhost/",
        "http://hooks.example.com/",
        "https://hooks.example.com:5432/",
        f"http://user@{provider.authority}/",
        f"{arrakis.gateway.url}/v1/oauth-apps",
    ):
        refused = arrakis.call("POST", PATH, {"url": url})
        assert (refused.status_code, refused.json()["code"]) == (422, "validation_failed"), url

    assert arrakis.call("GET", PATH).json()["data"] == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://169.254.169.254/latest/meta-data/", "The host has an address that is not public."),
        ("https://localhost/", "The host has an address that is not public."),
        ("http://localhost:{port}/hook", "Only https on port 443 is permitted."),
        ("{own}/v1/oauth-apps", "The URL is on our own origin."),
    ],
)
def test_j04_an_address_is_judged_at_each_delivery(hook: NewHook, provider: StandIn, url: str, why: str) -> None:
    """As if its name had led elsewhere when it was registered"""
    one = hook()
    address = url.format(port=provider.server.port, own=one.tenant.gateway.url)
    one.sql("UPDATE oauth_apps_webhookendpoint SET url = %s WHERE id = %s", address)

    one.ping()

    latest = one.latest()
    assert (latest["last_status"], latest["delivered_at"], latest["last_failure"]) == (None, None, why)
    assert provider.asked == []


def test_j04_a_redirect_leads_nowhere(hook: NewHook, provider: StandIn) -> None:
    for status in ("301 Moved", "302 Found", "307 Temporary", "308 Permanent"):
        one = hook(answering(status, f"Location: {provider.url}/elsewhere"))
        one.ping()
        latest = one.latest()
        assert latest["delivered_at"] is None
        assert latest["last_failure"].startswith(f"The endpoint answered {status[:3]}. Redirects are not followed")

    assert provider.sent_to("/elsewhere") == []


def test_j04_an_answer_without_end_holds_nobody(hook: NewHook) -> None:
    """Its head is enough"""

    def endless(visit: Any, request: Request) -> None:
        visit.send(b"HTTP/1.1 200 OK\r\n\r\n")
        visit.drip(b"x")

    one = hook(endless)
    one.ping()

    assert one.latest()["last_status"] == 200


def test_j05_what_a_call_tells(hook: NewHook, arrakis: Tenant, provider: StandIn) -> None:
    """Ids and states: no token, no secret, and nobody's name"""
    one = hook()
    provider.user_id = "paul@arrakis.example"
    app = arrakis.app()
    credential = arrakis.credential(app)
    [created] = one.came()
    provider.behaves("/token", answering_json(400, {"error": "invalid_grant"}))
    for _ in range(2):  # the second one is no news
        path = f"/v1/credentials/{credential}/access-token?force_refresh=true"
        assert arrakis.call("GET", path).status_code == 409
    needed = one.came(2)[1]
    assert arrakis.call("DELETE", f"/v1/credentials/{credential}").status_code == 200
    deleted = one.came(3)[2]

    data = {
        "id": credential,
        "account_id": arrakis.id,
        "oauth_app_id": app.id,
        "provider": "standin",
        "kind": "standin_oauth2",
        "status": "ok",
        "health": {"status": "ok"},
    }
    unwell = {"health": {"status": "error"}}
    assert [(told["type"], told["data"]) for told in (verified(call, one.secret) for call in one.came(3))] == [
        ("credential.created", data),
        ("credential.needs_reauthorization", data | unwell | {"status": "needs_reauthorization"}),
        ("credential.deleted", data | unwell | {"status": "deleted"}),
    ]
    for call in (created, needed, deleted):
        everything = f"{call.target} {call.headers} {call.body!r}"
        known = ("at-", "rt-", "paul", "Arrakis", str(app.client_secret), arrakis.api_token, one.secret)
        assert [secret for secret in known if secret in everything] == []
        assert not {"authorization", "cookie"} & set(call.headers)


def test_j06_a_failure_is_tried_again_later_and_later(hook: NewHook) -> None:
    one = hook(answering("503 Away"))
    one.ping()
    one.came()
    first = one.latest()
    one.due_now()
    one.came(2)
    until(lambda: one.latest()["attempts"] == 2, what="the second outcome")
    second = one.latest()
    pauses = [time_of(one_["due_at"]) - time.time() for one_ in (first, second)]
    one.provider.behaves(one.path, OK)
    one.due_now()
    one.sql("UPDATE oauth_apps_webhookendpoint SET description = 'x' WHERE id = %s")
    another = one.ping()  # wakes the worker, which waits for nothing that is minutes away
    one.came(4)
    good = until(lambda: one.seen()["health"]["status"] == "ok", what="its health")

    assert first["attempts"] == 1
    assert first["last_failure"] == "The endpoint answered 503 instead of 2xx."
    assert pauses[0] < 7
    assert 200 < pauses[1] < 370
    assert good
    assert another in {call.headers["webhook-id"] for call in one.came(4)}


def time_of(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_j06_gone_disables(hook: NewHook, arrakis: Tenant) -> None:
    one = hook(answering("410 Gone"))
    one.ping()
    one.came()

    until(lambda: not one.seen()["enabled"], what="its end")

    seen = one.seen()
    assert seen["disabled_because"] == "The endpoint answered 410 Gone, so it is called no more."
    assert seen["health"]["status"] == "error"
    assert arrakis.call("POST", f"{PATH}/{one.id}/ping", {}).status_code == 409
    assert one.latest()["due_at"] is None


def test_j06_a_dead_endpoint_delays_no_other(hook: NewHook) -> None:
    """Calls that hang until their deadline leave room for others, and one endpoint has few of them at once"""
    is_over = threading.Event()
    dead, alive = hook(lambda visit, request: is_over.wait(10)), hook()
    for _ in range(6):
        dead.ping()
    dead.came(2)
    began = time.monotonic()

    for _ in range(3):
        alive.ping()

    arrived = alive.came(3)
    took = time.monotonic() - began
    hanging = len(dead.came(2))
    is_over.set()
    assert len(arrived) == 3
    assert took < 5  # of the ten seconds that a call may take
    assert hanging == 2


def test_j06_a_claim_that_nobody_has_settled_ends(hook: NewHook) -> None:
    """Whoever comes next calls again, with the same id (a worker that is really killed: test_g_faults.py)"""
    one = hook(BROKEN)
    delivery = one.ping()
    one.came()
    one.latest()
    one.sql(  # an attempt was begun, and nothing is known of its end when the claim is over
        "UPDATE oauth_apps_webhookdelivery SET attempts = 1, last_status = NULL, last_failure = '', due_at = now()"
        " WHERE endpoint_id = %s"
    )
    one.provider.behaves(one.path, OK)

    calls = one.came(2)

    assert [call.headers["webhook-id"] for call in calls] == [delivery, delivery]
    until(lambda: one.latest()["delivered_at"], what="its arrival")
    assert one.latest()["attempts"] == 2


def test_j06_an_event_of_a_transaction_that_failed_is_not_told(hook: NewHook, arrakis: Tenant) -> None:
    one = hook()

    refused = arrakis.call("POST", "/v1/credentials", {"properties": {"kind": "stripe_key"}})
    one.ping()

    assert refused.status_code == 422
    assert [json.loads(call.body)["type"] for call in one.came()] == ["ping"]
