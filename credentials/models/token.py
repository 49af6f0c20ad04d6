"""What changes with every refresh: a row of its own, so that the stable part of a credential is not written again."""

import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

import msgspec
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import connections, models
from django.db.models import F, Func, Q, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.utils import timezone

from credentials.models.fingerprint import fingerprint
from providers import wire
from sequin_auth.lib.encryption import KeyIdOf, Sealed, SealedTextField
from sequin_auth.lib.postgres.statements import columns_of, instance_of

BEGINNING = 8  # bytes of a fingerprint that are kept of a replaced refresh token
REMEMBERED = 64 * BEGINNING
EVENTS = 20  # refreshes that are remembered of a credential
LEASE = timedelta(seconds=2 * wire.DEADLINE + 15)  # longer than the two calls that a refresh may be


class Expiry(models.TextChoices):
    """Where the end of an access token is known from, the most dependable first."""

    EXPIRES_IN = "expires_in"  # the provider's answer
    EXPIRES_AT = "expires_at"
    TOKEN = "token"  # its own `exp`
    INTROSPECTION = "introspection"
    CATALOGUE = "catalogue"  # the documented lifetime
    POLICY = "policy"  # nobody says: taken for an hour
    NEVER = "never"  # it does not end
    UNKNOWN = "", "not known yet"


class Failure(models.TextChoices):
    """Why there is no newer token. The first six end it: nobody but the account's owner can help."""

    REFRESH_TOKEN_REFUSED = "refresh_token_refused"
    ROTATION_INTERRUPTED = "rotation_interrupted"  # an answer was lost, and with it, it seems, the refresh token
    IDENTITY_CHANGED = "identity_changed"  # the provider answered with somebody else's tokens
    CREDENTIALS_REFUSED = "credentials_refused"  # of a kind that mints: its own client id, secret or installation
    NO_REFRESH_TOKEN = "no_refresh_token"  # the access token has ended, and there is nothing to renew it with
    REVOKED = "revoked"
    CLIENT_REFUSED = "client_refused"  # the OAuth app's, and its health's business
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    NOT_UNDERSTOOD = "not_understood"
    REFUSED = "refused"  # for another reason than the refresh token
    NOT_CALLED = "not_called"  # forbidden here: address, variables, catalogue
    UNREADABLE = "unreadable"  # a seal does not open
    NONE = "", "none"


REFRESHED = "refreshed"  # what the history says of a refresh that did not fail

TERMINAL = (
    Failure.REFRESH_TOKEN_REFUSED,
    Failure.ROTATION_INTERRUPTED,
    Failure.IDENTITY_CHANGED,
    Failure.CREDENTIALS_REFUSED,
    Failure.NO_REFRESH_TOKEN,
    Failure.REVOKED,
)


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What a credential's tokens become: after a refresh, a reconnection, an import. All times are UTC."""

    access_token: str | None
    refresh_token: str | None
    token_type: str = "Bearer"
    scope: str = ""  # in the provider's own form
    obtained_at: datetime
    granted_at: datetime | None = None  # None: as before
    expires_at: datetime | None
    expiry_source: str
    refresh_expires_at: datetime | None
    due_at: datetime | None

    def __repr__(self) -> str:
        return "Tokens(…)"


