"""What the simulator does for one provider alone, since no table can say it; named by the provider's `[sandbox]`.

`callback_signature(params, registration, parts)` returns the callback's parameters, signed. `parts`: of the address.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import urlencode

from providers.sandbox.models import Registration


def shopify_hmac(params: Mapping[str, str], registration: Registration, parts: Mapping[str, str]) -> dict[str, str]:
    """Source: the first page of Shopify's `documentation`, "Verify the request"."""
    host = b64encode(f"admin.shopify.com/store/{parts.get('shop', '')}".encode()).decode().rstrip("=")
    signed = {**params, "host": host}
    message = urlencode(sorted(signed.items())).encode()
    secret = (registration.client_secret or "").encode()
    return {**signed, "hmac": hmac.new(secret, message, hashlib.sha256).hexdigest()}
