"""Registering an OAuth app in the console: choose a provider, fill in just what it needs, save once."""

import html
import re
from typing import Any

import msgspec
import pytest
from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from credentials.console.connect_forms import TripForm
from oauth_apps.console.oauth_app_form import OAuthAppForm
from oauth_apps.console.oauth_apps import OAuthAppAdmin
from oauth_apps.console.provider_picker import BEST_KNOWN
from oauth_apps.models import Account, AuditEvent, Membership, OAuthApp, RedirectURI
from providers import catalogue
from providers.provider import Provider
from providers.sandbox.keys import needs_private_key
from providers.sandbox.script import simulated

ADD = "/admin/oauth_apps/oauthapp/add/"
REDIRECT_URI = "https://app.example.com/"
SECRET = "canary-client-secret"


def page(client: Client, provider: str, **query: str) -> str:
    response = client.get(ADD, {"provider": provider, **query})
    assert response.status_code == 200
    return response.content.decode()


def promised(text: str) -> str:
    found = re.search(r'name="promised" value="([^"]+)"', text)
    assert found
    return found[1]


def filled(client: Client, provider: str, **fields: Any) -> dict[str, Any]:
    """What a browser sends after somebody has filled in the least."""
    account = Account.objects.order_by("created_at").first()
    assert account
    form = {
        "promised": promised(page(client, provider)), "account": str(account.pk), "environment": "live",
        "name": provider.title(), "client_id": "ca_1", "new_client_secret": SECRET, "enabled": "on",
        "other_scopes": "", "metadata": "{}", **fields,
    }  # fmt: skip
    return {name: value for name, value in form.items() if value is not None}


def save(client: Client, provider: str, **fields: Any) -> Any:
    return client.post(f"{ADD}?provider={provider}", filled(client, provider, **fields))


def problems(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(re.findall(r'class="problem">(.*?)</p>', response.content.decode()))


def test_a_form_with_another_users_id_is_refused(member: Client, account: Account) -> None:
    stranger = User.objects.create_user("feyd", is_staff=True)
    Membership.objects.create(account=account, user=stranger)
    theirs = Client()
    theirs.force_login(stranger)

    response = save(member, "stripe", promised=promised(page(theirs, "stripe")))

    assert response.status_code == 200
    assert "was not made for you" in response.content.decode()
    assert not OAuthApp.objects.exists()


@pytest.mark.parametrize("text", ["", "x", "eyJpZCI6ImEifQ:1:2"])
def test_a_tampered_id_is_refused(member: Client, account: Account, text: str) -> None:
    response = save(member, "stripe", promised=text)

    assert response.status_code == 200
    assert "was not made for you" in response.content.decode()
    assert SECRET not in response.content.decode()
    assert not OAuthApp.objects.exists()


def test_a_form_that_is_sent_twice_makes_one_app(member: Client, account: Account) -> None:
    form = filled(member, "stripe")

    answers = [member.post(f"{ADD}?provider=stripe", form) for _ in range(2)]

    oauth_app = OAuthApp.objects.get()
    assert [answer["Location"] for answer in answers] == [
        reverse("admin:oauth_apps_oauthapp_change", args=[oauth_app.pk])
    ] * 2
    assert AuditEvent.objects.filter(action="oauth_app.created").count() == 1


def test_two_forms_at_once_make_one_app(member: Client, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    form = filled(member, "stripe")
    member.post(f"{ADD}?provider=stripe", form)
    looked = OAuthAppAdmin._saved_before
    looks: list[OAuthApp | None] = []

    def look(page: OAuthAppAdmin, request: HttpRequest) -> OAuthApp | None:
        """The first time, the other form has not been saved yet."""
        looks.append(looked(page, request) if looks else None)
        return looks[-1]

    monkeypatch.setattr(OAuthAppAdmin, "_saved_before", look)

    response = member.post(f"{ADD}?provider=stripe", form)

    assert response["Location"] == reverse("admin:oauth_apps_oauthapp_change", args=[OAuthApp.objects.get().pk])


def test_a_member_registers_nothing_for_another_account(member: Client, other_account: Account) -> None:
    """H07"""
    response = save(member, "stripe", account=str(other_account.pk))

    assert response.status_code == 200
    assert not OAuthApp.objects.exists()
    assert "Harkonnen" not in page(member, "stripe")


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("new_client_secret", "", "required"),
        ("new_client_secret", "   ", "required"),
        ("new_client_secret", "**********", "mask"),
        ("new_client_secret", "a\r\nb", "line breaks"),
        ("client_id", "", "required"),
        ("name", "", "required"),
        ("other_scopes", 'rea"d', "visible ASCII"),
        ("other_scopes", "x" * 4097, "at most"),
        ("scopes", ["no_such"], "not one of the available"),
        ("metadata", "[]", "JSON object"),
        ("metadata", "[" * 5000, "JSON"),
        ("metadata", '{"a": ' + "9" * 5000 + "}", ""),
        ("metadata", '{"a": "\\u0000"}', "NUL"),
    ],
)
def test_the_form_obeys_the_rules_of_the_api(
    member: Client, account: Account, field: str, value: Any, problem: str
) -> None:
    """A05, D04"""
    response = save(member, "stripe", **{field: value})

    assert problem in problems(response)
    assert SECRET not in response.content.decode()
    assert not OAuthApp.objects.exists()


