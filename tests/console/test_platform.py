"""The platform: for superusers alone."""

from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import NoReverseMatch, reverse
from procrastinate.contrib.django.models import ProcrastinateJob

from credentials.purge import purge_job
from oauth_apps import audit
from oauth_apps.models import Account, AuditEvent, Authenticator, Membership

MODELS = ("auth_user", "oauth_apps_account", "axes_accessattempt", "procrastinate_procrastinatejob")
NO_INLINES = {
    "memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0", "memberships-MIN_NUM_FORMS": "0",
    "memberships-MAX_NUM_FORMS": "1000",
}  # fmt: skip

NEW_PASSWORD = {"password1": "a-longer-pass-phrase", "password2": "a-longer-pass-phrase"}


@pytest.fixture
def attempt(paul: User) -> AccessAttempt:
    return AccessAttempt.objects.create(
        username="paul", ip_address="192.0.2.1", user_agent="x", get_data="canary-get", post_data="canary-post",
        http_accept="*/*", path_info="/admin/login/", failures_since_start=8,
    )  # fmt: skip


@pytest.fixture
def job(db: None) -> ProcrastinateJob:
    purge_job.configure().defer(timestamp=1)
    made: ProcrastinateJob = ProcrastinateJob.objects.get()
    return made


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_member_does_not_reach_the_platform(
    member: Client, paul: User, model: str, attempt: AccessAttempt, job: ProcrastinateJob, account: Account
) -> None:
    """H07. Django's own permissions do not help either."""
    paul.user_permissions.set(Permission.objects.all())
    row = {
        "auth_user": User.objects.create_superuser("root", password="x"), "oauth_apps_account": account,
        "axes_accessattempt": attempt, "procrastinate_procrastinatejob": job,
    }[model]  # fmt: skip

    assert member.get(reverse(f"admin:{model}_changelist")).status_code == 403
    assert member.get(reverse(f"admin:{model}_add")).status_code == 403
    for what in ("change", "delete", "history"):
        address = reverse(f"admin:{model}_{what}", args=[row.pk])
        assert member.get(address).status_code == 403
        assert member.post(address, {"post": "yes"}).status_code in {403, 405}
    assert type(row)._default_manager.filter(pk=row.pk).exists()


def test_a_member_sets_nobodys_password(member: Client) -> None:
    root = User.objects.create_superuser("root", password="right")
    new = {"password1": "a-longer-pass-phrase", "password2": "a-longer-pass-phrase"}

    assert member.post(reverse("admin:auth_user_password_change", args=[root.pk]), new).status_code == 403
    root.refresh_from_db()
    assert root.check_password("right")


def test_the_sidebar_of_a_member_has_no_platform(member: Client, superuser: Client) -> None:
    mine, theirs = (client.get("/admin/").content.decode() for client in (member, superuser))

    for words in ("Platform", "All accounts", "Sign-in attempts"):
        assert words not in mine
        assert words in theirs


def test_there_are_no_groups(superuser: Client) -> None:
    assert not admin.site.is_registered(Group)
    with pytest.raises(NoReverseMatch):
        reverse("admin:auth_group_changelist")


@pytest.mark.parametrize("model", ["axes_accessattempt", "procrastinate_procrastinatejob"])
def test_superusers_only_look_at_attempts_and_jobs(
    superuser: Client, attempt: AccessAttempt, job: ProcrastinateJob, model: str
) -> None:
    row = attempt if model == "axes_accessattempt" else job

    assert superuser.get(reverse(f"admin:{model}_add")).status_code == 403
    assert superuser.post(reverse(f"admin:{model}_change", args=[row.pk]), {"status": "todo"}).status_code == 403


def test_a_job_is_neither_deleted_nor_run_again_here(superuser: Client, job: ProcrastinateJob) -> None:
    delete = reverse("admin:procrastinate_procrastinatejob_delete", args=[job.pk])
    assert superuser.post(delete, {"post": "yes"}).status_code == 403
    for action in ("delete_selected", "retry", "cancel", "abort"):
        superuser.post(
            reverse("admin:procrastinate_procrastinatejob_changelist"),
            {"action": action, "_selected_action": str(job.pk), "post": "yes"},
        )

    assert ProcrastinateJob.objects.get().status == "todo"


