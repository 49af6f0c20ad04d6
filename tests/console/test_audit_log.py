"""The audit log: each sees his own accounts' part of it, nobody changes it."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from oauth_apps import audit
from oauth_apps.console.audit_log import DEEDS_IN_WORDS, HEADINGS, in_words
from oauth_apps.models import Account, ApiToken, AuditEvent, RedirectURI

LIST = "/admin/oauth_apps/auditevent/"
PAUL = audit.Actor("paul", None, "192.0.2.1", "req-1")


@pytest.fixture
def mine(account: Account) -> AuditEvent:
    uri = RedirectURI.objects.create(account=account, redirect_uri="https://arrakis.example.com/")
    audit.record("redirect_uri.created", by=PAUL, account=account, to=uri)
    return AuditEvent.objects.get(account=account)


@pytest.fixture
def theirs(other_account: Account) -> AuditEvent:
    audit.record("api_token.revoked", by=audit.Actor("rabban"), account=other_account, named="spice token")
    return AuditEvent.objects.get(account=other_account)


@pytest.fixture
def nobodys(db: None) -> AuditEvent:
    audit.record("user.sign_in_failed", by=audit.Actor("unknown", None, "192.0.2.66"), account=None)
    return AuditEvent.objects.get(account=None)


def shown(client: Client, **query: str) -> set[str]:
    return set(client.get(LIST, query).context["cl"].queryset.values_list("actor", flat=True))


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["superuser", "member"])
def test_nobody_adds_changes_or_deletes(request: pytest.FixtureRequest, mine: AuditEvent, who: str) -> None:
    client: Client = request.getfixturevalue(who)
    before = AuditEvent.objects.values().get()

    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}add/", {"actor": "x"}).status_code == 403
    assert client.post(f"{LIST}{mine.pk}/change/", {"actor": "x"}).status_code == 403
    assert client.post(f"{LIST}{mine.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": str(mine.pk), "post": "yes"})

    assert AuditEvent.objects.values().get() == before


def test_a_member_finds_nothing_of_other_accounts_or_of_none(
    member: Client, mine: AuditEvent, theirs: AuditEvent, nobodys: AuditEvent
) -> None:
    """H07"""
    assert shown(member) == {"paul"}
    for query in ({"q": "rabban"}, {"q": str(theirs.object_id)}, {"deed": "api_token.revoked"}, {"q": "unknown"}):
        assert shown(member, **query) <= {"paul"}
    page = member.get(LIST).content.decode()
    for words in ("rabban", "spice", "Harkonnen", "192.0.2.66"):
        assert words not in page
    for event in (theirs, nobodys):
        assert member.get(f"{LIST}{event.pk}/change/").status_code == 302


def test_the_choice_of_users_is_that_of_ones_accounts(member: Client, paul: User, other_account: Account) -> None:
    rabban = User.objects.create_user("rabban", password="x")
    rabban.memberships.create(account=other_account)
    audit.record("user.signed_in", by=audit.Actor("rabban", rabban.pk), account=paul.memberships.get().account)

    assert "?who=" + str(rabban.pk) not in member.get(LIST).content.decode()
    assert "?who=" + str(paul.pk) in member.get(LIST).content.decode()
    assert shown(member, who=str(rabban.pk)) == set()
    for odd in ("x", "-1", "9" * 30, "1 OR 1=1"):
        assert shown(member, who=odd) == set()


def test_a_link_leads_only_to_what_exists_and_is_mine(member: Client, mine: AuditEvent, other_account: Account) -> None:
    uri = RedirectURI.objects.get()
    address = reverse("admin:oauth_apps_redirecturi_change", args=[uri.pk])
    assert f'href="{address}"' in member.get(f"{LIST}{mine.pk}/change/").content.decode()

    RedirectURI.objects.update(account=other_account)
    assert f'href="{address}"' not in member.get(f"{LIST}{mine.pk}/change/").content.decode()
    RedirectURI.objects.all().delete()
    page = member.get(f"{LIST}{mine.pk}/change/").content.decode()
    assert f'href="{address}"' not in page
    assert "https://arrakis.example.com/" in page


# ---- what is shown ---------------------------------------------------------------------------------------------------


def test_a_superuser_sees_all_also_what_belongs_to_no_account(
    superuser: Client, mine: AuditEvent, theirs: AuditEvent, nobodys: AuditEvent
) -> None:
    assert shown(superuser) == {"paul", "rabban", "unknown"}

    superuser.post(reverse("admin:choose_account"), {"account": str(mine.account_id)})

    assert shown(superuser) == {"paul", "unknown"}


def test_a_row_says_who_did_what_from_where(member: Client, mine: AuditEvent) -> None:
    page = member.get(LIST).content.decode()

    for words in ("paul", "registered a redirect URI", "https://arrakis.example.com/", "192.0.2.1"):
        assert words in page
    detail = member.get(f"{LIST}{mine.pk}/change/").content.decode()
    assert "req-1" in detail


def test_filters_find_by_deed_by_user_and_by_words(member: Client, paul: User, account: Account) -> None:
    audit.record("user.signed_in", by=audit.Actor("paul", paul.pk), account=account)
    audit.record("api_token.created", by=audit.Actor("make run"), account=account, named="billing", to=account)

    assert shown(member, deed="api_token.created") == {"make run"}
    assert shown(member, who=str(paul.pk)) == {"paul"}
    assert shown(member, q="billing") == {"make run"}
    assert shown(member, q=str(account.pk)) == {"make run"}
    assert shown(member, created_at__year="1999") == set()


def test_a_hundred_rows_cost_no_more_statements_than_one(
    member: Client, account: Account, django_assert_max_num_queries: Any
) -> None:
    now = timezone.now()
    AuditEvent.objects.bulk_create(
        AuditEvent(account=account, actor="paul", action="user.signed_in", created_at=now - timedelta(days=day))
        for day in range(200)
    )

    with django_assert_max_num_queries(11):  # three of which save the session
        page = member.get(LIST)
    assert page.context["cl"].result_count == 200


def test_what_was_done_with_an_api_token_is_one_click_away(member: Client, account: Account) -> None:
    token = ApiToken.objects.create(account=account, name="billing", token_hash=b"0" * 32)
    shower = audit.Actor("billing", api_token_id=token.pk)
    audit.record("credential.exported", by=shower, account=account)
    audit.record("api_token.created", by=PAUL, account=account, to=token)
    audit.record("user.signed_in", by=audit.Actor("chani"), account=account)
    event = AuditEvent.objects.get(actor="billing")

    page = member.get(f"{LIST}{event.pk}/change/").content.decode()

    assert f'href="{LIST}?q={token.pk}">{token.pk}</a>' in page
    assert "API token" in page
    assert shown(member, q=str(token.pk)) == {"billing", "paul"}
    assert shown(member, q=str(token.pk).upper()) == {"billing", "paul"}
    for no_token in ("no-uuid", str(token.pk)[:-1], "%", "x'y"):
        assert shown(member, q=no_token) == set()


def test_an_event_has_no_history_but_itself(member: Client, mine: AuditEvent, theirs: AuditEvent) -> None:
    page = f"{LIST}{mine.pk}/change/"
    assert f"{LIST}{mine.pk}/history/" not in member.get(page).content.decode()

    assert member.get(f"{LIST}{mine.pk}/history/")["Location"] == page
    assert "rabban" not in member.get(f"{LIST}{theirs.pk}/history/", follow=True).content.decode()
    assert member.get(f"{LIST}nothing/history/", follow=True).redirect_chain[-1] == ("/admin/", 302)


def test_every_deed_stands_under_its_thing(superuser: Client) -> None:
    (filter_of_deeds, _) = superuser.get(LIST, {"deed": "member.created"}).context["cl"].filter_specs

    page = superuser.get(LIST).content.decode()

    assert [page.index(f">{heading}</h4>") for heading in sorted(set(HEADINGS.values()), key=str.lower)] == sorted(
        page.index(f">{heading}</h4>") for heading in set(HEADINGS.values())
    )
    assert page.count("?deed=") == len(DEEDS_IN_WORDS)
    assert len(filter_of_deeds.lookup_choices) == len(DEEDS_IN_WORDS)


def test_every_deed_has_words() -> None:
    assert in_words("oauth_app.created") == "registered an OAuth app"
    assert in_words("start_link.made_up") == "made up start link"
    assert all(len(words) <= 45 for words in DEEDS_IN_WORDS.values())