def test_an_unknown_environment_is_refused(member: Client, account: Account) -> None:
    response = save(member, "stripe", environment="moon")

    assert "live or sandbox" in problems(response) + response.content.decode()
    assert not OAuthApp.objects.exists()


@pytest.mark.parametrize("value", ["evil.example.com/", "a/b", "acme.evil.example", "-"])
def test_a_variable_is_judged_as_in_the_api(member: Client, account: Account, value: str) -> None:
    """F01"""
    response = save(member, "shopify", variable_shop=value)

    assert "must be a word of letters" in problems(response)
    assert not OAuthApp.objects.exists()


def test_what_only_the_app_can_say_is_required(member: Client, account: Account) -> None:
    for slug in ("mastodon", "apple"):  # a host that no browser may name, and a key's id
        assert "required" in problems(save(member, slug)), slug
    assert not OAuthApp.objects.exists()


def test_an_app_is_registered_with_the_id_that_the_page_showed(member: Client, account: Account) -> None:
    text = page(member, "auth0")
    shown = re.search(r'id="callback-url">([^<]+)<', text)
    assert shown

    save(member, "auth0", promised=promised(text), variable_domain="acme.eu.auth0.com")

    oauth_app = OAuthApp.objects.get()
    assert (oauth_app.callback_url, oauth_app.own_callback) == (shown[1], True)
    assert oauth_app.variables == {"domain": "acme.eu.auth0.com"}
    assert shown[1].endswith(str(oauth_app.pk))
    assert text.count(shown[1]) >= 2  # once more in the steps


def test_an_app_is_registered(member: Client, account: Account) -> None:
    response = save(
        member, "stripe", scopes=["read_only"], metadata='{"team": "a"}', asks_first="on", purpose="to show payments"
    )

    oauth_app = OAuthApp.objects.get()
    assert response["Location"] == reverse("admin:oauth_apps_oauthapp_change", args=[oauth_app.pk])
    assert (oauth_app.account, oauth_app.provider, oauth_app.client_id) == (account, "stripe", "ca_1")
    assert (oauth_app.client_secret, oauth_app.environment, oauth_app.enabled) == (SECRET, "live", True)
    assert (oauth_app.default_scopes, oauth_app.own_callback) == ([], False)
    assert (oauth_app.asks_first, oauth_app.purpose) == (True, "to show payments")
    assert oauth_app.metadata == {"team": "a"}
    event = AuditEvent.objects.get(action="oauth_app.created")
    assert (event.actor, event.account, event.object_id) == ("paul", account, str(oauth_app.pk))
    assert SECRET not in event.detail


def test_scopes_that_are_not_the_providers_own_are_kept(member: Client, account: Account) -> None:
    save(member, "slack", scopes=["team:read", "chat:write"], other_scopes="reactions:read, pins:read")

    assert OAuthApp.objects.get().default_scopes == ["team:read", "chat:write", "reactions:read", "pins:read"]


