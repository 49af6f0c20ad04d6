"""One trip of an end user: from the start link to the tokens in the developer's hands."""

import base64
import hashlib
import hmac
import secrets
import string
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from psycopg.types.json import Jsonb

from credentials.models import steps
from credentials.models.fingerprint import fingerprint
from oauth_apps.models import OAuthApp, RedirectURI
from oauth_apps.redirect_uris import expand
from providers.provider import Provider
from providers.tokens import TokenResponse, refresh_token_expires_in
from sequin_auth.lib import measures
from sequin_auth.lib.encryption import SealedBytesField, SealedTextField, digest
from sequin_auth.lib.measures import Name
from sequin_auth.lib.postgres import statements

if TYPE_CHECKING:
    from credentials.models.outcome import Outcome

CODE_ALPHABET = string.ascii_letters + string.digits
CODE_LENGTH = 35  # 208 bits


class Step(models.TextChoices):
    """How far a trip has come. Each step is left once, by one conditional UPDATE."""

    STARTED = "started", "sent to the provider"
    RETURNED = "returned", "came back"
    GRANTED = "granted", "code issued"
    EXCHANGED = "exchanged", "tokens handed over"
    FAILED = "failed", "failed"
    ABANDONED = "abandoned", "tokens never fetched"


class End(models.TextChoices):
    """Where a trip ends, however it ends."""

    REDIRECT_URI = "redirect_uri", "the developer's redirect URI"
    PAGE = "page", "a page of ours that says so"  # of a reconnect link that names no redirect URI
    CONSOLE = "console", "the console, which keeps what came"  # of whoever began it there
    TRIAL = "trial", "the console, to be looked at"


class Grant(msgspec.Struct, frozen=True):
    """What the provider gave, kept sealed until the developer fetches it."""

    access_token: str
    token_type: str
    expires_at: int | None  # seconds since 1970
    refresh_token: str | None
    scope: str | None  # as granted, separated by spaces
    properties: dict[str, Any]
    scope_as_told: str | None = None  # in the provider's own form
    refresh_expires_at: int | None = None  # seconds since 1970, if the provider says so

    def __repr__(self) -> str:
        return "Grant(…)"

    @classmethod
    def of(cls, provider: Provider, tokens: TokenResponse, properties: dict[str, Any]) -> "Grant":
        received = int(timezone.now().timestamp())
        refresh_expires_in = refresh_token_expires_in(provider, tokens)
        return cls(
            access_token=tokens.access_token,
            token_type=tokens.token_type,
            expires_at=None if tokens.expires_in is None else received + tokens.expires_in,
            refresh_token=tokens.refresh_token,
            scope=tokens.scope,
            properties=properties,
            scope_as_told=tokens.scope_as_told,
            refresh_expires_at=None if refresh_expires_in is None else received + refresh_expires_in,
        )


# Of a trip whose tokens nobody has fetched. `step` says it, too, but changes at each step: with it in the condition of
# an index, no step could be written without writing to all indexes.
HOLDS_TOKENS = Q(granted_at__isnull=False, code_taken_at__isnull=True)


def where_known(field: str, *, name: str) -> models.Index:
    """An index of the few trips that have such a thing."""
    return models.Index(fields=[field], name=name, condition=Q(**{f"{field}__isnull": False}))


