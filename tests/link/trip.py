"""One trip at Stripe, as far as a test needs it to have come."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django.test import Client
from requests import PreparedRequest
from responses import RequestsMock

from oauth_apps.models import OAuthApp

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

START = "/link/oauth2/start"
CALLBACK = "/link/oauth2/callback/stripe"
TOKEN = "/link/oauth2/token"
REDIRECT_URI = "https://app.example.com/callback/stripe"
TOKEN_ENDPOINT = "https://connect.stripe.com/oauth/token"
STRIPE_ANSWER = {
    "access_token": "canary-access-token",
    "livemode": True,
    "refresh_token": "canary-refresh-token",
    "token_type": "bearer",
    "stripe_publishable_key": "pk_live_1",
    "stripe_user_id": "acct_1",
    "scope": "read_write",
}


def query_of(url: str) -> dict[str, str]:
    """The query of `url`; a repeated name fails the test."""
    values = parse_qs(urlsplit(url).query, keep_blank_values=True)
    assert all(len(value) == 1 for value in values.values()), values
    return {name: value[0] for name, value in values.items()}


def assert_page(response: "Response", *, holds: str = "") -> None:
    """A page 400: HTML, no redirect, not to be kept."""
    assert response.status_code == 400
    assert response["Content-Type"].startswith("text/html")
    assert response["Cache-Control"] == "no-store"
    assert not response.has_header("Location")
    assert holds in response.content.decode()


def post_form(body: Mapping[str, str], path: str = TOKEN, **extra: Any) -> "Response":
    """POST to a JSON endpoint as an OAuth client does, from a browserless machine."""
    form = "application/x-www-form-urlencoded"
    return Client().post(path, urlencode(body), content_type=form, **extra)


def sent_to_provider(responses: RequestsMock) -> list[PreparedRequest]:
    return [call.request for call in responses.calls]


@dataclass
class Trip:
    """A trip in the test client's browser. Each step goes on from the one before."""

    client: Client
    responses: RequestsMock
    oauth_app: OAuthApp

    def start(self, **params: Any) -> "Response":
        link = {"client_id": str(self.oauth_app.pk), "redirect_uri": REDIRECT_URI, **params}
        return self.client.get(START, {k: v for k, v in link.items() if v is not None})

    def started(self, **params: Any) -> dict[str, str]:
        """The query that the provider gets."""
        response = self.start(**params)
        assert response.status_code == 302, response.content
        return query_of(response["Location"])

    def provider_answers(self, **answer: Any) -> None:
        self.responses.post(TOKEN_ENDPOINT, **({"json": STRIPE_ANSWER} | answer))

    def callback(self, **query: str) -> "Response":
        return self.client.get(CALLBACK, query)

    def code(self, **params: Any) -> str:
        """Our code, after a trip on which everybody agreed."""
        self.provider_answers()
        response = self.callback(state=self.started(**params)["state"], code="canary-provider-code")
        assert response.status_code == 302, response.content
        return query_of(response["Location"])["code"]

    def token(self, **body: Any) -> "Response":
        pair = {"client_id": str(self.oauth_app.pk), "client_secret": "canary-client-secret"}
        body = {name: value for name, value in (pair | body).items() if value is not None}
        return post_form(body)
