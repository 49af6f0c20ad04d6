"""A sweep over every URL of the console: none tells a secret, none breaks, and none does anything when it is read."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import models
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from credentials.models import Authorization, Credential
from oauth_apps import api_tokens
from oauth_apps.console.platform import OfSuperusers
from oauth_apps.models import Account, ApiToken, AuditEvent, Membership, OAuthApp, RedirectURI, WebhookEndpoint
from oauth_apps.webhooks import endpoints, events
from syncs.models import Destination, Sync
from tests.credentials.stored import keep
from tests.link.trip import Trip

CANARIES = (
    "canary-client-secret", "canary-access-token", "canary-refresh-token", "canary-of-a-key", "canary-of-a-database",
    "whsec_",
)  # fmt: skip


def patterns(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, route)
        else:
            yield route, entry


def every_page() -> list[tuple[str, URLPattern]]:
    return [(route, entry) for route, entry in patterns(get_resolver()) if route.startswith("admin/")]


def paths(route: str, entry: URLPattern, rows: dict[str, models.Model]) -> Iterator[str]:
    """The page's paths: of the row that its parameter names, else of the model that the page belongs to, else all."""
    converters = entry.pattern.converters
    if not converters:
        yield "/" + route.replace("^", "").replace("$", "")
        return
    named = [row for name in converters for model, row in rows.items() if name in {f"{model}_id", model}]
    mine = [row for model, row in rows.items() if f"/{model}/" in route]
    for row in named or mine or rows.values():
        path = "/" + route
        for name, converter in converters.items():
            kind = {"UUIDConverter": "uuid", "PathConverter": "path", "SlugConverter": "slug", "IntConverter": "int"}
            spelt = f"<{kind.get(type(converter).__name__, 'str')}:{name}>"
            path = path.replace(spelt, str(row.pk)).replace(f"<{name}>", str(row.pk))
        yield path


@pytest.fixture
def rows(trip: Trip, account: Account) -> dict[str, models.Model]:
    """One of each that the console shows, with canaries in all that is secret."""
    trip.code(state="canary-state-s1")
    api_tokens.issue(account)
    tokens = {"access_token": "canary-access-token", "refresh_token": "canary-refresh-token"}
    credential = keep(account, "stripe_oauth2", trip.oauth_app, stripe_user_id="acct_1", livemode=True, **tokens)
    keep(account, "stripe_key", None, secret="canary-of-a-key")
    AuditEvent.objects.create(
        account=account, actor="root", action="oauth_app.created", object_id=str(trip.oauth_app.pk)
    )
    member = Membership.objects.create(account=account, user=User.objects.create_user("paul", password="of-paul"))
    found: dict[str, models.Model] = {"credential": Credential.objects.get(pk=credential.pk), "membership": member}
    events.ping(endpoints.create(account, url="https://hooks.example.com/"))
    destination = Destination.objects.create(
        account=account, name="Warehouse", password="canary-of-a-database", reader_password="canary-of-a-database"
    )
    Sync.objects.create(
        account=account, name="Customers", provider="stripe", credential=credential, destination=destination,
        collection_ids=["stripe:customer"],
    )  # fmt: skip
    every = (OAuthApp, ApiToken, Authorization, RedirectURI, Account, AuditEvent, User, WebhookEndpoint)
    for model in (*every, Destination, Sync):
        found[str(model._meta.model_name)] = model._default_manager.all()[0]
    return found


def everywhere(rows: dict[str, models.Model]) -> Iterator[str]:
    for route, entry in every_page():
        if "logout" not in route:
            yield from paths(route, entry, rows)


def state() -> dict[str, int]:
    """How many rows there are of what somebody would miss."""
    tables = (AuditEvent, Credential, OAuthApp, ApiToken, RedirectURI, Membership, Authorization, User, LogEntry)
    return {str(model._meta.model_name): model._default_manager.count() for model in (*tables, Destination, Sync)}


def test_no_page_tells_a_secret_or_breaks_or_does_anything(superuser: Client, rows: dict[str, Any]) -> None:
    """E03, E04"""
    looked_at = []
    before = state()

    for path in everywhere(rows):
        page = superuser.get(path)
        assert page.status_code < 500, path
        assert page.status_code != 404 or "history" not in path, path
        body = page.getvalue()
        told = [canary for canary in (*CANARIES, "canary-state") if canary in body.decode("utf-8", "replace")]
        assert told == [], path
        assert superuser.head(path).status_code in {page.status_code, 405}, path
        assert state() == before, path
        looked_at += [path] if page.status_code == 200 else []

    assert len(looked_at) > 40
    assert "canary" not in "".join(LogEntry.objects.values_list("change_message", flat=True))


def test_no_page_breaks_by_a_form_without_fields(superuser: Client, rows: dict[str, Any]) -> None:
    root = User.objects.get(username="root")
    for path in everywhere(rows):
        superuser.force_login(root)
        assert superuser.post(path).status_code < 500, path


# ---- the addresses of lists ------------------------------------------------------------------------------------------