def test_an_account_is_not_deleted_here(superuser: Client, account: Account) -> None:
    assert (
        superuser.post(reverse("admin:oauth_apps_account_delete", args=[account.pk]), {"post": "yes"}).status_code
        == 403
    )
    assert Account.objects.exists()


def test_a_superuser_does_not_lock_himself_out(superuser: Client) -> None:
    root = User.objects.get()
    fields = {"username": "root", "email": "", **NO_INLINES}

    superuser.post(reverse("admin:auth_user_change", args=[root.pk]), fields)  # none of the boxes is ticked
    assert superuser.post(reverse("admin:auth_user_delete", args=[root.pk]), {"post": "yes"}).status_code == 403
    superuser.post(
        reverse("admin:auth_user_changelist"),
        {"action": "delete_selected", "_selected_action": str(root.pk), "post": "yes"},
    )

    root.refresh_from_db()
    assert (root.is_active, root.is_staff, root.is_superuser) == (True, True, True)


# ---- what superusers do ----------------------------------------------------------------------------------------------


def test_a_new_user_may_sign_in_and_works_in_the_accounts_that_were_chosen(superuser: Client, account: Account) -> None:
    add = reverse("admin:auth_user_add")
    assert 'name="is_staff"' in superuser.get(add).content.decode()
    assert superuser.get(add).context["adminform"].form["is_staff"].initial is True
    fields = {
        "username": "chani", "email": "", "password1": "a-longer-pass-phrase", "password2": "a-longer-pass-phrase",
        "is_staff": "on", **NO_INLINES, "memberships-TOTAL_FORMS": "1", "memberships-0-account": str(account.pk),
        "own_password": "x",
    }  # fmt: skip

    response = superuser.post(add, fields)

    assert response.status_code == 302
    chani = User.objects.get(username="chani")
    assert (chani.is_staff, chani.is_superuser, chani.check_password("a-longer-pass-phrase")) == (True, False, True)
    assert [membership.account for membership in Membership.objects.filter(user=chani)] == [account]
    events = AuditEvent.objects.values_list("action", "actor", "account", "object_name").order_by("created_at")
    assert set(events) == {
        ("user.created", "root", None, "chani"), ("member.created", "root", account.pk, "chani in Arrakis"),
    }  # fmt: skip


def test_a_weak_password_is_refused_for_a_new_user(superuser: Client) -> None:
    """H11"""
    fields = {"username": "chani", "password1": "password", "password2": "password", "is_staff": "on", **NO_INLINES}

    assert "too common" in superuser.post(reverse("admin:auth_user_add"), fields).content.decode()
    assert User.objects.count() == 1


def test_a_superuser_sets_a_password(superuser: Client, paul: User) -> None:
    address = password_of(paul)
    assert superuser.get(address).status_code == 200

    response = superuser.post(address, {**NEW_PASSWORD, "own_password": "x"})

    assert response["Location"] == reverse("admin:auth_user_change", args=[paul.pk])
    paul.refresh_from_db()
    assert paul.check_password("a-longer-pass-phrase")
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.object_name) == ("user.password_set", "root", "paul")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"own_password": ""}, "This field is required"),
        ({"own_password": "of-paul"}, "That is not your password."),
        ({"password2": "another-pass-phrase"}, "didn"),
        ({"password1": "", "password2": ""}, "This field is required"),
        ({"password1": "password", "password2": "password"}, "too common"),
    ],
)
def test_a_password_is_set_by_nobody_who_does_not_know_his_own(
    superuser: Client, paul: User, changed: dict[str, str], problem: str
) -> None:
    page = superuser.post(password_of(paul), {**NEW_PASSWORD, "own_password": "x", **changed})

    assert problem in page.content.decode()
    assert "a-longer-pass-phrase" not in page.content.decode()
    paul.refresh_from_db()
    assert paul.check_password("of-paul")


