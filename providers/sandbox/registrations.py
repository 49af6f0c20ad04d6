"""Which clients the simulated providers know. OAuth apps of the environment `sandbox` are written down here."""

import secrets
from collections.abc import Mapping
from uuid import UUID

from providers.sandbox.models import Registration


def register(
    registration_id: UUID,
    *,
    slug: str,
    client_id: str,
    client_secret: str | None,
    redirect_uri: str,
    variables: Mapping[str, str],
) -> None:
    """Make the client known to the simulated provider, or change it. `redirect_uri` is our callback URL.

    A client id that begins with `unknown` is not written down, and a client secret that begins with `wrong` is written
    down as another one: so a developer sees what happens if he mistypes them.
    """
    if client_id.startswith("unknown"):
        forget(registration_id)
        return
    if client_secret and client_secret.startswith("wrong"):
        client_secret = secrets.token_urlsafe()
    registration = Registration(
        id=registration_id, slug=slug, client_id=client_id, redirect_uri=redirect_uri, variables=dict(variables)
    )
    registration.client_secret = client_secret
    registration.save()


def forget(registration_id: UUID) -> None:
    """With the client go its grants and tokens. Does nothing if the client is unknown."""
    Registration.objects.filter(pk=registration_id).delete()
