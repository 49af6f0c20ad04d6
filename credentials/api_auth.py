"""How a provider's API is called with a stored credential: dressed as its kind says, with a token that is good."""

import uuid
from collections.abc import Callable, MutableMapping
from typing import Any, Literal, Protocol, cast
from urllib.parse import urlencode

from django.views.decorators.debug import sensitive_variables

from credentials.errors import CredentialGone, NeedsReauthorization, NoAccessToken, ProviderTrouble, RefreshInProgress
from credentials.models import Credential, Token
from credentials.refresh import refreshed
from providers import access, catalogue, dpop, kinds
from providers.kinds import CredentialKind
from providers.variables import VariableNotAccepted
from providers.wire import with_query
from sequin_auth.lib.encryption import Unreadable

GONE = "The end user has to connect the account again."
LASTS = 60  # seconds that a token should last when a call begins


class Prepared(Protocol):
    """What a request is, when it is about to be sent."""

    method: str | None
    url: str | None
    body: Any
    headers: MutableMapping[str, str | bytes]


class CannotCall(Exception):
    """The credential opens nothing: it is gone, its provider is, or there is no token. Messages are our sentences.

    `needs_reauthorization`: nobody but the account's owner can help. `may_pass`: another try may do.
    """

    def __init__(self, message: str, *, needs_reauthorization: bool = False, may_pass: bool = False) -> None:
        super().__init__(message)
        self.needs_reauthorization = needs_reauthorization
        self.may_pass = may_pass


class ApiAuth:
    """One credential. Nothing is cached but what does not change: a token is read for each call. Raises CannotCall."""

    def __init__(self, credential_id: uuid.UUID) -> None:
        self.credential_id = credential_id
        self.credential = self._whole()
        try:
            self.kind: CredentialKind = self.credential.definition
            self.provider, self.client = self.credential.speaking()
        except (kinds.UnknownKind, catalogue.UnknownProvider) as exc:
            raise CannotCall("The provider, or this kind of credential, is not in the catalogue any more.") from exc
        except (VariableNotAccepted, Unreadable) as exc:
            raise CannotCall("The OAuth app's secret, or the credential's host, cannot be used.") from exc
        sandbox_url = self.credential.oauth_app.sandbox_url if self.credential.oauth_app else ""
        self.sent = access.sent_with(self.kind, self.provider, self.credential.properties, sandbox_url=sandbox_url)

    @property
    def base_url(self) -> str:
        """Where its API is, without a slash behind; a sandbox credential's is the simulator's. Raises CannotCall."""
        if not self.sent["base_url"]:
            raise CannotCall("The address of the API is not known: the catalogue, or a property, does not say it.")
        return str(self.sent["base_url"])

    @property
    def sandbox_url(self) -> str:
        """Of the simulator that stands in for the provider; empty if it is the real one."""
        return self.credential.oauth_app.sandbox_url if self.credential.oauth_app else ""

    @property
    def names(self) -> dict[str, str]:
        """What addresses and parameters may name: properties that are no secrets, and variables."""
        told = {**self.credential.variables, **self.credential.properties}
        return {name: str(value) for name, value in told.items() if value is not None}

    @sensitive_variables()
    def dress(self, prepared: Prepared) -> None:
        """Add what opens the API to a request that is about to be sent. Raises CannotCall."""
        values = self._opened()
        token = access.standing_token(self.kind, values)
        if token is None and not self._has_no_token:
            token = self._token()
        url, method = str(prepared.url), cast(Literal["GET", "POST"], prepared.method)
        if query := self.sent.get("query"):
            prepared.url = with_query(url, {query: token or ""})
        elif params := self.sent.get("params"):
            _add_to_body(prepared, {name: str(values.get(of, "")) for name, of in params.items()})
        else:
            dressed = access.authorization(
                self.kind, self.provider, self.client, values, token or "", method=method, url=url
            )
            key = dpop.key_of(self.provider, self.client, values) if self.kind.auth == "oauth2" else ""
            if key:
                dressed = dpop.authorization(dressed, key, token or "")
                dressed["DPoP"] = dpop.proof(key, method, url, access_token=token or "")
            prepared.headers.update(dressed)

    def renew(self) -> bool:
        """Have another token than the one that was just refused; False if there can be none. Raises CannotCall if
        another try may do.
        """
        if self._has_no_token or access.standing_token(self.kind, self._opened()) is not None:
            return False
        try:
            self._refreshed(force=True)
        except CannotCall as exc:
            if exc.may_pass:
                raise
            return False
        return True

    @property
    def _has_no_token(self) -> bool:
        return self.kind.declared is not None and self.kind.auth in {"key", "password", "oauth1"}

    def _whole(self) -> Credential:
        credential = Credential.objects.whole().filter(pk=self.credential_id).first()
        if credential is None:
            raise CannotCall("The credential was deleted.", needs_reauthorization=True)
        return credential

    @sensitive_variables()
    def _opened(self) -> dict[str, Any]:
        return cast(dict[str, Any], _readable(self.credential.values))

    @sensitive_variables()
    def _token(self) -> str:
        token = Token.objects.filter(pk=self.credential_id).first()
        if token is None:
            raise CannotCall("The credential was deleted.", needs_reauthorization=True)
        if not token.needs_reauthorization and token.lasts(LASTS):
            return str(_readable(lambda: token.access_token))
        return self._refreshed(seen=token)

    @sensitive_variables()
    def _refreshed(self, *, force: bool = False, seen: Token | None = None) -> str:
        credential = self._whole()
        try:
            token = refreshed(credential, min_ttl=LASTS, force=force, seen=seen)
        except NeedsReauthorization as exc:
            raise CannotCall(GONE, needs_reauthorization=True) from exc
        except (ProviderTrouble, RefreshInProgress) as exc:
            raise CannotCall("The access token could not be renewed just now.", may_pass=True) from exc
        except NoAccessToken as exc:
            raise CannotCall("There is no access token: the OAuth app, or the catalogue, stands against it.") from exc
        except (CredentialGone, Unreadable) as exc:
            raise CannotCall("The credential was deleted, or cannot be opened.") from exc
        return str(_readable(lambda: token.access_token))


@sensitive_variables()
def _readable(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Unreadable as exc:
        raise CannotCall("The credential cannot be opened: its key is missing.") from exc


@sensitive_variables()
def _add_to_body(prepared: Prepared, params: dict[str, str]) -> None:
    """To a form, which such APIs take, behind what the query says; never to the URL, which is logged and kept."""
    url, _, query = str(prepared.url).partition("?")
    body = prepared.body.decode() if isinstance(prepared.body, bytes) else str(prepared.body or "")
    prepared.url, prepared.body = url, "&".join(filter(None, [query, body, urlencode(params)]))
    prepared.headers["Content-Type"] = "application/x-www-form-urlencoded"
    prepared.headers["Content-Length"] = str(len(prepared.body.encode()))
