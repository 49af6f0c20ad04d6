"""An upstream account is one credential, however often and by however many at once it is posted."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from credentials import imports
from credentials.models import Credential, Token
from oauth_apps import api_tokens
from oauth_apps.models import Account, OAuthApp
from tests.credentials.answers import CREDENTIALS, JSON, errors, path, post, posted, secrets_of, upload
from tests.credentials.conftest import AppOf
from tests.credentials.shapes import SHAPES
from tests.link.trip import STRIPE_ANSWER, Trip
from tests.oauth_apps.conftest import client_of

AT_ONCE = 20
ZENDESK = {"kind": "zendesk_oauth2", "access_token": "canary-access", "subdomain": "arrakis", "user_id": "1"}


def all_at_once(account: Account, content: dict[str, Any]) -> list[Any]:
    """The answers to twenty posts that start together."""
    barrier, (_, token) = Barrier(AT_ONCE), api_tokens.issue(account)

    def together(_: int) -> Any:
        api = Client(headers={"Authorization": f"Bearer {token}"})
        try:
            barrier.wait()
            return api.post(CREDENTIALS, content, content_type=JSON)
        finally:
            connection.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(together, range(AT_ONCE)))


def linear(linear_app: OAuthApp, **properties: Any) -> dict[str, Any]:
    """What to post; a property that is None is left out."""
    given = {"kind": "linear_oauth2", **SHAPES["linear_oauth2"], **properties}
    return {
        "oauth_app_id": str(linear_app.pk),
        "properties": {name: value for name, value in given.items() if value is not None},
    }


# ---- what must not meet ----------------------------------------------------------------------------------------------


def test_two_accounts_with_the_same_upstream_account_share_nothing(api: Client, other_api: Client) -> None:
    """D01"""
    key = {"kind": "stripe_key", "secret": "sk_live_canary"}

    mine, theirs = posted(api, properties=key, name="Mine"), posted(other_api, properties=key, name="Theirs")

    assert mine["id"] != theirs["id"]
    assert api.get(path(mine)).json()["name"] == "Mine"
    assert api.get(path(theirs)).status_code == 404


def test_two_oauth_apps_of_one_provider_share_nothing(api: Client, account: Account, linear_app: OAuthApp) -> None:
    second = OAuthApp.objects.create(
        account=account, provider="linear", name="Second", client_id="lin_2", client_secret="canary-client-secret"
    )

    ids = {posted(api, **linear(oauth_app))["id"] for oauth_app in (linear_app, second)}

    assert len(ids) == 2


@pytest.mark.parametrize("other", [{"subdomain": "caladan"}, {"user_id": "2"}])
def test_every_part_of_an_identity_tells_accounts_apart(api: Client, app_of: AppOf, other: dict[str, str]) -> None:
    body = {"oauth_app_id": str(app_of("zendesk").pk)}
    first = posted(api, **body, properties=ZENDESK)

    second = posted(api, **body, properties=ZENDESK | other)
    again = posted(api, **body, properties=ZENDESK | {"access_token": "canary-other"})

    assert (second["id"] != first["id"], again["id"] == first["id"]) == (True, True)


def test_live_and_test_mode_of_a_stripe_account_are_two(api: Client, app_of: AppOf) -> None:
    body = {"oauth_app_id": str(app_of("stripe").pk)}
    live = {"kind": "stripe_oauth2", **SHAPES["stripe_oauth2"]}

    ids = {posted(api, **body, properties=live | {"livemode": mode})["id"] for mode in (True, False)}

    assert len(ids) == 2


def test_a_key_is_told_by_itself(api: Client) -> None:
    keys = ["SG.canary-1", "SG.canary-2", "SG.canary-1"]

    ids = [posted(api, properties={"kind": "sendgrid_key", "secret": key})["id"] for key in keys]

    assert (ids[0] == ids[2], len(set(ids))) == (True, 2)


def test_a_password_is_not_what_tells_its_account(api: Client) -> None:
    first = posted(api, properties={"kind": "checkout_champ_password", "login_id": "paul", "password": "canary-1"})

    second = post(api, properties={"kind": "checkout_champ_password", "login_id": "paul", "password": "canary-2"})

    assert (second.status_code, second.json()["id"]) == (200, first["id"])
    assert Credential.objects.get().values()["password"] == "canary-2"


# ---- spellings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["arrakis", "Arrakis.myshopify.com", "ARRAKIS"])
def test_one_account_in_another_spelling_is_the_same(api: Client, spelling: str) -> None:
    token = {"kind": "shopify_token", "secret": "shpat_canary"}
    first = posted(api, properties={**token, "shop": "arrakis.myshopify.com"})

    second = post(api, properties={**token, "shop": spelling})

    assert (second.status_code, second.json()["properties"]) == (200, first["properties"])


def test_salesforce_is_told_by_its_instance_until_it_says_more(api: Client, app_of: AppOf) -> None:
    body = {"oauth_app_id": str(app_of("salesforce").pk)}
    shape = {"kind": "salesforce_oauth2", **SHAPES["salesforce_oauth2"]}
    whole = shape | {"organization_id": "00D0000000000001AA", "user_id": "0050000000000001AA"}

    first = posted(api, **body, properties=shape)
    again = posted(api, **body, properties=shape | {"instance_url": "https://ARRAKIS.my.salesforce.com/"})
    identified = posted(api, **body, properties=whole | {"refresh_token": "canary-newer"})
    once_more = posted(api, **body, properties=shape)

    assert {answer["id"] for answer in (again, identified, once_more)} == {first["id"]}
    assert api.get(path(first)).json()["properties"]["user_id"] == "0050000000000001AA"


def test_an_identity_that_became_known_is_kept(api: Client, app_of: AppOf) -> None:
    """Be it told with the same tokens again, or passed over in silence with newer ones"""
    body = {"oauth_app_id": str(app_of("salesforce").pk)}
    shape = {"kind": "salesforce_oauth2", **SHAPES["salesforce_oauth2"]}
    user = {"organization_id": "00D0000000000001AA", "user_id": "0050000000000001AA"}

    first = posted(api, **body, properties=shape)
    told = posted(api, **body, properties=shape | user)
    silent = posted(api, **body, properties=shape | {"refresh_token": "canary-newer"})
    somebody_else = posted(api, **body, properties=shape | user | {"user_id": "0050000000000002AA"})

    assert first["id"] == told["id"] == silent["id"] != somebody_else["id"]
    assert silent["properties"]["user_id"] == user["user_id"]


def test_what_could_be_one_of_two_is_refused(api: Client, app_of: AppOf) -> None:
    body = {"oauth_app_id": str(app_of("salesforce").pk)}
    shape = {"kind": "salesforce_oauth2", **SHAPES["salesforce_oauth2"]}
    for user in ("0050000000000001AA", "0050000000000002AA"):
        posted(api, **body, properties=shape | {"organization_id": "00D0000000000001AA", "user_id": user})

    response = post(api, **body, properties=shape)

    reason = ["Is required: several credentials could be meant."]
    assert errors(response) == {"properties.organization_id": reason, "properties.user_id": reason}


# ---- what is newer ---------------------------------------------------------------------------------------------------


def test_name_and_metadata_stay_unless_they_are_sent(api: Client, linear_app: OAuthApp) -> None:
    first = posted(api, **linear(linear_app), name="Spice", metadata={"m": 1})

    silent = posted(api, **linear(linear_app))
    telling = posted(api, **linear(linear_app), name="", metadata={})

    assert [(answer["name"], answer["metadata"]) for answer in (first, silent, telling)] == [
        ("Spice", {"m": 1}),
        ("Spice", {"m": 1}),
        ("", {}),
    ]


@pytest.mark.parametrize(
    ("expires_at", "kept"),
    [("2031-01-01T00:00:00Z", "canary-new"), ("2029-01-01T00:00:00Z", "canary-access"), (None, "canary-new")],
)
def test_newer_tokens_win_and_older_do_not(
    api: Client, linear_app: OAuthApp, expires_at: str | None, kept: str
) -> None:
    first = posted(api, **linear(linear_app, expires_at="2030-01-01T00:00:00Z", refresh_token="canary-refresh"))

    posted(api, **linear(linear_app, access_token="canary-new", refresh_token="canary-other", expires_at=expires_at))

    refresh_token = "canary-other" if kept == "canary-new" else "canary-refresh"
    assert secrets_of(Credential.objects.get(pk=first["id"])) == {"access_token": kept, "refresh_token": refresh_token}


def test_nor_does_one_that_was_replaced_long_ago(api: Client, linear_app: OAuthApp) -> None:
    old = linear(linear_app, access_token=None, refresh_token="canary-0")
    posted(api, **old)
    for number in range(1, 4):
        posted(api, **linear(linear_app, access_token=None, refresh_token=f"canary-{number}"))

    posted(api, **old)

    assert Token.objects.get().refresh_token == "canary-3"


def test_a_refresh_token_that_was_replaced_does_not_come_back(api: Client, linear_app: OAuthApp) -> None:
    old = linear(linear_app, refresh_token="canary-old", expires_at="2030-01-01T00:00:00Z")
    posted(api, **old)
    posted(api, **linear(linear_app, refresh_token="canary-new", expires_at="2030-01-02T00:00:00Z"))

    late = posted(api, **old)

    assert late["expires_at"] == "2030-01-02T00:00:00Z"
    assert Token.objects.get().refresh_token == "canary-new"


# ---- the object that the token endpoint gives ------------------------------------------------------------------------


def test_the_object_of_the_token_endpoint_can_be_posted_as_it_is(api: Client, trip: Trip) -> None:
    given = trip.token(code=trip.code(scope="read_write")).json()["credential"]
    assert not Credential.objects.exists()  # B15: nothing shows before the developer posts it

    first, second = post(api, **given), post(api, **given, name="Spice")

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json() | {"name": "Spice", "updated_at": second.json()["updated_at"]}
    assert first.json()["scopes"] == {"requested": ["read_write"], "granted": ["read_write"], "missing": []}
    assert secrets_of(Credential.objects.get()) == {
        "access_token": STRIPE_ANSWER["access_token"],
        "refresh_token": STRIPE_ANSWER["refresh_token"],
    }


def test_a_second_trip_of_the_same_account_renews_the_first_ones_credential(api: Client, trip: Trip) -> None:
    first = posted(api, **trip.token(code=trip.code()).json()["credential"])
    trip.responses.reset()
    trip.provider_answers(json=STRIPE_ANSWER | {"access_token": "canary-2", "refresh_token": "canary-refresh-2"})
    callback = trip.callback(state=trip.started()["state"], code="ac_2")
    code = callback["Location"].partition("code=")[2].partition("&")[0]

    second = posted(api, **trip.token(code=code).json()["credential"])
    late = posted(api, oauth_app_id=first["oauth_app_id"], properties=older_properties())

    assert {second["id"], late["id"]} == {first["id"]}
    assert Token.objects.get().access_token == "canary-2"


def older_properties() -> dict[str, Any]:
    """What the first trip gave, posted late."""
    names = ("access_token", "refresh_token", "stripe_user_id", "livemode", "scope")
    return {"kind": "stripe_oauth2", **{name: STRIPE_ANSWER[name] for name in names}}


@pytest.mark.django_db(transaction=True)
def test_of_twenty_that_post_the_same_object_one_makes_the_credential(trip: Trip, account: Account) -> None:
    given = trip.token(code=trip.code()).json()["credential"]

    answers = all_at_once(account, given)

    assert sorted(answer.status_code for answer in answers) == [200] * (AT_ONCE - 1) + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Credential.objects.count() == Token.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_twenty_that_post_the_same_key_one_makes_the_credential(account: Account) -> None:
    answers = all_at_once(account, {"properties": {"kind": "sendgrid_key", "secret": "SG.canary"}})

    assert sorted(answer.status_code for answer in answers) == [200] * (AT_ONCE - 1) + [201]
    assert Credential.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lines", [False, True])
def test_an_oauth_app_that_is_deleted_meanwhile_gets_no_credential(
    account: Account, linear_app: OAuthApp, monkeypatch: pytest.MonkeyPatch, lines: bool
) -> None:
    """Nobody knows before the commit."""
    keep_all = imports.keep_all

    def too_late(*given: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(delete, linear_app).result()
        return keep_all(*given)

    monkeypatch.setattr(imports, "keep_all", too_late)
    api = client_of(account)

    if lines:
        (error,) = upload(api, linear(linear_app)).json()["errors"]
    else:
        error = post(api, **linear(linear_app)).json()

    assert error["validation_errors"] == {"oauth_app_id": ["There is no OAuth app with this id."]}
    assert not Credential.objects.exists()


def delete(oauth_app: OAuthApp) -> None:
    try:
        oauth_app.delete()
    finally:
        connection.close()
