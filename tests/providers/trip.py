"""Whole trips against the simulator: an end user's browser, and the network between us and the simulated provider."""

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings
from django.test import Client
from requests import PreparedRequest
from responses import RequestsMock

from oauth_apps.models import Account, OAuthApp
from providers.provider import Provider

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

REDIRECT_URI = "https://app.example.com/in/:provider"
SECRET = "canary-client-secret"


@pytest.fixture
def network(responses: RequestsMock) -> RequestsMock:
    """What leaves for the simulator arrives there; nothing else leaves."""
    caller = Client()  # one for all calls: each loads the middleware anew

    def deliver(request: PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        headers = {name: str(value) for name, value in request.headers.items() if name.lower() != "content-type"}
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        caller.cookies.clear()
        answer = caller.generic(
            str(request.method),
            str(request.url).removeprefix(settings.PUBLIC_URL),
            body,
            content_type=request.headers.get("Content-Type", ""),
            headers=headers,
        )
        return answer.status_code, dict(answer.headers), answer.content

    for method in ("GET", "POST", "DELETE"):
        responses.add_callback(method, re.compile(re.escape(f"{settings.PUBLIC_URL}/sandbox/")), callback=deliver)
    return responses


def sandbox_app(account: Account, provider: Provider, **fields: Any) -> OAuthApp:
    variables = {
        name: variable.accept(name, variable.default or variable.example)
        for name, variable in provider.variables.items()
        if variable.required
    }
    return OAuthApp.objects.create(
        **{
            "account": account,
            "provider": provider.slug,
            "name": provider.name,
            "client_id": "client-1",
            "client_secret": private_key() if provider.client_secret_from else SECRET,
            "environment": "sandbox",
            "variables": variables,
            "own_callback": provider.needs_own_callback(variables, has_secret=True),
        }
        | fields
    )


def private_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class Browser:
    """An end user, who is offered the simulator's outcomes and takes one."""

    def __init__(self, client: Client, oauth_app: OAuthApp) -> None:
        self.client, self.oauth_app = client, oauth_app

    def start(self, **params: str) -> "Response":
        link = {"client_id": str(self.oauth_app.pk), "redirect_uri": REDIRECT_URI, "state": "s1", **params}
        return self.client.get("/link/oauth2/start", link)

    def outcomes(self, **params: str) -> dict[str, str]:
        started = self.start(**params)
        assert started["Location"].startswith(f"{settings.PUBLIC_URL}/sandbox/"), started["Location"]
        consent = self.client.get(started["Location"], headers={"Accept": "application/json"})
        assert consent.status_code == 200, consent.content
        outcomes: dict[str, str] = consent.json()["outcomes"]
        return outcomes

    def chooses(self, outcome: str, **params: str) -> dict[str, str]:
        """The query with which the end user is back at the developer's."""
        return self.follows(self.outcomes(**params)[outcome])

    def follows(self, link: str) -> dict[str, str]:
        """Likewise, with one of the outcomes."""
        answer = self.client.get(link)
        callback = answer["Location"] if answer.status_code == 302 else self.posted(answer)
        arrived = self.client.get(callback)
        assert arrived.status_code == 302, arrived.content
        assert arrived["Location"].startswith(REDIRECT_URI.replace(":provider", self.oauth_app.provider))
        return dict(parse_qsl(urlsplit(arrived["Location"]).query))

    def posted(self, page: "Response") -> str:
        """response_mode=form_post: the page's form is sent from another site, without our cookie."""
        html = page.content.decode()
        action = re.search(r'action="([^"]*)"', html)
        assert action, html
        fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', html))
        response = Client().post(action[1], urlencode(fields), content_type="application/x-www-form-urlencoded")
        assert response.status_code == 303, response.content
        return str(response["Location"])

    def token(self, **body: str) -> Any:
        pair = {"client_id": str(self.oauth_app.pk), "client_secret": self.oauth_app.client_secret}
        form = urlencode(pair | body)
        return Client().post("/link/oauth2/token", form, content_type="application/x-www-form-urlencoded")
