"""
The trip of one provider through its simulator, in one process and without a server: start, consent, callback, token,
refresh, revocation. It is how whoever adds a provider sees whether its file will do; what that writes is undone at its
end. And it is how a sandbox OAuth app gets a credential with nobody there to click.

Nothing leaves the process.
"""

import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.test import Client as Browser
from django.views.decorators.debug import sensitive_variables

from credentials import imports
from credentials.api.serializers import CredentialSerializer, OAuthAppsOf
from credentials.models import Credential
from credentials.refresh import leaseholder
from oauth_apps.models import Account, OAuthApp, RedirectURI
from providers import oauth2
from providers.errors import ProviderError
from providers.kinds import PropertiesNotAccepted
from providers.provider import Provider
from providers.sandbox import script
from providers.sandbox.keys import made_up_private_key, needs_private_key
from providers.sandbox.models import Token as IssuedToken
from providers.sandbox.rotation import has_refresh_tokens
from providers.sandbox.script import Script
from providers.tokens import TokenResponse
from providers.variables import Variable, VariableNotAccepted
from sequin_auth.lib import http

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

REDIRECT_URI = "https://app.example.com/callback/:provider"
CLIENT_SECRET = "of-a-trial"
STATE = "of-a-trial"
TITLE = re.compile(r"<h1>(.*?)</h1>\s*(?:<p[^>]*>(.*?)</p>)?", re.DOTALL)
FORM = "application/x-www-form-urlencoded"


