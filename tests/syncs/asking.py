"""How tests ask `/v1/syncs`, and what stands there already."""

from pathlib import Path
from typing import Any

from django.test import Client

from credentials.models import Credential
from oauth_apps.models import Account, OAuthApp
from syncs.models import Destination, Sync
from tests.credentials.stored import keep

SYNCS = "/v1/syncs"
JSON = "application/json"
PROVIDERS = Path(__file__).parent / "providers"  # one with collections, one without
GRANTED = {"access_token": "canary-access", "refresh_token": "canary-refresh", "user_id": "muaddib", "scope": "read"}


def path(sync: Any, action: str = "") -> str:
    """`sync`: one of ours, an answer that shows it, or an id."""
    pk = sync["id"] if isinstance(sync, dict) else getattr(sync, "pk", sync)
    return f"{SYNCS}/{pk}{action}"


def post(api: Client, where: str = SYNCS, /, **content: Any) -> Any:
    return api.post(where, content, content_type=JSON)


def patch(api: Client, sync: Any, **content: Any) -> Any:
    return api.patch(path(sync), content, content_type=JSON)


def asked(**changes: Any) -> dict[str, Any]:
    """The body of a sound POST but for what it is to sync with; what is None in `changes` is left out."""
    body = {"provider": "dunes", "name": "Spice", "collection_ids": ["dunes:harvester"], **changes}
    return {name: value for name, value in body.items() if value is not None}


def app_at(account: Account, provider: str) -> OAuthApp:
    fields = {"provider": provider, "name": provider, "client_id": f"{provider}-1", "client_secret": "canary-secret"}
    return OAuthApp.objects.create(account=account, **fields)


def credential_at(oauth_app: OAuthApp, **properties: Any) -> Credential:
    return keep(oauth_app.account, f"{oauth_app.provider}_oauth2", oauth_app, **(GRANTED | properties))


def sync_with(credential: Credential, **fields: Any) -> Sync:
    """A row, as the journey makes it."""
    destination = fields.pop("destination", None) or Destination.objects.builtin(credential.account)
    defaults = {"provider": "dunes", "name": "Spice", "collection_ids": ["dunes:harvester"]}
    return Sync.objects.create(
        account=credential.account, credential=credential, destination=destination, **(defaults | fields)
    )


def again(sync: Sync) -> Sync:
    """As it is in the database now."""
    return Sync.objects.whole().get(pk=sync.pk)
