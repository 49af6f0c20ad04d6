"""The simulated providers' id_tokens (OpenID Connect Core, 2), and the keys that verify them."""

import functools
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from providers.sandbox.answers import filled
from providers.sandbox.models import SigningKey
from providers.sandbox.script import IdToken

Key = RSAKey | ECKey


@sensitive_variables()
def id_token(wanted: IdToken, *, client_id: str, nonce: str, values: dict[str, Any]) -> str:
    """An id_token for `client_id`. `values`: what its claims may be filled with; `nonce`: empty, if none was sent."""
    issued = int(timezone.now().timestamp())
    claims = {
        **filled(wanted.claims, {**values, "client_id": client_id}),
        "aud": client_id,
        "iat": issued,
        "exp": issued + wanted.lifetime,
    }
    if nonce:
        claims["nonce"] = nonce
    key = signing_key(wanted.algorithm)
    return jwt.encode({"alg": wanted.algorithm, "kid": key.kid}, claims, key, algorithms=[wanted.algorithm])


def public_keys(algorithm: str) -> dict[str, Any]:
    """The JWK set that the provider publishes. Source: RFC 7517, 5."""
    public = signing_key(algorithm).as_dict(private=False)
    return {"keys": [{**public, "alg": algorithm, "use": "sig"}]}


@sensitive_variables()
def signing_key(algorithm: str) -> Key:
    """The key of `algorithm`, made now if there is none. Of two that make one at once, both get the first."""
    row = SigningKey.objects.filter(algorithm=algorithm).first()
    if row is None:
        row = SigningKey(algorithm=algorithm, private_key=new_key(algorithm))
        try:
            with transaction.atomic():
                row.save()
        except IntegrityError:
            row = SigningKey.objects.get(algorithm=algorithm)
    return _imported(row.private_key)


@functools.cache
def new_key(algorithm: str) -> str:
    """A private JWK. Making one takes long; a process that needs another, for another database, takes the same."""
    key: Key = RSAKey.generate_key(2048) if algorithm == "RS256" else ECKey.generate_key("P-256")
    return msgspec.json.encode({**key.as_dict(private=True), "kid": key.thumbprint()}).decode()


@functools.lru_cache(maxsize=8)  # RSA keys are checked when they are read, which takes a while
def _imported(private_key: str) -> Key:
    document = msgspec.json.decode(private_key, type=dict[str, Any])
    return RSAKey.import_key(document) if document["kty"] == "RSA" else ECKey.import_key(document)
