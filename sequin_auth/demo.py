"""
What a newcomer finds after `make run`: an account, a console user, an API token, OAuth apps in the sandbox, and a sync
of what one of them sees.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from credentials import trial
from oauth_apps import api_tokens, audit
from oauth_apps.models import Account, Membership, OAuthApp, RedirectURI
from providers import catalogue
from providers.sandbox.models import Registration
from sequin_auth.development import write_private
from syncs import creation
from syncs.models import Sync

ACCOUNT = "Demo"
USER = "admin"
PROVIDERS = ("stripe", "salesforce", "hubspot", "slack")
SYNCED = ("customer", "invoice", "charge")  # of the first of them
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
    membership, password = add_console_user(account)
    row, api_token = api_tokens.issue(account, scopes=SCOPES, name="make run")
    apps = [add_sandbox_app(account, slug) for slug in PROVIDERS] if settings.SANDBOX else []
    by = audit.Actor.command("run")
    events = [
        audit.event("account.created", by=by, account=account, to=account),
        audit.event("member.created", by=by, account=account, to=membership),
        audit.event("api_token.created", by=by, account=account, to=row, detail=", ".join(row.scopes)),
        *(audit.event("oauth_app.created", by=by, account=account, to=oauth_app) for oauth_app in apps),
    ]
    if password:
        events.append(audit.event("user.created", by=by, account=None, to=membership.user))
    audit.write(events)
    return Shown(user=USER, password=password, api_token=api_token)


def add_console_user(account: Account) -> tuple[Membership, str]:
    """The membership, and the password of a user that is new."""
    users = get_user_model()
    user = users.objects.filter(username=USER).first()
    password = "" if user else secrets.token_urlsafe(12)
    user = user or users.objects.create_superuser(username=USER, password=password)
    return Membership.objects.create(account=account, user=user), password


def add_sandbox_app(account: Account, slug: str) -> OAuthApp:
    provider = catalogue.get(slug)
    return OAuthApp.objects.create(
        account=account,
        provider=slug,
        name=f"{provider.name} (sandbox)",
        client_id=f"demo-{slug}",
        client_secret=secrets.token_urlsafe(24),
        environment=OAuthApp.Environment.SANDBOX,
        own_callback=provider.needs_own_callback({}, has_secret=True),
    )


def add_sync() -> Sync | None:
    """A sync of a made-up account of the first sandbox app's provider; None if the demo account has had its first.

    Raises trial.TrialFailed; NoSyncDatabase, DestinationUnavailable where there is no place for its rows.
    """
    account = Account.objects.get(name=ACCOUNT)
    if account.syncs.exists() or account.credentials.exists():
        return None
    oauth_app = OAuthApp.objects.of(account).filter(provider=PROVIDERS[0], environment="sandbox").first()
    redirect_uri = RedirectURI.objects.filter(account=account).first()
    if oauth_app is None or redirect_uri is None:
        return None
    by = audit.Actor.command("run")
    credential = trial.connect(oauth_app, redirect_uri=redirect_uri.redirect_uri)
    with transaction.atomic():
        audit.record("credential.created", by=by, account=account, to=credential, detail=credential.kind)
        return creation.create(
            account,
            provider=oauth_app.definition,
            credential=credential.pk,
            collection_ids=[f"{oauth_app.provider}:{name}" for name in SYNCED],
            destination_id=None,
            by=by,
            name=f"{oauth_app.definition.name} (sandbox)",
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
    with transaction.atomic():
        row, is_new = RedirectURI.objects.get_or_create(account=account, redirect_uri=redirect_uri)
        if is_new:
            audit.record("redirect_uri.created", by=audit.Actor.command("run"), account=account, to=row)
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
