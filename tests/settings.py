"""The settings of the test run: the product's own, with an environment that owes nothing to the machine's."""

import os
from pathlib import Path

VAR = Path(__file__).resolve().parent.parent / "var" / "test"
(VAR / "static").mkdir(parents=True, exist_ok=True)

os.environ |= {
    "ENV_FILE": "",
    "VAR_DIR": str(VAR),
    "SECRET_KEY": "for-the-test-run-alone-0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFG",
    "ENCRYPTION_KEYS": "test:uy7GEoAdnst5Rv7oVPZ/1o3vDqUQHlK3UZ7oonYyaOw=",
    "PUBLIC_URL": "http://127.0.0.1:8000",
}
for name in ("DEBUG", "ALLOWED_HOSTS", "TRUSTED_PROXIES", "PROVIDERS_DIR", "EGRESS_ALLOW", "STATE_TTL", "CODE_TTL"):
    os.environ.pop(name, None)
for name in ("SANDBOX", "PORT", "LOG_LEVEL", "LIMITS", "SENTRY_DSN", "OTLP_ENDPOINT"):
    os.environ.pop(name, None)

from sequin_auth.settings import *  # noqa: E402, F403

ALLOWED_HOSTS = ["127.0.0.1", "testserver", "localhost"]
# Between two tests that commit, Django empties all tables, the audit log as well
DATABASES["default"]["SESSION"] = {"sequin_auth.empties": "on"}  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES["default"]["TEST"] = {"NAME": f"test_sequin_auth_{os.getpid()}"}  # noqa: F405  two runs may go on side by side
SYNC_DATABASE_NAME = f"test_sequin_syncs_{os.getpid()}"  # each worker of a run has its own
WRITTEN_EVERY = 0  # tests write them when they want to see them
LIMITS = dict.fromkeys(LIMITS, 0)  # noqa: F405  tests are faster than anybody honest; those of the limits set their own
LIMITS_SHARED_EVERY = 0
METRICS_KEPT = 0
OUTBOUND_IN_TRANSACTION_FAILS = True
WHITENOISE_AUTOREFRESH = True  # else each test client lists the static files anew, which takes longer than most tests