class TokenQuerySet(models.QuerySet["Token"]):
    def lease(self, token: "Token", *, owner: uuid.UUID) -> "Token | None":
        """Take the lease on this very version; None if somebody holds it, or the version is another by now.

        The attempt is committed before anything is sent. A lease that ran out without being given back is a sign that
        its owner died on the way: `interrupted_at` then says since when it is uncertain what the provider did.
        """
        free = "(lease_until IS NULL OR lease_until < statement_timestamp()) AND credential_id = %s AND version = %s"
        return next(iter(self._lease(free, [token.pk, token.version], owner)), None)

    def lease_due(self, pks: Sequence[uuid.UUID], *, owner: uuid.UUID) -> list["Token"]:
        """Take the lease on those of `pks` that are due and that nobody holds or is just taking."""
        free = "(lease_until IS NULL OR lease_until < statement_timestamp())"
        return self._lease(f"{free} AND due_at <= now() AND credential_id = ANY(%s)", [list(pks)], owner)

    def _lease(self, condition: str, values: list[Any], owner: uuid.UUID) -> list["Token"]:
        table = self.model._meta.db_table
        parameters: list[Any] = [*values, owner, LEASE]
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                f"""
                WITH free AS (
                    SELECT credential_id AS id, lease_owner AS dead FROM {table}
                    WHERE {condition}
                    FOR UPDATE SKIP LOCKED
                )
                UPDATE {table} SET
                    lease_owner = %s,
                    lease_until = statement_timestamp() + %s,
                    interrupted_at = CASE WHEN free.dead IS NULL THEN {table}.interrupted_at
                        ELSE coalesce({table}.interrupted_at, {table}.lease_until) END
                FROM free WHERE {table}.credential_id = free.id
                RETURNING {columns_of(self.model)}
                """,  # noqa: S608 (names of ours, no values)
                parameters,
            )
            return [instance_of(self.model, row) for row in cursor.fetchall()]

    def renew(self, token: "Token", tokens: Tokens, outcome: str = "") -> bool:
        """Put `tokens` in the place of this version, and give the lease back: one statement, which no reader can see
        half of. False if the version is another by now, or the credential is gone: then they are nobody's.

        Whoever holds the lease: an answer that came late is worth more than the attempt that it overtakes.
        `outcome`: for the history, if the tokens come of a refresh and not of an import or a reconnection.
        """
        changes = with_event(outcome) | sealed(token.pk, tokens)
        changes |= {
            "version": F("version") + 1,
            "attempts": F("attempts") + 1,
            "lease_owner": None,
            "lease_until": None,
            "interrupted_at": None,
            "failure": Failure.NONE,
            "failed_at": None,
            "failures": 0,
            "retry_at": None,
        }
        changes |= with_predecessor_of(token, changes["refresh_fingerprint"])
        return bool(self.filter(pk=token.pk, version=token.version).update(**changes))

    def renew_refresh_token(self, token: "Token", refresh_token: str, **changes: Any) -> bool:
        """Keep a new refresh token that came without an access token, and give the lease back."""
        changes |= with_event(changes.get("failure", "")) | {
            "refresh_token": _sealed("refresh_token", refresh_token, token.pk),
            "refresh_fingerprint": fingerprint(refresh_token),
            **token.with_predecessor(),
            "version": F("version") + 1,
            "attempts": F("attempts") + 1,
            "lease_owner": None,
            "lease_until": None,
        }
        return bool(self.filter(pk=token.pk, version=token.version).update(**changes))

    def give_back(self, token: "Token", **changes: Any) -> bool:
        """Give the lease back without new tokens. False if it was not ours any more, or the version is another."""
        changes |= with_event(changes.get("failure", ""))
        held = self.filter(pk=token.pk, version=token.version, lease_owner=token.lease_owner)
        return bool(held.update(lease_owner=None, lease_until=None, attempts=F("attempts") + 1, **changes))

    def is_leased_as(self, token: "Token") -> bool:
        """Whether somebody holds the lease still, and nothing has come of it yet."""
        same = {"pk": token.pk, "version": token.version, "attempts": token.attempts}
        return self.filter(lease_until__gt=Now(), **same).exists()

    def with_refresh_token(self, refresh_token: str, *, oauth_app_id: uuid.UUID) -> "Token | None":
        """Whose refresh token that is, or was until the last rotation."""
        known_by = fingerprint(refresh_token)
        either = Q(refresh_fingerprint=known_by) | Q(previous_fingerprint=known_by)
        of_app = self.select_related("credential__oauth_app").filter(credential__oauth_app=oauth_app_id)
        return of_app.filter(either).order_by("credential__created_at").first()

    def replaced(self, refresh_token: str, *, oauth_app_id: uuid.UUID) -> bool:
        """Whether that is one that a stored credential had before its last two: whoever shows it to the provider ends
        them all. It reads every credential of the app, but only for a refresh token that none of them has.
        """
        of_app = self.filter(credential__oauth_app=oauth_app_id)
        at = RawSQL("position(%s::bytea IN replaced)", [fingerprint(refresh_token)[:BEGINNING]])
        return any(token.has_replaced(refresh_token) for token in of_app.annotate(at=at).filter(at__gt=0)[:10])

    def due(self, *, limit: int) -> list[tuple[uuid.UUID, str]]:
        """What the schedule has to refresh now, with its provider: recently used ones first."""
        now = timezone.now()
        free = Q(lease_until__isnull=True) | Q(lease_until__lt=now)
        rows = self.filter(free, due_at__lte=now).order_by(F("used_at").desc(nulls_last=True), "due_at")
        return list(rows.values_list("pk", "credential__provider")[:limit])

    def note_uses(self, uses: Iterable[tuple[uuid.UUID, datetime]]) -> None:
        """Write down when credentials were last read, all in one statement.

        Rows that somebody holds are passed over: two statements that lock many rows could else wait for each other.
        """
        table = self.model._meta.db_table
        pks, times = zip(*uses, strict=True)
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                f"""
                UPDATE {table} SET used_at = uses.used_at
                FROM unnest(%s::uuid[], %s::timestamptz[]) AS uses (id, used_at)
                JOIN (
                    SELECT credential_id AS id FROM {table} WHERE credential_id = ANY(%s) FOR UPDATE SKIP LOCKED
                ) AS free USING (id)
                WHERE {table}.credential_id = free.id
                """,  # noqa: S608 (names of ours, no values)
                [list(pks), list(times), list(pks)],
            )


