"""API tokens in the console: shown once, scoped, revoked for good."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from oauth_apps import api_tokens
from oauth_apps.models import Account, ApiToken, AuditEvent, Membership
from tests.credentials.stored import linear_app, linear_credential

AT_ONCE = 8
ADD, LIST = "/admin/oauth_apps/apitoken/add/", "/admin/oauth_apps/apitoken/"


@pytest.fixture
def token(account: Account) -> ApiToken:
    return api_tokens.issue(account, name="billing", scopes=["read"])[0]


@pytest.fixture
def theirs(other_account: Account) -> ApiToken:
    return api_tokens.issue(other_account, name="spice")[0]


def form(account: Account, **changed: Any) -> dict[str, Any]:
    return {"account": str(account.pk), "name": "CI", "scopes": ["read"], "lifetime": "90", "last_day": ""} | changed


def text_in(page: Any) -> str:
    """The one token that the page shows."""
    shown = set(re.findall(r"sqa_[0-9A-Za-z]{49}", page.content.decode()))
    assert len(shown) == 1
    return str(shown.pop())


def address_of(token: ApiToken, what: str = "change") -> str:
    name = "admin:revoke_api_token" if what == "revoke" else f"admin:oauth_apps_apitoken_{what}"
    return reverse(name, args=[token.pk])


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("name", "", "required"),
        ("scopes", [], "at least one scope"),
        ("scopes", ["read", "everything"], "not one of the available choices"),
        ("scopes", '["read"]', "not one of the available choices"),
        ("lifetime", "", "required"),
        ("lifetime", "7", "not one of the available choices"),
        ("lifetime", "date", "Choose the last day"),
        ("last_day", "soon", "Enter a valid date"),
        ("name", "x\0", "Null characters"),
        ("name", "x" * 201, "at most 200"),
    ],
)
def test_a_form_with_a_mistake_makes_no_token(
    member: Client, account: Account, field: str, value: Any, problem: str
) -> None:
    page = member.post(ADD, form(account, **{field: value}))

    assert page.status_code == 200
    assert problem in page.content.decode()
    assert not ApiToken.objects.exists()


def test_a_last_day_that_is_over_is_refused(member: Client, account: Account) -> None:
    yesterday = (timezone.now() - timedelta(days=1)).date().isoformat()

    page = member.post(ADD, form(account, lifetime="date", last_day=yesterday))

    assert "This day is over" in page.content.decode()
    assert not ApiToken.objects.exists()


def test_no_token_is_made_for_another_account(member: Client, other_account: Account) -> None:
    page = member.post(ADD, form(other_account))

    assert page.status_code == 200
    assert "Harkonnen" not in page.content.decode()
    assert not ApiToken.objects.exists()


def test_a_member_neither_sees_nor_revokes_a_token_of_another_account(member: Client, theirs: ApiToken) -> None:
    """H07"""
    assert "spice" not in member.get(LIST).content.decode()
    assert member.get(address_of(theirs)).status_code == 302
    for response in (member.get(address_of(theirs, "revoke")), member.post(address_of(theirs, "revoke"))):
        assert response["Location"] == LIST
    member.post(LIST, {"action": "revoke_chosen", "_selected_action": str(theirs.pk)})
    assert "spice" not in member.get(LIST).content.decode()

    theirs.refresh_from_db()
    assert theirs.revoked_at is None


def test_a_member_deletes_no_token(member: Client, token: ApiToken) -> None:
    assert member.post(address_of(token, "delete"), {"post": "yes"}).status_code == 403
    member.post(LIST, {"action": "delete_selected", "_selected_action": str(token.pk), "post": "yes"})

    assert ApiToken.objects.exists()


def test_looking_at_the_question_revokes_nothing(member: Client, token: ApiToken) -> None:
    page = member.get(address_of(token, "revoke"))

    assert "no way back" in page.content.decode()
    token.refresh_from_db()
    assert token.revoked_at is None


def test_revoking_needs_the_token_of_our_form(token: ApiToken, superuser: Client) -> None:
    """CSRF"""
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = superuser.cookies

    assert strict.post(address_of(token, "revoke")).status_code == 403
    token.refresh_from_db()
    assert token.revoked_at is None


def test_nothing_but_the_name_is_changed(member: Client, token: ApiToken) -> None:
    before = ApiToken.objects.values().get()
    changed = form(token.account, name="invoices", scopes=["read", "reveal"], lifetime="never")

    response = member.post(address_of(token), changed | {"revoked_at_0": "2020-01-01", "prefix": "sqa_x"})

    assert response.status_code == 302
    assert ApiToken.objects.values().get() == before | {"name": "invoices"}
    event = AuditEvent.objects.get()
    assert (event.action, event.detail) == ("api_token.changed", "Name")


def test_a_revoked_token_stays_so(member: Client, token: ApiToken) -> None:
    ApiToken.objects.update(revoked_at=datetime(2026, 1, 1, tzinfo=UTC))

    member.post(address_of(token), form(token.account, revoked_at_0="", revoked_at_1=""))
    page = member.post(address_of(token, "revoke"), follow=True)

    assert "was revoked before" in page.content.decode()
    assert ApiToken.objects.get().revoked_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert not AuditEvent.objects.filter(action="api_token.revoked").exists()


# ---- making ----------------------------------------------------------------------------------------------------------


def test_a_new_token_is_shown_once_and_kept_nowhere(member: Client, client: Client, account: Account) -> None:
    """D06, E04"""
    page = member.post(ADD, form(account, scopes=["read", "write"]))

    text = text_in(page)
    assert "no-store" in page["Cache-Control"]
    assert f"curl -H &quot;Authorization: Bearer {text}&quot; http://127.0.0.1:8000/v1/" in page.content.decode()
    assert 'data-copy="#api-token"' in page.content.decode()
    assert client.get("/v1/oauth-apps", headers={"Authorization": f"Bearer {text}"}).status_code == 200
    token = ApiToken.objects.get()
    assert (token.name, token.scopes, token.account) == ("CI", ["read", "write"], account)
    assert token.expires_at is not None
    assert abs(token.expires_at - timezone.now() - timedelta(days=90)) < timedelta(minutes=1)
    for again in (LIST, ADD, address_of(token), address_of(token, "history"), address_of(token, "revoke"), "/admin/"):
        assert text not in member.get(again).content.decode()
    assert text not in member.cookies.output()
    assert text not in str([session.get_decoded() for session in Session.objects.all()])
    assert text not in str(list(LogEntry.objects.values()) + list(AuditEvent.objects.values()))
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.account) == ("api_token.created", "paul", account)
    assert (event.object_name, event.detail) == (f"CI ({token.prefix}…)", "read, write")


def test_loading_the_page_again_makes_no_second_token(member: Client, account: Account) -> None:
    page = member.get(ADD).content.decode()
    once = re.findall(r'name="once" value="([^"]+)"', page)[0]
    member.post(ADD, form(account, once=once))

    again = member.post(ADD, form(account, once=once), follow=True)

    assert "has made its token already" in again.content.decode()
    assert not re.findall(r"sqa_[0-9A-Za-z]{49}", again.content.decode())
    assert ApiToken.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_forms_that_are_sent_at_the_same_time_one_makes_a_token(member: Client, account: Account) -> None:
    once = re.findall(r'name="once" value="([^"]+)"', member.get(ADD).content.decode())[0]
    barrier = Barrier(AT_ONCE)

    def sent(_: int) -> int:
        tab = Client()
        tab.cookies = member.cookies
        try:
            barrier.wait()
            return tab.post(ADD, form(account, once=once)).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        statuses = sorted(pool.map(sent, range(AT_ONCE)))

    assert statuses == [200] + [302] * (AT_ONCE - 1)
    assert ApiToken.objects.count() == AuditEvent.objects.filter(action="api_token.created").count() == 1


def test_another_ones_form_is_another_form(member: Client, superuser: Client, account: Account) -> None:
    for client in (member, superuser):
        assert client.post(ADD, form(account, once="the-same")).status_code == 200

    assert ApiToken.objects.count() == 2


def test_nobody_is_asked_for_the_only_account(
    member: Client, paul: User, account: Account, other_account: Account
) -> None:
    asked = f'<input type="hidden" name="account" value="{account.pk}"'
    assert asked in member.get(ADD).content.decode()

    Membership.objects.create(user=paul, account=other_account)

    page = member.get(ADD).content.decode()
    assert asked not in page
    assert '<select name="account"' in page


def test_a_tokens_page_leads_a_member_to_no_page_of_superusers(member: Client, token: ApiToken) -> None:
    page = member.get(address_of(token)).content.decode()

    assert "Arrakis" in page
    assert reverse("admin:oauth_apps_account_change", args=[token.account_id]) not in page


def test_whoever_has_copied_the_token_is_led_to_the_next_step(member: Client, account: Account) -> None:
    page = member.post(ADD, form(account)).content.decode()
    assert f'class="sq-button primary" href="{reverse("admin:oauth_apps_oauthapp_add")}"' in page

    linear_credential(linear_app(account))

    page = member.post(ADD, form(account)).content.decode()
    assert f'class="sq-button primary" href="{LIST}"' in page


@pytest.mark.parametrize(("lifetime", "days"), [("30", 30), ("90", 90), ("365", 365)])
def test_it_expires_after_the_days_that_were_chosen(member: Client, account: Account, lifetime: str, days: int) -> None:
    member.post(ADD, form(account, lifetime=lifetime))

    expires_at = ApiToken.objects.get().expires_at
    assert expires_at is not None
    assert abs(expires_at - timezone.now() - timedelta(days=days)) < timedelta(minutes=1)


def test_it_expires_never_or_at_the_end_of_a_day(member: Client, account: Account) -> None:
    member.post(ADD, form(account, name="a", lifetime="never"))
    member.post(ADD, form(account, name="b", lifetime="date", last_day="2030-02-03"))

    assert ApiToken.objects.get(name="a").expires_at is None
    assert ApiToken.objects.get(name="b").expires_at == datetime(2030, 2, 3, 23, 59, 59, tzinfo=UTC)


def test_the_form_says_what_each_scope_allows(member: Client) -> None:
    page = member.get(ADD).content.decode()

    for scope, sentence in api_tokens.SCOPES_IN_WORDS.items():
        assert f"<code>{scope}</code><small>{sentence.replace(chr(39), '&#x27;')}</small>" in page
    assert tuple(api_tokens.SCOPES_IN_WORDS) == api_tokens.SCOPES
    assert "_addanother" not in page


# ---- revoking and listing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["page", "list"])
def test_a_revoked_token_is_refused_from_the_next_request_on(
    member: Client, client: Client, account: Account, where: str
) -> None:
    """D06"""
    token, text = api_tokens.issue(account, name="billing")
    bearer = {"Authorization": f"Bearer {text}"}
    assert client.get("/v1/oauth-apps", headers=bearer).status_code == 200

    if where == "page":
        page = member.post(address_of(token, "revoke"), follow=True)
    else:
        page = member.post(LIST, {"action": "revoke_chosen", "_selected_action": str(token.pk)}, follow=True)

    assert "evoked" in page.content.decode()
    assert client.get("/v1/oauth-apps", headers=bearer).status_code == 401
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.object_id) == ("api_token.revoked", "paul", str(token.pk))


def test_the_list_says_how_each_token_is(member: Client, account: Account) -> None:
    now = timezone.now()
    rows = {
        "active": {},
        "expires in 1 week": {"expires_at": now + timedelta(days=8)},
        "expires in 2 months": {"expires_at": now + timedelta(days=75)},
        "expired": {"expires_at": now - timedelta(days=1)},
        "revoked": {"revoked_at": now, "expires_at": now - timedelta(days=1)},
    }
    for name, values in rows.items():
        token, _ = api_tokens.issue(account, name=name)
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now - timedelta(hours=3), **values)

    page = member.get(LIST).content.decode()

    badges = dict(re.findall(r'<span class="sq-badge (\w+)">([^<]+)</span>', page)[::-1])
    assert {words for _, words in re.findall(r'<span class="sq-badge (\w+)">([^<]+)</span>', page)} == set(rows)
    assert badges["warn"] == "expires in 1 week"
    assert page.count("3 hours ago") == len(rows)
    active = {"active", "expires in 1 week", "expires in 2 months"}
    for state, names in {"active": active, "expired": {"expired"}, "revoked": {"revoked"}}.items():
        shown = member.get(LIST, {"state": state}).context["cl"].queryset
        assert {token.name for token in shown} == names


def test_a_hundred_tokens_cost_no_more_statements_than_one(
    member: Client, account: Account, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        api_tokens.issue(account, name=f"token {number}")

    with django_assert_max_num_queries(10):
        assert member.get(LIST).status_code == 200


def test_history_is_json_without_the_token(member: Client, account: Account) -> None:
    member.post(ADD, form(account))

    entry = LogEntry.objects.get()
    assert json.loads(entry.change_message) == [{"added": {}}]