def test_slacks_user_scopes_are_a_list(member: Client, account: Account) -> None:
    assert '<textarea name="variable_user_scope"' in page(member, "slack")

    save(member, "slack", variable_user_scope="users:read,chat:write")

    assert OAuthApp.objects.get().variables == {"user_scope": "users:read chat:write"}


def test_a_shop_may_be_left_to_the_end_user(member: Client, account: Account) -> None:
    assert "Leave it empty to let the end user say it." in page(member, "shopify")

    save(member, "shopify", variable_shop="")

    assert OAuthApp.objects.get().variables == {}


def test_a_public_client_has_a_callback_url_of_its_own(member: Client, account: Account) -> None:
    text = page(member, "lichess")
    assert "<h3>Callback URL</h3>" in text
    assert "2. The OAuth app" in text
    assert "What you got there" not in text
    assert "new_client_secret" not in text

    save(member, "lichess", new_client_secret=None)

    oauth_app = OAuthApp.objects.get()
    assert (oauth_app.client_secret, oauth_app.own_callback) == (None, True)
    assert f'id="callback-url">{oauth_app.callback_url}<'.replace(str(oauth_app.pk), "") in re.sub(
        r"[0-9a-f-]{36}", "", text
    )


def test_a_secret_is_optional_where_public_clients_are_taken(member: Client, account: Account) -> None:
    assert "public clients" in page(member, "twitter")

    save(member, "twitter", new_client_secret="")

    assert OAuthApp.objects.get().own_callback is True


def folded(text: str) -> str:
    """What stands under Advanced."""
    found = re.search(r"<summary>Advanced</summary>(.*?)</details>", text, re.DOTALL)
    assert found
    return found[1]


SETTINGS = (
    "token_endpoint_auth_method", "key_id", "require_pushed_authorization_requests", "dpop_bound_access_tokens",
)  # fmt: skip


def test_settings_that_most_leave_as_they_are_are_folded_away(member: Client, account: Account) -> None:
    text = page(member, "auth0")
    advanced = folded(text)

    for name in SETTINGS:
        assert f'name="variable_{name}"' in advanced
        assert text.count(f'name="variable_{name}"') == 1
    for name in ("domain", "audience"):
        assert f'name="variable_{name}"' not in advanced
    options = re.findall(r'<option value="([a-z]*)"[^>]*>([^<]+)</option>', advanced)
    assert options.count(("", "Leave it to Auth0")) == 3
    assert options.count(("true", "On")) == options.count(("false", "Off")) == 2
    assert 'name="variable_key_id"' not in folded(page(member, "apple"))  # it has to be said there

    refused = save(member, "auth0", variable_dpop_bound_access_tokens="perhaps").content.decode()
    save(member, "auth0", variable_dpop_bound_access_tokens="true", variable_domain="acme.eu.auth0.com")

    assert "<details open>\n<summary>Advanced</summary>" in refused
    assert OAuthApp.objects.get().variables == {"domain": "acme.eu.auth0.com", "dpop_bound_access_tokens": "true"}


def test_a_secret_is_masked_where_a_key_may_be_pasted_too(member: Client, account: Account) -> None:
    text = page(member, "auth0")

    field = re.search(r'<textarea name="new_client_secret"[^>]*>', text)
    assert field
    assert 'class="sq-secret"' in field[0]
    assert "BEGIN PRIVATE KEY" not in text


def test_a_sandbox_app_is_told_from_its_provider_by_its_name(member: Client, account: Account) -> None:
    assert 'name="name" value="Stripe (sandbox)"' in page(member, "stripe", environment="sandbox")
    assert 'name="name" value="Stripe"' in page(member, "stripe")


def test_a_private_key_may_have_lines(member: Client, account: Account) -> None:
    key = "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----"
    assert '<textarea name="new_client_secret"' in page(member, "apple")

    refused = save(member, "apple", new_client_secret=key, variable_team_id="", variable_key_id="K")
    save(member, "apple", new_client_secret=key, variable_team_id="ABCDE12345", variable_key_id="FGHIJ67890")

    assert "canary" not in refused.content.decode()
    assert OAuthApp.objects.get().client_secret == key


