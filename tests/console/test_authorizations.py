"""Connections › Authorizations: every trip is found, tells where it ended, and what to change."""

import inspect
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from credentials import keeping
from credentials.console.advice import ADVICE, Turn, advice_for, code_of
from credentials.console.timeline import kept, timeline
from credentials.link.flow.callback import BINDINGS
from credentials.models import Authorization, End, Outcome, Step
from oauth_apps.models import Account, AuditEvent, OAuthApp, RedirectURI
from providers import errors
from providers.answers import REFUSALS, TOKEN_ERRORS
from providers.oauth2 import AUTHORIZATION_ERRORS
from tests.console.trips import trip_at
from tests.link.trip import STRIPE_ANSWER, Trip, query_of

LIST = "/admin/credentials/authorization/"
SECRETS = (
    "canary-client-secret",
    "canary-access-token",
    "canary-refresh-token",
    "canary-provider-code",
    "canary-state",
)


def page_of(client: Client, trip: Authorization) -> str:
    response = client.get(reverse("admin:credentials_authorization_change", args=[trip.pk]))
    assert response.status_code == 200
    return response.content.decode()


def listed(client: Client, **query: str) -> list[str]:
    """The ids of the trips on the first page of the list."""
    response = client.get(LIST, query)
    assert response.status_code == 200, response
    return re.findall(r"/admin/credentials/authorization/([0-9a-f-]{36})/change/", response.content.decode())


def words_of(trip: Authorization) -> list[tuple[str, str]]:
    trip = Authorization.objects.select_related("oauth_app", "started_by").get(pk=trip.pk)
    return [(moment.title, moment.state) for moment in timeline(trip, now=timezone.now())]


def the_trip() -> Authorization:
    return Authorization.objects.get()


# ---- who may -----------------------------------------------------------------------------------------------------


@pytest.fixture
def theirs(other_account: Account) -> Authorization:
    app = OAuthApp.objects.create(account=other_account, provider="linear", name="Spice", client_id="lin_1")
    return trip_at(app, redirect_uri="https://spice.example.com/")


def test_a_trip_of_another_account_is_not_found(member: Client, trip: Trip, theirs: Authorization) -> None:
    """H07"""
    trip.started()

    page = member.get(LIST).content.decode()
    assert "pice" not in page
    assert "Linear" not in page
    assert listed(member, q="spice") == listed(member, q=str(theirs.pk)) == listed(member, q="linear") == []
    assert listed(member, oauth_app=str(theirs.oauth_app_id)) == listed(member, provider="linear") == []
    there = reverse("admin:credentials_authorization_change", args=[theirs.pk])
    response = member.get(there)
    assert (response.status_code, response["Location"]) == (302, "/admin/")


def test_nobody_changes_or_deletes_a_trip(superuser: Client, trip: Trip) -> None:
    trip.code()
    row = the_trip()

    assert superuser.post(reverse("admin:credentials_authorization_change", args=[row.pk])).status_code == 403
    delete = reverse("admin:credentials_authorization_delete", args=[row.pk])
    assert superuser.get(delete).status_code == superuser.post(delete, {"post": "yes"}).status_code == 403
    assert superuser.get(reverse("admin:credentials_authorization_add")).status_code == 403
    marked = {"action": "delete_selected", "_selected_action": str(row.pk), "post": "yes"}
    superuser.post(LIST, marked)
    assert Authorization.objects.filter(pk=row.pk, tokens__isnull=False).exists()


def test_no_page_holds_a_secret(member: Client, trip: Trip) -> None:
    """E04"""
    state = trip.started(state="canary-state")["state"]
    trip.provider_answers()
    answer = trip.callback(state=state, code="canary-provider-code")
    code = query_of(answer["Location"])["code"]

    pages = [page_of(member, the_trip()), member.get(LIST).content.decode()]

    row = the_trip()
    hashes = [bytes(value).hex() for value in (row.state_hash, row.browser_hash, row.code_hash) if value]
    for page in pages:
        assert not [secret for secret in (*SECRETS, state, code, *hashes) if secret in page]


