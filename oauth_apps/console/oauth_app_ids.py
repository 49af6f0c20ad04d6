"""The id of an OAuth app that is being registered: its callback URL holds it, and is shown before the app is saved."""

from typing import Any
from uuid import UUID, uuid4

from django.core import signing
from django.utils.crypto import salted_hmac

SALT = "oauth_apps.console.oauth_app_ids"


class NotOurs(ValueError):
    """What came back with the form was not signed here for this user."""


def promise(user_id: Any) -> tuple[UUID, str]:
    """A new id, and the text that brings it back with the form of the same user."""
    made = uuid4()
    return made, signing.dumps({"id": str(made), "user": user_id}, salt=SALT)


def promised(user_id: Any, text: str) -> UUID:
    """Raises NotOurs."""
    try:
        said = signing.loads(text, salt=SALT)
    except signing.BadSignature as exc:
        raise NotOurs from exc
    if said["user"] != user_id:
        raise NotOurs
    return UUID(said["id"])


def made_up(oauth_app_id: UUID) -> tuple[str, str]:
    """Client id and client secret for the sandbox, which takes any."""
    text = salted_hmac(SALT, str(oauth_app_id), algorithm="sha256").hexdigest()
    return f"demo-{text[:12]}", f"demo-secret-{text[12:36]}"
