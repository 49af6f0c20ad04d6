"""
Every setting of the product, and the only place that reads the environment. README.md has the table.

A checkout that `make run` has prepared keeps its keys in `var/development.env`; that file answers where the
environment is silent. `make serve` sets `ENV_FILE` to nothing: a deployment is configured by its environment alone.
"""

import ipaddress
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django_stubs_ext
import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent


class Environment(environ.Env):  # type: ignore[misc]
    """What is set to nothing is not set, as compose.yaml does with what nobody has named; but ENV_FILE."""

    def get_value(self, var: str, *rest: Any, **kinds: Any) -> Any:
        if var != "ENV_FILE" and self.ENVIRON.get(var) == "":
            del self.ENVIRON[var]
        try:
            return super().get_value(var, *rest, **kinds)
        except ValueError as exc:
            raise ImproperlyConfigured(f"{var} is set to something that it cannot be; see README.md.") from exc


HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|[0-9a-f:.]*:[0-9a-f:.]*")
# Both may hold a provider's variables: `{subdomain}.internal:8443`
AUTHORITY = re.compile(r"([A-Za-z0-9._{}-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5}|\{[a-z0-9_]+\})")

env = Environment()
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var"))).resolve()
ENV_FILE = env.str("ENV_FILE", default=str(VAR_DIR / "development.env"))
if ENV_FILE and Path(ENV_FILE).is_file():
    environ.Env.read_env(ENV_FILE)


def required(name: str) -> str:
    """The setting `name`, which has no safe default."""
    value: str = env.str(name, default="")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. `make run` makes one for development; see README.md.")
    return value


