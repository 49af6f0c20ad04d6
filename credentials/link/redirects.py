"""The URLs at which a trip ends."""

from urllib.parse import quote

from django.conf import settings
from django.urls import reverse

from credentials.models import Authorization, End


def with_params(redirect_uri: str, **params: str | bytes | None) -> str:
    """`redirect_uri`, its own query untouched, with `params` behind it; one that is None is left out."""
    pairs = "&".join(f"{name}={quote(value, safe='')}" for name, value in params.items() if value is not None)
    if not pairs:
        return redirect_uri
    if "?" not in redirect_uri:
        return f"{redirect_uri}?{pairs}"
    return f"{redirect_uri}{pairs}" if redirect_uri[-1] in "?&" else f"{redirect_uri}&{pairs}"


def end_of_ours(authorization: Authorization) -> str:
    """The page that says how a trip ended which leads to no redirect URI: for everybody, or in the console."""
    if authorization.ends_at == End.PAGE:
        return f"{settings.PUBLIC_URL}{reverse('ended', args=[authorization.pk])}"
    return f"{settings.PUBLIC_URL}{reverse('admin:credentials_authorization_arrived', args=[authorization.pk])}"