def test_a_sandbox_app_with_a_private_key_needs_nothing_but_save_too(member: Client, account: Account) -> None:
    slugs = [one.slug for one in catalogue.load().values() if needs_private_key(one) and simulated(one.slug)]
    assert slugs
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    for slug in slugs:
        text = page(member, slug, environment="sandbox")
        shown = re.search(
            r'<textarea name="new_client_secret"[^>]*>\s*(-----BEGIN PRIVATE KEY-----[^<]+)</textarea>', text
        )
        assert shown, slug
        values = dict(re.findall(r'<input type="(?:text|hidden)" name="([a-z_]+)" value="([^"]*)"', text))
        form = values | {"promised": promised(text), "new_client_secret": shown[1], "enabled": "on"}

        refused = member.post(f"{ADD}?provider={slug}&environment=sandbox", form | {"name": ""})
        saved = member.post(f"{ADD}?provider={slug}&environment=sandbox", form)

        assert shown[1].split()[4] not in refused.content.decode()  # another one is made up
        assert saved.status_code == 302, problems(saved)
        oauth_app = OAuthApp.objects.get(provider=slug)
        assert (oauth_app.environment, (oauth_app.client_secret or "").split()) == ("sandbox", shown[1].split())
        response = Client().get("/link/oauth2/start", {"client_id": str(oauth_app.pk), "redirect_uri": REDIRECT_URI})
        assert response["Location"].startswith(f"{settings.PUBLIC_URL}/sandbox/{slug}/")


def test_a_key_of_ones_own_is_not_shown_again_by_a_sandbox_form(member: Client, account: Account) -> None:
    """E04"""
    key = "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----"

    response = save(member, "apple", environment="sandbox", new_client_secret=key, name="")

    assert response.status_code == 200
    assert "canary" not in response.content.decode()


def test_no_live_form_makes_up_a_key(member: Client, account: Account) -> None:
    assert "BEGIN PRIVATE KEY-----\n" not in page(member, "apple")


def test_a_sandbox_app_needs_nothing_but_save(member: Client, account: Account) -> None:
    text = page(member, "stripe", environment="sandbox")
    values = dict(re.findall(r'<input type="(?:text|hidden)" name="([a-z_]+)" value="([^"]*)"', text))
    assert values["client_id"].startswith("demo-")

    member.post(f"{ADD}?provider=stripe&environment=sandbox", values | {"promised": promised(text)})

    oauth_app = OAuthApp.objects.get()
    assert (oauth_app.environment, oauth_app.client_secret) == ("sandbox", values["new_client_secret"])


def test_a_refused_sandbox_form_shows_no_secret_that_was_entered(member: Client, account: Account) -> None:
    """E04"""
    response = save(member, "stripe", environment="sandbox", name="")

    assert response.status_code == 200
    assert SECRET not in response.content.decode()


def shape(provider: Provider) -> object:
    """What the form goes by: of two providers that are alike in it, one is looked at."""
    variables = [msgspec.structs.replace(variable, label="", example="") for variable in provider.variables.values()]
    methods = (
        tuple(provider.token_endpoint_auth_methods_supported),
        provider.takes_private_keys,
        bool(provider.scopes),
    )
    rest = (provider.has_code_flow, provider.tenant_hosted, bool(provider.scopes), provider.client_secret_from)
    return methods, rest, str(variables)


def test_each_sort_of_provider_has_a_form(member: Client, account: Account) -> None:
    sorts = {shape(provider): provider for provider in catalogue.load().values()}
    assert len(sorts) > 50
    for provider in sorts.values():
        response = member.get(ADD, {"provider": provider.slug})
        if not provider.has_code_flow:
            assert response["Location"] == f"{reverse('admin:connect')}?provider={provider.slug}"
            continue
        text = response.content.decode()
        assert response.status_code == 200, provider.slug
        assert f"/link/oauth2/callback/{provider.slug}" in text, provider.slug
        assert ":oauth_app_id" not in text, provider.slug
        for name, variable in provider.variables.items():
            assert (f'name="variable_{name}"' in text) is ("app" in variable.sources), (provider.slug, name)


# ---- choosing --------------------------------------------------------------------------------------------------------


