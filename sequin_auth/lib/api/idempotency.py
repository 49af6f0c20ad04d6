"""`Idempotency-Key`: a create that is sent twice happens once, and is answered twice.

Source: https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header
"""

import json
import re
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from sequin_auth.lib.api.errors import ApiError, Invalid

PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)


def once(request: Request, create: Callable[[], Response], *, caller: str, claim: Callable[..., Any]) -> Response:
    """The answer of `create()`, or the one that this key was given before.

    `caller`: whose key it is; a key of another caller, or at another route, is another key.
    `claim(key_hash=, body_hash=)`: finds the row of a key or makes it, and locks it until the transaction ends. It has
    `body_hash`, `status_code` (None until the answer is known) and `answer`. Of two requests that would make it at
    once, one waits for the other's end.
    The row and what `create` writes are one transaction: what fails is not remembered, and `create` calls nobody.
    The answer is kept as it is: none that holds a secret may come from here.
    Raises ApiError for an unreadable key, Invalid for a key that came with another body.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        with transaction.atomic():
            return create()
    if not PRINTABLE.fullmatch(key):
        raise ApiError("An Idempotency-Key has 1 to 255 printable ASCII characters.", code="bad_idempotency_key")

    key_hash = _keyed_hash([caller, request.method, request.path.rstrip("/"), key])
    body_hash = _keyed_hash(request.data)  # keyed, since bodies hold secrets that somebody may have chosen
    with transaction.atomic():
        record = claim(key_hash=key_hash, body_hash=body_hash)
        if not constant_time_compare(bytes(record.body_hash), body_hash):
            raise Invalid({"Idempotency-Key": ["This key was used with another body."]}, code="idempotency_key_reused")
        if record.status_code is not None:
            replayed = json.loads(record.answer)
            return Response(replayed, status=record.status_code, headers={"Idempotent-Replayed": "true"})
        response = create()
        record.status_code, record.answer = response.status_code, JSONRenderer().render(response.data).decode()
        record.save()
        return response


def _keyed_hash(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return salted_hmac("sequin_auth.idempotency", text, algorithm="sha256").digest()