class TrialFailed(Exception):
    """`step`: where the trip ended. `str()` says why, without any token."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(why)
        self.step = step


def try_out(provider: Provider) -> list[tuple[str, str]]:
    """Make the whole trip with a made-up OAuth app and end user. Returns the steps, each with what came of it.

    Raises TrialFailed; the database is as it was before.
    """
    if not provider.has_code_flow:
        raise TrialFailed("start", "There is no trip: the provider has no code flow, only [kinds].")
    player = script.simulated(provider.slug)
    if not settings.SANDBOX or player is None:
        why = "Its file has no [sandbox] table." if settings.SANDBOX else "SANDBOX is switched off."
        raise TrialFailed("start", f"There is no simulator of this provider. {why}")
    with transaction.atomic():
        try:
            account = Account.objects.create(name="Trial")
            RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
            return list(Trial(oauth_app(account, provider), player.script, REDIRECT_URI).steps())
        finally:
            transaction.set_rollback(True)


@sensitive_variables()
def connect(oauth_app: OAuthApp, *, redirect_uri: str) -> Credential:
    """A credential of `oauth_app`, which is in the sandbox: a made-up end user has agreed. It is kept.

    `redirect_uri`: one that its account has registered; nobody goes there. Raises TrialFailed.
    """
    player = script.simulated(oauth_app.provider)
    if player is None:
        raise TrialFailed("start", "Its file has no [sandbox] table.")
    trial = Trial(oauth_app, player.script, redirect_uri)
    with http.answered_here(trial.deliver):
        answer = trial.token(code=trial.callback(trial.consent(trial.start())))
        return trial.kept(answer["credential"])


class Trial:
    """One end user's browser, and one developer's server."""

    def __init__(self, oauth_app: OAuthApp, script: Script, redirect_uri: str) -> None:
        self.oauth_app, self.script, self.redirect_uri = oauth_app, script, redirect_uri
        self.provider = oauth_app.definition
        self.browser = Browser(headers={"host": urlsplit(settings.PUBLIC_URL).netloc})

    @sensitive_variables()
    def steps(self) -> Iterator[tuple[str, str]]:
        with http.answered_here(self.deliver):
            consent = self.start()
            yield "start", f"sent to {host_of(consent)}"
            callback = self.consent(consent)
            yield "consent", "approved"
            code = self.callback(callback)
            yield "callback", "came back with a code"
            answer = self.token(code=code)
            credential = self.kept(answer["credential"])
            identity = [name for name in self.provider.identity_properties() if name in credential.values()]
            scope = f", scope {answer['scope']}" if answer.get("scope") else ""
            lasts = f", for {answer['expires_in']} s" if "expires_in" in answer else ""
            yield "token", f"told apart by {', '.join(identity)}{scope}{lasts}"
            renewed, words = self.refresh(credential)
            yield "refresh", words
            yield "revoke", self.revoke(credential, renewed)

    def start(self) -> str:
        """Where the end user is sent."""
        link = {"client_id": str(self.oauth_app.pk), "redirect_uri": self.redirect_uri, "state": STATE, "debug": "true"}
        return self.location("start", self.get(f"/link/oauth2/start?{urlencode(link)}"))

    def consent(self, url: str) -> str:
        """Where the end user is sent who says yes."""
        page = self.get(url, headers={"Accept": "application/json"})
        if page.status_code != 200 or not page.headers["Content-Type"].startswith("application/json"):
            raise TrialFailed("consent", said(page))
        answer = self.get(page.json()["outcomes"]["approve"])
        if answer.status_code != 200:
            return self.location("consent", answer)
        html = answer.content.decode()  # response_mode=form_post
        action = re.search(r'action="([^"]*)"', html)
        if action is None:
            raise TrialFailed("consent", said(answer))
        fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', html)
        form = urlencode([(unescape(name), unescape(value)) for name, value in fields])
        return self.location("consent", self.post(unescape(action[1]), form))

    def callback(self, url: str) -> str:
        """The code that the developer gets."""
        back = dict(parse_qsl(urlsplit(self.location("callback", self.get(url))).query))
        if "code" not in back:
            raise TrialFailed("callback", back.get("error_description") or back.get("error") or "No code came back.")
        return back["code"]

    @sensitive_variables()
    def token(self, **body: str) -> dict[str, Any]:
        pair = {"client_id": str(self.oauth_app.pk), "client_secret": self.oauth_app.client_secret or ""}
        answer = self.post("/link/oauth2/token", urlencode(pair | body))
        if answer.status_code != 200:
            raise TrialFailed("token", said(answer))
        tokens: dict[str, Any] = answer.json()
        return tokens

    @sensitive_variables()
    def kept(self, posted: dict[str, Any]) -> Credential:
        """What the token endpoint gave, as `/v1/credentials` keeps it."""
        account = self.oauth_app.account
        serializer = CredentialSerializer(data=posted, context={"oauth_apps": OAuthAppsOf(account)})
        if not serializer.is_valid():
            raise TrialFailed("token", f"It cannot be kept: {in_words(serializer.errors)}")
        try:
            credential, _ = imports.keep(account, serializer.validated_data)
        except PropertiesNotAccepted as exc:
            raise TrialFailed("token", f"It cannot be kept: {in_words(exc.errors)}") from exc
        return Credential.objects.whole().get(pk=credential.pk)

    @sensitive_variables()
    def refresh(self, credential: Credential) -> tuple[TokenResponse | None, str]:
        """The new tokens, if there are any, and what came of it in words."""
        if not self.is_renewable(credential):
            return None, self.why_there_is_none()
        if seconds := self.provider.refresh_only_in_last:
            return None, f"not tried: it is refused before the last {seconds} s of the access token's life"
        provider, client = credential.speaking()
        try:
            tokens = leaseholder.ask(credential, credential.token, provider, client)
        except ProviderError as exc:
            raise TrialFailed("refresh", str(exc)) from exc
        if leaseholder.is_another_account(credential, provider, tokens):
            raise TrialFailed("refresh", "The answer names another account.")
        # nosemgrep: secret-compared-plainly - both are ours: nobody guesses here
        is_new = bool(tokens.refresh_token) and tokens.refresh_token != credential.token.refresh_token
        return tokens, "a new access token" + (" and a new refresh token" if is_new else "")

    @sensitive_variables()
    def is_renewable(self, credential: Credential) -> bool:
        """Whether there is something to refresh with.

        Raises TrialFailed where the file and the simulator disagree on whether there are refresh tokens.
        """
        with_refresh_token = self.provider.auth == "oauth2" and self.provider.refresh_with == "refresh_token"
        if with_refresh_token != has_refresh_tokens(self.script):
            says, plays = ("", "none") if with_refresh_token else ("no ", "some")
            why = f"The file promises {says}refresh tokens (refresh_with), and its [sandbox.refresh] has {plays}."
            raise TrialFailed("refresh", why)
        if not with_refresh_token:
            return self.provider.refresh_with == "access_token"
        if not credential.token.refresh_token and self.issued().exclude(refresh_hash=None).exists():
            raise TrialFailed("refresh", "A refresh token was issued, and is not found in the answer.")
        return bool(credential.token.refresh_token)

    def why_there_is_none(self) -> str:
        """Raises TrialFailed if there is no reason."""
        if self.provider.auth == "oauth1" or self.provider.refresh_with == "none":
            return "none: the provider issues no refresh tokens"
        if self.script.refresh.policy == "none":
            return "none: it issues refresh tokens only where the client is set so"
        if needed := self.script.refresh.needs_scope:
            return f"none: it issues a refresh token only with the scope {' or '.join(needed)}"
        raise TrialFailed("refresh", "The file promises refresh tokens (refresh_with), and none was issued.")

    @sensitive_variables()
    def revoke(self, credential: Credential, renewed: TokenResponse | None) -> str:
        if not self.provider.revokes:
            return "none: the provider has no revocation endpoint"
        provider, client = credential.speaking()
        access_token, refresh_token = credential.token.access_token, credential.token.refresh_token
        if renewed:
            access_token, refresh_token = renewed.access_token, renewed.refresh_token or refresh_token
        tokens = {"access_token": access_token or "", "refresh_token": refresh_token or ""}
        try:
            oauth2.revoke(provider, client, **tokens, properties=credential.properties)
        except ProviderError as exc:
            raise TrialFailed("revoke", str(exc)) from exc
        if self.issued().filter(revoked_at=None).exists():
            raise TrialFailed("revoke", "The tokens still work: see revocation_endpoint, [revocation] and [sandbox].")
        return "revoked"

    def issued(self) -> QuerySet[IssuedToken]:
        """What the simulator has issued on this trip."""
        return IssuedToken.objects.filter(grant__registration=self.oauth_app.pk)

    # ---- the wire ----------------------------------------------------------------------------------------------------

    def get(self, url: str, **rest: Any) -> "Response":
        return self.browser.get(path_of(url), secure=not settings.ON_LOOPBACK, **rest)

    @sensitive_variables()
    def post(self, url: str, form: str) -> "Response":
        return self.browser.post(path_of(url), form, content_type=FORM, secure=not settings.ON_LOOPBACK)

    def location(self, step: str, answer: "Response") -> str:
        if answer.status_code not in {302, 303}:
            raise TrialFailed(step, said(answer))
        location = answer.headers["Location"]
        error = dict(parse_qsl(urlsplit(location).query))
        if step == "start" and not location.startswith(f"{settings.PUBLIC_URL}/sandbox/"):
            raise TrialFailed(step, error.get("error_description", "It leads elsewhere than to the simulator."))
        return location

    @sensitive_variables()
    def deliver(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> http.Response:
        """What the gateway sends to the simulator arrives there."""
        others = {name: value for name, value in headers.items() if name.lower() not in {"content-type", "host"}}
        answer = Browser(headers={"host": urlsplit(settings.PUBLIC_URL).netloc}).generic(
            method,
            path_of(url),
            body,
            content_type=headers.get("Content-Type", ""),
            secure=not settings.ON_LOOPBACK,
            headers=others,
        )
        told = {name.lower(): value for name, value in answer.headers.items()}
        return http.Response(status=answer.status_code, headers=told, content=answer.content)


def host_of(url: str) -> str:
    """The simulated one: the simulator's URLs are its own, the provider's slug, and then the provider's."""
    return urlsplit(url).path.split("/")[3]


