"""The provider that tests share: what a gateway still does for an earlier test is not taken for this one's."""

from tests.real.gateway import Gateway
from tests.security.stand_in import StandIn
from tests.security.tenant import App, Tenant, sql


def purge_after_an_hour(gateway: Gateway, app: App) -> None:
    """As the schedule does each minute."""
    end = "UPDATE credentials_authorization SET expires_at = now() - interval '1 hour' WHERE oauth_app_id = %s"
    sql(gateway, end, app.id)
    gateway.manage("purge")


def refresh(tenant: Tenant, credential: str) -> None:
    read = tenant.call("GET", f"/v1/credentials/{credential}/access-token", params={"force_refresh": "true"})
    assert read.status_code == 200


def test_tokens_of_this_test(arrakis: Tenant, provider: StandIn) -> None:
    """Whatever is asked with them counts, also after it was told to forget"""
    app, kept = arrakis.app(), arrakis.app()
    credential = arrakis.credential(kept)
    app.code()
    provider.forget()

    refresh(arrakis, credential)
    purge_after_an_hour(arrakis.gateway, app)

    assert [request.path for request in provider.asked] == ["/token", "/revoke"]
    assert (len(provider.sent_to("/token")), len(provider.sent_to("/revoke"))) == (1, 1)


def test_tokens_of_an_earlier_test(arrakis: Tenant, provider: StandIn) -> None:
    """They are refreshed and given back as ever; only a new code is this test's"""
    app, kept = arrakis.app(), arrakis.app()
    credential = arrakis.credential(kept)
    app.code()
    provider.begin_test()

    refresh(arrakis, credential)
    purge_after_an_hour(arrakis.gateway, app)

    assert {request.path for request in provider.requests} == {"/token", "/revoke"}
    assert (provider.asked, provider.sent_to("/token"), provider.sent_to("/revoke")) == ([], [], [])
    app.code()
    assert len(provider.asked) == 1


def test_tokens_of_an_earlier_test_that_this_one_is_about(arrakis: Tenant, provider: StandIn) -> None:
    credential = arrakis.credential()
    tokens = frozenset(provider.given)
    provider.begin_test()
    provider.has_given(tokens)

    refresh(arrakis, credential)

    assert len(provider.asked) == 1
