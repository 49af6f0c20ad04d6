"""Who speaks for a credential in the tests of what is said."""

from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings as product
from requests import PreparedRequest
from responses import RequestsMock

from providers import access, kinds
from providers.client import Client
from providers.provider import Provider
from providers.tokens import TokenResponse
from tests.providers.imports import APPS, IMPORTS

SANDBOX = f"{product.PUBLIC_URL}/sandbox/"


class Speaker:
    """A credential with what is needed to speak for it. `app`: the OAuth app's client id and secret."""

    def __init__(self, name: str, *, app: tuple[str, str] = ("", ""), sandbox: bool = False, **changes: Any) -> None:
        self.kind = kinds.get(name)
        fixed = APPS.get(name, {})
        self.values = self.kind.accept(IMPORTS[name] | changes, fixed=fixed)
        self.client = Client(*app, self.kind.variables(self.values, fixed=fixed), sandbox)
        self.sandbox_url = SANDBOX + self.kind.provider.slug if sandbox else ""

    @property
    def provider(self) -> Provider:
        return self.kind.provider.bound(self.client.variables, sandbox_url=self.sandbox_url)

    def mint(self) -> TokenResponse:
        return access.mint(self.kind, self.client, self.values)

    def check(self, access_token: str = "canary-minted") -> Any:
        return access.check(self.kind, self.provider, self.client, self.values, access_token)

    def sent_with(self) -> dict[str, Any]:
        return access.sent_with(self.kind, self.provider, self.values)


def form_of(request: PreparedRequest) -> dict[str, str]:
    body = request.body.decode() if isinstance(request.body, bytes) else str(request.body or "")
    return dict(parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body)))


def sent(responses: RequestsMock) -> PreparedRequest:
    [call] = responses.calls
    return call.request