class AuthorizationQuerySet(models.QuerySet["Authorization"]):
    def take(
        self, step: Step, *, leads_to: Step, oauth_app: OAuthApp | None = None, **secret: str
    ) -> "Authorization | None":
        """Use up a state or a code: the row as it stood at `step`; None if it is unknown, used or expired.

        Of any number at once, one gets the row. What is handed out with it, the code verifier and the tokens, is erased
        by the same statement. Whether it is too late says the clock of the database, to all machines the same.
        Usage: `take(Step.STARTED, leads_to=Step.RETURNED, state=…)`, likewise with `code=…`.
        """
        name, value = next(iter(secret.items()))
        condition, values = f"{name}_hash = %s AND expires_at > statement_timestamp()", list[object]([digest(value)])
        if oauth_app is not None:
            condition, values = f"{condition} AND oauth_app_id = %s", [*values, oauth_app.pk]
        return self._leave(step, leads_to, condition, values, at=f"{name}_taken_at")

    def claim(self, pk: uuid.UUID) -> "Authorization | None":
        """Take the tokens of a trip that ended with us, whose code nobody else was given: as `take`, by primary key."""
        ends_with_us = "id = %s AND ends_at <> %s"
        return self._leave(Step.GRANTED, Step.EXCHANGED, ends_with_us, [pk, End.REDIRECT_URI.value], at="code_taken_at")

    def abandon(self, pk: uuid.UUID) -> "Authorization | None":
        """Give up on tokens that nobody fetched: as `take`, by primary key and after the expiry."""
        return self._leave(
            Step.GRANTED, Step.ABANDONED, "id = %s AND expires_at < statement_timestamp()", [pk], at="code_taken_at"
        )

    def _leave(
        self, step: Step, leads_to: Step, condition: str, values: list[object], *, at: str
    ) -> "Authorization | None":
        """`oauth_app` comes with the row, and costs no statement of its own."""
        rows = statements.run(steps.leaving(self.model, condition, at), [step.value, *values, leads_to.value])
        if not rows:
            return None
        columns = len(self.model._meta.concrete_fields)
        taken = statements.instance_of(self.model, rows[0][:columns])
        taken.oauth_app = statements.instance_of(OAuthApp, rows[0][columns:])
        return taken

    def begin(self, *, good_for: timedelta, **fields: Any) -> "Authorization":
        """As `create`, but that the time that the state has is counted by the clock of the database."""
        begun = self.model(**fields)
        begun.expires_at = timezone.now() + good_for
        values = statements.values_of(begun, expires_at=good_for)
        statements.run(steps.starting(self.model), values)
        begun._state.adding = False
        return begun

    def of_state(self, state: str) -> "Authorization | None":
        """The trip of a state, at whatever step it is now. Takes nothing."""
        return self.filter(state_hash=digest(state)).first()

    def knows(self, code: str) -> bool:
        """Whether `code` was issued by us, at whatever step it is now."""
        return self.filter(code_hash=digest(code)).exists()

    def unclaimed(self) -> "AuthorizationQuerySet":
        """Tokens that nobody fetched while the code was good, nor in the ten minutes after."""
        return self.filter(HOLDS_TOKENS, step=Step.GRANTED, expires_at__lt=Now() - timedelta(minutes=10))

    def forgotten(self) -> "AuthorizationQuerySet":
        """Tokens that were to be kept at once, and were not: whoever was about to do it has died, or the database."""
        return self.filter(
            HOLDS_TOKENS,
            step=Step.GRANTED,
            ends_at=End.PAGE,
            granted_at__lt=Now() - timedelta(seconds=30),
            expires_at__gte=Now() - timedelta(minutes=10),
        )

    def outdated(self) -> "AuthorizationQuerySet":
        """Ended for a day; nothing secret is left in them."""
        return self.filter(expires_at__lt=Now() - timedelta(hours=24)).exclude(step=Step.GRANTED)

    def open(self) -> "AuthorizationQuerySet":
        return self.filter(step__in=[Step.STARTED, Step.RETURNED], expires_at__gt=Now())