NAMES_OF_FIELDS = (
    "id__regex=(", "pk=x", "name__regex=(", "token_hash=x", "state_hash=x", "code_hash=x", "client_secret=x",
    "client_secret__startswith=x", "properties__a__b=x", "secrets=x", "password=x", "password__startswith=p",
    "created_at__year=99999", "created_at__gte=x", "created_at=x", "account__name=x", "user__password__startswith=p",
    "oauth_app__client_secret__startswith=x", "is_staff__exact=x", "is_staff__regex=(", "status__exact=x",
    "status__in=x", "queue_name__isnull=x", "queue_name__regex=(", "nothing=x", "__=x", "_=x", "a__=x",
)  # fmt: skip
ODD = (
    "p=99999999999", "p=x", "p=-1", "p=0", f"p={'9' * 5000}", "o=99", "o=x.y", "o=-1.-1", "o=", "o=²", "all=", "all=x",
    "e=1", "e=1&p=9", "q=%00", "q=%ED%A0%80", "o=%ED%A0%80", "p=%ED%A0%80", f"q={'a' * 5000}",
    f"q={quote('a ' * 2500)}", "q=%22", "q=a&q=b", "p=1&p=x", "o=1&o=x", "_facets=True", "_popup=1",
    "_popup=1&_popup=x", "_to_field=x", "_to_field=id", "_to_field=password",
    "created_at__year=9999&created_at__month=12",
    "created_at__year=0", "created_at__year=2026&created_at__month=13", "created_at__month=5", "created_at__day=x",
    "created_at__year=2026&created_at__day=31", "created_at__year=2026&created_at__year=x", "created_at__year=²",
    "created_at__year=", "created_at__month=99999999999",
)  # fmt: skip


def lists(*, of_superusers: bool) -> list[tuple[str, Any]]:
    return [
        (reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"), console)
        for model, console in admin.site._registry.items()
        if of_superusers or not isinstance(console, OfSuperusers)
    ]


@pytest.mark.parametrize("who", ["member", "superuser"])
def test_no_query_breaks_a_list(request: pytest.FixtureRequest, rows: dict[str, Any], who: str) -> None:
    if who == "member":
        User.objects.filter(username="paul").update(is_staff=True)
        client = Client()
        client.force_login(User.objects.get(username="paul"))
    else:
        client = request.getfixturevalue("superuser")
    pages = lists(of_superusers=who == "superuser")
    assert len(pages) == (14 if who == "superuser" else 10)

    for number, (path, console) in enumerate(pages):
        filters = [one.parameter_name for one in console.list_filter if hasattr(one, "parameter_name")]
        odd = [f"{name}={value}" for name in filters for value in ("x", "%ED%A0%80", "%00", "a" * 5000, f"x&{name}=y")]
        whole = [*ODD, *odd]  # a page each: every list answers some, and all together answer all of them
        some = whole[number :: len(pages)] if who == "superuser" else odd[number :: len(pages)]
        for query in (*NAMES_OF_FIELDS, *some):
            status = client.get(f"{path}?{query}", follow=True).status_code
            assert status < 500, (path, query[:100])


@pytest.mark.parametrize(
    ("model", "query"),
    [
        ("oauth_apps_apitoken", "name__regex=("),
        ("oauth_apps_apitoken", "name=x"),
        ("oauth_apps_apitoken", "token_hash=x"),
        ("oauth_apps_apitoken", "created_at__year=2026"),
        ("oauth_apps_membership", "user__username__startswith=p"),
        ("credentials_authorization", "state_hash=x"),
        ("auth_user", "password__startswith=p"),
        ("auth_user", "email__startswith=p"),
        ("oauth_apps_auditevent", "created_at__gte=2026-01-01"),
        ("oauth_apps_auditevent", "created_at__year=9999"),
    ],
)
def test_a_list_is_sifted_by_nothing_that_it_does_not_declare(superuser: Client, model: str, query: str) -> None:
    assert superuser.get(f"{reverse(f'admin:{model}_changelist')}?{query}").status_code == 400


@pytest.mark.parametrize(
    ("model", "query"),
    [
        ("oauth_apps_apitoken", "state=active"),
        ("oauth_apps_auditevent", "deed=user.created"),
        ("oauth_apps_auditevent", "created_at__year=2026&created_at__month=11&created_at__day=22"),
        ("auth_user", "is_staff__exact=1&is_active__exact=0&q=p&o=1&p=1"),
        ("auth_user", "_popup=1&_to_field=id"),
        ("procrastinate_procrastinatejob", "status__exact=todo&queue_name=housekeeping"),
        ("credentials_authorization", "outcome=connected&all="),
    ],
)
def test_a_list_is_sifted_by_what_it_declares(superuser: Client, model: str, query: str) -> None:
    assert superuser.get(f"{reverse(f'admin:{model}_changelist')}?{query}").status_code == 200


def test_accounts_are_still_found_as_one_types(superuser: Client, account: Account) -> None:
    of_field = {"app_label": "oauth_apps", "model_name": "membership", "field_name": "account"}

    found = superuser.get(reverse("admin:autocomplete"), {"term": "arra", **of_field}).json()

    assert [entry["text"] for entry in found["results"]] == ["Arrakis"]