def test_ones_own_password_is_changed_with_the_old_one_alone(superuser: Client) -> None:
    root = User.objects.get()

    for response in (
        superuser.get(password_of(root)),
        superuser.post(password_of(root), {**NEW_PASSWORD, "own_password": "x"}),
    ):
        assert response["Location"] == reverse("admin:password_change")
    root.refresh_from_db()
    assert root.check_password("x")


def test_after_five_wrong_passwords_the_right_one_does_not_do_either(superuser: Client, paul: User) -> None:
    """They are counted together, whatever they were asked for."""
    Authenticator.objects.create(user=paul, name="app", key=b"key-of-twenty-bytes!")
    remove = reverse("admin:remove_second_factor", args=[paul.pk])
    for _ in range(4):
        superuser.post(password_of(paul), {**NEW_PASSWORD, "own_password": "wrong"})
    superuser.post(remove, {"password": "wrong"})

    for page in (
        superuser.post(password_of(paul), {**NEW_PASSWORD, "own_password": "x"}),
        superuser.post(remove, {"password": "x"}),
        superuser.post(reverse("admin:auth_user_change", args=[paul.pk]), becomes_superuser(own_password="x")),
        superuser.post(reverse("admin:auth_user_add"), chani(own_password="x")),
        superuser.post(reverse("admin:credentials_credential_export"), {"password": "x"}),
    ):
        assert "Too many wrong passwords" in page.content.decode()
    paul.refresh_from_db()
    assert (paul.check_password("of-paul"), paul.is_superuser) == (True, False)
    assert Authenticator.objects.exists()
    assert not User.objects.filter(username="chani").exists()
    assert [event.detail for event in AuditEvent.objects.order_by("created_at")] == [password_of(paul)] * 4 + [remove]


@pytest.mark.parametrize("own_password", ["", "of-paul"])
def test_nobody_is_made_a_user_or_superuser_without_ones_own_password(
    superuser: Client, paul: User, own_password: str
) -> None:
    change = reverse("admin:auth_user_change", args=[paul.pk])

    pages = [
        superuser.post(change, becomes_superuser(own_password=own_password)),
        superuser.post(reverse("admin:auth_user_add"), chani(own_password=own_password)),
    ]

    assert [page.status_code for page in pages] == [200, 200]
    paul.refresh_from_db()
    assert paul.is_superuser is False
    assert set(User.objects.values_list("username", flat=True)) == {"root", "paul"}


def test_a_superuser_is_made_with_ones_own_password(superuser: Client, paul: User) -> None:
    change = reverse("admin:auth_user_change", args=[paul.pk])
    assert "Your own password" in superuser.get(change).content.decode()

    assert superuser.post(change, becomes_superuser(own_password="x")).status_code == 302

    paul.refresh_from_db()
    assert paul.is_superuser is True
    event = AuditEvent.objects.get(action="user.changed")
    assert event.detail == "Superuser status"


def test_a_superuser_who_may_sign_in_again_is_let_in_with_ones_own_password_alone(
    superuser: Client, paul: User
) -> None:
    User.objects.filter(pk=paul.pk).update(is_superuser=True, is_active=False)
    change = reverse("admin:auth_user_change", args=[paul.pk])

    assert superuser.post(change, becomes_superuser()).status_code == 200

    paul.refresh_from_db()
    assert paul.is_active is False


def test_other_changes_ask_for_no_password(superuser: Client, paul: User) -> None:
    fields = {"username": "paul", "email": "paul@example.com", "is_active": "on", "is_staff": "on", **NO_INLINES}
    root = reverse("admin:auth_user_change", args=[User.objects.get(username="root").pk])

    assert superuser.post(reverse("admin:auth_user_change", args=[paul.pk]), fields).status_code == 302

    assert User.objects.get(username="paul").email == "paul@example.com"
    assert "Your own password" not in superuser.get(root).content.decode()


def password_of(user: User) -> str:
    return reverse("admin:auth_user_password_change", args=[user.pk])


def becomes_superuser(**fields: str) -> dict[str, str]:
    may = {"is_active": "on", "is_staff": "on", "is_superuser": "on"}
    return {"username": "paul", "email": "", **may, **NO_INLINES, **fields}


def chani(**fields: str) -> dict[str, str]:
    return {"username": "chani", "email": "", **NEW_PASSWORD, "is_staff": "on", **NO_INLINES, **fields}