class Authorization(models.Model):
    """One trip. What it needs of the OAuth app and the provider is a snapshot, taken when it starts."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Those without an index of their own have one below
    oauth_app = models.ForeignKey(OAuthApp, on_delete=models.CASCADE, related_name="authorizations", db_index=False)
    provider = models.CharField(max_length=100)
    step = models.CharField(max_length=10, choices=Step, default=Step.STARTED)

    state_hash = models.BinaryField(max_length=32, unique=True)
    browser_hash = models.BinaryField(max_length=32)
    callback_url = models.CharField(max_length=2048)
    registered_redirect_uri = models.ForeignKey(RedirectURI, on_delete=models.SET_NULL, null=True, related_name="+")
    redirect_uri = models.CharField(max_length=2048, default="")
    ends_at = models.CharField(max_length=12, choices=End, default=End.REDIRECT_URI)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False
    )
    client_state = SealedBytesField(null=True)
    client_state_fingerprint = models.BinaryField(max_length=32, null=True)  # by it the console finds the trip
    client_state_json = SealedTextField(null=True)  # of a start link: what the token endpoint answers as `state`
    code_challenge = models.CharField(max_length=128, default="")  # the developer's
    code_verifier = SealedTextField(null=True)  # ours
    scopes = models.JSONField(default=list)
    snapshot = models.JSONField()
    debug = models.BooleanField(default=False)

    # of a reconnection: whose, and whether another upstream account may take its place
    credential = models.ForeignKey(
        "credentials.Credential", on_delete=models.CASCADE, null=True, related_name="authorizations", db_index=False
    )
    any_identity = models.BooleanField(default=False)

    code_hash = models.BinaryField(max_length=32, unique=True, null=True)
    tokens = SealedTextField(null=True)
    access_fingerprint = models.BinaryField(max_length=32, null=True)  # by it an import finds the trip it came from
    error = models.CharField(max_length=50, default="")
    error_description = models.CharField(max_length=256, default="")

    created_at = models.DateTimeField(default=timezone.now)
    state_taken_at = models.DateTimeField(null=True)
    granted_at = models.DateTimeField(null=True)
    code_taken_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()  # of the state, then of the code

    objects = AuthorizationQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["expires_at"], name="authorizations_by_expiry"),
            models.Index(  # few at any moment; the purge looks for them every minute
                fields=["expires_at"], name="authorizations_unclaimed", condition=HOLDS_TOKENS
            ),
            where_known("access_fingerprint", name="authorizations_by_token"),
            where_known("client_state_fingerprint", name="authorizations_by_state"),
            where_known("credential", name="authorizations_of_credential"),
            where_known("started_by", name="authorizations_of_user"),
            models.Index(fields=["oauth_app", "-created_at"], name="authorizations_listed"),
        ]

    def __str__(self) -> str:
        return f"{self.provider}, {self.get_step_display()}"

    @property
    def outcome(self) -> "Outcome":
        """How it has ended by now, in a word."""
        from credentials.models.outcome import Outcome

        return Outcome.of(self, timezone.now())

    @property
    def leads_nowhere(self) -> bool:
        """Whether the redirect URI at which it was to end is registered no more."""
        return self.ends_at == End.REDIRECT_URI and self.registered_redirect_uri_id is None

    def was_started_with(self, *, callback_url: str, browser: str) -> str:
        """Empty if the callback belongs to this trip; else which binding is broken. Compares in constant time."""
        if callback_url != self.callback_url:
            return "context_mismatch"
        if not hmac.compare_digest(digest(browser), bytes(self.browser_hash)):
            return "session_mismatch"
        return ""

    def is_for(self, visitor: int | None) -> bool:
        """Whether it may end in that user's browser: one of the console in that of whoever began it alone."""
        return is_for(self, visitor)

    def grant(self, grant: Grant, *, code: str) -> bool:
        """Keep what the provider gave, and issue `code`, one of ours, for it. Doing it twice is as good as once.

        False if the OAuth app was disabled or deleted, or the redirect URI that the trip leads to removed, while the
        provider was asked.
        """
        sealed = type(self)._meta.get_field("tokens").seal(msgspec.json.encode(grant).decode(), pk=self.pk)
        good_for = timedelta(seconds=settings.CODE_TTL)
        set_to = [Step.GRANTED.value, digest(code), sealed.envelope, Jsonb(self.snapshot)]
        set_to += [fingerprint(grant.access_token), good_for]
        where = [self.pk, End.REDIRECT_URI.value, Step.RETURNED.value, Step.GRANTED.value, digest(code)]
        return bool(statements.run(steps.granting(type(self)), [*set_to, *where]))

    def fail(self, error: str, description: str) -> None:
        """Note how the trip ended."""
        measures.count(Name.TRIPS, self.provider, "denied" if error == "access_denied" else "failed")
        self.step, self.error, self.error_description = Step.FAILED, error, description[:256]
        type(self).objects.filter(pk=self.pk).update(
            step=self.step, error=self.error, error_description=self.error_description
        )

    def accepts(self, *, redirect_uri: str | None, code_verifier: str | None) -> bool:
        """Whether the token request names what the start named. Source: RFC 6749, 4.1.3; RFC 7636, 4.6."""
        if redirect_uri is not None and expand(redirect_uri, self.provider) != self.redirect_uri:
            return False
        if not self.code_challenge:
            return code_verifier is None
        return hmac.compare_digest(s256(code_verifier or "").encode(), self.code_challenge.encode())

    def granted(self) -> Grant:
        """What the provider gave, opened."""
        return msgspec.json.decode(self.tokens or "", type=Grant)


