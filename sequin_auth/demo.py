"""What a newcomer finds after `make run`: an account, a console user, an API token and OAuth apps in the sandbox."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from oauth_apps import api_tokens
from oauth_apps.models import Account, Membership, OAuthApp, RedirectURI
from providers import catalogue
from providers.sandbox.models import Registration
from sequin_auth.development import write_private

ACCOUNT = "Demo"
USER = "admin"
PROVIDERS = ("stripe", "salesforce", "hubspot", "slack")
SCOPES = ("read", "write", "reveal")


@dataclass(frozen=True, slots=True, repr=False)
class Shown:
    """What is shown once. `password` is empty if the user was there before."""

    user: str
    password: str
    api_token: str


@transaction.atomic
def create() -> Shown | None:
    """Make the demo account with all that belongs to it; None if it is there."""
    if Account.objects.filter(name=ACCOUNT).exists():
        return None
    account = Account.objects.create(name=ACCOUNT)
    password = add_console_user(account)
    _, api_token = api_tokens.issue(account, scopes=SCOPES, name="make run")
    if settings.SANDBOX:
        for slug in PROVIDERS:
            add_sandbox_app(account, slug)
    return Shown(user=USER, password=password, api_token=api_token)


def add_console_user(account: Account) -> str:
    """Returns the password of a user that is new."""
    users = get_user_model()
    user = users.objects.filter(username=USER).first()
    password = "" if user else secrets.token_urlsafe(12)
    user = user or users.objects.create_superuser(username=USER, password=password)
    Membership.objects.create(account=account, user=user)
    return password


def add_sandbox_app(account: Account, slug: str) -> None:
    provider = catalogue.get(slug)
    OAuthApp.objects.create(
        account=account,
        provider=slug,
        name=f"{provider.name} (sandbox)",
        client_id=f"demo-{slug}",
        client_secret=secrets.token_urlsafe(24),
        environment=OAuthApp.Environment.SANDBOX,
        own_callback=provider.needs_own_callback({}, has_secret=True),
    )


def move_sandbox() -> None:
    """Tell the simulated providers our callback URLs again, if PUBLIC_URL has changed since they were told."""
    moved = Registration.objects.exclude(redirect_uri__startswith=f"{settings.PUBLIC_URL}/")
    for oauth_app in OAuthApp.objects.filter(pk__in=moved.values("pk")):
        oauth_app.save()


def configure_example(path: Path, *, url: str) -> None:
    """Write down what the example app at `url` has to know, and register its redirect URI."""
    account = Account.objects.get(name=ACCOUNT)
    redirect_uri = f"{url}/callback/:provider"
    RedirectURI.objects.get_or_create(account=account, redirect_uri=redirect_uri)
    apps = OAuthApp.objects.of(account).enabled().filter(environment=OAuthApp.Environment.SANDBOX)
    configuration = {
        "gateway": settings.PUBLIC_URL,
        "url": url,
        "apps": [
            {
                "provider": oauth_app.provider,
                "name": oauth_app.definition.name,
                "client_id": str(oauth_app.id),
                "client_secret": oauth_app.client_secret,
            }
            for oauth_app in apps.order_by("created_at", "id")
            if oauth_app.client_secret
        ],
    }
    write_private(path, json.dumps(configuration, indent=2))


def mistaken_start_url() -> str:
    """A start link whose redirect URI nobody has registered, with `debug`: the page says what is wrong."""
    oauth_app = OAuthApp.objects.of(Account.objects.get(name=ACCOUNT)).enabled().order_by("created_at").first()
    query = {
        "client_id": str(oauth_app.pk) if oauth_app else "",
        "redirect_uri": "https://app.example.com/callbakc",
        "debug": "true",
    }
    return f"{settings.PUBLIC_URL}/link/oauth2/start?{urlencode(query)}"