def names(text: str) -> list[str]:
    """Of the cards that are shown without JavaScript too."""
    cards = re.findall(r'<li data-words="[^"]*"( hidden)?>(.*?)</li>', text, re.DOTALL)
    return [html.unescape(re.findall(r"<span>([^<]+)<small>", card)[0]) for hidden, card in cards if not hidden]


def test_all_providers_are_offered_and_found_without_javascript(member: Client, account: Account) -> None:
    everything = member.get(ADD).content.decode()
    found = member.get(ADD, {"q": "SLACK"}).content.decode()

    assert sorted(names(everything)) == sorted(provider.name for provider in catalogue.load().values())
    assert names(found) == ["Slack"]
    assert "1 shown" in found
    assert found.count("data-words") == everything.count("data-words")  # for whoever types on, with JavaScript
    assert f'href="{reverse("admin:connect")}?provider=sendgrid"' in everything
    assert "API key, no OAuth app needed" in everything


@pytest.mark.parametrize("place", ["admin:oauth_apps_oauthapp_add", "admin:connect"])
def test_both_pickers_find_by_name_alias_and_category(member: Client, account: Account, place: str) -> None:
    for query in ({}, {"q": "x.com"}, {"q": "crm"}, {"q": "crm hub"}, {"q": "nothing of that name"}):
        found = names(member.get(reverse(place), query).content.decode())
        assert found == names(member.get(ADD, query).content.decode()), query
    text = member.get(reverse(place), {"q": "CRM"}).content.decode()
    known = {provider.name for provider in catalogue.load().values() if provider.category == "crm"}
    assert set(names(text)) >= known
    assert "<small>CRM" in text
    assert 'value="CRM"' in text
    assert '<a href="?">Show all</a>' in text
    assert "None of that name." in member.get(reverse(place), {"q": "nothing of that name"}).content.decode()


@pytest.mark.parametrize("place", ["admin:oauth_apps_oauthapp_add", "admin:connect"])
def test_those_that_are_used_come_first_and_then_the_best_known(
    member: Client, account: Account, other_account: Account, place: str
) -> None:
    """H07: not those of others"""
    everything = catalogue.load().values()
    best = max(provider.confirmed_by for provider in everything if not provider.extends)
    for owner, slug in ((account, "zendesk"), (account, "hubspot"), (other_account, "acton")):
        OAuthApp.objects.create(account=owner, provider=slug, name=slug, client_id="c", client_secret="x")

    shown = names(member.get(reverse(place)).content.decode())

    known = {provider.name: provider for provider in everything}
    assert shown[:2] == ["HubSpot", "Zendesk"]
    assert known[shown[2]].confirmed_by == best
    told = [known[name].confirmed_by for name in shown[2 : 2 + BEST_KNOWN]]
    assert told == sorted(told, reverse=True)
    rest = shown[2 + BEST_KNOWN :]
    assert rest == sorted(rest, key=str.lower)
    assert catalogue.get("acton").name in rest


