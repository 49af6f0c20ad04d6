"""What a customer may say about the provider's address, and in which spelling it is used."""

import pytest

from providers.variables import Variable, VariableNotAccepted

LABEL = Variable(label="Subdomain", example="acme", suffix=".example.com")
HOST = Variable(
    label="Domain", kind="host", example="acme.example.com", suffix=".example.com", host_suffixes=[".example.com"]
)
CHOICE = Variable(label="Region", kind="choice", values=["eu", "us"])
TEXT = Variable(label="Tenant", kind="text", example="acme")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "acme.evil.com",
        "acme\\",
        "acme/x",
        "acme@evil.com",
        "acme:443",
        "acme#",
        "acme?",
        "acme%2e",
        "acme\n",
        "ac\nme",
        "ac me",
        "-acme",
        "acme-",
        "a_b",
        "ácme",
        "\uff41cme",  # a full-width a
        "a" * 64,
        "a" * 100_000,
        "..",
        "{0.__class__}",
        ".example.com",
        "https://evil.com/.example.com",
    ],
)
def test_a_label_is_one_dns_label_and_nothing_else(value: str) -> None:
    """F01."""
    with pytest.raises(VariableNotAccepted):
        LABEL.accept("subdomain", value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "localhost.",
        "127.0.0.1",
        "2130706433.0",
        "[::1]",
        "evil.com\\.example.com",
        "evil.com/.example.com",
        "evil.com#.example.com",
        "user@evil.com",
        "evil.com:8443",
        "evil..com",
        "http://evil.com",
        "a." * 130 + "com",
        "evil.com\x00",
    ],
)
def test_a_host_is_a_host_name_and_nothing_else(value: str) -> None:
    """F01."""
    with pytest.raises(VariableNotAccepted):
        HOST.accept("domain", value)


@pytest.mark.parametrize("value", ["", ".", "..", "a/b", "a?b", "a b", "a\n", "a%2f", "ä", "a" * 254])
def test_a_text_cannot_leave_its_segment(value: str) -> None:
    with pytest.raises(VariableNotAccepted):
        TEXT.accept("tenant", value)


def test_a_value_is_never_longer_than_a_host_name_may_be() -> None:
    with pytest.raises(VariableNotAccepted, match=r"^name is too long$"):
        Variable(label="Name", kind="text", example="a", pattern="a+").accept("name", "a" * 254)


def test_a_choice_is_one_of_its_values() -> None:
    with pytest.raises(VariableNotAccepted, match=r"^region must be one of eu, us$"):
        CHOICE.accept("region", "jp")

    assert CHOICE.accept("region", "EU") == "eu"


def test_a_refusal_names_the_rule_and_not_the_value() -> None:
    with pytest.raises(VariableNotAccepted) as caught:
        LABEL.accept("subdomain", "<script>")

    assert str(caught.value) == "subdomain must be a word of letters, digits and dashes"
    assert (caught.value.name, caught.value.rule) == ("subdomain", "must be a word of letters, digits and dashes")


def test_a_pattern_must_match_the_whole_value() -> None:
    team = Variable(label="Team", kind="text", example="ABC", pattern="[A-Z]{3}", lower_case=False)

    with pytest.raises(VariableNotAccepted, match=r"^team must look like ABC$"):
        team.accept("team", "ABCD")
    with pytest.raises(VariableNotAccepted):
        team.accept("team", "ABC\n")
    assert team.accept("team", "ABC") == "ABC"


def test_a_value_that_breaks_a_rule_can_be_asked_for_without_an_exception() -> None:
    assert LABEL.accept_or_none("subdomain", "a.b") is None
    assert LABEL.accept_or_none("subdomain", "acme") == "acme"


@pytest.mark.parametrize("typed", ["acme", "ACME", " acme ", "acme/", "acme.example.com", "https://acme.example.com/"])
def test_a_label_is_taken_out_of_what_people_paste(typed: str) -> None:
    assert LABEL.accept("subdomain", typed) == "acme"


@pytest.mark.parametrize("typed", ["acme", "Acme", "acme.example.com", "https://acme.example.com/"])
def test_a_host_is_completed_from_its_first_label(typed: str) -> None:
    assert HOST.accept("domain", typed) == "acme.example.com"


def test_an_account_id_is_spelt_as_in_its_host() -> None:
    account = Variable(label="Account", example="1234567_SB1", underscore_as_dash=True)

    assert account.accept("account", "1234567_SB1") == "1234567-sb1"
    assert account.as_account_id("1234567-sb1") == "1234567_SB1"
    assert LABEL.as_account_id("acme-shop") == "acme-shop"


@pytest.mark.parametrize("value", ["evil.com", "example.com", "example.com.evil.com", "evilexample.com"])
def test_a_host_beside_the_providers_own_is_not_pinned(value: str) -> None:
    assert not HOST.is_pinned(value)


def test_the_default_and_hosts_below_the_suffixes_are_pinned() -> None:
    own = Variable(label="Domain", kind="host", default="login.example.org", host_suffixes=[".example.com"])

    assert own.is_pinned("login.example.org")
    assert own.is_pinned("acme.example.com")
    assert LABEL.is_pinned("anything")
