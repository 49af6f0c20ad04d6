"""What the console's page of one OAuth app shows beside its form; no secret is opened for it."""

import json
import shlex
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from oauth_apps import registration
from oauth_apps.console.provider_picker import name_of
from oauth_apps.models import OAuthApp, RedirectURI
from providers import catalogue
from providers.provider import Provider
from providers.showing import facts

LATEST = 5


@dataclass(frozen=True)
class Page:
    """`provider`: None if an operator has taken it out of the catalogue. `redirect_uri`: empty if there is none."""

    oauth_app: OAuthApp
    provider: Provider | None
    provider_name: str
    has_secret: bool
    redirect_uri: str
    trips: list[Any]
    credentials: list[Any]
    number_of_credentials: int

    @property
    def steps(self) -> list[SafeString]:
        return steps(self.provider, self.oauth_app.callback_url) if self.provider else []

    @property
    def start_link(self) -> str:
        query = urlencode({"client_id": self.oauth_app.pk, "redirect_uri": self.redirect_uri, "state": "YOUR_STATE"})
        return f"{settings.PUBLIC_URL}/link/oauth2/start?{query}"

    @property
    def token_request(self) -> str:
        """The curl for a code, with the secret left to the shell's environment."""
        url = f"{settings.PUBLIC_URL}/link/oauth2/token"
        by_secret = self.has_secret and self.provider is not None and not self.provider.client_secret_from
        client = '--data-urlencode "client_secret=$CLIENT_SECRET"' if by_secret else bearer()
        return lines(f"curl -X POST {url}", client, f"-d client_id={self.oauth_app.pk}", '-d "code=$CODE"')

    @property
    def start_auth(self) -> str:
        """The curl for a start link that is good once."""
        url = f"{settings.PUBLIC_URL}/v1/credentials/start-auth"
        body = {
            "oauth_app_id": str(self.oauth_app.pk),
            "redirect_url": self.redirect_uri or "https://YOUR_REDIRECT_URI",
        }
        content = "-H 'Content-Type: application/json'"
        return lines(f"curl -X POST {url}", bearer(), content, f"-d {shlex.quote(json.dumps(body))}")


def page_of(oauth_app: OAuthApp) -> Page:
    first = RedirectURI.objects.of(oauth_app.account_id).order_by("created_at", "pk").first()
    return Page(
        oauth_app=oauth_app,
        provider=catalogue.find(oauth_app.provider),
        provider_name=name_of(oauth_app.provider),
        has_secret=registration.has_client_secret(oauth_app),
        redirect_uri=first.for_provider(oauth_app.provider) if first else "",
        trips=list(oauth_app.authorizations.order_by("-created_at")[:LATEST]),
        credentials=list(oauth_app.credentials.order_by("-created_at")[:LATEST]),
        number_of_credentials=oauth_app.credentials.count(),
    )


def steps(provider: Provider, callback_url: str) -> list[SafeString]:
    """The provider's setup steps, with the callback URL of the app in question."""
    usual = facts.callback_url(provider, settings.PUBLIC_URL) or ""
    said = facts.setup(provider, settings.PUBLIC_URL)
    return [with_code(step.replace(usual, callback_url) if usual else step) for step in said]


def with_code(step: str) -> SafeString:
    """What stands between backticks in a catalogue file is typed as it stands."""
    parts = enumerate(step.split("`"))
    return format_html_join("", "{}", ((format_html("<code>{}</code>", text) if n % 2 else text,) for n, text in parts))


def bearer() -> str:
    return '-H "Authorization: Bearer $API_TOKEN"'


def lines(*parts: str) -> str:
    return " \\\n  ".join(parts)