def origin_of(url: str) -> str:
    """Of an http or https URL, as browsers spell it: lower case, without the scheme's own port."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not HOST.fullmatch(host) or parts.scheme not in {"http", "https"} or port == 0:
        raise ImproperlyConfigured("PUBLIC_URL must be an origin, such as https://auth.example.com.")
    authority = f"[{host}]" if ":" in host else host
    is_own = port in {None, 443 if parts.scheme == "https" else 80}
    return f"{parts.scheme}://{authority}" if is_own else f"{parts.scheme}://{authority}:{port}"


# Where we are
DEBUG = env.bool("DEBUG", default=False)
PORT = env.int("PORT", default=8000)
if not 1 <= PORT <= 65_535:
    raise ImproperlyConfigured("PORT must be between 1 and 65535.")
BIND = env.str("BIND", default="")
try:
    BIND = str(ipaddress.ip_address(BIND.strip("[]"))) if BIND else ""
except ValueError:
    raise ImproperlyConfigured("BIND must be an address, such as 0.0.0.0 or ::, without a port.") from None
PUBLIC_URL = env.str("PUBLIC_URL", default=f"http://127.0.0.1:{PORT}".removesuffix(":80")).removesuffix("/")
if (_origin := origin_of(PUBLIC_URL)) != PUBLIC_URL:
    raise ImproperlyConfigured(f"PUBLIC_URL must be an origin and nothing else: {_origin}.")
_public = urlsplit(PUBLIC_URL)
ON_LOOPBACK = _public.scheme == "http" and _public.hostname in {"127.0.0.1", "::1", "localhost"}
if _public.scheme == "http" and not ON_LOOPBACK:
    raise ImproperlyConfigured("PUBLIC_URL must be https; plain http is for 127.0.0.1, [::1] and localhost alone.")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[_public.hostname])
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])
WEB_CONCURRENCY = env.int("WEB_CONCURRENCY", default=2)
if not 1 <= WEB_CONCURRENCY <= 1_000:
    raise ImproperlyConfigured("WEB_CONCURRENCY must be between 1 and 1000.")

# Secrets
SECRET_KEY = required("SECRET_KEY")
ENCRYPTION_KEYS = required("ENCRYPTION_KEYS")

# The link flow
STATE_TTL = env.int("STATE_TTL", default=600)
CODE_TTL = env.int("CODE_TTL", default=60)
if not 0 < CODE_TTL <= 600:
    raise ImproperlyConfigured("CODE_TTL must be between 1 and 600 seconds.")
REVOKE_ON_REPLAY = env.bool("REVOKE_ON_REPLAY", default=False)  # whether a code that is shown twice ends its credential
if not 0 < STATE_TTL <= 3600:
    raise ImproperlyConfigured("STATE_TTL must be between 1 and 3600 seconds.")

# Providers, and what may leave the machine
PROVIDERS_DIR = env.str("PROVIDERS_DIR", default="")
EGRESS_ALLOW = [entry.strip() for entry in env.list("EGRESS_ALLOW", default=[])]
for _number, _entry in enumerate(EGRESS_ALLOW, start=1):
    if not AUTHORITY.fullmatch(_entry):
        raise ImproperlyConfigured(f"EGRESS_ALLOW: entry {_number} is not host:port.")
    if _entry.rpartition(":")[2].isdecimal() and not 1 <= int(_entry.rpartition(":")[2]) <= 65_535:
        raise ImproperlyConfigured(f"EGRESS_ALLOW: entry {_number} has a port that is not between 1 and 65535.")
SANDBOX = env.bool("SANDBOX", default=ON_LOOPBACK)
OUTBOUND_IN_TRANSACTION_FAILS = DEBUG  # else it is an error in the log: what is slow should not fail as well


def database_of(name: str) -> dict[str, Any]:
    """What the setting `name` says, such as DATABASE_URL. Raises ImproperlyConfigured."""
    return database_at(env.str(name), called=name)


def database_at(url: str, *, called: str) -> dict[str, Any]:
    """Raises ImproperlyConfigured, without a word of the URL."""
    refusal = ImproperlyConfigured(f"{called} must be of PostgreSQL: postgres://user:password@host:port/name.")
    if not url.startswith(("postgres://", "postgresql://")):
        raise refusal
    try:
        found: dict[str, Any] = env.db_url_config(url, engine="sequin_auth.lib.postgres")
    except ValueError:  # such as a port that is none
        raise refusal from None
    if not found.get("NAME"):
        raise refusal
    return found


# The database: one's own by DATABASE_URL, else PostgreSQL embedded under var/, started when it is first needed
DATABASES: dict[str, dict[str, Any]] = {
    "default": database_of("DATABASE_URL")
    if env.str("DATABASE_URL", default="")
    else {"ENGINE": "sequin_auth.lib.embedded_postgres", "NAME": "sequin_auth", "DATA_DIR": VAR_DIR / "postgres"}
}
DATABASES["default"].setdefault("OPTIONS", {})
# A lost server is tried again by each request that comes, so the pool need not keep trying by itself for minutes.
DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 20, "timeout": 5, "reconnect_timeout": 2}
# Where the rows of syncs go, unless a customer's database is named: never into ours. Without it, a database beside ours
SYNC_DATABASE = database_of("SYNC_DATABASE_URL") if env.str("SYNC_DATABASE_URL", default="") else None
SYNC_DATABASE_NAME = "sequin_syncs"  # of that database, and of the role that writes there
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "sequin_auth.console.ConsoleConfig",
    "sequin_auth",  # before Django's apps: of two commands of one name, the first is taken
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "django_otp",
    "csp",
    "rest_framework",
    "drf_spectacular_sidecar",  # the files of Swagger UI
    "procrastinate.contrib.django",
    "providers",
    "providers.sandbox",
    "oauth_apps",
    "credentials",
    "syncs",
]

MIDDLEWARE = [
    "sequin_auth.lib.api.RequestLogMiddleware",
    "oauth_apps.middleware.acting",
    "credentials.link.middleware.private_link_pages",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "sequin_auth.lib.api.content_security.ContentSecurityMiddleware",
    "sequin_auth.lib.api.requests.refuse_at_the_door",
    "credentials.limiting.LimitsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "sequin_auth.urls"
WSGI_APPLICATION = "sequin_auth.wsgi.application"
APPEND_SLASH = False  # a redirect on POST breaks OAuth clients; both spellings are routed where both may come

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]  # each has to be here, and in locale/, before anybody is spoken to in it
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
FORMAT_MODULE_PATH = "sequin_auth.formats"

STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True

# The console
UNFOLD = {
    "SITE_TITLE": "Sequin Auth",
    "SITE_HEADER": "Sequin Auth",
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("mark.svg")}],
    "STYLES": [lambda request: static("console.css")],
    "SCRIPTS": [lambda request: static("console.js")],
    "COLORS": {  # the hosted pages' indigo; words are dark enough to be read (WCAG 2, AA)
        "primary": {
            "50": "#eef2ff", "100": "#e0e7ff", "200": "#c7d2fe", "300": "#a5b4fc", "400": "#818cf8", "500": "#818cf8",
            "600": "#4338ca", "700": "#3730a3", "800": "#312e81", "900": "#1e1b4b", "950": "#1e1b4b",
        },
        "font": {
            "subtle-light": "var(--color-base-600)", "subtle-dark": "var(--color-base-400)",
            "default-light": "var(--color-base-700)", "default-dark": "var(--color-base-300)",
            "important-light": "var(--color-base-900)", "important-dark": "var(--color-base-100)",
        },
    },
}  # fmt: skip
CONSOLE_REVEAL = env.bool("CONSOLE_REVEAL", default=False)  # whether a member may look at one secret of a credential
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = 0.25  # hours
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # the page says when it ends
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "sequin_auth.console.locked_out"
AXES_USERNAME_CALLABLE = "oauth_apps.console.sign_in.counted_name"
AXES_CLIENT_IP_CALLABLE = "oauth_apps.console.sign_in.counted_address"
AXES_DISABLE_ACCESS_LOG = True  # ours is the audit log
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# Browsers
SESSION_COOKIE_NAME = "sessionid" if ON_LOOPBACK else "__Host-sessionid"
CSRF_COOKIE_NAME = "csrftoken" if ON_LOOPBACK else "__Host-csrftoken"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = not ON_LOOPBACK
# OAuth clients break on a redirected POST, and what they sent in the clear is sent by then
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$", r"^v1/", r"^link/oauth2/(token|revoke)/?$"]
SECURE_SSL_HOST = None if ON_LOOPBACK else _public.netloc  # never what a Host header says
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_ENGINE = "sequin_auth.lib.sessions"
SESSION_COOKIE_AGE = 3600
SESSION_SAVE_EVERY_REQUEST = True
SECURE_HSTS_SECONDS = 0 if ON_LOOPBACK else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not ON_LOOPBACK
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000  # more than a URL can hold: Django would fail while it makes the request

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["oauth_apps.api.authentication.ApiTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["oauth_apps.api.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["sequin_auth.lib.api.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "sequin_auth.lib.api.CursorPagination",
    "EXCEPTION_HANDLER": "sequin_auth.lib.api.exception_handler",
    "UNAUTHENTICATED_USER": None,
}

# The audit log
AUDIT_DAYS = env.int("AUDIT_DAYS", default=400)
AUDIT_READS_DAYS = env.int("AUDIT_READS_DAYS", default=90)  # how often access tokens were read, minute by minute
LONGEST_KEPT = 36_500  # days; a date before the first year is none
for _name, _days in (("AUDIT_DAYS", AUDIT_DAYS), ("AUDIT_READS_DAYS", AUDIT_READS_DAYS)):
    if not 1 <= _days <= LONGEST_KEPT:
        raise ImproperlyConfigured(f"{_name} must be between 1 and {LONGEST_KEPT} days.")

# How often something may be done in ten seconds; 0 is no limit. docs/limits.md has the table
LIMITS = {
    "token_reads": 50_000,
    "account_reads": 100_000,
    "token_calls": 3_000,
    "account_calls": 6_000,
    "unauthorized": 100,
    "exchanges": 2_000,
    "unknown_codes": 100,
    "starts": 1_000,
    "pages": 5_000,
}
_limits = env.dict("LIMITS", default={})
if _limits.keys() - LIMITS.keys() or not all(value.isascii() and value.isdecimal() for value in _limits.values()):
    raise ImproperlyConfigured(f"LIMITS is name=number,name=number; the names are {', '.join(LIMITS)}.")
LIMITS |= {name: int(value) for name, value in _limits.items()}
LIMITS_SHARED_EVERY = 1.0  # seconds after which processes tell each other what they have counted; 0: never

# Jobs
PROCRASTINATE_IMPORT_PATHS = ["oauth_apps.webhooks.delivery"]
PROCRASTINATE_IMPORT_PATHS += ["credentials.purge", "credentials.refresh.sweep", "credentials.refresh.watch"]
PROCRASTINATE_IMPORT_PATHS += ["credentials.stock"]
PROCRASTINATE_IMPORT_PATHS += ["syncs.jobs"]
WRITTEN_EVERY = 5.0  # seconds in which uses, reads and numbers are collected; 0: nobody writes them
METRICS_KEPT = 5.0  # seconds for which a process gives the same answer: whoever asks in a loop asks no database

# Reports to hosts of the operator's own. OpenTelemetry's variables turn nothing on
SENTRY_DSN = env.str("SENTRY_DSN", default="")
OTLP_ENDPOINT = env.str("OTLP_ENDPOINT", default="")

# Logs
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
if LOG_LEVEL not in LEVELS:
    raise ImproperlyConfigured("LOG_LEVEL must be DEBUG, INFO, WARNING, ERROR or CRITICAL.")


def at_least(level: str) -> dict[str, str]:
    """LOG_LEVEL, unless that would tell more than `level`: what these loggers add is URLs, statements, parameters."""
    return {"level": max(LOG_LEVEL, level, key=LEVELS.index)}


DEFAULT_EXCEPTION_REPORTER = "sequin_auth.lib.error_reports.BareReporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "sequin_auth.lib.error_reports.BareFilter"
LOGGING_CONFIG = "sequin_auth.lib.logs.configure"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "sequin_auth.lib.logs.JsonFormatter"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "json"},
        "reports": {"class": "sequin_auth.lib.reporting.Reports", "formatter": "json", "level": "ERROR"},
    },
    "root": {"handlers": ["stderr", "reports"] if SENTRY_DSN else ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "asyncio": at_least("WARNING"),
        "django": {"handlers": [], "level": "NOTSET"},  # its own lines for a terminal
        "django.db.backends": at_least("WARNING"),
        "django.request": at_least("ERROR"),  # each request has its line already
        "django.security.DisallowedHost": at_least("CRITICAL"),
        "django.template": at_least("WARNING"),
        "gunicorn.error": {**at_least("INFO"), "propagate": True},
        "procrastinate": at_least("INFO"),
        "procrastinate.blueprints": at_least("WARNING"),
        "procrastinate.periodic": at_least("WARNING"),  # each process would say which tasks it knows
        "psycopg": at_least("WARNING"),
        "urllib3": at_least("CRITICAL"),
    },
}