def test_a_picker_takes_few_statements(
    superuser: Client, account: Account, other_account: Account, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        owner = account if number % 2 else other_account
        OAuthApp.objects.create(account=owner, provider="stripe", name=f"{number}", client_id="c", client_secret="x")

    for place in ("admin:oauth_apps_oauthapp_add", "admin:connect"):
        with django_assert_max_num_queries(7):
            assert superuser.get(reverse(place)).status_code == 200


def test_a_search_for_the_sandbox_stays_there(member: Client, account: Account) -> None:
    text = member.get(ADD, {"environment": "sandbox", "q": "slack"}).content.decode()

    assert '<input type="hidden" name="environment" value="sandbox">' in text
    assert 'href="?provider=slack&amp;environment=sandbox"' in text
    assert '<a href="?environment=sandbox">Show all</a>' in text


# ---- what describes a field ------------------------------------------------------------------------------------------


def undescribed(text: str) -> list[str]:
    """Ids that something points to and which are not there, or there more than once."""
    ids = re.findall(r'\sid="([^"]+)"', text)
    pointed = re.findall(r'aria-describedby="([^"]+)"', text)
    return [one for names in pointed for one in names.split() if ids.count(one) != 1]


def test_each_field_is_described_by_what_is_there_and_by_nothing_twice(member: Client, account: Account) -> None:
    oauth_app = OAuthApp.objects.create(
        account=account, provider="slack", name="S", client_id="c", client_secret="x", environment="sandbox"
    )
    change = reverse("admin:oauth_apps_oauthapp_change", args=[oauth_app.pk])
    wrong = {"name": "", "metadata": "[", "scopes": ["none_such"], "other_scopes": 'a"', "new_client_secret": "**"}
    connect = reverse("admin:connect")
    trip = f"{connect}?provider=slack&kind=slack_oauth2&oauth_app={oauth_app.pk}"
    key = f"{connect}?provider=sendgrid&kind=sendgrid_key"
    pages = [
        member.get(f"{ADD}?provider=slack"), member.post(f"{ADD}?provider=slack", wrong), member.get(change),
        member.post(change, wrong), member.get(trip), member.post(trip, {"scope": 'a"' * 5000}), member.get(key),
        member.post(key, {"property_secret": "a b"}), member.post("/admin/oauth_apps/redirecturi/add/", {}),
    ]  # fmt: skip

    for response in pages:
        text = response.content.decode()
        assert response.status_code == 200
        assert "aria-describedby" in text, response.request["PATH_INFO"]
        assert undescribed(text) == [], response.request["PATH_INFO"]
    assert 'id="id_scopes_error"' in pages[1].content.decode()


class Several(forms.Form):
    one = forms.BooleanField(help_text="Tick it.", validators=[])
    some = forms.MultipleChoiceField(choices=[("a", "A")], widget=forms.CheckboxSelectMultiple, help_text="Any.")
    number = forms.IntegerField(validators=[MinValueValidator(2), MaxValueValidator(0)])
    hidden = forms.IntegerField(widget=forms.HiddenInput)


def test_each_kind_of_field_has_one_part_with_the_right_ids() -> None:
    text = render_to_string("console/parts/form.html", {"form": Several({"number": "1", "hidden": "x"})})

    assert undescribed(text) == []
    for name in ("one_helptext", "one_error", "some_helptext", "some_error", "number_error", "hidden_error"):
        assert text.count(f'id="id_{name}"') == 1, name
    assert text.count('class="problem"') == 5
    assert '<fieldset class="sq-field" aria-describedby="id_some_helptext id_some_error">' in text


def test_a_variable_is_asked_for_alike_wherever_it_is_asked(account: Account) -> None:
    for provider in catalogue.load().values():
        if not provider.has_code_flow:
            continue
        oauth_app = OAuthApp(account=account, provider=provider.slug, name="x", client_id="x")
        there = type("Form", (OAuthAppForm,), {"provider": provider, "__module__": __name__})(instance=oauth_app).fields
        here = TripForm(oauth_app=oauth_app).fields
        for name in there.keys() & here.keys():
            if not name.startswith("variable_"):
                continue
            assert there[name].label == here[name].label
            assert type(there[name].widget) is type(here[name].widget), (provider.slug, name)
            assert getattr(there[name], "max_length", 0) == getattr(here[name], "max_length", 0), (provider.slug, name)


def test_a_provider_is_found_by_an_alias_and_opened_by_it(member: Client, account: Account) -> None:
    provider = next(provider for provider in catalogue.load().values() if provider.aliases and provider.has_code_flow)

    assert provider.name in names(member.get(ADD, {"q": provider.aliases[0]}).content.decode())
    assert f"callback/{provider.slug}" in page(member, provider.aliases[0])


def test_what_is_searched_for_is_escaped(member: Client, account: Account) -> None:
    """H08"""
    for query in ({"q": '"><b>x'}, {"provider": '"><b>x'}):
        text = member.get(ADD, query).content.decode()
        assert "<b>x" not in text


def test_the_heading_says_where_one_is(member: Client, account: Account) -> None:
    for path in (ADD, f"{ADD}?provider=stripe", reverse("admin:oauth_apps_oauthapp_changelist")):
        heading = re.search(r"<h1.*?</h1>", member.get(path).content.decode(), re.DOTALL)
        assert heading
        assert " ".join(re.sub("<[^>]+>", "", heading[0]).split()) == "Accounts › OAuth Apps"
