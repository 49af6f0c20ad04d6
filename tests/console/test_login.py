"""Signing in to the console: what is refused, the second factor, sessions, and what a user sees of his own login."""

import re
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_otp.oath import hotp

from oauth_apps.models import Account, AuditEvent, Authenticator, Membership
from oauth_apps.models import second_factor as model
from sequin_auth.lib import sessions

PASSWORD = "of-paul"
LOGIN, CODE, INDEX = "/admin/login/", "/admin/login/code/", "/admin/"
KEY = b"01234567890123456789"
NOW = 1_800_000_015
Response = Any


@pytest.fixture
def authenticator(paul: User) -> Authenticator:
    made: Authenticator = Authenticator.objects.create(user=paul, name="Authenticator app", key=KEY, confirmed=True)
    return made


@pytest.fixture
def asked(authenticator: Authenticator) -> Client:
    """Paul's browser, after the right password."""
    client = Client()
    assert sign_in(client)["Location"] == CODE
    return client


@pytest.fixture(autouse=True)
def no_step_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the authenticator time stands still, in the middle of a step."""
    monkeypatch.setattr(model, "time", SimpleNamespace(time=lambda: NOW))


def sign_in(client: Client, *, name: str = "paul", password: str = PASSWORD, **rest: Any) -> Response:
    return client.post(LOGIN, {"username": name, "password": password}, **rest)


def code_of(key: bytes = KEY, *, later: int = 0) -> str:
    """The code that an app shows, `later` steps from now."""
    return f"{hotp(key, NOW // 30 + later):06}"


def wrong_code() -> str:
    right = {code_of(later=step) for step in range(-2, 3)}
    return next(code for code in ("000000", "111111", "222222", "333333", "444444", "555555") if code not in right)


def is_signed_in(client: Client) -> bool:
    return client.get(INDEX).status_code == 200


def deeds() -> list[str]:
    return list(AuditEvent.objects.order_by("created_at").values_list("action", flat=True))


# ---- the password ----------------------------------------------------------------------------------------------------


def test_nobody_comes_in_without_a_login(client: Client, db: None) -> None:
    response = client.get(reverse("admin:oauth_apps_oauthapp_changelist"))

    assert response.status_code == 302
    assert response["Location"].startswith(LOGIN)


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example.com", "/\\evil.example.com", "https:evil.example.com", "///evil.example.com",
        "https://evil.example.com/", "javascript:alert(1)", "/\t/evil.example.com", "http:///evil.example.com",
    ],
)  # fmt: skip
@pytest.mark.parametrize("with_code", [False, True])
def test_the_login_leads_nowhere_else(paul: User, target: str, with_code: bool) -> None:
    """H02"""
    client = Client()
    if with_code:
        Authenticator.objects.create(user=paul, name="app", key=KEY)

    page = client.get(LOGIN, {"next": target})
    response = client.post(LOGIN, {"username": "paul", "password": PASSWORD, "next": target})
    if with_code:
        assert response["Location"] == CODE
        response = client.post(CODE, {"code": code_of()})

    assert "evil" not in page.content.decode()
    assert (response.status_code, response["Location"]) == (302, INDEX)


@pytest.mark.parametrize("with_code", [False, True])
def test_the_login_leads_on_to_the_page_that_was_asked_for(paul: User, with_code: bool) -> None:
    client, wanted = Client(), reverse("admin:oauth_apps_apitoken_changelist") + "?state=active"
    if with_code:
        Authenticator.objects.create(user=paul, name="app", key=KEY)

    page = client.get(client.get(wanted)["Location"])
    onward = re.findall(r'name="next" value="([^"]*)"', page.content.decode())[0]
    response = client.post(LOGIN, {"username": "paul", "password": PASSWORD, "next": onward})
    if with_code:
        response = client.post(CODE, {"code": code_of()})

    assert response["Location"] == wanted


def test_one_network_of_ipv6_guesses_no_more_than_one_address(paul: User) -> None:
    """Its owner has all of it; what is written down is the address."""
    guesses = [sign_in(Client(REMOTE_ADDR=f"2001:db8:1:2::{n:x}"), password="guess").status_code for n in range(1, 9)]

    assert guesses == [200] * 7 + [429]
    assert sign_in(Client(REMOTE_ADDR="2001:db8:1:2:ffff::1")).status_code == 429
    assert sign_in(Client(REMOTE_ADDR="2001:db8:1:3::1")).status_code == 302
    assert AccessAttempt.objects.get().ip_address == "2001:db8:1:2::"
    failures = AuditEvent.objects.filter(action="user.sign_in_failed").order_by("created_at")
    assert [event.address for event in failures] == [f"2001:db8:1:2::{n:x}" for n in range(1, 8)]


def test_many_names_from_one_network_of_ipv6_are_stopped_too(paul: User) -> None:
    for n in range(20):
        AccessAttempt.objects.create(
            username=f"somebody-{n}", ip_address="2001:db8:1:2::", failures_since_start=5, attempt_time=timezone.now()
        )

    assert sign_in(Client(REMOTE_ADDR="2001:db8:1:2::77")).status_code == 429
    assert sign_in(Client(REMOTE_ADDR="2001:db8:1:3::77")).status_code == 302


def test_a_user_who_is_no_member_of_staff_does_not_come_in(client: Client, paul: User) -> None:
    User.objects.update(is_staff=False)

    assert sign_in(client).status_code == 200
    assert not is_signed_in(client)


# ---- guessing (H01) --------------------------------------------------------------------------------------------------


def test_guessing_is_stopped_and_says_until_when(client: Client, paul: User) -> None:
    names = ["paul", "Paul", "PAUL", " paul", "pAul", "paul", "\uff30\uff21\uff35\uff2c", "paul"]
    pages = [sign_in(client, name=name, password=f"guess-{n}") for n, name in enumerate(names)]
    assert [page.status_code for page in pages] == [200] * 7 + [429]

    refused = sign_in(client)

    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 900
    assert "Try again in 15 minutes" in refused.content.decode()
    assert "script-src 'self' 'unsafe-eval'" in refused["Content-Security-Policy"]
    assert not is_signed_in(client)


def test_neither_another_header_nor_a_success_elsewhere_clears_the_count(client: Client, paul: User) -> None:
    for n in range(8):
        sign_in(client, password="guess", headers={"X-Forwarded-For": f"192.0.2.{n}", "User-Agent": f"browser {n}"})
    elsewhere = Client(REMOTE_ADDR="192.0.2.99")

    assert sign_in(elsewhere).status_code == 302
    assert sign_in(client, headers={"X-Forwarded-For": "192.0.2.77"}).status_code == 429


def test_waiting_is_enough_even_if_one_does_not_wait_quietly(client: Client, paul: User) -> None:
    for _ in range(8):
        sign_in(client, password="guess")
    until = AccessAttempt.objects.get().attempt_time
    for _ in range(3):
        assert sign_in(client).status_code == 429
    assert AccessAttempt.objects.get().attempt_time == until

    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))

    assert sign_in(client).status_code == 302


def test_behind_a_socket_guessing_is_stopped_too(paul: User) -> None:
    client = Client(REMOTE_ADDR="")

    assert [sign_in(client, password="guess").status_code for _ in range(8)][-1] == 429


def test_a_password_in_the_wrong_field_is_kept_nowhere(client: Client, paul: User) -> None:
    sign_in(client, name="my-secret-password", password="x")

    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.object_name) == ("user.sign_in_failed", "unknown", "")
    attempt = AccessAttempt.objects.get()
    assert "my-secret" not in str(vars(attempt))


# ---- the second factor: refusals -------------------------------------------------------------------------------------


def test_the_right_password_alone_opens_nothing(asked: Client) -> None:
    for name in ("index", "my_login", "password_change", "oauth_apps_apitoken_changelist", "second_factor_set_up"):
        response = asked.get(reverse(f"admin:{name}"))
        assert response.status_code == 302
        assert response["Location"].startswith(LOGIN)
    session = Session.objects.get().get_decoded()
    assert "_auth_user_id" not in session
    assert User.objects.get().last_login is None
    assert "user.signed_in" not in deeds()


@pytest.mark.parametrize(
    "code", ["", "1", "000000", "abcdef", "-00001", "1234567", "0x1234", "١٢٣٤٥٦", "1e5", "\0" * 6, "9" * 21]
)
def test_a_wrong_code_opens_nothing(asked: Client, code: str) -> None:
    code = wrong_code() if code == "000000" else code

    page = asked.post(CODE, {"code": code})

    assert page.status_code == 200
    assert 'class="problem"' in page.content.decode()
    assert not is_signed_in(asked)


def test_a_code_passes_once(asked: Client, authenticator: Authenticator) -> None:
    code = code_of()
    assert asked.post(CODE, {"code": code})["Location"] == INDEX
    other = Client()
    sign_in(other)

    page = other.post(CODE, {"code": code})

    assert page.status_code == 200
    assert "used before" in page.content.decode()
    assert not is_signed_in(other)


def test_a_code_older_than_the_last_one_does_not_pass(asked: Client) -> None:
    asked.post(CODE, {"code": code_of(later=1)})
    other = Client()
    sign_in(other)

    assert other.post(CODE, {"code": code_of()}).status_code == 200
    assert not is_signed_in(other)


@pytest.mark.parametrize("steps", [-3, 3])
def test_a_code_of_long_ago_or_of_later_does_not_pass(asked: Client, steps: int) -> None:
    assert asked.post(CODE, {"code": code_of(later=steps)}).status_code == 200
    assert not is_signed_in(asked)


def test_the_code_of_another_user_does_not_pass(asked: Client) -> None:
    chani = User.objects.create_user("chani", password="x", is_staff=True)
    Authenticator.objects.create(user=chani, name="app", key=b"another-key-of-20-by")

    assert asked.post(CODE, {"code": code_of(b"another-key-of-20-by")}).status_code == 200
    assert not is_signed_in(asked)


def test_an_unconfirmed_app_is_not_asked_for_and_its_code_does_not_pass(asked: Client, paul: User) -> None:
    Authenticator.objects.create(user=paul, name="app", key=b"another-key-of-20-by", confirmed=False)

    assert asked.post(CODE, {"code": code_of(b"another-key-of-20-by")}).status_code == 200
    assert not is_signed_in(asked)


def test_without_a_password_nobody_is_asked_for_a_code(client: Client, authenticator: Authenticator) -> None:
    assert client.get(CODE)["Location"] == LOGIN
    assert client.post(CODE, {"code": code_of()})["Location"] == LOGIN
    assert not is_signed_in(client)


def test_after_five_minutes_the_password_is_asked_for_again(asked: Client) -> None:
    session = asked.session
    session["asked_for_code"] |= {"since": int(time.time()) - 301}
    session.save()

    response = asked.post(CODE, {"code": code_of()}, follow=True)

    assert response.redirect_chain == [(LOGIN, 302)]
    assert "Please begin again" in response.content.decode()
    assert not is_signed_in(asked)


@pytest.mark.parametrize("change", ["password", "is_active", "is_staff", "authenticator", "deleted"])
def test_what_changes_in_between_ends_the_login(asked: Client, paul: User, change: str) -> None:
    if change == "password":
        paul.set_password("another")
        paul.save()
    elif change == "authenticator":
        Authenticator.objects.all().delete()
    elif change == "deleted":
        paul.delete()
    else:
        User.objects.update(**{change: False})

    assert asked.post(CODE, {"code": code_of()})["Location"] == LOGIN
    assert not is_signed_in(asked)


def test_wrong_codes_have_to_wait_longer_and_longer(asked: Client, authenticator: Authenticator) -> None:
    asked.post(CODE, {"code": wrong_code()})

    page = asked.post(CODE, {"code": code_of()})

    assert "Try again after" in page.content.decode()
    assert not is_signed_in(asked)
    authenticator.refresh_from_db()
    assert authenticator.throttling_failure_count == 1  # while it waits, nothing is looked at
    long_ago = timezone.now() - timedelta(seconds=2)
    Authenticator.objects.update(throttling_failure_timestamp=long_ago)
    assert asked.post(CODE, {"code": code_of()})["Location"] == INDEX
    authenticator.refresh_from_db()
    assert authenticator.throttling_failure_count == 0


def test_a_guess_does_not_make_a_used_code_good_again(authenticator: Authenticator) -> None:
    """Two requests have read the row at once: the one that fails must not write back what it has read."""
    read_before: Authenticator = Authenticator.objects.get()
    assert authenticator.verify_token(code_of())

    assert not read_before.verify_token(wrong_code())
    Authenticator.objects.update(throttling_failure_timestamp=None)

    assert not Authenticator.objects.get().verify_token(code_of())


def test_guesses_at_once_are_counted_one_by_one(authenticator: Authenticator) -> None:
    guesses: list[Authenticator] = [Authenticator.objects.get() for _ in range(3)]

    results = [
        guess.verify_token(code) for guess, code in zip(guesses, [wrong_code(), code_of(), code_of()], strict=True)
    ]

    assert results == [False, False, False]


def test_wrong_codes_lock_out_as_wrong_passwords_do(asked: Client) -> None:
    statuses = []
    for _ in range(8):
        statuses.append(asked.post(CODE, {"code": wrong_code()}).status_code)
        Authenticator.objects.update(throttling_failure_timestamp=None)

    assert statuses == [200] * 7 + [429]
    assert asked.post(CODE, {"code": code_of()}).status_code == 429
    assert sign_in(Client()).status_code == 429
    assert deeds() == ["user.sign_in_failed"] * 7 + ["user.locked_out"]


def test_a_login_of_somebody_else_ends_the_one_before(authenticator: Authenticator) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="x"))

    sign_in(client)

    assert not is_signed_in(client)


# ---- the second factor: the way in and the setting up ----------------------------------------------------------------


def test_password_and_code_let_in(asked: Client, paul: User, account: Account) -> None:
    before = asked.cookies[settings.SESSION_COOKIE_NAME].value
    page = asked.get(CODE)
    assert "no-store" in page["Cache-Control"]
    assert 'autocomplete="one-time-code"' in page.content.decode()
    shown = code_of()

    response = asked.post(CODE, {"code": f"{shown[:3]} {shown[3:]}"})

    assert response["Location"] == INDEX
    assert is_signed_in(asked)
    assert asked.cookies[settings.SESSION_COOKIE_NAME].value != before
    assert "asked_for_code" not in asked.session
    event = AuditEvent.objects.get(action="user.signed_in")
    assert (event.actor, event.user, event.account, event.address) == ("paul", paul, account, "127.0.0.1")


def test_the_code_of_a_minute_of_clock_difference_passes(asked: Client) -> None:
    assert asked.post(CODE, {"code": code_of(later=-1)})["Location"] == INDEX


def test_the_password_rotates_the_session(client: Client, authenticator: Authenticator) -> None:
    client.get(LOGIN)
    session = client.session
    session["planted"] = "x"
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key or ""

    sign_in(client)

    assert client.cookies[settings.SESSION_COOKIE_NAME].value != session.session_key
    assert "planted" not in client.session


def test_an_app_is_set_up_and_asked_for_from_then_on(member: Client, paul: User) -> None:
    assert member.post("/admin/my-login/second-factor/begin/")["Location"] == "/admin/my-login/second-factor/"
    authenticator: Authenticator = Authenticator.objects.get()
    page = member.get("/admin/my-login/second-factor/")
    text = page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert authenticator.key_as_text in text
    assert 'src="data:image/svg+xml' in text
    assert sign_in(Client())["Location"] == INDEX  # it does not count yet

    response = member.post("/admin/my-login/second-factor/", {"code": code_of(authenticator.key), "password": PASSWORD})

    assert response["Location"] == "/admin/my-login/"
    assert member.get("/admin/my-login/second-factor/")["Location"] == "/admin/my-login/"  # the key is shown no more
    assert authenticator.key_as_text not in member.get("/admin/my-login/").content.decode()
    assert sign_in(Client())["Location"] == CODE
    event = AuditEvent.objects.get(action="second_factor.added")
    assert (event.actor, event.object_id) == ("paul", str(paul.pk))
    assert len(authenticator.key) == 20


@pytest.mark.parametrize(
    ("code", "password", "problem"),
    [("wrong", PASSWORD, "not the code"), ("right", "guess", "not your password"), ("right", "", "required")],
)
def test_setting_up_asks_for_code_and_password(
    member: Client, paul: User, code: str, password: str, problem: str
) -> None:
    authenticator = Authenticator.begin(paul.pk)
    typed = code_of(authenticator.key) if code == "right" else "12345"

    page = member.post("/admin/my-login/second-factor/", {"code": typed, "password": password})

    assert problem in page.content.decode()
    assert not Authenticator.objects.get().confirmed


@pytest.mark.parametrize(("code", "password"), [("12345", PASSWORD), ("right", "guess"), ("right", ""), ("", PASSWORD)])
def test_removing_asks_for_code_and_password(
    member: Client, authenticator: Authenticator, code: str, password: str
) -> None:
    typed = code_of() if code == "right" else code

    page = member.post("/admin/my-login/second-factor/remove/", {"code": typed, "password": password})

    assert page.status_code == 200
    assert Authenticator.objects.filter(confirmed=True).exists()


def test_an_app_is_removed(member: Client, authenticator: Authenticator) -> None:
    response = member.post("/admin/my-login/second-factor/remove/", {"code": code_of(), "password": PASSWORD})

    assert response["Location"] == "/admin/my-login/"
    assert not Authenticator.objects.exists()
    assert "second_factor.removed" in deeds()
    assert sign_in(Client())["Location"] == INDEX


def test_a_confirmed_app_is_not_replaced_by_beginning_anew(member: Client, authenticator: Authenticator) -> None:
    assert member.post("/admin/my-login/second-factor/begin/")["Location"] == "/admin/my-login/"

    assert Authenticator.objects.get() == authenticator
    assert not Authenticator(user=authenticator.user, confirmed=False, key=KEY).confirm()


def test_the_setup_is_begun_by_a_post_alone(member: Client) -> None:
    assert member.get("/admin/my-login/second-factor/begin/").status_code == 405
    assert not Authenticator.objects.exists()


def test_the_key_is_sealed_in_the_database(authenticator: Authenticator) -> None:
    assert KEY not in str(Authenticator.objects.values("key").get()).encode()


def test_a_superuser_lets_somebody_in_who_has_lost_the_app(
    superuser: Client, member: Client, authenticator: Authenticator
) -> None:
    remove = reverse("admin:remove_second_factor", args=[authenticator.user_id])
    assert member.post(remove).status_code == 403
    assert superuser.get(remove).status_code == 200
    assert "This field is required" in superuser.post(remove).content.decode()
    assert "not your password" in superuser.post(remove, {"password": "of-paul"}).content.decode()
    assert Authenticator.objects.exists()

    assert superuser.post(remove, {"password": "x"}).status_code == 302
    assert superuser.get(remove).status_code == 302  # there is none any more

    assert not Authenticator.objects.exists()
    event = AuditEvent.objects.get(action="second_factor.removed")
    assert (event.actor, event.object_name) == ("root", "paul")


def test_a_superuser_removes_his_own_with_code_and_password_alone(superuser: Client) -> None:
    root = User.objects.get()
    Authenticator.objects.create(user=root, name="app", key=KEY)

    response = superuser.post(reverse("admin:remove_second_factor", args=[root.pk]))

    assert response["Location"] == "/admin/my-login/second-factor/remove/"
    assert Authenticator.objects.exists()


def test_a_command_does_so_too(authenticator: Authenticator) -> None:
    call_command("remove_authenticator", "paul")

    assert not Authenticator.objects.exists()
    assert AuditEvent.objects.get().actor.startswith("manage.py remove_authenticator (")
    for name in ("paul", "nobody"):
        with pytest.raises(CommandError):
            call_command("remove_authenticator", name)


# ---- sessions (H03, H12) ---------------------------------------------------------------------------------------------


def test_the_cookie_is_kept_from_scripts_and_other_sites(client: Client, paul: User) -> None:
    cookie = sign_in(client).cookies[settings.SESSION_COOKIE_NAME]

    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "Lax", "/", "")
    assert cookie["max-age"] == 3600


def test_logging_out_ends_the_session_on_the_server(client: Client, paul: User) -> None:
    sign_in(client)
    kept = client.cookies[settings.SESSION_COOKIE_NAME].value
    assert client.get(reverse("admin:logout")).status_code == 405

    page = client.post(reverse("admin:logout"))

    assert "You are signed out" in page.content.decode()
    thief = Client()
    thief.cookies[settings.SESSION_COOKIE_NAME] = kept
    assert not is_signed_in(thief)
    assert deeds() == ["user.signed_in", "user.signed_out"]


def test_an_idle_hour_ends_a_session(client: Client, paul: User) -> None:
    sign_in(client)
    row = Session.objects.get()
    assert timedelta(minutes=59) < row.expire_date - timezone.now() <= timedelta(hours=1)

    Session.objects.update(expire_date=timezone.now())

    assert not is_signed_in(client)


@pytest.mark.parametrize(("hours", "left"), [(11.5, 1800), (11, 3600), (12, 0), (13, 0)])
def test_twelve_hours_end_a_session_however_busy(
    client: Client, paul: User, monkeypatch: pytest.MonkeyPatch, hours: float, left: int
) -> None:
    sign_in(client)
    session = client.session
    session[sessions.SIGNED_IN_AT] = int(time.time() - hours * 3600)
    session.save()

    assert is_signed_in(client) is (left > 0)
    if left:
        remains = Session.objects.get().expire_date - timezone.now()
        assert timedelta(seconds=left - 10) < remains <= timedelta(seconds=left)


def test_changing_the_password_ends_every_other_session(client: Client, paul: User) -> None:
    other = Client()
    sign_in(other)
    sign_in(client)
    new = "a-longer-pass-phrase"

    response = client.post(
        reverse("admin:password_change"), {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    )

    assert response["Location"] == reverse("admin:my_login")
    assert "Your password is changed" in client.get(reverse("admin:my_login")).content.decode()
    assert not is_signed_in(other)
    assert deeds()[-1] == "user.password_changed"


def test_guessing_the_old_password_is_stopped_too(client: Client, paul: User) -> None:
    sign_in(client)
    guess = {"old_password": "guess", "new_password1": "a-longer-pass-phrase", "new_password2": "a-longer-pass-phrase"}

    statuses = [client.post(reverse("admin:password_change"), guess).status_code for _ in range(9)]

    assert statuses == [200] * 7 + [429] * 2
    assert client.post(reverse("admin:password_change"), guess | {"old_password": PASSWORD}).status_code == 429
    assert User.objects.get().check_password(PASSWORD)


def test_a_weak_password_is_refused(member: Client) -> None:
    """H11"""
    weak = {"old_password": PASSWORD, "new_password1": "12345678", "new_password2": "12345678"}

    page = member.post(reverse("admin:password_change"), weak)

    assert "too common" in page.content.decode()


def test_my_login_names_my_accounts_and_no_other(member: Client, account: Account, other_account: Account) -> None:
    page = member.get(reverse("admin:my_login")).content.decode()

    assert "Arrakis" in page
    assert "Harkonnen" not in page
    assert "Second factor" in page


# ---- written down ----------------------------------------------------------------------------------------------------


def test_logins_are_written_down(client: Client, paul: User, other_account: Account) -> None:
    sign_in(client, name="Paul", password="guess")
    sign_in(client)
    Membership.objects.create(user=paul, account=other_account)
    client.post(reverse("admin:logout"))

    rows = AuditEvent.objects.order_by("created_at").values_list("action", "actor", "user", "account__name", "address")
    assert list(rows) == [
        ("user.sign_in_failed", "paul", None, "Arrakis", "127.0.0.1"),
        ("user.signed_in", "paul", paul.pk, "Arrakis", "127.0.0.1"),
        ("user.signed_out", "paul", paul.pk, None, "127.0.0.1"),  # of which of his accounts, nobody knows
    ]


def test_whoever_is_locked_out_fills_no_log(client: Client, paul: User) -> None:
    for _ in range(20):
        sign_in(client, password="guess")

    assert deeds() == ["user.sign_in_failed"] * 7 + ["user.locked_out"]


# ---- what a changed second factor ends elsewhere ---------------------------------------------------------------------


def test_setting_up_an_app_ends_the_other_sessions_of_this_user_alone(
    member: Client, superuser: Client, paul: User
) -> None:
    elsewhere, asking = Client(), Client()
    sign_in(elsewhere)
    asking.get(LOGIN)
    authenticator = Authenticator.begin(paul.pk)

    member.post("/admin/my-login/second-factor/", {"code": code_of(authenticator.key), "password": PASSWORD})

    assert [is_signed_in(client) for client in (member, elsewhere, superuser)] == [True, False, True]


def test_removing_an_app_ends_the_other_sessions(member: Client, authenticator: Authenticator, asked: Client) -> None:
    asked.post(CODE, {"code": code_of(later=-1)})
    assert is_signed_in(asked)

    member.post("/admin/my-login/second-factor/remove/", {"code": code_of(), "password": PASSWORD})

    assert [is_signed_in(client) for client in (member, asked)] == [True, False]


def test_a_superuser_who_removes_an_app_signs_its_user_out(
    superuser: Client, member: Client, authenticator: Authenticator
) -> None:
    superuser.post(reverse("admin:remove_second_factor", args=[authenticator.user_id]), {"password": "x"})

    assert [is_signed_in(client) for client in (member, superuser)] == [False, True]


def test_so_does_the_command(member: Client, authenticator: Authenticator) -> None:
    call_command("remove_authenticator", "paul")

    assert not is_signed_in(member)


def test_one_password_with_many_names_is_stopped_too(client: Client, paul: User) -> None:
    for n in range(20):
        AccessAttempt.objects.create(
            username=f"somebody-{n}", ip_address="127.0.0.1", failures_since_start=5, attempt_time=timezone.now()
        )

    assert sign_in(client).status_code == 429
    assert sign_in(Client(REMOTE_ADDR="192.0.2.7")).status_code == 302
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert sign_in(client).status_code == 302
