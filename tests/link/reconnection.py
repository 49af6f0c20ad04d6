"""One reconnection at Salesforce, as far as a test needs it to have come."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from django.test import Client
from responses import RequestsMock

from credentials.models import Authorization, Credential
from oauth_apps import api_tokens
from oauth_apps.models import Account, OAuthApp
from tests.credentials.stored import again, keep
from tests.link.trip import post_form, query_of

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

CALLBACK = "/link/oauth2/callback/salesforce"
REDIRECT_URI = "https://app.example.com/callback/salesforce"
HOST = "https://acme.my.salesforce.com"
TOKEN_ENDPOINT = f"{HOST}/services/oauth2/token"
REVOKE = f"{HOST}/services/oauth2/revoke"
INTROSPECT = f"{HOST}/services/oauth2/introspect"
ME = f"{HOST}/id/00D000000000001EAA/005000000000001AAA"
SOMEBODY_ELSE = f"{HOST}/id/00D000000000001EAA/005000000000002AAA"
OF_ANOTHER_ORGANIZATION = "https://other.my.salesforce.com/id/00D000000000009EAA/005000000000009AAA"
STORED = {
    "instance_url": HOST,
    "organization_id": "00D000000000001EAA",
    "user_id": "005000000000001AAA",
    "domain": "acme.my.salesforce.com",
    "access_token": "canary-stored-access",
    "refresh_token": "canary-stored-refresh",
    "scope": "api refresh_token",
}


def salesforce_app(account: Account, **fields: Any) -> OAuthApp:
    defaults = {
        "provider": "salesforce", "name": "Salesforce", "client_id": "sf1", "client_secret": "canary-client-secret",
    }  # fmt: skip
    return OAuthApp.objects.create(account=account, **(defaults | fields))


def salesforce_credential(oauth_app: OAuthApp, **properties: Any) -> Credential:
    """One that was imported, and has a name and metadata; a property that is None is left out."""
    given = {name: value for name, value in (STORED | properties).items() if value is not None}
    credential = keep(oauth_app.account, "salesforce_oauth2", oauth_app, **given)
    Credential.objects.filter(pk=credential.pk).update(name="Paul's", metadata={"user": 7})
    return again(credential)


def answer_of(who: str = ME, /, **members: Any) -> dict[str, Any]:
    """Salesforce's token answer for the user whose identity URL that is."""
    return {
        "access_token": "canary-new-access",
        "refresh_token": "canary-new-refresh",
        "token_type": "Bearer",
        "scope": "api refresh_token",
        "instance_url": who.partition("/id/")[0],
        "id": who,
        **members,
    }


@dataclass
class Reconnection:
    """Each step goes on from the one before, in the test client's browser."""

    client: Client
    responses: RequestsMock
    credential: Credential

    @property
    def oauth_app(self) -> OAuthApp:
        assert self.credential.oauth_app is not None
        return self.credential.oauth_app

    def ask(self, **body: Any) -> Any:
        """POST …/reconnect, as the developer's backend does."""
        _, api_token = api_tokens.issue(self.credential.account, scopes=["write"])
        body = {name: value for name, value in ({"redirect_url": REDIRECT_URI} | body).items() if value is not None}
        path = f"/v1/credentials/{self.credential.pk}/reconnect"
        return Client().post(
            path, body, content_type="application/json", headers={"Authorization": f"Bearer {api_token}"}
        )

    def link(self, **body: Any) -> str:
        """The path of a start link."""
        response = self.ask(**body)
        assert response.status_code == 201, response.content
        return str(urlsplit(response.json()["start_url"]).path)

    def started(self, **body: Any) -> dict[str, str]:
        """The query that the provider gets."""
        response = self.client.get(self.link(**body))
        assert response.status_code == 302, response.content
        return query_of(response["Location"])

    def provider_answers(self, who: str = ME, /, **members: Any) -> None:
        self.responses.upsert("POST", TOKEN_ENDPOINT, json=answer_of(who, **members))
        self.responses.upsert("POST", REVOKE)

    def callback(self, state: str) -> "Response":
        return self.client.get(CALLBACK, {"state": state, "code": "canary-provider-code"})

    def arrived(self, who: str = ME, /, *, members: dict[str, Any] | None = None, **body: Any) -> dict[str, str]:
        """The query with which the end user is back at the developer's."""
        self.provider_answers(who, **(members or {}))
        response = self.callback(self.started(**body)["state"])
        assert response.status_code == 302, response.content
        assert response["Location"].startswith(REDIRECT_URI)
        return query_of(response["Location"])

    def token(self, code: str) -> "Response":
        pair = {"client_id": str(self.oauth_app.pk), "client_secret": "canary-client-secret"}
        return post_form(pair | {"code": code})

    def whole(self, who: str = ME, /, *, members: dict[str, Any] | None = None, **body: Any) -> dict[str, Any]:
        """From the link to the answer of the token endpoint."""
        response = self.token(self.arrived(who, members=members, **body)["code"])
        assert response.status_code == 200, response.content
        answer: dict[str, Any] = response.json()
        return answer

    @property
    def given_back(self) -> list[str]:
        """The tokens that the provider was asked to revoke."""
        calls = [call.request for call in self.responses.calls if call.request.url == REVOKE]
        return [dict(parse_qsl(str(request.body)))["token"] for request in calls]

    @property
    def stored(self) -> Credential:
        return again(self.credential)

    @property
    def trip(self) -> Authorization:
        return Authorization.objects.latest("created_at")
