"""
The way to a host of the operator's own, beside the guard of http.py: that one keeps strangers from naming a host of the
inside, and nobody but the operator names this one. It may be private, and plain http. Nothing else has a say in it: no
proxy, no .netrc and no certificate of the environment, no redirect; and it goes to that one origin alone.
"""

from typing import Any
from urllib.parse import urlsplit

import requests
from django.core.exceptions import ImproperlyConfigured

from sequin_auth.lib.http import EgressBlocked, authorities

DEADLINE = 5.0  # seconds to connect, and for each read


def origin_of(url: str, setting: str) -> str:
    """Raises ImproperlyConfigured, which repeats nothing."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ImproperlyConfigured(f"{setting} must be a URL, such as https://reports.example.com/…")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


class Sender(requests.Session):
    """For libraries that want a session. Raises EgressBlocked for any other origin than its own."""

    def __init__(self, origin: str) -> None:
        super().__init__()
        self.trust_env = False
        self.origin = origin

    def request(self, method: Any, url: Any, *args: Any, **rest: Any) -> requests.Response:
        parts = urlsplit(str(url))
        if f"{parts.scheme}://{parts.netloc}".lower() != self.origin:
            raise EgressBlocked("Reports go to the origin that the settings name, and to no other.")
        return super().request(
            method,
            url,
            data=rest.get("data"),
            headers=rest.get("headers"),
            timeout=DEADLINE,
            allow_redirects=False,
            verify=authorities(),
        )
