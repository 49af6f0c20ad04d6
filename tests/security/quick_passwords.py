"""
Settings of the gateways of these tests: the product's own, but a password is hashed in a millisecond.

How many rounds there are is Django's affair; that they are its own is proven by test_h_platform.py (H03).
"""

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from sequin_auth.settings import *  # noqa: F403


class FewRounds(PBKDF2PasswordHasher):
    iterations = 1_000


PASSWORD_HASHERS = [f"{__name__}.{FewRounds.__name__}"]