class Token(models.Model):
    """The tokens of one credential, when they end, and how renewing them goes.

    `version` grows with every change of the tokens, and when they are revoked; `attempts` with every refresh that came
    to an end, however it did.
    """

    credential = models.OneToOneField(
        "credentials.Credential", on_delete=models.CASCADE, related_name="token", primary_key=True
    )
    version = models.PositiveIntegerField(default=1)

    access_token = SealedTextField(null=True)
    refresh_token = SealedTextField(null=True)
    token_type = models.CharField(max_length=50, default="Bearer")
    scope = models.TextField(default="")  # as the provider says it
    obtained_at = models.DateTimeField()
    granted_at = models.DateTimeField()  # when the account's owner last agreed, as far as is known
    expires_at = models.DateTimeField(null=True)
    expiry_source = models.CharField(max_length=20, choices=Expiry, default=Expiry.UNKNOWN)
    refresh_expires_at = models.DateTimeField(null=True)
    refresh_fingerprint = models.BinaryField(max_length=32, null=True)
    previous_fingerprint = models.BinaryField(max_length=32, null=True)
    replaced = models.BinaryField(max_length=REMEMBERED, default=b"")  # the beginnings of the ones before, newest first

    due_at = models.DateTimeField(null=True)  # when the schedule refreshes it; NULL: it does not
    used_at = models.DateTimeField(null=True)
    lease_owner = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    attempts = models.PositiveBigIntegerField(default=0)
    interrupted_at = models.DateTimeField(null=True)  # since when an answer of the provider is missing
    failure = models.CharField(max_length=30, choices=Failure, default=Failure.NONE)
    failed_at = models.DateTimeField(null=True)  # the first time in a row
    failures = models.PositiveIntegerField(default=0)  # in a row
    retry_at = models.DateTimeField(null=True)
    history = ArrayField(models.CharField(max_length=60), default=list)  # of refreshes; see `with_event`

    objects = TokenQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["due_at"], name="tokens_due", condition=Q(due_at__isnull=False)),
            models.Index(fields=["refresh_fingerprint"], name="tokens_by_refresh_token"),
            models.Index(fields=["previous_fingerprint"], name="tokens_by_predecessor"),
            models.Index(
                fields=["refresh_expires_at"], name="tokens_ending", condition=Q(refresh_expires_at__isnull=False)
            ),
            # Of a few pages, for the start's question whether a key is missing
            BrinIndex(KeyIdOf("access_token"), name="tokens_by_key", autosummarize=True),
            BrinIndex(KeyIdOf("refresh_token"), name="tokens_by_refresh_key", autosummarize=True),
        ]

    def __str__(self) -> str:
        return f"version {self.version}"

    @property
    def has_access_token(self) -> bool:
        """Without opening the seal."""
        return vars(self).get("access_token") is not None

    @property
    def has_refresh_token(self) -> bool:
        return vars(self).get("refresh_token") is not None

    @property
    def needs_reauthorization(self) -> bool:
        return self.failure in TERMINAL

    def lasts(self, seconds: float) -> bool:
        """Whether the access token is known to be good for so long."""
        if self.expiry_source == Expiry.UNKNOWN or not self.has_access_token:
            return False
        return self.expires_at is None or self.expires_at > timezone.now() + timedelta(seconds=seconds)

    def with_predecessor(self) -> dict[str, bytes]:
        """The columns, when this row's refresh token is about to be replaced."""
        gone = bytes(self.refresh_fingerprint or b"")
        return {"previous_fingerprint": gone, "replaced": (gone[:BEGINNING] + bytes(self.replaced))[:REMEMBERED]}

    def has_replaced(self, refresh_token: str) -> bool:
        """Whether `refresh_token` is one of those that came before the present one."""
        beginning, replaced = fingerprint(refresh_token)[:BEGINNING], bytes(self.replaced)
        return any(replaced[at : at + BEGINNING] == beginning for at in range(0, len(replaced), BEGINNING))

    def is_predecessor(self, refresh_token: str) -> bool:
        """Whether `refresh_token` is the one before the present one."""
        return self.previous_fingerprint is not None and bytes(self.previous_fingerprint) == fingerprint(refresh_token)