def path_of(url: str) -> str:
    return url.removeprefix(settings.PUBLIC_URL)


def oauth_app(account: Account, provider: Provider) -> OAuthApp:
    """A registration in the sandbox, with each variable that the provider needs as its file's example says."""
    variables = {name: made_up(name, variable) for name, variable in provider.variables.items() if variable.required}
    return OAuthApp.objects.create(
        account=account,
        provider=provider.slug,
        name=provider.name,
        client_id="trial-1",
        client_secret=made_up_private_key(provider) if needs_private_key(provider) else CLIENT_SECRET,
        environment=OAuthApp.Environment.SANDBOX,
        variables=variables,
        own_callback=provider.needs_own_callback(variables, has_secret=True),
    )


def made_up(name: str, variable: Variable) -> str:
    """A value that the file itself tells."""
    told = [variable.default, variable.example, *variable.values]
    try:
        return variable.accept(name, next(value for value in told if value))
    except StopIteration:
        why = f"variables.{name} has no example, default or values, so there is nothing to try it with."
        raise TrialFailed("start", why) from None
    except VariableNotAccepted as exc:
        raise TrialFailed("start", f"variables.{exc}.") from exc


def in_words(errors: Any) -> str:
    """`properties.user_id: Is required.`"""
    if isinstance(errors, Mapping):
        return " ".join(f"{name}: {in_words(said)}" for name, said in errors.items())
    return " ".join(map(str, errors)) if isinstance(errors, list | tuple) else str(errors)


def said(answer: "Response") -> str:
    """What an answer says went wrong: JSON of ours, of the simulator, or the heading of a page."""
    if answer.headers.get("Content-Type", "").startswith("application/json"):
        document = answer.json()
        return str(document.get("error_description") or document.get("error") or f"Status {answer.status_code}.")
    heading = TITLE.search(answer.content.decode(errors="replace"))
    words = " ".join(part for part in heading.groups() if part) if heading else f"Status {answer.status_code}."
    return re.sub(r"<[^>]+>|\s+", " ", unescape(words)).strip()
