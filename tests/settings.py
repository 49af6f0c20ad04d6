"""The settings of the test run: the product's own, with an environment that owes nothing to the machine's."""

import os
from pathlib import Path

VAR = Path(__file__).resolve().parent.parent / "var" / "test"
(VAR / "static").mkdir(parents=True, exist_ok=True)

os.environ |= {
    "ENV_FILE": "",
    "VAR_DIR": str(VAR),
    "SECRET_KEY": "for-the-test-run-alone-0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFG",
    "ENCRYPTION_KEYS": "test:c2VhbHMtdGhlLXNlY3JldHMtb2YtdGhlLXRlc3RzLTE=",
    "PUBLIC_URL": "http://127.0.0.1:8000",
}
for name in ("DEBUG", "ALLOWED_HOSTS", "TRUSTED_PROXIES", "PROVIDERS_DIR", "EGRESS_ALLOW", "STATE_TTL", "CODE_TTL"):
    os.environ.pop(name, None)
for name in ("SANDBOX", "PORT", "LOG_LEVEL"):
    os.environ.pop(name, None)

from sequin_auth.settings import *  # noqa: E402, F403

ALLOWED_HOSTS = ["127.0.0.1", "testserver", "localhost"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES["default"]["TEST"] = {"NAME": f"test_sequin_auth_{os.getpid()}"}  # noqa: F405  two runs may go on side by side
USES_WRITTEN_EVERY = 0  # tests write them when they want to see them
WHITENOISE_AUTOREFRESH = True  # else each test client lists the static files anew, which takes longer than most tests