# ---- the list ----------------------------------------------------------------------------------------------------


def test_each_outcome_is_found_by_its_filter(member: Client, stripe_app: OAuthApp) -> None:
    rows = {
        Outcome.CONNECTED: trip_at(stripe_app, Step.EXCHANGED),
        Outcome.DENIED: trip_at(stripe_app, Step.FAILED, error="access_denied"),
        Outcome.FAILED: trip_at(stripe_app, Step.FAILED, error="server_error"),
        Outcome.WAITING: trip_at(stripe_app, Step.STARTED),
        Outcome.NOT_FINISHED: trip_at(stripe_app, Step.STARTED, seconds_left=-5),
        Outcome.NOT_FETCHED: trip_at(stripe_app, Step.GRANTED, seconds_left=-5),
    }

    for outcome, row in rows.items():
        assert listed(member, outcome=outcome.value) == [str(row.pk)]
        assert f">{outcome.label}</span>" in page_of(member, row)
    assert listed(member, outcome="nonsense") == []
    assert len(listed(member)) == 6


def test_the_outcome_is_the_same_in_the_list_and_on_the_page(stripe_app: OAuthApp) -> None:
    for step, end, seconds, error in product(Step, End, (300, -300), ("", "access_denied")):
        trip_at(stripe_app, step, ends_at=end, seconds_left=seconds, error=error)
    now = timezone.now()

    for row in Authorization.objects.annotate(in_sql=Outcome.in_sql(now)):
        assert Outcome.of(row, now) == row.outcome == vars(row)["in_sql"], (row.step, row.ends_at)


def test_filters_offer_what_occurs(member: Client, stripe_app: OAuthApp, account: Account) -> None:
    sandbox = OAuthApp.objects.create(
        account=account, provider="linear", name="Tracker", client_id="lin_1", environment="sandbox"
    )
    OAuthApp.objects.create(account=account, provider="github", name="Never used", client_id="gh_1")
    here, there = trip_at(stripe_app), trip_at(sandbox)

    page = member.get(LIST).content.decode()
    assert "?provider=linear" in page
    assert "?provider=stripe" in page
    assert "?provider=github" not in page
    assert f"?oauth_app={sandbox.pk}" in page
    assert "Never used" not in page
    assert listed(member, provider="linear") == listed(member, oauth_app=str(sandbox.pk)) == [str(there.pk)]
    assert listed(member, environment="live") == [str(here.pk)]
    assert listed(member, oauth_app="no-uuid") == listed(member, environment="moon") == []


@pytest.mark.parametrize("what", ["state", "state with spaces ", "ours", "id", "app", "redirect_uri", "slug", "name"])
def test_a_trip_is_found_by(member: Client, trip: Trip, account: Account, what: str) -> None:
    state = what if what.startswith("state") else "s1"
    ours = trip.started(state=state)["state"]
    row = the_trip()
    other = OAuthApp.objects.create(account=account, provider="linear", name="Tracker", client_id="lin_1")
    trip_at(other, redirect_uri="https://elsewhere.example.com/")

    sought = {
        "ours": ours, "id": str(row.pk), "app": str(row.oauth_app_id), "redirect_uri": "APP.example.com/call",
        "slug": "strip", "name": "Stripe",
    }  # fmt: skip

    assert listed(member, q=sought.get(what, state)) == [str(row.pk)]


def test_a_trip_of_a_link_is_found_by_its_state(member: Client, trip: Trip, stripe_app: OAuthApp) -> None:
    from credentials.link import start_links

    uri = "https://app.example.com/callback/:provider"
    link = start_links.make(stripe_app, redirect_uri=uri, variables={}, state="order-7")
    trip.client.get(link.url.removeprefix(settings.PUBLIC_URL))

    assert listed(member, q="order-7") == [str(the_trip().pk)]
    assert listed(member, q="order") == []
    assert "single-use link" in page_of(member, the_trip())


