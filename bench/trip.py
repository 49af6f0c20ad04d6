"""
What one trip costs: the processor time of start, callback and token, beside that of a view that does nothing.

Everything happens in this process (Django's test client, PostgreSQL beside it); the provider is the library
`responses`, whose part is measured and taken off. Ratios are comparable between machines, milliseconds are not.

    make bench
"""

import sys
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import requests
import responses
from django.test import Client

from bench.ground import Stopwatch, database, prepare
from oauth_apps.models import Account, OAuthApp, RedirectURI

TRIPS = 200
WARM_UP = 20
TOKEN_ENDPOINT = "https://connect.stripe.com/oauth/token"
TOKENS = {
    "access_token": "at-1", "refresh_token": "rt-1", "token_type": "bearer", "scope": "read_only",
    "stripe_user_id": "acct_1", "livemode": False,
}  # fmt: skip
REDIRECT_URI = "https://app.example.com/callback"
SECRET = "only for the benchmark"


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def trip(oauth_app: OAuthApp, measure: Stopwatch, *, browser: Client, backend: Client) -> None:
    browser.cookies.clear()
    with measure.measure("bare view"):
        backend.get("/bare/0")
    with measure.measure("start"):
        started = browser.get("/link/oauth2/start", {"client_id": str(oauth_app.id), "redirect_uri": REDIRECT_URI})
    answer = {"code": "ac_1", "state": query_of(started["Location"])["state"]}
    with measure.measure("callback"):
        returned = browser.get(urlsplit(oauth_app.callback_url).path, answer)
    body = {"client_id": str(oauth_app.id), "client_secret": SECRET, "code": query_of(returned["Location"])["code"]}
    with measure.measure("token"):
        tokens = backend.post("/link/oauth2/token", body, content_type="application/json")
    if tokens.status_code != 200:
        sys.exit(f"The trip did not arrive: {tokens.status_code}")
    with measure.measure("provider"):
        requests.post(TOKEN_ENDPOINT, data=body, timeout=1)


def stripe_app() -> OAuthApp:
    account = Account.objects.create(name="Benchmark")
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    return OAuthApp.objects.create(
        account=account, provider="stripe", name="Stripe", client_id="ca_1", client_secret=SECRET
    )


def report(measure: Stopwatch) -> None:
    def median(name: str) -> float:
        return measure.median(name, warm_up=WARM_UP)

    bare = median("bare view")
    rows: list[tuple[str, Callable[[], float]]] = [
        ("bare view", lambda: bare),
        ("start", lambda: median("start")),
        ("callback", lambda: median("callback") - median("provider")),
        ("token", lambda: median("token")),
    ]
    for name, seconds in rows:
        print(f"{name:10} {seconds() * 1000:7.2f} ms {seconds() / bare:7.1f} x")
    trip = sum(seconds() for _, seconds in rows[1:])
    print(f"{'a trip':10} {trip * 1000:7.2f} ms {trip / bare:7.1f} x   ({1 / trip:.0f} a second and processor)")


def main() -> None:
    prepare()
    measure = Stopwatch()
    with database(), responses.RequestsMock() as provider:
        provider.add(responses.POST, TOKEN_ENDPOINT, json=TOKENS)
        oauth_app = stripe_app()
        browser, backend = Client(), Client()
        for _ in range(WARM_UP + TRIPS):
            trip(oauth_app, measure, browser=browser, backend=backend)
    report(measure)


if __name__ == "__main__":
    main()
