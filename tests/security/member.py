"""A user of the console, signed in over HTTP."""

import re
import time
import uuid
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import requests
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core import signing
from django.core.signing import JSONSerializer
from django.utils.crypto import salted_hmac

from sequin_auth.lib import sessions
from tests.security.quick_passwords import FewRounds
from tests.security.tenant import Browser, Tenant, sql

LOGIN = "/admin/login/"
PASSWORD = "correct horse battery staple"
OF_A_SESSION = "django.contrib.sessions.SessionStore"  # the salts of what Django signs
OF_A_PASSWORD = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
HIDDEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


def csrf_token(page: str) -> str:
    found = HIDDEN.search(page)
    assert found, page[:500]
    return found[1]


def signed_in(tenant: Tenant, browser: Browser | None = None, *, is_superuser: bool = False) -> Browser:
    """The browser of a new member of the account.

    Without a login, since most tests ask nothing of that; `sign_in` is one.
    """
    browser = browser or Browser(tenant.gateway)
    gateway, name = tenant.gateway, new_member(tenant, is_superuser=is_superuser)
    secret, key = gateway.environment["SECRET_KEY"], uuid.uuid4().hex
    [(user, password)] = sql(gateway, "SELECT id, password FROM auth_user WHERE username = %s", name)
    session = {
        SESSION_KEY: str(user),
        BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
        HASH_SESSION_KEY: salted_hmac(OF_A_PASSWORD, password, secret=secret, algorithm="sha256").hexdigest(),
        sessions.SIGNED_IN_AT: int(time.time()),
    }
    data = signing.dumps(session, key=secret, salt=OF_A_SESSION, serializer=JSONSerializer, compress=True)
    statement = "INSERT INTO django_session VALUES (%s, %s, now() + interval '1 minute')"
    sql(gateway, statement, sessions.stored(key), data)
    browser.session.cookies.set("sessionid", key, domain=str(urlsplit(gateway.url).hostname))
    assert browser.get("/admin/my-login/").status_code == 200
    return browser


def sign_in(browser: Browser, name: str, password: str = PASSWORD, **more: Any) -> requests.Response:
    token = csrf_token(browser.get(LOGIN).text)
    return browser.post(LOGIN, {"username": name, "password": password, "csrfmiddlewaretoken": token}, **more)


@cache
def hashed_password() -> str:
    """As the gateways of these tests do; once, for all members."""
    return FewRounds().encode(PASSWORD, "a-salt-of-32-characters-or-more--")


def new_member(tenant: Tenant, *, is_superuser: bool = False) -> str:
    """The name of a user, who is made by SQL, since a command would take a second."""
    name = f"member-{uuid.uuid4().hex[:12]}"
    [(user,)] = sql(
        tenant.gateway,
        "INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active,"
        " date_joined) VALUES (%s, %s, %s, '', '', '', true, true, now()) RETURNING id",
        hashed_password(),
        is_superuser,
        name,
    )
    statement = "INSERT INTO oauth_apps_membership (account_id, user_id, created_at) VALUES (%s, %s, now())"
    sql(tenant.gateway, statement, tenant.id, user)
    return name