def test_odd_searches_find_nothing(member: Client, trip: Trip) -> None:
    trip.started(state="s1")

    for term in ("%", "_", "x" * 5000, "'; --", "é", "00000000-0000-0000-0000-000000000000"):
        assert listed(member, q=term) == []
    assert len(listed(member, q="   ")) == 1


def test_the_list_takes_few_statements_whatever_its_length(
    member: Client, stripe_app: OAuthApp, account: Account
) -> None:
    for _ in range(30):
        trip_at(stripe_app)
    member.get(LIST, {"q": "app"})  # what a process reads once

    with CaptureQueriesContext(connection) as queries:
        member.get(LIST, {"q": "app", "outcome": "waiting"})

    assert len(queries) <= 11, [query["sql"] for query in queries]


def test_an_empty_list_says_what_makes_a_trip(member: Client) -> None:
    page = member.get(LIST).content.decode()

    assert "Nobody has been on a trip in the last day. “Try it” on an OAuth app&#x27;s page makes one." in page
    assert f'href="{reverse("admin:oauth_apps_oauthapp_changelist")}">Open the OAuth apps</a>' in page


def test_time_and_outcome_come_first_and_what_is_empty_is_empty(member: Client, stripe_app: OAuthApp) -> None:
    """On a phone each cell is a line; one that is empty is hidden by the stylesheet, if nothing at all is in it."""
    trip_at(stripe_app)

    page = member.get(LIST).content.decode()

    cells = re.findall(r'class="field-(\w+) ', page)
    assert cells[:3] == ["started", "how", "at_provider"]
    assert re.search(r'<td class="field-what [^>]*></td>', page)


def test_a_trips_page_says_where_it_stands(member: Client, stripe_app: OAuthApp) -> None:
    heading = re.search(r"<h1.*?</h1>", page_of(member, trip_at(stripe_app)), re.DOTALL)

    assert heading
    words = [word.strip() for word in re.sub(r"<[^>]+>", "|", heading[0]).split("|") if word.strip()]
    assert words == ["Connections", "›", "Authorizations", "›", "stripe, sent to the provider"]
    assert f'href="{LIST}"' in heading[0]


def test_a_trip_whose_provider_has_left_the_catalogue_shows_still(member: Client, stripe_app: OAuthApp) -> None:
    OAuthApp.objects.update(provider="gone")
    row = trip_at(OAuthApp.objects.get(), Step.FAILED, error="link_withdrawn", error_description="Gone.")

    assert listed(member, q="gone", provider="gone") == [str(row.pk)]
    assert "link_withdrawn" in page_of(member, row)


# ---- the timeline ------------------------------------------------------------------------------------------------


def test_a_trip_that_went_well(member: Client, trip: Trip) -> None:
    trip.token(code=trip.code(state="s1"))

    assert words_of(the_trip()) == [
        ("Started", "done"), ("Sent to Stripe", "done"), ("Came back", "done"), ("Tokens fetched from Stripe", "done"),
        ("Our code issued", "done"), ("Code fetched by the developer", "done"),
    ]  # fmt: skip
    page = page_of(member, the_trip())
    assert "connect.stripe.com" in page
    assert "What to do" not in page


def test_a_trip_that_waits_for_the_end_user(member: Client, trip: Trip) -> None:
    trip.started()

    assert words_of(the_trip())[2:] == [
        ("Came back", "waiting"), ("Tokens fetched from Stripe", "skipped"), ("Our code issued", "skipped"),
        ("Code fetched by the developer", "skipped"),
    ]  # fmt: skip
    assert re.search(r"Waiting for the end user at Stripe until \d\d:\d\d:\d\d UTC\.", page_of(member, the_trip()))


def test_a_trip_from_which_nobody_came_back(member: Client, trip: Trip) -> None:
    trip.started()
    Authorization.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    page = page_of(member, the_trip())
    assert words_of(the_trip())[2] == ("Came back", "failed")
    assert "not finished" in page
    assert "It is the end user&#x27;s turn" in page
    assert f'<code id="callback-url-to-compare">{settings.PUBLIC_URL}/link/oauth2/callback/stripe</code>' in page


