"""`kill -9` at each step of a refresh: whoever asks next heals it, or says what was lost, and nobody asks for ever."""

from typing import Any

from tests.torture.product import Product, Stored


def killed(credential: Stored, *, stands: str) -> dict[str, Any]:
    """A process refreshes, comes to that step, and is no more. Returns what the credential is then."""
    with credential.product.child() as child:
        child.start("refresh", credential=credential.id, stops=stands)
        child.until_it_stands()
        child.kill()
    return credential.now()


def test_killed_before_the_call(product: Product, airtable: Stored) -> None:
    """Its lease is committed, and the provider was not asked yet"""
    before = killed(airtable, stands="before the call")
    assert product.calls() == []
    airtable.let_the_lease_end()

    token = product.do("refresh", credential=airtable.id)

    assert product.calls() == [200]
    after = airtable.now()
    assert (before["version"], after["version"], after["access_token"]) == (1, 2, token)
    assert (after["failure"], after["health"]) == ("", "ok")


def test_killed_before_the_commit(product: Product, airtable: Stored) -> None:
    """G02: the new refresh token was in the answer alone, and the used one ends all that are left"""
    killed(airtable, stands="after the call")
    assert product.calls() == [200]
    airtable.let_the_lease_end()

    first = airtable.get()
    second = airtable.get()
    swept = product.do("refresh_what_is_due")

    assert product.calls() == [400]  # once, and never again
    assert swept == 0
    assert [(answer.status_code, answer.json()["code"]) for answer in (first, second)] == [
        (409, "needs_reauthorization")
    ] * 2
    after = airtable.now()
    assert (after["failure"], after["is_due"], after["health"]) == ("rotation_interrupted", False, "error")
    assert "rotation_interrupted" in after["notes"][0]


def test_killed_before_the_commit_where_the_provider_forgives(product: Product) -> None:
    """G02: it takes a used refresh token again, for a while"""
    atlassian = product.store("atlassian")
    killed(atlassian, stands="after the call")
    assert product.calls() == [200]
    atlassian.let_the_lease_end()

    token = atlassian.get().json()["access_token"]

    assert product.calls() == [200]
    after = atlassian.now()
    assert (after["access_token"], after["failure"], after["health"]) == (token, "", "ok")


def test_killed_after_the_commit(product: Product, airtable: Stored) -> None:
    """Only what is worth knowing was not written yet"""
    after = killed(airtable, stands="after the commit")
    assert product.calls() == [200]

    token = airtable.get().json()["access_token"]

    assert product.calls() == []
    assert after["version"] == 2
    assert after["access_token"] == token


def test_the_schedule_heals_it_too(product: Product, airtable: Stored) -> None:
    killed(airtable, stands="before the call")
    airtable.let_the_lease_end()

    assert product.do("refresh_what_is_due") == 1

    assert product.calls() == [200]
    assert airtable.now()["version"] == 2


def test_while_the_lease_of_a_dead_process_lasts_nobody_else_calls(product: Product, airtable: Stored) -> None:
    """G04: it may be alive, on another machine, and its call under way"""
    killed(airtable, stands="before the call")

    assert product.do("refresh_what_is_due") == 0

    assert product.calls() == []


def test_a_sweep_killed_before_its_commit(product: Product) -> None:
    """G02: the answers that were to be committed together are lost together, and each is asked for once more"""
    due = [product.store("airtable") for _ in range(3)]
    for credential in due:
        credential.change("due_at = now()")
    with product.child() as child:
        child.start("refresh_what_is_due", stops="before the batch", together_with=len(due))
        child.until_it_stands()
        child.kill()
    assert product.calls() == [200] * 3
    for credential in due:
        credential.let_the_lease_end()

    swept = [product.do("refresh_what_is_due") for _ in range(2)]

    assert swept == [3, 0]
    assert product.calls() == [400] * 3
    assert [credential.now()["failure"] for credential in due] == ["rotation_interrupted"] * 3
