"""What every answer of `/v1` has in common. The names that settings.py refers to stand here."""

from sequin_auth.lib.api.errors import exception_handler
from sequin_auth.lib.api.pagination import CursorPagination
from sequin_auth.lib.api.parsing import StrictJSONParser
from sequin_auth.lib.api.requests import RequestLogMiddleware, client_address

SECRET_MASK = "*" * 10  # a client secret, whatever its length
PROPERTY_MASK = "*" * 11  # a secret among the properties of a credential

__all__ = [
    "PROPERTY_MASK",
    "SECRET_MASK",
    "CursorPagination",
    "RequestLogMiddleware",
    "StrictJSONParser",
    "client_address",
    "exception_handler",
]