def test_a_denial(member: Client, trip: Trip) -> None:
    trip.callback(state=trip.started()["state"], error="access_denied")

    page = page_of(member, the_trip())
    assert words_of(the_trip())[2:4] == [("Came back", "failed"), ("Tokens fetched from Stripe", "skipped")]
    assert "The end user or the provider denied access." in page
    assert "Start again and approve" in page


def test_a_wrong_client_secret_leads_to_the_oauth_app(member: Client, trip: Trip) -> None:
    trip.provider_answers(json={"error": "invalid_client", "error_description": "canary-client-secret"}, status=401)
    trip.callback(state=trip.started()["state"], code="canary-provider-code")

    page = page_of(member, the_trip())
    assert words_of(the_trip())[2:4] == [("Came back", "done"), ("Tokens fetched from Stripe", "failed")]
    assert "It is your turn, here" in page
    assert "Copy both again from the provider&#x27;s console into the OAuth app" in page
    assert reverse("admin:oauth_apps_oauthapp_change", args=[trip.oauth_app.pk]) in page
    assert "canary" not in page


def test_a_code_that_the_provider_refuses_leads_to_the_callback_url(member: Client, trip: Trip) -> None:
    trip.provider_answers(json={"error": "invalid_grant"}, status=400)
    trip.callback(state=trip.started()["state"], code="ac_1")

    page = page_of(member, the_trip())
    assert "It is your turn, at Stripe" in page
    assert 'id="callback-url-to-compare"' in page
    assert "https://docs.stripe.com/" in page


@pytest.mark.parametrize("error", ["server_error", "temporarily_unavailable", "an_error_of_its_own"])
def test_an_error_that_the_browser_brings_ends_the_trip_there(trip: Trip, error: str) -> None:
    trip.callback(state=trip.started()["state"], error=error)

    assert words_of(the_trip())[2:4] == [("Came back", "failed"), ("Tokens fetched from Stripe", "skipped")]


def test_a_scope_that_the_token_endpoint_refuses(trip: Trip) -> None:
    trip.provider_answers(json={"error": "invalid_scope"}, status=400)
    trip.callback(state=trip.started()["state"], code="ac_1")

    assert words_of(the_trip())[2:4] == [("Came back", "done"), ("Tokens fetched from Stripe", "failed")]


def test_a_scope_that_the_provider_refuses(member: Client, trip: Trip) -> None:
    trip.callback(state=trip.started()["state"], error="invalid_scope")

    assert words_of(the_trip())[2] == ("Came back", "failed")
    assert "does not know a scope that was asked for" in page_of(member, the_trip())


def test_a_provider_that_breaks_down_is_nobodys_turn(member: Client, trip: Trip) -> None:
    """It says `server_error` itself, which elsewhere is our word for what the provider's answer was."""
    trip.callback(state=trip.started()["state"], error="server_error")

    page = page_of(member, the_trip())
    assert code_of(the_trip()) == "server_error"
    assert "It is nobody&#x27;s turn but Stripe&#x27;s" in page
    assert "Start again in a few minutes." in page
    assert "setup steps" not in page


@pytest.mark.parametrize("how", ["an error of its own", "an answer that nobody understands", "a refusal of its own"])
def test_what_else_is_a_server_error_is_looked_for_in_the_settings(member: Client, trip: Trip, how: str) -> None:
    state = trip.started()["state"]
    if how == "an error of its own":
        trip.callback(state=state, error="moon_phase")
    else:
        refused = how == "a refusal of its own"
        trip.provider_answers(json={"error": "moon_phase"} if refused else {}, status=400 if refused else 200)
        trip.callback(state=state, code="ac_1")

    row = the_trip()
    assert code_of(row) not in ADVICE
    assert "It is your turn, at Stripe" in page_of(member, row)
    assert "setup steps" in page_of(member, row)


