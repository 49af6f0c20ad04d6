"""The kinds of credential: what an import is refused for, and that one account has one spelling."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as run
from hypothesis import strategies as st
from pytest_django import Settings

from oauth_apps.api.providers import json_schema
from providers import catalogue, kinds
from providers.kinds import CredentialKind, PropertiesNotAccepted
from tests.providers.imports import APPS, IMPORTS

KINDS = sorted(IMPORTS)
MASK = "Is the mask that stands for the value, not a value."


def accepted(name: str, /, **changes: Any) -> dict[str, Any]:
    """A sound import of a kind, with `changes`; None leaves a property out."""
    return kinds.get(name).accept(IMPORTS[name] | changes, fixed=APPS.get(name, {}))


def refused(name: str, /, **changes: Any) -> dict[str, list[str]]:
    with pytest.raises(PropertiesNotAccepted) as caught:
        accepted(name, **changes)
    assert str(caught.value) == "These are not the properties of such a credential."
    return caught.value.errors


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> CredentialKind:
    return kinds.get(request.param)


# ---- what holds for every kind ---------------------------------------------------------------------------------------


def test_the_kinds_are_the_published_ones() -> None:
    sequins = {
        "airtable_oauth2", "auth0_oauth2", "auth0_client_credentials", "checkout_champ_password", "github_app",
        "github_oauth2", "hubspot_oauth2", "linear_oauth2", "marketo_client_credentials", "netsuite_oauth2",
        "netsuite_tba", "quickbooks_oauth2", "salesforce_oauth2", "sendgrid_key", "servicenow_oauth2",
        "servicenow_password", "shopify_oauth2", "shopify_token", "stripe_key", "stripe_oauth2", "workday_oauth2",
    }  # fmt: skip

    assert sequins <= kinds.load().keys()
    others = kinds.load().keys() - sequins - {"klaviyo_key"}
    assert others == {
        provider.kind
        for provider in catalogue.load().values()
        if provider.has_code_flow and provider.kind not in sequins
    }


@pytest.mark.parametrize("foreign", ["id_token", "Secret", "kind", "name", "expires_in", "access_token\x00", "\ud800"])
def test_it_refuses_a_foreign_property(kind: CredentialKind, foreign: str) -> None:
    errors = refused(kind.name, **{foreign: "canary"})

    assert errors == {foreign: [f"Is no property of {kind.name}. There are: {', '.join(kind.properties)}."]}


def test_it_refuses_a_mask_in_any_property(kind: CredentialKind) -> None:
    """D04."""
    for name in kind.properties:
        for mask in ("*" * 10, "*" * 11) if name == "scope" else ("*", "*" * 10, "*" * 11):  # a star is all scopes
            assert refused(kind.name, **{name: mask})[name] == [MASK]


def test_it_refuses_a_wrong_type_in_any_property(kind: CredentialKind) -> None:
    for name in kind.properties:
        for wrong in (1.5, {"a": "b"}, {}, [1], ["a", ["b"]], float("nan")):
            [reason] = refused(kind.name, **{name: wrong})[name]
            assert reason.startswith("Must be ")


def test_it_refuses_what_could_break_a_header_in_any_property(kind: CredentialKind) -> None:
    """F11, F16, D13."""
    for name, prop in kind.properties.items():
        for text in ("a\r\nX-Evil: b", "a\x00", "a\ud800", "\x7f", "a\tb"):
            [reason] = refused(kind.name, **{name: [text] if prop.type == "array" else text})[name]
            assert reason.startswith("Must "), name
            assert "evil" not in reason.lower()


def test_it_refuses_an_empty_value_in_any_property_but_the_scope(kind: CredentialKind) -> None:
    for name in kind.properties.keys() - {"scope"}:
        [reason] = refused(kind.name, **{name: ""})[name]
        assert reason.startswith("Must ")


def test_it_refuses_an_overlong_value_in_any_property(kind: CredentialKind) -> None:
    for name in kind.properties:
        [reason] = refused(kind.name, **{name: "a" * 65_537})[name]
        assert reason.startswith(("Has at most ", "Must "))


def test_it_refuses_an_import_without_what_it_cannot_do_without(kind: CredentialKind) -> None:
    with pytest.raises(PropertiesNotAccepted) as caught:
        kind.accept({})

    assert set(caught.value.errors) == {name for demand in kind.demands for name in demand[0]}
    assert all(reasons[0].startswith("Is required") for reasons in caught.value.errors.values())


def test_null_counts_as_absent(kind: CredentialKind) -> None:
    sound = accepted(kind.name)

    assert accepted(kind.name, **dict.fromkeys(kind.properties.keys() - sound.keys())) == sound
    with pytest.raises(PropertiesNotAccepted):
        kind.accept(dict.fromkeys(kind.properties))


def test_what_was_accepted_is_accepted_again_unchanged(kind: CredentialKind) -> None:
    values = accepted(kind.name)

    again = kind.accept(json.loads(json.dumps(values)), fixed=APPS.get(kind.name, {}))

    assert again == values
    assert list(again) == [name for name in kind.properties if name in values]
    assert kind.canonical(IMPORTS[kind.name]).items() <= values.items()
    assert not MASK_PATTERN.search(json.dumps(values))


MASK_PATTERN = re.compile(r'"\*+"')


def test_every_credential_can_be_told_from_others(kind: CredentialKind) -> None:
    values = accepted(kind.name)

    identity, secret = kind.identity(values), kind.secret_identity(values)

    assert identity or secret
    assert not {name for name in identity if kind.properties[name].secret}
    assert identity.items() <= values.items()


def test_every_credential_has_an_address(kind: CredentialKind) -> None:
    """What stands in its addresses is known, so that it can be refreshed."""
    values = accepted(kind.name)

    variables = kind.variables(values, fixed=APPS.get(kind.name, {}))

    bound = kind.provider.bound(variables)
    assert not {"token_endpoint", "refresh_endpoint"} & {
        name for name, url in bound.urls() if set(re.findall(r"{([a-z_]+)}", url)) & kind.provider.variables.keys()
    }


def test_the_schema_demands_what_an_import_demands(kind: CredentialKind) -> None:
    """With every property left out in turn, and with every pair of them."""
    values = accepted(kind.name)
    schema = json_schema(kind)

    for without in [{a, b} for a in values for b in values]:
        left = {name: value for name, value in values.items() if name not in without}
        meets = set(schema["required"]) <= left.keys() and all(
            any(set(group["required"]) <= left.keys() for group in alternatives["anyOf"])
            for alternatives in schema.get("allOf", [])
        )
        errors = errors_of(kind, left)
        assert meets == (errors == {}), without
        assert all(reasons[0].startswith("Is required") for reasons in errors.values())


def errors_of(kind: CredentialKind, values: dict[str, Any]) -> dict[str, list[str]]:
    try:
        kind.accept(values)
    except PropertiesNotAccepted as exc:
        return exc.errors
    return {}


# ---- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("access_token", "a" * 65_537, "Has at most 65536 characters."),
        ("access_token", "a b", "Must hold only visible ASCII characters, and no spaces."),
        ("refresh_token", "ä", "Must hold only visible ASCII characters, and no spaces."),
        ("access_token", 12, "Must be a string."),
        ("access_token", True, "Must be a string."),
        ("expires_at", True, "Must be a time: ISO 8601 with its zone, or whole seconds since 1970."),
        ("expires_at", "tomorrow", "Must be a time: ISO 8601 with its zone, or whole seconds since 1970."),
        ("expires_at", "1763769600", "Must be a time: ISO 8601 with its zone, or whole seconds since 1970."),
        ("expires_at", "2026-11-22T10:00:00", "Must name its time zone: Z, or an offset."),
        ("expires_at", "2026-11-22", "Must name its time zone: Z, or an offset."),
        ("expires_at", -1, "Must lie between the years 1970 and 9999."),
        ("expires_at", 1_763_769_600_000, "Must lie between the years 1970 and 9999."),
        ("expires_at", 10**30, "Must lie between the years 1970 and 9999."),
        ("expires_at", "0001-01-01T00:00:00+14:00", "Must lie between the years 1970 and 9999."),
        ("expires_at", "9999-12-31T23:59:59-14:00", "Must lie between the years 1970 and 9999."),
        ("scope", ["read"], "Must be a string."),
        ("scope", "a" * 8193, "Has at most 8192 characters."),
        ("token_type", 1, "Must be a string."),
    ],
)
def test_it_refuses_tokens_that_are_none(name: str, value: Any, reason: str) -> None:
    assert refused("quickbooks_oauth2", **{name: value}) == {name: [reason]}


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
        ("2026-11-22T11:00:00.999+01:00", "2026-11-22T10:00:00Z"),
        ("2026-11-22 10:00:00+00:00", "2026-11-22T10:00:00Z"),
        (1_795_341_600, "2026-11-22T10:00:00Z"),
        (0, "1970-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
    ],
)
def test_a_time_is_kept_in_one_spelling(typed: str | int, kept: str) -> None:
    assert accepted("quickbooks_oauth2", expires_at=typed)["expires_at"] == kept


def test_a_long_token_is_a_token() -> None:
    assert accepted("quickbooks_oauth2", access_token="a" * 65_536)["access_token"] == "a" * 65_536


def test_an_empty_scope_is_one_that_grants_nothing() -> None:
    assert accepted("github_oauth2", scope="")["scope"] == ""


def test_one_of_the_two_tokens_is_enough() -> None:
    assert "access_token" not in accepted("quickbooks_oauth2", access_token=None)
    assert "refresh_token" not in accepted("quickbooks_oauth2", refresh_token=None)
    assert refused("quickbooks_oauth2", access_token=None, refresh_token=None) == {
        "access_token": ["Is required, unless there is refresh_token."]
    }
    assert refused("quickbooks_oauth2", access_token="", refresh_token=None).keys() == {"access_token"}


def test_a_refresh_token_is_no_use_where_nothing_is_refreshed() -> None:
    assert refused("vercel_oauth2", access_token=None, refresh_token="r") == {"access_token": ["Is required."]}


# ---- Sequin's shapes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "properties"),
    [
        ("airtable_oauth2", {"airtable_uid": "usr1", "refresh_token": "r", "scope": "data.records:read"}),
        ("checkout_champ_password", {"login_id": "api", "password": "p w!"}),
        ("github_app", {"account_type": "Organization", "account_login": "arrakis", "installation_id": 4}),
        (
            "hubspot_oauth2",
            {
                "refresh_token": "r",
                "hub_id": 123,
                "hub_domain": "arrakis.com",
                "hubspot_user": "paul@arrakis.com",
                "scopes": ["oauth", "crm.objects.contacts.read"],
            },
        ),
        (
            "linear_oauth2",
            {"access_token": "a", "scope": "read,write", "linear_org_id": "o1", "linear_org_name": "Arrakis Inc."},
        ),
        ("quickbooks_oauth2", {"refresh_token": "r", "realm_id": "42"}),
        ("stripe_key", {"secret": "sk_test_1", "test": True}),
        ("stripe_oauth2", {"access_token": "a", "stripe_user_id": "acct_1", "livemode": False}),
    ],
)
def test_sequins_shapes_are_taken_and_kept_as_they_are(name: str, properties: dict[str, Any]) -> None:
    assert kinds.get(name).accept(properties) == properties


def test_salesforce_is_told_by_its_instance_where_nothing_else_is_known() -> None:
    kind = kinds.get("salesforce_oauth2")

    values = kind.accept({"refresh_token": "r", "instance_url": "https://Arrakis.my.salesforce.com/"})

    assert values["instance_url"] == "https://arrakis.my.salesforce.com"
    assert kind.identity(values) == {}
    assert kind.fallback_identity(values) == {"instance_url": "https://arrakis.my.salesforce.com"}
    assert kind.identity(accepted("salesforce_oauth2")).keys() == {"organization_id", "user_id"}


def test_half_an_identity_is_none() -> None:
    kind = kinds.get("salesforce_oauth2")

    values = accepted("salesforce_oauth2", user_id=None)

    assert kind.identity(values) == {}
    assert refused("salesforce_oauth2", user_id=None, instance_url=None) == {
        "user_id": ["Is required, unless there is instance_url."]
    }


@pytest.mark.parametrize(
    "value",
    [
        "http://arrakis.my.salesforce.com",
        "https://arrakis.my.salesforce.com/x",
        "https://me@evil.com",
        "https://evil.com:8443",
        "https://127.0.0.1",
        "https://localhost",
        "https://evil.com\\.my.salesforce.com",
        "https://evil.com#.my.salesforce.com",
        "arrakis.my.salesforce.com",
        "//arrakis.my.salesforce.com",
        "https://",
        "https://arrakis.my.salesforce.com//",
    ],
)
def test_where_an_api_is_has_to_be_an_origin(value: str) -> None:
    """F01, F02: the access token is sent there."""
    assert refused("salesforce_oauth2", instance_url=value) == {
        "instance_url": ["Must be an https URL of a host, without a path."]
    }


def test_an_origin_that_the_egress_guard_lets_through_may_be_plain(settings: Settings) -> None:
    """F22."""
    settings.EGRESS_ALLOW = ["127.0.0.1:9000"]

    assert (
        accepted("salesforce_oauth2", instance_url="http://127.0.0.1:9000/")["instance_url"] == "http://127.0.0.1:9000"
    )


@pytest.mark.parametrize(
    ("secret", "test"),
    [("sk_live_1", False), ("rk_live_1", False), ("sk_test_1", True), ("rk_test_1", True), ("other_1", None)],
)
def test_a_stripe_key_says_itself_whether_it_is_for_tests(secret: str, test: bool | None) -> None:
    assert accepted("stripe_key", secret=secret, test=None).get("test") is test
    for said in (True, False):
        if test is None or said is test:
            assert accepted("stripe_key", secret=secret, test=said)["test"] is said
        else:
            assert refused("stripe_key", secret=secret, test=said) == {"test": ["Contradicts secret."]}


@pytest.mark.parametrize("password", ["a&b", "&"])
def test_checkout_champs_password_holds_no_ampersand(password: str) -> None:
    assert refused("checkout_champ_password", password=password) == {"password": ["Must match [^&]+ as a whole."]}


@pytest.mark.parametrize(
    ("name", "prop"),
    [
        ("stripe_key", "secret"),
        ("shopify_token", "secret"),
        ("marketo_client_credentials", "client_secret"),
        ("netsuite_tba", "token_secret"),
    ],
)
@pytest.mark.parametrize("value", ["ä", "a b", " a", "a "])
def test_a_secret_that_is_no_password_is_visible_ascii(name: str, prop: str, value: str) -> None:
    """F16: it stands in a header as it is."""
    assert refused(name, **{prop: value}) == {prop: ["Must hold only visible ASCII characters, and no spaces."]}


def test_a_password_may_hold_any_printable_text() -> None:
    assert accepted("servicenow_password", password="pä ss:w*rd")["password"] == "pä ss:w*rd"


def test_a_user_name_of_http_basic_holds_no_colon() -> None:
    """RFC 7617, 2: the password would begin there."""
    assert refused("servicenow_password", username="a:b") == {"username": ["Must match [^:]+ as a whole."]}


def test_auth0s_management_api_is_meant_unless_another_is_named() -> None:
    audience = "https://acme.eu.auth0.com/api/v2/"

    assert accepted("auth0_client_credentials", domain="ACME.eu.auth0.com", audience=None)["audience"] == audience
    assert accepted("auth0_client_credentials", audience="urn:Api")["audience"] == "urn:Api"


# ---- one account, one spelling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "prop", "spellings", "kept"),
    [
        ("shopify_oauth2", "shop", ["acme", " ACME ", "https://Acme.myshopify.com/"], "acme.myshopify.com"),
        ("shopify_token", "shop", ["acme", "acme.myshopify.com", "ACME.myshopify.com/"], "acme.myshopify.com"),
        ("servicenow_oauth2", "instance", ["acme", "https://Acme.service-now.com/"], "acme.service-now.com"),
        ("servicenow_password", "instance", ["acme", "ACME.service-now.com"], "acme.service-now.com"),
        ("netsuite_oauth2", "account_id", ["1234567_SB1", "1234567_sb1.app.netsuite.com"], "1234567-sb1"),
        ("netsuite_tba", "account_id", ["1234567_SB1", "1234567-sb1"], "1234567-sb1"),
        ("netsuite_tba", "account_id", ["1234567", 1234567], "1234567"),
        ("marketo_client_credentials", "munchkin_id", ["123-ABC-456", "123-abc-456.mktorest.com"], "123-abc-456"),
        ("okta_oauth2", "domain", ["acme", "acme.okta.com", "https://ACME.okta.com/"], "acme.okta.com"),
        ("zendesk_oauth2", "subdomain", ["acme", "https://acme.zendesk.com"], "acme"),
        ("hubspot_oauth2", "hub_id", [123, "123", "0123"], 123),
        ("github_app", "installation_id", [4, "4"], 4),
        ("quickbooks_oauth2", "realm_id", ["42", 42], "42"),
    ],
)
def test_an_identity_does_not_depend_on_its_spelling(name: str, prop: str, spellings: list[Any], kept: Any) -> None:
    values = [accepted(name, **{prop: spelling}) for spelling in spellings]

    assert [value[prop] for value in values] == [kept] * len(spellings)
    identities = [kinds.get(name).identity(value) for value in values]
    assert identities == [identities[0]] * len(spellings)


@pytest.mark.parametrize(
    ("name", "prop", "value"),
    [
        ("hubspot_oauth2", "hub_id", "12a"),
        ("hubspot_oauth2", "hub_id", "-1"),
        ("hubspot_oauth2", "hub_id", "١٢"),
        ("hubspot_oauth2", "hub_id", "1" * 20),
        pytest.param("hubspot_oauth2", "hub_id", "1" * 5000, id="more digits than Python reads"),
        ("hubspot_oauth2", "hub_id", -1),
        ("hubspot_oauth2", "hub_id", 10**19),
        ("hubspot_oauth2", "hub_id", True),
        ("hubspot_oauth2", "hubspot_user_id", "12"),
        ("linear_oauth2", "linear_org_name", 12),
        ("quickbooks_oauth2", "realm_id", True),
        pytest.param("quickbooks_oauth2", "realm_id", 10**5000, id="longer than Python writes"),
        ("stripe_oauth2", "livemode", "true"),
        ("stripe_oauth2", "livemode", 1),
        ("hubspot_oauth2", "scopes", "oauth"),
        ("github_app", "account_type", "Robot"),
    ],
)
def test_only_a_number_that_is_an_identity_may_be_written_as_a_string(name: str, prop: str, value: Any) -> None:
    [reason] = refused(name, **{prop: value})[prop]

    assert reason.startswith("Must ")


def test_a_list_is_neither_long_nor_hides_what_is_refused() -> None:
    assert refused("hubspot_oauth2", scopes=["a"] * 1001) == {"scopes": ["Has at most 1000 items."]}
    assert refused("hubspot_oauth2", scopes=["oauth", ""]) == {"scopes": ["Must not be empty."]}
    assert refused("hubspot_oauth2", scopes=["oauth", "***"]) == {"scopes": [MASK]}
    assert accepted("hubspot_oauth2", scopes=[])["scopes"] == []


ANY_CASE: Callable[[str], st.SearchStrategy[str]] = lambda word: st.tuples(  # noqa: E731
    *(st.sampled_from([letter.lower(), letter.upper()]) for letter in word)
).map("".join)


@run(deadline=None)
@given(
    shop=ANY_CASE("arrakis-shop"),
    before=st.sampled_from(["", " ", "https://"]),
    suffix=st.sampled_from(["", ".myshopify.com", ".myshopify.com/", "/"]),
)
def test_a_shop_is_the_same_shop_however_it_is_typed(shop: str, before: str, suffix: str) -> None:
    assert accepted("shopify_token", shop=f"{before}{shop}{suffix}")["shop"] == "arrakis-shop.myshopify.com"


@run(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_nothing_that_json_can_say_is_more_than_refused(value: Any) -> None:
    """D13, I05."""
    for name in ("hubspot_oauth2", "salesforce_oauth2", "shopify_token", "stripe_key", "github_app"):
        kind = kinds.get(name)
        for prop in kind.properties:
            said = IMPORTS[name] | {prop: value}
            errors = errors_of(kind, said)
            assert errors.keys() <= {prop, *(kind.properties if value is None else [])}
            assert errors or kind.accept(kind.accept(said)) == kind.accept(said)


# ---- which is meant --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["strip", "STRIPE", "stripe-key", "", "\x00", "\ud800", "a" * 100_000, "acme"])
@pytest.mark.parametrize("with_oauth_app", [True, False])
def test_an_unknown_kind_is_refused(name: str, with_oauth_app: bool) -> None:
    with pytest.raises(PropertiesNotAccepted) as caught:
        kinds.find(name, with_oauth_app=with_oauth_app)

    [reason] = caught.value.errors["kind"]
    assert reason.startswith("Is no kind of credential. ")
    assert len(reason) < 200
    with pytest.raises(kinds.UnknownKind):
        kinds.get(name)


def test_the_nearest_kinds_are_named() -> None:
    with pytest.raises(PropertiesNotAccepted) as caught:
        kinds.find("stripe_keys", with_oauth_app=False)

    assert caught.value.errors["kind"][0].startswith("Is no kind of credential. Did you mean stripe_key")


@pytest.mark.parametrize(
    ("name", "with_oauth_app", "meant"),
    [
        ("stripe", True, "stripe_oauth2"),
        ("stripe", False, "stripe_key"),
        ("stripe_key", True, "stripe_key"),
        ("stripe_oauth2", False, "stripe_oauth2"),
        ("hubspot", True, "hubspot_oauth2"),
        ("hubspot", False, "hubspot_oauth2"),  # whose caller then misses the OAuth app
        ("github", True, "github_oauth2"),
        ("github", False, "github_oauth2"),
        ("github_app", True, "github_app"),
        ("netsuite", False, "netsuite_tba"),
        ("checkout_champ", False, "checkout_champ_password"),
        ("checkout-champ", False, "checkout_champ_password"),
        ("checkout-champ", True, "checkout_champ_password"),
        ("marketo", False, "marketo_client_credentials"),
    ],
)
def test_a_provider_stands_for_the_kind_that_fits(name: str, with_oauth_app: bool, meant: str) -> None:
    assert kinds.find(name, with_oauth_app=with_oauth_app) is kinds.get(meant)


def test_several_kinds_that_fit_are_named(tmp_path: Path, settings: Settings) -> None:
    settings.PROVIDERS_DIR = str(tmp_path)
    (tmp_path / "sendgrid.toml").write_text(
        '[kinds.sendgrid_other]\nlabel = "Other"\nauth = "key"\nproperties.a = { secret = true, identity = true }\n'
    )

    with pytest.raises(PropertiesNotAccepted) as caught:
        kinds.find("sendgrid", with_oauth_app=False)

    assert caught.value.errors == {"kind": ["Could be sendgrid_key or sendgrid_other: say which."]}


def test_a_kind_says_what_it_needs() -> None:
    told = {
        name: (kind.auth, kind.needs_oauth_app, kind.mints)
        for name, kind in kinds.load().items()
        if kind.declared or name == "stripe_oauth2"
    }

    assert told == {
        "auth0_client_credentials": ("client_credentials", False, True),
        "checkout_champ_password": ("password", False, False),
        "github_app": ("app_jwt", True, True),
        "klaviyo_key": ("key", False, False),
        "marketo_client_credentials": ("client_credentials", False, True),
        "netsuite_tba": ("oauth1", False, False),
        "sendgrid_key": ("key", False, False),
        "servicenow_password": ("password", False, False),
        "shopify_token": ("key", False, False),
        "stripe_key": ("key", False, False),
        "stripe_oauth2": ("oauth2", True, False),
    }


def test_what_has_no_identity_is_told_by_its_secret() -> None:
    stripe_key, linear = kinds.get("stripe_key"), kinds.get("linear_oauth2")

    assert stripe_key.identity({"secret": "sk_live_1"}) == {}
    assert stripe_key.secret_identity({"secret": "sk_live_1"}) == "sk_live_1"
    assert linear.secret_identity({"access_token": "a", "refresh_token": "r"}) == "r"
    assert linear.secret_identity({"access_token": "a"}) == "a"
    assert kinds.get("servicenow_password").secret_identity({"password": "p"}) == ""
