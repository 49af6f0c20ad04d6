"""What the examples of docs/openapi.json name, as rows: each under the id that stands there."""

import uuid
from typing import Any

from django.test import Client
from django.utils import timezone

from credentials import imports
from credentials.imported import Import
from credentials.models import Credential, ReadCount
from oauth_apps.models import Account, OAuthApp, RedirectURI
from oauth_apps.models.webhook import WebhookDelivery, WebhookEndpoint
from oauth_apps.webhooks import signing
from providers import kinds
from sequin_auth.api_description.examples import (
    APP_ID,
    CREDENTIAL_ID,
    DESTINATION_ID,
    ENDPOINT_ID,
    REDIRECT_URI_ID,
    SYNC_ID,
)
from sequin_auth.api_description.operations.credentials import NEW_CREDENTIAL
from sequin_auth.api_description.operations.destinations import NEW_DESTINATION
from sequin_auth.api_description.operations.oauth_apps import NEW_APP
from sequin_auth.api_description.operations.webhooks import DELIVERY, WEBHOOK_ENDPOINT
from syncs.models import Destination, Stop, Sync, SyncRun
from tests.oauth_apps.conftest import client_of

REDIRECT_URI = "https://app.example.com/oauth/callback/:provider"
# What each of these makes is not there yet
MAKES = {
    "createRedirectURI": {"redirect_uri"},
    "createOAuthApp": {"oauth_app", "credential", "sync"},
    "importCredential": {"credential", "sync"},
    "importCredentials": {"credential", "sync"},
    "createSync": {"credential", "sync"},
}
# What stands in the way of these
LEAVES_OUT = MAKES | {
    "deleteOAuthApp": {"credential", "sync"},
    "deleteCredential": {"sync"},
    "deleteDestination": {"sync"},
}


class World:
    def __init__(self, account: Account, operation_id: str) -> None:
        self.account = account
        self.left_out = LEAVES_OUT.get(operation_id, set())
        self.is_about_own_database = operation_id.endswith("Destination")
        for thing in (
            "read_count",
            "redirect_uri",
            "oauth_app",
            "credential",
            "destination",
            "sync",
            "webhook_endpoint",
        ):
            if thing not in self.left_out:
                getattr(self, f"make_{thing}")()

    def client(self, *scopes: str) -> Client:
        return client_of(self.account, *scopes or ("read", "write", "reveal"))

    def make_redirect_uri(self) -> None:
        RedirectURI.objects.create(id=REDIRECT_URI_ID, account=self.account, redirect_uri=REDIRECT_URI)

    def make_oauth_app(self) -> None:
        self.oauth_app = OAuthApp.objects.create(id=APP_ID, account=self.account, **NEW_APP)

    def make_credential(self) -> None:
        posted: dict[str, Any] = NEW_CREDENTIAL
        properties = {name: value for name, value in posted["properties"].items() if name != "kind"}
        kind = kinds.get("stripe_oauth2")
        given = Import(
            id=uuid.UUID(CREDENTIAL_ID),
            kind=kind,
            values=kind.accept(properties, fixed={}),
            oauth_app=self.oauth_app,
            metadata=posted["metadata"],
        )
        self.credential = imports.keep(self.account, given)[0]

    def make_destination(self) -> None:
        if self.is_about_own_database:
            names = {"id": DESTINATION_ID, "account": self.account, "name": "Warehouse"}
            connection: dict[str, Any] = NEW_DESTINATION["connection"]  # type: ignore[assignment]
            self.destination = Destination.objects.create(**names, **connection)
        else:
            made = Destination.objects.builtin(self.account)
            Destination.objects.filter(pk=made.pk).update(id=DESTINATION_ID)
            self.destination = Destination.objects.get(pk=DESTINATION_ID)

    def make_sync(self) -> None:
        sync = Sync.objects.create(
            id=SYNC_ID,
            account=self.account,
            provider="stripe",
            name="Arrakis, customers",
            collection_ids=["stripe:customer"],
            credential=Credential.objects.get(pk=CREDENTIAL_ID),
            destination=self.destination,
            rate_limit={"allowed_requests": 20, "interval": 1, "max_concurrent_requests": 2},
        )

        SyncRun.objects.create(
            sync=sync, ended_at=timezone.now(), rows={"stripe:customer": 250}, requests=3, stop=Stop.DONE
        )

    def make_read_count(self) -> None:
        now = timezone.now().replace(second=0, microsecond=0)
        ids = {"api_token": uuid.uuid4(), "credential": CREDENTIAL_ID}
        ReadCount.objects.create(account=self.account, minute=now, number=42, address="192.0.2.7", **ids)

    def make_webhook_endpoint(self) -> None:
        names = {"id": ENDPOINT_ID, "account": self.account, "secret": signing.new_secret()}
        WebhookEndpoint.objects.create(**names, url=str(WEBHOOK_ENDPOINT["url"]))
        event = str(DELIVERY["event"])
        WebhookDelivery.objects.create(endpoint_id=ENDPOINT_ID, event=event, body="{}", attempts=1)