def test_what_a_page_of_ours_has_not_stored_is_not_said_to_be_erased(stripe_app: OAuthApp) -> None:
    """The purge stores it, as long as it is not too late for that."""
    row = trip_at(stripe_app, Step.GRANTED, ends_at=End.PAGE, redirect_uri="")
    now = timezone.now()

    early, late = kept(row, "Stripe", now), kept(row, "Stripe", now + timedelta(minutes=16))

    assert (early.state, early.words) == ("waiting", "Not yet. That happens by itself, within two minutes.")
    assert (late.state, late.words) == ("failed", "They could not be stored, and are about to be erased.")
    row.ends_at = End.CONSOLE
    assert "they are erased, and given back to Stripe" in kept(row, "Stripe", now).words


def test_what_could_not_be_stored_is_no_closed_browser(stripe_app: OAuthApp) -> None:
    page = advice_for(trip_at(stripe_app, Step.ABANDONED, ends_at=End.PAGE, redirect_uri=""), Outcome.NOT_FETCHED)
    console = advice_for(trip_at(stripe_app, Step.ABANDONED, ends_at=End.CONSOLE, redirect_uri=""), Outcome.NOT_FETCHED)

    assert page
    assert console
    assert "could not be stored" in page.cause
    assert "the browser was closed" in console.cause


def test_a_provider_that_is_down(member: Client, trip: Trip) -> None:
    trip.provider_answers(status=503)
    trip.callback(state=trip.started()["state"], code="ac_1")

    assert "It is nobody&#x27;s turn but Stripe&#x27;s" in page_of(member, the_trip())


def test_a_callback_in_another_browser(member: Client, trip: Trip) -> None:
    state = trip.started()["state"]
    trip.client.cookies.clear()
    trip.callback(state=state, code="ac_1")

    page = page_of(member, the_trip())
    assert words_of(the_trip())[2] == ("Came back", "failed")
    assert "Stopped for safety" in page
    assert "This connection was begun in another browser." in page


def test_a_redirect_uri_that_was_removed_meanwhile(member: Client, trip: Trip) -> None:
    state = trip.started()["state"]
    RedirectURI.objects.all().delete()
    trip.callback(state=state, code="ac_1")

    page = page_of(member, the_trip())
    assert "link_withdrawn" in page
    assert ">Open the redirect URIs</a>" in page


def test_a_code_that_nobody_fetched(member: Client, trip: Trip) -> None:
    trip.code()
    Authorization.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    page = page_of(member, the_trip())
    assert words_of(the_trip())[-1] == ("Code fetched by the developer", "failed")
    assert "It is your turn, in your backend" in page
    assert f"{settings.PUBLIC_URL}/link/oauth2/token" in page

    trip_at(trip.oauth_app, Step.ABANDONED)
    row = Authorization.objects.get(step=Step.ABANDONED)
    assert "they were erased, and given back to Stripe" in page_of(member, row)


def test_a_code_that_was_shown_with_the_wrong_verifier(member: Client, trip: Trip) -> None:
    trip.token(code=trip.code(), redirect_uri="https://other.example.com/")

    page = page_of(member, the_trip())
    assert words_of(the_trip())[-1] == ("Code fetched by the developer", "failed")
    assert "code_refused" in page
    assert "It is your turn, in your backend" in page


def test_who_began_it(member: Client, stripe_app: OAuthApp, paul: object) -> None:
    tried = trip_at(stripe_app, ends_at=End.TRIAL, redirect_uri="", started_by=paul)
    begun = trip_at(stripe_app, ends_at=End.CONSOLE, redirect_uri="")

    assert "With “Try it” in the console, by paul." in page_of(member, tried)
    assert "In the console, by a user who is deleted by now." in page_of(member, begun)


def test_a_step_that_no_journey_leaves_open_shows_too(member: Client, stripe_app: OAuthApp) -> None:
    """Whatever combination the rows may hold, no page breaks."""
    for step, end, seconds in product(Step, End, (300, -300)):
        uri = "https://app.example.com/callback/stripe" if end == End.REDIRECT_URI else ""
        row = trip_at(stripe_app, step, ends_at=end, seconds_left=seconds, redirect_uri=uri, error="server_error")
        page_of(member, row)


