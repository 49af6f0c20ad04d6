"""
The key ring: AES-256-GCM under several keys, and what an envelope is.

An envelope is one byte of version, the key id behind one byte of length, 12 bytes of nonce, then ciphertext and tag.
Version and key id are authenticated with it, and so is what it is bound to: elsewhere it does not open.

* Unreadable     what is stored does not open
  - UnknownKey   it was sealed with a key that ENCRYPTION_KEYS does not hold
  - Tampered     it was changed, cut short, or sealed for another row, column or table
"""

import re
import secrets
from base64 import b64decode
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.views.decorators.debug import sensitive_variables

from sequin_auth.lib import redaction

VERSION: Final = 1
KEY_LENGTH: Final = 32
NONCE_LENGTH: Final = 12  # random; good for 2**32 seals by one key
TAG_LENGTH: Final = 16
KEY_ID: Final = re.compile(r"[a-z0-9-]{1,32}")
EXAMPLE_KEYS: Final = {bytes(range(KEY_LENGTH)), bytes(range(1, KEY_LENGTH + 1))}
TEXT: Final = re.compile(rb"[ -~]*")  # a random key is all text once in 7 * 10**13
FEWEST_DISTINCT_BYTES: Final = 8  # of 32; a random key has about 30, one of zeros or of a repeated word does not


class Unreadable(Exception):
    """What is stored does not open. Only its subclasses are raised."""


class UnknownKey(Unreadable):
    """It was sealed with a key that ENCRYPTION_KEYS does not hold."""


class Tampered(Unreadable):
    """It was changed, cut short, or sealed for another row, column or table."""


def digest(value: str | bytes) -> bytes:
    """SHA-256, 32 bytes: by it we store and find what we issue ourselves, which is random."""
    redaction.learn(value)
    return sha256(value.encode(errors="surrogatepass") if isinstance(value, str) else value).digest()


class KeyRing:
    """Keys by their id: the first seals, all open."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self.key_ids = tuple(keys)
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}

    def __repr__(self) -> str:
        return f"<KeyRing {', '.join(self.key_ids)}>"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `id:base64,id:base64`. Raises ImproperlyConfigured, which names entry and rule, never the key."""
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(text.split(","), start=1):
            key_id, separator, encoded = entry.strip().partition(":")
            if not separator or not KEY_ID.fullmatch(key_id):
                raise refused(number, "is not id:base64 with an id of 1 to 32 characters a-z, 0-9 and -")
            try:
                key = b64decode(encoded, validate=True)
            except ValueError:
                raise refused(number, "has a key that is not base64") from None
            if len(key) != KEY_LENGTH:
                raise refused(number, "has a key that is not 32 bytes long")
            if len(set(key)) < FEWEST_DISTINCT_BYTES or key in EXAMPLE_KEYS:
                raise refused(number, "has a key that everybody knows; make one with `openssl rand -base64 32`")
            if TEXT.fullmatch(key):
                raise refused(number, "has a key that is text, not random; make one with `openssl rand -base64 32`")
            if key_id in keys or key in keys.values():
                raise refused(number, "repeats the id or the key of another")
            keys[key_id] = key
        return cls(keys)

    @property
    def sealing_key_id(self) -> str:
        return self.key_ids[0]

    @sensitive_variables()
    def seal(self, plaintext: bytes, *, bound_to: str) -> bytes:
        """The envelope of `plaintext`, which opens with the same `bound_to` alone."""
        key_id = self.sealing_key_id
        header = bytes([VERSION, len(key_id)]) + key_id.encode()
        nonce = secrets.token_bytes(NONCE_LENGTH)
        return header + nonce + self._ciphers[key_id].encrypt(nonce, plaintext, header + bound_to.encode())

    @sensitive_variables()
    def open(self, envelope: bytes, *, bound_to: str) -> bytes:
        """Raises UnknownKey or Tampered."""
        key_id = key_id_of(envelope)
        if key_id is None:
            raise Tampered("this is no envelope")
        if key_id not in self._ciphers:
            raise UnknownKey("its key is not in ENCRYPTION_KEYS")
        header, rest = envelope[: 2 + len(key_id)], envelope[2 + len(key_id) :]
        nonce, ciphertext = rest[:NONCE_LENGTH], rest[NONCE_LENGTH:]
        try:
            return self._ciphers[key_id].decrypt(nonce, ciphertext, header + bound_to.encode())
        except InvalidTag:
            raise Tampered("it was changed, or sealed for another place") from None


def refused(number: int, rule: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"ENCRYPTION_KEYS: entry {number} {rule}.")


def key_id_of(envelope: bytes) -> str | None:
    """Which key sealed it, read without opening; None if it is no envelope at all."""
    if len(envelope) < 2 or envelope[0] != VERSION or len(envelope) < 2 + envelope[1] + NONCE_LENGTH + TAG_LENGTH:
        return None
    key_id = envelope[2 : 2 + envelope[1]].decode("ascii", errors="replace")
    return key_id if KEY_ID.fullmatch(key_id) else None


@lru_cache(maxsize=4)
def parsed(text: str) -> KeyRing:
    return KeyRing.parse(text)


def key_ring() -> KeyRing:
    """The ring of settings.ENCRYPTION_KEYS. Raises ImproperlyConfigured."""
    return parsed(settings.ENCRYPTION_KEYS)
