"""Rows of trips as they stand at some step, without the journey that leads there."""

import secrets
from datetime import timedelta
from typing import Any

from django.utils import timezone

from credentials.models import Authorization, Step
from oauth_apps.models import OAuthApp


def trip_at(oauth_app: OAuthApp, step: Step = Step.STARTED, *, seconds_left: int = 300, **fields: Any) -> Authorization:
    now = timezone.now()
    defaults = {
        "oauth_app": oauth_app,
        "provider": oauth_app.provider,
        "step": step,
        "state_hash": secrets.token_bytes(32),
        "browser_hash": secrets.token_bytes(32),
        "callback_url": f"https://auth.example.com/link/oauth2/callback/{oauth_app.provider}",
        "redirect_uri": "https://app.example.com/callback/stripe",
        "scopes": ["read_write"],
        "snapshot": {
            "client_id": oauth_app.client_id,
            "variables": {},
            "sandbox": False,
            "token_endpoint": "https://connect.stripe.com/oauth/token",
            "issuer": "",
        },
        "state_taken_at": None if step == Step.STARTED else now,
        "granted_at": now if step in {Step.GRANTED, Step.EXCHANGED, Step.ABANDONED} else None,
        "code_taken_at": now if step in {Step.EXCHANGED, Step.ABANDONED} else None,
        "expires_at": now + timedelta(seconds=seconds_left),
    }
    return Authorization.objects.create(**(defaults | fields))