def with_predecessor_of(token: Token, refresh_fingerprint: bytes | None) -> dict[str, bytes]:
    """The columns, when `token`'s refresh token becomes that of `refresh_fingerprint`: none if it stays the same."""
    is_same = bytes(token.refresh_fingerprint or b"") == (refresh_fingerprint or b"")
    return {} if is_same else token.with_predecessor()


def with_event(outcome: str) -> dict[str, Any]:
    """The column, when a refresh has come to its end: its time and `outcome` (REFRESHED or a failure) go in front.

    By the statement that writes the outcome, so that no event of another refresh is lost. Empty: it was none.
    """
    if not outcome:
        return {}
    event = Value([f"{int(time.time())} {outcome}"], output_field=Token._meta.get_field("history"))
    return {"history": Func(event, F("history"), template=f"(%(expressions)s)[1:{EVENTS}]", arg_joiner=" || ")}


def sealed(pk: uuid.UUID, tokens: Tokens) -> dict[str, Any]:
    """The columns of `tokens`, for `QuerySet.update()`: all of one grant, so that no two grants are ever mixed."""
    columns: dict[str, Any] = {
        "token_type": tokens.token_type[:50],
        "scope": tokens.scope,
        "obtained_at": tokens.obtained_at,
        "expires_at": tokens.expires_at,
        "expiry_source": tokens.expiry_source,
        "refresh_expires_at": tokens.refresh_expires_at,
        "due_at": tokens.due_at,
        "access_token": _sealed("access_token", tokens.access_token, pk),
        "refresh_token": _sealed("refresh_token", tokens.refresh_token, pk),
        "refresh_fingerprint": None if tokens.refresh_token is None else fingerprint(tokens.refresh_token),
    }
    if tokens.granted_at is not None:
        columns["granted_at"] = tokens.granted_at
    return columns


def _sealed(column: str, value: str | None, pk: uuid.UUID) -> Sealed | None:
    field = Token._meta.get_field(column)
    assert isinstance(field, SealedTextField)  # noqa: S101 - one of two
    return None if value is None else field.seal(value, pk=pk)
