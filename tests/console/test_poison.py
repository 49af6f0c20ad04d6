"""What browsers do not send and others do: the console answers it without breaking. (I05, H10)"""

import pytest
from django.test import Client
from django.urls import reverse

from credentials import deletion
from credentials.models import Credential
from oauth_apps.models import OAuthApp
from tests.credentials.stored import keep

PAGES = ["/admin/", "/admin/login/", "/admin/credentials/credential/", "/link/oauth2/start?debug=1"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "cookie", ['"abcdefgh\\000ij"', "ABCDEFGHIJ", "é" * 10, "a" * 41, "' OR 1=1", "\\ud800abcdefg"]
)
def test_a_session_cookie_that_is_none_names_no_session(client: Client, db: None, page: str, cookie: str) -> None:
    response = client.get(page, HTTP_COOKIE=f"sessionid={cookie}")

    assert response.status_code in {200, 302, 400}


@pytest.mark.parametrize("method", ["TRACE", "PUT", "PATCH", "DELETE", "FOO", "OPTIONS"])
@pytest.mark.parametrize("page", ["/admin/", "/admin/my-login/", "/admin/oauth_apps/oauthapp/add/"])
def test_other_methods_are_not_allowed(superuser: Client, page: str, method: str) -> None:
    """H10"""
    assert superuser.generic(method, page).status_code == 405


@pytest.mark.parametrize("query", ["q=%00", "%00=x", "provider=%00", "q=a&q=%00"])
def test_a_nul_is_refused_wherever_it_stands(superuser: Client, query: str) -> None:
    assert superuser.get(f"/admin/oauth_apps/oauthapp/?{query}").status_code == 400


def test_a_chosen_row_that_is_none_is_refused(superuser: Client) -> None:
    answer = superuser.post("/admin/oauth_apps/apitoken/", {"action": "revoke_chosen", "_selected_action": "\x00"})

    assert answer.status_code == 400


def test_no_address_leads_from_any_row_to_a_page_of_the_site(superuser: Client, stripe_app: OAuthApp) -> None:
    assert superuser.get(f"/admin/r/15/{stripe_app.pk}/").status_code == 404
    assert superuser.get("/admin/r/15/zz/").status_code == 404


def test_a_credential_that_somebody_else_has_just_deleted_is_no_error(stripe_app: OAuthApp) -> None:
    kept = keep(
        stripe_app.account, "stripe_oauth2", stripe_app, stripe_user_id="acct_1", livemode=True, access_token="t"
    )
    again = Credential.objects.get(pk=kept.pk)
    Credential.objects.filter(pk=kept.pk).delete()

    deletion.revoke_later(again)

    assert not Credential.objects.exists()


def test_it_is_deleted_once_by_two_clicks(superuser: Client, stripe_app: OAuthApp) -> None:
    kept = keep(stripe_app.account, "stripe_key", None, secret="sk_test_canary")
    url = reverse("admin:credentials_credential_delete", args=[kept.pk])

    answers = [superuser.post(url, {"post": "yes"}).status_code for _ in range(2)]

    assert answers == [302, 302]
