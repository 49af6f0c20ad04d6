"""The first page: each sees his own accounts' numbers, and a newcomer is led to his first connected account."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as configured
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from responses import RequestsMock

from credentials.console.dashboard import Dashboard
from credentials.models import Authorization, Credential, DailyCount, Step, Token
from credentials.purge import purge
from oauth_apps import api_tokens
from oauth_apps.models import Account, Membership, OAuthApp, RedirectURI
from providers import catalogue
from tests.credentials.stored import keep, linear_app, linear_credential
from tests.link.trip import Trip
from tests.providers.trip import sandbox_app

HARMFUL = "<script>alert(1)</script>"


def shown(client: Client) -> Dashboard:
    page = client.get(reverse("admin:index"))
    assert page.status_code == 200
    found: Dashboard = page.context["dashboard"]
    return found


def text_of(client: Client) -> str:
    return client.get(reverse("admin:index")).content.decode()


def unwell(account: Account, number: int, *, status: str = "error", **columns: Any) -> list[Credential]:
    """Credentials whose refresh tokens are not accepted any more."""
    app = OAuthApp.objects.filter(account=account).first() or linear_app(account)
    made = [
        linear_credential(app, linear_org_id=f"org-{n}", linear_org_name=f"{account.name} {n}", refresh_token=f"r-{n}")
        for n in range(number)
    ]
    now = timezone.now()
    mine = {"pk__in": [credential.pk for credential in made]}
    Credential.objects.filter(**mine).update(health_status=status, health_notes=["It was revoked."], **columns)
    Token.objects.filter(**mine).update(failure="revoked", failed_at=now - timedelta(days=3))
    return made


def counted(account: Account, what: str, number: int, *, days_ago: int = 0) -> None:
    day = (timezone.now() - timedelta(days=days_ago)).date()
    DailyCount.objects.create(account=account, day=day, what=what, number=number)


# ---- whose numbers ---------------------------------------------------------------------------------------------------


def test_a_member_of_no_account_is_told_so(db: None) -> None:
    client = Client()
    client.force_login(User.objects.create_user("stranger", is_staff=True))

    assert "not a member of any account" in text_of(client)


def test_a_member_sees_nothing_of_another_account(member: Client, account: Account, other_account: Account) -> None:
    """H07"""
    unwell(other_account, 3)
    OAuthApp.objects.update(health_status="error", health_notes=["Harkonnen's app."])
    RedirectURI.objects.create(account=other_account, redirect_uri="https://app.example.com/")
    api_tokens.issue(other_account, expires_at=timezone.now() + timedelta(days=1))
    Token.objects.update(failure="", refresh_expires_at=timezone.now() + timedelta(days=1))
    Token.objects.update(obtained_at=timezone.now() - timedelta(days=60))
    for what in ("connected", "refreshed", "not_refreshed"):
        counted(other_account, what, 7)

    found = shown(member)

    assert (found.needs, found.endings, found.other_needs) == ([], [], [])
    assert (found.trips.total, found.refreshes.total, found.success_rate) == (0, 0, None)
    assert (found.credentials, found.oauth_apps, found.first_steps.done) == (0, 0, 0)
    assert "Harkonnen" not in text_of(member)


def test_a_superuser_sees_all_until_he_chooses_an_account(
    superuser: Client, account: Account, other_account: Account
) -> None:
    for one in (account, other_account):
        unwell(one, 1)
        counted(one, "refreshed", 5)

    everything = shown(superuser)
    superuser.post(reverse("admin:choose_account"), {"account": str(account.pk)})
    chosen = shown(superuser)

    assert (len(everything.needs), everything.refreshes.total, everything.credentials) == (2, 10, 2)
    assert {need.account for need in everything.needs} == {"Arrakis", "Harkonnen"}
    assert (len(chosen.needs), chosen.refreshes.total, chosen.credentials) == (1, 5, 1)
    assert [need.account for need in chosen.needs] == [""]


def test_a_member_of_two_accounts_sees_both(
    member: Client, paul: User, account: Account, other_account: Account
) -> None:
    Membership.objects.create(account=other_account, user=paul)
    third = Account.objects.create(name="Corrino")
    for one in (account, other_account, third):
        counted(one, "refreshed", 1)

    assert shown(member).refreshes.total == 2


@pytest.mark.parametrize("rows", [3, 300])
def test_it_takes_as_many_statements_for_many_rows(member: Client, account: Account, rows: int) -> None:
    template = unwell(account, 1)[0]
    token = template.token
    many = [
        Credential(
            account=account, oauth_app=template.oauth_app, provider="linear", kind="linear_oauth2",
            identity_hash=str(n).encode(), health_status="warn", health_notes=["It ends."],
        )
        for n in range(rows)
    ]  # fmt: skip
    Credential.objects.bulk_create(many)
    soon, long_ago = timezone.now() + timedelta(days=1), timezone.now() - timedelta(days=90)
    ending = {"obtained_at": long_ago, "granted_at": long_ago, "refresh_token": token.refresh_token}
    Token.objects.bulk_create(Token(credential=one, refresh_expires_at=soon, **ending) for one in many)
    OAuthApp.objects.bulk_create(
        OAuthApp(account=account, provider="linear", name=f"App {n}", client_id="x", health_status="warn")
        for n in range(rows)
    )

    with CaptureQueriesContext(connection) as statements:
        page = member.get(reverse("admin:index"))

    assert page.context["dashboard"].credentials == rows + 1
    assert len(page.context["dashboard"].endings) == min(rows, 10)
    read = [query["sql"] for query in statements if query["sql"].lstrip("(").startswith("SELECT")]
    assert len(read) == 11, read


# ---- what needs somebody ---------------------------------------------------------------------------------------------


def test_nothing_that_needs_anybody_is_said_in_a_sentence(member: Client, account: Account) -> None:
    linear_app(account)

    assert "Nothing is known to be wrong" in text_of(member)


def test_errors_come_first_and_each_has_its_button(member: Client, account: Account) -> None:
    now = timezone.now()
    revoked, refused = unwell(account, 2)
    Token.objects.filter(pk=refused.pk).update(failure="refused", failed_at=now - timedelta(days=9))
    key = keep(account, "stripe_key", None, secret="sk_test_canary")
    Credential.objects.filter(pk=key.pk).update(health_status="warn", health_notes=["Key."])
    OAuthApp.objects.update(
        health_status="error", health_notes=["No such client.", "More."], health_time=now - timedelta(days=5)
    )
    app = OAuthApp.objects.get()

    needs = shown(member).needs

    page_of = {one: reverse("admin:credentials_credential_change", args=[one.pk]) for one in (revoked, refused, key)}
    assert [(need.button, need.url, need.note) for need in needs] == [
        ("Open the app", reverse("admin:oauth_apps_oauthapp_change", args=[app.pk]), "No such client."),
        ("Look at it", page_of[refused], "It was revoked."),
        ("Reconnect", f"{page_of[revoked]}#reconnect", "It was revoked."),
        ("Look at it", page_of[key], "Key."),
    ]
    assert [need.title for need in needs][:3] == ["Linear", "Arrakis 1 · org-1", "Arrakis 0 · org-0"]


def test_what_only_time_mends_is_checked_by_its_button(member: Client, account: Account) -> None:
    (credential,) = unwell(account, 1, status="warn")
    Token.objects.update(failure="provider_unavailable")
    note = "The provider did not answer. Nothing needs to be done unless this goes on."
    OAuthApp.objects.update(health_status="warn", health_notes=[note])
    app = OAuthApp.objects.get()

    page = text_of(member)

    for url in (
        reverse("admin:oauth_apps_oauthapp_check", args=[app.pk]),
        reverse("admin:credentials_credential_check", args=[credential.pk]),
    ):
        assert f'<form method="post" action="{url}"><input type="hidden" name="csrfmiddlewaretoken"' in page
    assert "Open the app" not in page
    OAuthApp.objects.update(health_notes=[note, "Another account claims the same client ID."])
    assert "Open the app" in text_of(member)


def test_a_credential_without_name_and_identity_is_called_by_its_provider(member: Client, account: Account) -> None:
    (credential,) = unwell(account, 1)
    Credential.objects.update(name="", properties={})

    assert [need.title for need in shown(member).needs] == ["Linear"]
    assert f"<h3>{credential.pk}" not in text_of(member)


def test_more_than_ten_lead_to_the_lists(member: Client, account: Account) -> None:
    unwell(account, 12)
    OAuthApp.objects.update(health_status="warn", health_notes=["Soon."])

    found = shown(member)

    assert len(found.needs) == 10
    assert [other.words for other in found.other_needs] == ["12 credentials in error", "1 OAuth app with a warning"]
    for other in found.other_needs:
        assert member.get(other.url).status_code == 200, other.url


def test_names_and_notes_are_text(member: Client, account: Account) -> None:
    """H04"""
    unwell(account, 1, name=HARMFUL)
    Credential.objects.update(health_notes=[HARMFUL], properties={"linear_org_id": HARMFUL})
    OAuthApp.objects.update(name=HARMFUL, health_status="error", health_notes=[HARMFUL])
    Token.objects.update(failure="", refresh_expires_at=timezone.now() + timedelta(days=1))
    Token.objects.update(obtained_at=timezone.now() - timedelta(days=60))
    api_tokens.issue(account, name=HARMFUL, expires_at=timezone.now() + timedelta(days=1))

    page = text_of(member)

    assert HARMFUL not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 6


# ---- first steps -----------------------------------------------------------------------------------------------------


def test_the_first_steps_tick_themselves(member: Client, account: Account) -> None:
    pages = [
        "admin:oauth_apps_oauthapp_add", "admin:oauth_apps_redirecturi_add", "admin:oauth_apps_apitoken_add",
    ]  # fmt: skip
    urls = [*(reverse(page) for page in pages), f"{reverse('admin:connect')}?provider=linear"]
    deeds: list[Callable[[], object]] = [
        lambda: linear_app(account),
        lambda: RedirectURI.objects.create(account=account, redirect_uri="https://app.example.com/"),
        lambda: api_tokens.issue(account),
        lambda: linear_credential(OAuthApp.objects.get()),
    ]
    for done, (url, deed) in enumerate(zip(urls, deeds, strict=True)):
        steps = shown(member).first_steps
        (following,) = [step for step in steps.steps if step.is_next]
        assert (steps.done, following.url) == (done, url)
        assert f'class="sq-button primary" href="{url}"' in text_of(member)
        assert member.get(url, follow=True).status_code == 200
        deed()

    assert shown(member).first_steps.is_complete
    assert "First steps" not in text_of(member)


def test_each_page_leads_a_newcomer_to_the_next_step(member: Client, account: Account) -> None:
    lists = [reverse(f"admin:oauth_apps_{model}_changelist") for model in ("oauthapp", "redirecturi", "apitoken")]
    deeds: list[Callable[[], object]] = [
        lambda: linear_app(account),
        lambda: RedirectURI.objects.create(account=account, redirect_uri="https://app.example.com/"),
        lambda: api_tokens.issue(account),
    ]
    for done, deed in enumerate(deeds):
        step = shown(member).first_steps.following
        assert step is not None
        for page in lists:
            html = member.get(page).content.decode()
            assert f'First steps: {done} of 4 done. Next: <a class="sq-link" href="{step.url}">{step.title}</a>' in html
        assert "Next: <a" not in member.get(step.url).content.decode() + text_of(member)
        deed()

    app_page = reverse("admin:oauth_apps_oauthapp_change", args=[OAuthApp.objects.get().pk])
    assert "First steps: 3 of 4 done." in member.get(app_page).content.decode()
    linear_credential(OAuthApp.objects.get())
    assert "First steps" not in member.get(app_page).content.decode()
    with CaptureQueriesContext(connection) as statements:
        member.get(lists[0])
    assert not [query for query in statements if "EXISTS" in query["sql"] and "api_token" in query["sql"].lower()]


def test_the_thread_costs_one_statement_and_tells_nothing_of_other_accounts(
    member: Client, superuser: Client, account: Account, other_account: Account
) -> None:
    linear_credential(linear_app(other_account))
    page = reverse("admin:oauth_apps_redirecturi_changelist")

    with CaptureQueriesContext(connection) as statements:
        html = member.get(page).content.decode()

    assert "First steps: 0 of 4 done." in html
    assert len([query for query in statements if "oauth_apps_apitoken" in query["sql"]]) == 1
    assert len([query for query in statements if query["sql"].startswith("SELECT")]) <= 10
    assert "First steps" not in superuser.get(page).content.decode()  # who sees all that there is


def test_who_works_in_no_account_has_no_first_steps_to_take(db: None) -> None:
    client = Client()
    client.force_login(User.objects.create_user("stranger", is_staff=True))

    assert "First steps" not in client.get(reverse("admin:oauth_apps_redirecturi_changelist")).content.decode()


def test_clicks_alone_lead_to_the_first_connected_account(
    member: Client, account: Account, network: RequestsMock
) -> None:
    sandbox_app(account, catalogue.get("linear"))
    RedirectURI.objects.create(account=account, redirect_uri="https://app.example.com/")
    api_tokens.issue(account)

    form = member.get(shown(member).first_steps.steps[-1].url)["Location"]  # there is one way alone
    start = member.post(form, {"scope": "read"}).context["url"]
    consent = member.get(local(member.get(local(start))["Location"]), headers={"Accept": "application/json"}).json()
    arrived = member.get(local(member.get(local(consent["outcomes"]["approve"]))["Location"]))
    member.get(local(arrived["Location"]))

    found = shown(member)
    assert (found.credentials, found.first_steps.is_complete) == (1, True)
    assert [part.number for part in found.trips.totals] == [1, 0, 0, 0]


def local(url: str) -> str:
    return url.removeprefix(configured.PUBLIC_URL)


def test_a_newcomer_is_told_of_the_sandbox(member: Client, settings: Any) -> None:
    page = text_of(member)
    assert "asks for no account anywhere" in page
    assert "Needs somebody" not in page  # there is nothing yet that could

    settings.SANDBOX = False

    assert "asks for no account anywhere" not in text_of(member)


def test_the_last_step_leads_to_an_app_that_can_be_used(member: Client, account: Account, settings: Any) -> None:
    """Apps that are disabled, or of a sandbox that is switched off, cannot."""
    linear_app(account, enabled=False)
    stripe = {"account": account, "provider": "stripe", "client_id": "ca_1", "client_secret": "x"}
    OAuthApp.objects.create(**stripe, name="Stripe (sandbox)", environment="sandbox")
    connect = reverse("admin:connect")

    step = shown(member).first_steps.steps[-1]
    assert (step.button, step.url, step.other_url) == (
        "Connect an account with Stripe (sandbox)", f"{connect}?provider=stripe", connect,
    )  # fmt: skip

    settings.SANDBOX = False
    step = shown(member).first_steps.steps[-1]
    assert (step.button, step.url, step.other_url) == ("Connect an account", connect, "")


def test_an_app_whose_provider_has_left_the_catalogue_is_not_offered(member: Client, account: Account) -> None:
    OAuthApp.objects.create(account=account, provider="gone", name="Gone", client_id="x")
    connect = reverse("admin:connect")

    assert shown(member).first_steps.steps[-1].url == connect

    linear_app(account)

    step = shown(member).first_steps.steps[-1]
    assert step.url == f"{connect}?provider=linear"
    assert member.get(step.url, follow=True).status_code == 200


def test_a_revoked_or_expired_api_token_is_none(member: Client, account: Account) -> None:
    token, _ = api_tokens.issue(account, expires_at=timezone.now() - timedelta(days=1))
    revoked, _ = api_tokens.issue(account)
    type(token).objects.filter(pk=revoked.pk).update(revoked_at=timezone.now())

    assert [step.is_done for step in shown(member).first_steps.steps] == [False] * 4


# ---- trips and refreshes ---------------------------------------------------------------------------------------------


def test_a_trip_counts_the_same_before_and_after_its_purge(member: Client, trip: Trip) -> None:
    steps: list[dict[str, Any]] = [
        {"step": Step.EXCHANGED}, {"step": Step.EXCHANGED}, {"step": Step.EXCHANGED},
        {"step": Step.FAILED, "error": "access_denied"}, {"step": Step.FAILED, "error": "server_error"},
        {"step": Step.STARTED},
    ]  # fmt: skip
    past = timezone.now() - timedelta(hours=25)
    for columns in steps:
        trip.start()
        newest = Authorization.objects.latest("created_at")
        Authorization.objects.filter(pk=newest.pk).update(expires_at=past, **columns)
    trip.start()
    before = shown(member)

    purge()
    after = shown(member)

    assert Authorization.objects.count() == 1
    assert before.trips == after.trips
    assert [(part.name, part.number) for part in after.trips.totals] == [
        ("connected", 3), ("denied", 1), ("failed", 1), ("not finished", 1),
    ]  # fmt: skip
    assert (after.trips.under_way, after.success_rate) == (1, 50)


def test_each_day_has_its_column(member: Client, account: Account) -> None:
    counted(account, "refreshed", 3, days_ago=13)
    counted(account, "not_refreshed", 1, days_ago=13)
    counted(account, "refreshed", 2)
    counted(account, "refreshed", 99, days_ago=14)

    chart = shown(member).refreshes

    assert len(chart.columns) == 14
    assert [(part.number, part.percent) for part in chart.columns[0].parts] == [(3, "75.00"), (1, "25.00")]
    assert [(part.number, part.percent) for part in chart.columns[-1].parts] == [(2, "50.00"), (0, "0.00")]
    assert [part.number for part in chart.totals] == [5, 1]
    assert chart.columns[0].words.endswith(": 3 refreshed, 1 failed")
    assert re.search(r"<td>3</td>\s*<td>1</td>", text_of(member))


# ---- what expires soon -----------------------------------------------------------------------------------------------


def test_what_expires_soon_is_told_soonest_first(member: Client, account: Account) -> None:
    now = timezone.now()
    app = linear_app(account)
    young, old, late, gone = (
        linear_credential(app, linear_org_id=name, linear_org_name=name, refresh_token=name)
        for name in ("young", "old", "late", "gone")
    )
    bare = linear_credential(
        app, linear_org_id="bare", refresh_token=None, expires_at=(now + timedelta(days=5)).isoformat()
    )
    for credential, days in ((young, 6), (old, 7), (late, 20), (gone, 3)):
        age = timedelta(days=1 if credential == young else 60)
        ends = now + timedelta(days=days)
        Token.objects.filter(pk=credential.pk).update(refresh_expires_at=ends, obtained_at=now - age)
    Token.objects.filter(pk=gone.pk).update(failure="revoked")
    api_tokens.issue(account, name="CI", expires_at=now + timedelta(days=2))
    api_tokens.issue(account, name="Later", expires_at=now + timedelta(days=30))

    endings = shown(member).endings

    assert [(ending.sort, ending.title) for ending in endings] == [
        ("API token", "CI"), ("Access token", "Arrakis · bare"), ("Refresh token", "old"),
    ]  # fmt: skip
    assert endings[1].url == f"{reverse('admin:credentials_credential_change', args=[bare.pk])}#reconnect"
