"""A provider that follows the RFCs, with what a test changes about it, and what was sent to it."""

import datetime
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from requests import PreparedRequest
from responses import RequestsMock

from providers.client import Client
from providers.provider import Provider

BASE = {
    "slug": "acme",
    "name": "Acme",
    "docs": "https://docs.acme.example",
    "checked": datetime.date(2026, 11, 22),
    "authorization_endpoint": "https://acme.example/authorize",
    "token_endpoint": "https://acme.example/token",
}
CLIENT = Client("client:1", "canary s+c%", {})
TOKEN = "https://acme.example/token"


def provider_with(**fields: Any) -> Provider:
    return msgspec.convert(BASE | fields, Provider)


def sent(responses: RequestsMock, number: int = 0) -> PreparedRequest:
    request: PreparedRequest = responses.calls[number].request
    return request


def form(request: PreparedRequest) -> dict[str, str]:
    return dict(parse_qsl(str(request.body or ""), keep_blank_values=True))