class StartLinkQuerySet(models.QuerySet["StartLink"]):
    def open(self) -> "StartLinkQuerySet":
        return self.filter(used_at__isnull=True, expires_at__gt=Now())

    def by_token(self, token: str) -> "StartLink | None":
        return self.open().select_related("oauth_app").filter(token_hash=digest(token)).first()

    def outdated(self) -> "StartLinkQuerySet":
        """Good for nothing for a day, in which the page that says so can still name the way back."""
        return self.filter(expires_at__lt=Now() - timedelta(hours=24))


class StartLink(models.Model):
    """A start link with a row of its own: one trip, a limited time, nothing in it can be changed.

    The developer's backend makes one for five minutes, and so does the console for whoever sets out at once; one that
    is sent along to an account's owner is good for three days.
    """

    LIFETIME = timedelta(minutes=5)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    oauth_app = models.ForeignKey(OAuthApp, on_delete=models.CASCADE, related_name="start_links")
    token_hash = models.BinaryField(max_length=32, unique=True)
    query = SealedTextField()  # the parameters of a start URL, encoded
    variables = models.JSONField(default=dict)
    client_state_json = SealedTextField(null=True)
    credential = models.ForeignKey(
        "credentials.Credential", on_delete=models.CASCADE, null=True, related_name="start_links"
    )
    any_identity = models.BooleanField(default=False)
    ends_at = models.CharField(max_length=12, choices=End, default=End.REDIRECT_URI)
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    objects = StartLinkQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["expires_at"], name="start_links_by_expiry")]

    def __str__(self) -> str:
        return f"start link of {self.created_at}"

    def use(self) -> bool:
        """Whether this call is the one that uses it up."""
        return bool(type(self).objects.open().filter(pk=self.pk).update(used_at=Now()))

    def reopen(self) -> bool:
        """Take back a use by which nobody could leave. Whether the link is good again."""
        rows = type(self).objects.filter(pk=self.pk)
        rows.update(used_at=None)
        return rows.open().exists()

    def is_for(self, visitor: int | None) -> bool:
        """Whether that user may open it: one of the console whoever made it alone."""
        return is_for(self, visitor)


def is_for(bound: Authorization | StartLink, visitor: int | None) -> bool:
    """Whoever began it in the console keeps what comes, so it must be his own account: nobody else is to consent.

    `visitor`: the primary key of the user who is signed in; None for nobody.
    """
    if bound.ends_at not in {End.CONSOLE, End.TRIAL}:
        return True
    return visitor is not None and bound.started_by_id == visitor


def new_code() -> str:
    """One number, written in letters and digits: as good as one that is drawn letter by letter, at a fifth of it."""
    number, code = secrets.randbelow(len(CODE_ALPHABET) ** CODE_LENGTH), []
    for _ in range(CODE_LENGTH):
        number, place = divmod(number, len(CODE_ALPHABET))
        code.append(CODE_ALPHABET[place])
    return "".join(code)


def s256(code_verifier: str) -> str:
    """The challenge of a PKCE verifier. Source: RFC 7636, 4.2."""
    return base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).rstrip(b"=").decode()
