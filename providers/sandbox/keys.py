"""Private keys for OAuth apps in the sandbox, made up: a simulator takes any that its provider's kind of key is."""

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.views.decorators.debug import sensitive_variables

from providers.provider import Provider


def needs_private_key(provider: Provider) -> bool:
    """Whether its OAuth apps have a private key instead of a secret."""
    methods = provider.token_endpoint_auth_methods_supported
    return bool(provider.client_secret_from) or methods[:1] == ["private_key_jwt"]


@sensitive_variables()
def made_up_private_key(provider: Provider) -> str:
    """In PEM."""
    algorithms = provider.token_endpoint_auth_signing_alg_values_supported or ["ES256"]
    if algorithms[0].startswith("ES"):
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