def test_a_membership_that_is_removed_on_the_users_page_is_written_down(
    superuser: Client, paul: User, account: Account
) -> None:
    membership = Membership.objects.get()
    fields = {
        "username": "paul", "email": "", "is_active": "on", "is_staff": "on", **NO_INLINES,
        "memberships-TOTAL_FORMS": "1", "memberships-INITIAL_FORMS": "1", "memberships-0-id": str(membership.pk),
        "memberships-0-user": str(paul.pk), "memberships-0-account": str(account.pk), "memberships-0-DELETE": "on",
    }  # fmt: skip

    response = superuser.post(reverse("admin:auth_user_change", args=[paul.pk]), fields)

    assert response.status_code == 302
    assert not Membership.objects.exists()
    assert AuditEvent.objects.get(action="member.deleted").account == account


def test_users_are_listed_with_what_matters(superuser: Client, paul: User, django_assert_max_num_queries: Any) -> None:
    Authenticator.objects.create(user=paul, name="app", key=b"canary-key-of-20-byt")

    with django_assert_max_num_queries(10):
        page = superuser.get(reverse("admin:auth_user_changelist"))
    assert page.status_code == 200
    change = superuser.get(reverse("admin:auth_user_change", args=[paul.pk])).content.decode()
    assert "Remove the second factor" in change
    assert "canary-key" not in change
    assert "user_permissions" not in change
    assert "md5$" not in change


def test_accounts_are_listed_with_counts(
    superuser: Client, paul: User, account: Account, other_account: Account
) -> None:
    User.objects.create_user("chani", password="x").memberships.create(account=account)

    rows = superuser.get(reverse("admin:oauth_apps_account_changelist")).context["cl"].result_list

    counts = {row.name: (row.member_count, row.app_count, row.token_count) for row in rows}
    assert counts == {"Arrakis": (2, 0, 0), "Harkonnen": (0, 0, 0)}


def test_an_account_is_made_and_renamed(superuser: Client) -> None:
    superuser.post(reverse("admin:oauth_apps_account_add"), {"name": "Caladan"})
    made = Account.objects.get()

    superuser.post(reverse("admin:oauth_apps_account_change", args=[made.pk]), {"name": "Kaitain"})

    assert Account.objects.get().name == "Kaitain"
    events = AuditEvent.objects.order_by("created_at").values_list("action", "account")
    assert list(events) == [("account.created", made.pk), ("account.changed", made.pk)]


def test_deleting_an_attempt_lets_somebody_in_again(superuser: Client, attempt: AccessAttempt) -> None:
    listed = superuser.get(reverse("admin:axes_accessattempt_changelist")).content.decode()
    shown = superuser.get(reverse("admin:axes_accessattempt_change", args=[attempt.pk])).content.decode()
    assert "8 · locked out" in listed
    assert "canary" not in listed + shown

    superuser.post(reverse("admin:axes_accessattempt_delete", args=[attempt.pk]), {"post": "yes"})

    assert not AccessAttempt.objects.exists()
    assert AuditEvent.objects.get().actor == "root"


def test_the_audit_log_counts_events(superuser: Client, account: Account) -> None:
    audit.record("oauth_app.created", by=audit.Actor("root"), account=account)
    page = superuser.get(reverse("admin:oauth_apps_auditevent_changelist")).content.decode()

    assert "1 audit event<" in page
    audit.record("oauth_app.created", by=audit.Actor("root"), account=account)
    page = superuser.get(reverse("admin:oauth_apps_auditevent_changelist")).content.decode()
    assert "2 audit events<" in page
    assert "2 audit log" not in page


def test_jobs_are_shown_with_what_happened(superuser: Client, job: ProcrastinateJob) -> None:
    listed = superuser.get(reverse("admin:procrastinate_procrastinatejob_changelist"))
    shown = superuser.get(reverse("admin:procrastinate_procrastinatejob_change", args=[job.pk])).content.decode()

    assert listed.status_code == 200
    assert "todo" in listed.content.decode()
    assert "Deferred" in shown
    assert "&quot;timestamp&quot;: 1" in shown