# ---- advice ------------------------------------------------------------------------------------------------------


def every_error() -> Iterator[str]:
    """What the code can write as the end of a trip, read out of the code itself."""
    yield from BINDINGS
    yield from AUTHORIZATION_ERRORS
    yield from TOKEN_ERRORS
    yield from (kind.error for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "error"))
    root = Path(settings.BASE_DIR, "credentials")
    for path in [*root.rglob("link/**/*.py"), root / "reconnect.py"]:
        text = path.read_text()
        yield from re.findall(r'\.fail\(\s*"(\w+)"', text)
        if "ReconnectionRefused(" in text:
            yield from re.findall(r'reason="(\w+)"', text)
    yield from re.findall(r'return "(\w+)"', inspect.getsource(keeping.reason_of))


@pytest.mark.parametrize("error", sorted(set(every_error())))
def test_every_end_of_a_trip_has_advice(error: str) -> None:
    assert error in ADVICE


def test_the_list_of_ends_is_the_whole_one() -> None:
    """What is advised for occurs, and the search above has found what it was to find."""
    found = set(every_error())

    assert {
        "access_denied",
        "another_account",
        "not_kept",
        "link_withdrawn",
        "issuer_mismatch",
        "code_refused",
    } <= found
    assert ADVICE.keys() == found


@pytest.mark.parametrize(("reason", "words"), REFUSALS.items())
def test_a_refused_token_request_is_advised_by_its_reason(reason: str, words: str) -> None:
    row = Authorization(provider="stripe", step=Step.FAILED, error="server_error", error_description=words)

    assert code_of(row) == reason
    advice = advice_for(row, Outcome.FAILED)
    assert advice is not None
    assert (advice.cause, advice.fix) == (ADVICE[reason].cause, ADVICE[reason].fix)


def test_an_end_that_nobody_has_foreseen_is_advised_too() -> None:
    row = Authorization(provider="stripe", step=Step.FAILED, error="of_tomorrow")

    advice = advice_for(row, Outcome.FAILED)

    assert advice is not None
    assert advice.turn == Turn.THERE.format(name="Stripe")


def test_an_id_has_one_spelling(member: Client, stripe_app: OAuthApp) -> None:
    """A25"""
    row = trip_at(stripe_app)
    row_id, app_id = str(row.pk), str(stripe_app.pk)

    def spelled(text: str) -> list[str]:
        return [text.upper(), f"{{{text}}}", text.replace("-", ""), f"urn:uuid:{text}"]

    assert listed(member, q=row_id) == listed(member, q=app_id) == listed(member, oauth_app=app_id) == [row_id]
    for text in (*spelled(row_id), *spelled(app_id)):
        assert listed(member, q=text) == listed(member, oauth_app=text) == []
    for text in spelled(row_id):
        there = reverse("admin:credentials_authorization_change", args=[text])
        assert (member.get(there).status_code, member.get(there)["Location"]) == (302, "/admin/")
    for text in spelled(app_id):
        there = reverse("admin:oauth_apps_oauthapp_change", args=[text])
        assert (member.get(there).status_code, member.get(there)["Location"]) == (302, "/admin/")


def test_a_trips_page_has_at_hand_what_its_timeline_tells(
    superuser: Client, stripe_app: OAuthApp, paul: User, rf: RequestFactory
) -> None:
    row = trip_at(stripe_app, Step.EXCHANGED, ends_at=End.CONSOLE, redirect_uri="", started_by=paul)
    request = rf.get("/")
    request.user = User.objects.get(username="root")
    trip = admin.site.get_model_admin(Authorization).get_object(request, str(row.pk))
    assert trip is not None

    with CaptureQueriesContext(connection) as queries:
        timeline(trip, now=timezone.now())

    assert len(queries) == 0


def test_looking_at_a_trip_is_no_deed(member: Client, trip: Trip) -> None:
    trip.provider_answers(json=STRIPE_ANSWER)
    trip.started()

    page_of(member, the_trip())

    assert not AuditEvent.objects.filter(action__startswith="authorization").exists()
