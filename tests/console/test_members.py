"""Who works in an account: its members look, superusers add and remove."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from oauth_apps.models import Account, AuditEvent, Membership

LIST, ADD = "/admin/oauth_apps/membership/", "/admin/oauth_apps/membership/add/"


@pytest.fixture
def rabban(other_account: Account) -> Membership:
    user = User.objects.create_user("rabban", email="rabban@giedi.example", password="x", is_staff=True)
    return Membership.objects.create(account=other_account, user=user)


@pytest.fixture
def chani(account: Account) -> Membership:
    user = User.objects.create_user("chani", email="chani@sietch.example", password="x", is_staff=True)
    return Membership.objects.create(account=account, user=user)


def test_a_member_sees_who_works_in_his_account_and_nobody_else(
    member: Client, chani: Membership, rabban: Membership
) -> None:
    page = member.get(LIST).content.decode()

    assert "chani" in page
    assert "paul" in page
    assert "A superuser adds and removes members" in page
    assert "rabban" not in page
    assert "@" not in page.split('id="changelist"')[1]


def test_a_member_finds_nobody_by_email(member: Client, chani: Membership) -> None:
    assert not member.get(LIST, {"q": "sietch"}).context["cl"].queryset.exists()
    assert member.get(LIST, {"q": "chan"}).context["cl"].queryset.get() == chani


def test_a_member_neither_adds_nor_removes_nor_changes(member: Client, chani: Membership, rabban: Membership) -> None:
    """H07"""
    fields = {"account": str(chani.account_id), "user": rabban.user_id}

    assert member.get(ADD).status_code == 403
    assert member.post(ADD, fields).status_code == 403
    for row in (chani, rabban):
        change = member.post(reverse("admin:oauth_apps_membership_change", args=[row.pk]), fields)
        delete = member.post(reverse("admin:oauth_apps_membership_delete", args=[row.pk]), {"post": "yes"})
        assert {change.status_code, delete.status_code} <= {302, 403}
    member.post(LIST, {"action": "delete_selected", "_selected_action": str(chani.pk), "post": "yes"})

    assert Membership.objects.count() == 3
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("field", ["user", "account"])
def test_a_member_completes_no_name(member: Client, rabban: Membership, field: str) -> None:
    query = {"app_label": "oauth_apps", "model_name": "membership", "field_name": field, "term": ""}

    assert member.get(reverse("admin:autocomplete"), query).status_code == 403


def test_a_superuser_adds_and_removes(superuser: Client, account: Account, rabban: Membership) -> None:
    assert superuser.get(ADD).status_code == 200
    superuser.post(ADD, {"account": str(account.pk), "user": rabban.user_id})
    added = Membership.objects.get(account=account)
    assert added.user == rabban.user

    superuser.post(reverse("admin:oauth_apps_membership_delete", args=[added.pk]), {"post": "yes"})

    assert not Membership.objects.filter(account=account).exists()
    events = AuditEvent.objects.order_by("created_at").values_list("action", "actor", "account", "object_name")
    assert list(events) == [
        ("member.created", "root", account.pk, "rabban in Arrakis"),
        ("member.deleted", "root", account.pk, "rabban in Arrakis"),
    ]


def test_nobody_is_a_member_twice(superuser: Client, rabban: Membership) -> None:
    page = superuser.post(ADD, {"account": str(rabban.account_id), "user": rabban.user_id})

    assert page.status_code == 200
    assert Membership.objects.count() == 1
