"""
Credentials come in: the object that the token endpoint gave, a key that somebody typed, a row of an export.

An upstream account is one credential, however often and by however many at once it is posted. What tells accounts apart
is hashed with a key of its own: its identity, where the kind has one; what stands in for it, where an import lacks it;
else the secret itself.

Many come in together: a batch is one transaction. It is cut into lots, of which no import can be found by what another
of its lot writes. Each lot is looked up and written, and what was not, since somebody else has just made it, is tried
again.
"""

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec
from django.db import transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials import announcing, health, matching
from credentials.imported import Import, granted_scopes, identity_hash, tokens_of
from credentials.models import Authorization, Credential, Token, Tokens, fingerprint
from credentials.models.renewing import renewal, replace_all
from credentials.models.storing import insert_all, update_all
from credentials.models.token import sealed
from oauth_apps.models import Account
from providers.kinds import PropertiesNotAccepted

# Of two that make the same credential, one finds the other's the second time; and so does one of several that are the
# same credential by different signs: it is renewed by one after the other.
TRIES = 6


class Kept(NamedTuple):
    credential: Credential
    is_new: bool


Outcome = Kept | PropertiesNotAccepted


class Arrival(msgspec.Struct, eq=False):
    """An import under way. `variables`: where its account's provider is; `trip`: the one that it came of."""

    given: Import
    variables: dict[str, str] = {}
    trip: Authorization | None = None
    outcome: Outcome | None = None

    def __repr__(self) -> str:
        return f"Arrival({self.given!r})"


# ---- the journey -----------------------------------------------------------------------------------------------------


@sensitive_variables()
def keep(account: Account, given: Import) -> Kept:
    """The one credential of that upstream account, with what is newer; and whether it is new.

    Raises PropertiesNotAccepted: two credentials could be meant, a variable breaks its rule, the id is another's.
    """
    (outcome,) = keep_all(account, [given])
    if isinstance(outcome, PropertiesNotAccepted):
        raise outcome
    return outcome


@sensitive_variables()
def keep_all(account: Account, imports: Sequence[Import]) -> list[Outcome]:
    """What becomes of each, as if one came after the other: in few statements, and all in one transaction.

    What is not accepted undoes nothing of the others. Raises DatabaseError with nothing kept of any.
    """
    with transaction.atomic(savepoint=False):
        return [outcome for lot in matching.lots(imports) for outcome in keep_lot(account, lot)]


@sensitive_variables()
def keep_lot(account: Account, lot: Sequence[Import]) -> list[Outcome]:
    """As `keep_all`, of imports of which none can be found by what another writes."""
    arrivals = [arrived(given) for given in lot]
    for _ in range(TRIES):
        if waiting := [arrival for arrival in arrivals if arrival.outcome is None]:
            keep_some(account, waiting)
    return [arrival.outcome or another_has_the_id() for arrival in arrivals]


def arrived(given: Import) -> Arrival:
    try:
        return Arrival(given, variables=given.variables)
    except PropertiesNotAccepted as exc:
        return Arrival(given, outcome=exc)


@sensitive_variables()
def keep_some(account: Account, arrivals: Sequence[Arrival]) -> None:
    """Those that have no outcome afterwards are to be looked up again."""
    imports = [arrival.given for arrival in arrivals]
    owners = matching.owners_of(imports)  # first: the credential of an id that is known here is seen by the next look
    matches = matching.credentials_of(account, imports)
    new: list[Arrival] = []
    known: dict[uuid.UUID, tuple[Arrival, Credential]] = {}
    for arrival, match, trip in zip(arrivals, matches, matching.trips_of(imports), strict=True):
        arrival.trip = trip
        if isinstance(match, PropertiesNotAccepted):
            arrival.outcome = match
        elif is_another_ones(arrival.given.id, match, owners, account):
            arrival.outcome = another_has_the_id()
        elif match is None:
            new.append(arrival)
        else:
            known.setdefault(match.pk, (arrival, match))  # another that is the same one waits for the next try
    update(known)
    create(account, new, taken=owners.keys())


def is_another_ones(
    pk: uuid.UUID | None, match: Credential | None, owners: Mapping[uuid.UUID, uuid.UUID], account: Account
) -> bool:
    """Whether the exported id is that of another credential of this account. What others have is nobody's business."""
    return pk is not None and owners.get(pk) == account.pk and (match is None or match.pk != pk)


def another_has_the_id() -> PropertiesNotAccepted:
    return PropertiesNotAccepted({"id": ["Belongs to another credential."]})


# ---- new ones --------------------------------------------------------------------------------------------------------


@sensitive_variables()
def create(account: Account, arrivals: Sequence[Arrival], *, taken: Collection[uuid.UUID]) -> None:
    """But for those that somebody else has just made. `taken`: ids that somebody's credentials have."""
    made = [(arrival, created(account, arrival, taken)) for arrival in arrivals]
    inserted = insert_all([credential for _, credential in made])
    kept = [(arrival, credential) for arrival, credential in made if credential.pk in inserted]
    for arrival, credential in kept:
        arrival.outcome = Kept(credential, is_new=True)
    announcing.created([credential for _, credential in kept])


@sensitive_variables()
def created(account: Account, arrival: Arrival, taken: Collection[uuid.UUID]) -> Credential:
    """With its tokens, and not in the database yet."""
    given, now = arrival.given, timezone.now()
    credential = Credential(
        id=uuid.uuid4() if given.id is None or given.id in taken else given.id,
        account=account,
        oauth_app=given.oauth_app,
        provider=given.kind.provider.slug,
        kind=given.kind.name,
        name=given.name or "",
        metadata=given.metadata or {},
        created_at=given.created_at or now,
        health_time=now,
    )
    apply(credential, given, arrival.variables, arrival.trip)
    tokens = tokens_of(given, arrival.trip, now)
    row = Token(credential=credential, obtained_at=tokens.obtained_at, granted_at=tokens.granted_at or now)
    for column, value in sealed(credential.pk, tokens).items():
        setattr(row, column, value)
    learn_health(credential, row)
    return credential


def learn_health(credential: Credential, token: Token) -> None:
    """Nothing was observed yet, but something may be known."""
    credential.token = token
    status, notes = health.assess(credential, token)
    if (status, notes) != (credential.health_status, credential.health_notes):
        credential.health_status, credential.health_notes, credential.health_time = status, notes, timezone.now()


# ---- those that are there --------------------------------------------------------------------------------------------


@sensitive_variables()
def update(known: Mapping[uuid.UUID, tuple[Arrival, Credential]]) -> None:
    """Each credential, whose row is locked, with what is newer in its import."""
    if not known:
        return
    before = {token.pk: token for token in Token.objects.select_for_update().filter(pk__in=known).order_by("pk")}
    newer = {
        pk: tokens
        for pk, (arrival, credential) in known.items()
        if (tokens := updated(credential, arrival, before[pk])) is not None
    }
    replace_all([renewal(before[pk], tokens) for pk, tokens in newer.items()])
    now_stored = before | {token.pk: token for token in Token.objects.filter(pk__in=newer)}
    for pk, (arrival, credential) in known.items():
        learn_health(credential, now_stored[pk])
        arrival.outcome = Kept(credential, is_new=False)
    update_all([credential for _, credential in known.values()])
    announcing.updated([(known[pk][1], before[pk]) for pk in newer])


@sensitive_variables()
def updated(credential: Credential, arrival: Arrival, stored: Token) -> Tokens | None:
    """Take over what is newer; name and metadata stay as they were, unless they were sent. Returns the tokens that are
    to take the place of the stored ones, if they are.
    """
    given, now = arrival.given, timezone.now()
    tokens = tokens_of(given, arrival.trip, now)
    if given.name is not None:
        credential.name = given.name
    if given.metadata is not None:
        credential.metadata = given.metadata
    credential.updated_at = now
    if given.kind.declared is not None or is_newer(tokens, stored, arrival.trip):
        apply(credential, given, arrival.variables, arrival.trip)
        return tokens
    if not credential.is_identified:
        identify(credential, given)  # whose tokens they are is news, even if they are none
    return None


@sensitive_variables()
def is_newer(tokens: Tokens, stored: Token, trip: Authorization | None) -> bool:
    """Whether the import's tokens are to take the place of the stored ones.

    Not if they are the same, nor if the stored ones came out of them by a refresh.
    """
    if tokens.refresh_token is not None:
        if stored.is_predecessor(tokens.refresh_token) or stored.has_replaced(tokens.refresh_token):
            return False
        if bytes(stored.refresh_fingerprint or b"") == fingerprint(tokens.refresh_token):
            return tokens.expires_at is not None and tokens.access_token is not None and _ends_later(tokens, stored)
    if trip is not None and trip.granted_at is not None:
        return trip.granted_at > stored.obtained_at
    if stored.needs_reauthorization or tokens.expires_at is None or stored.expires_at is None:
        return True
    return _ends_later(tokens, stored)


def _ends_later(tokens: Tokens, stored: Token) -> bool:
    return tokens.expires_at is not None and (stored.expires_at is None or tokens.expires_at > stored.expires_at)


# ---- what a credential takes over ------------------------------------------------------------------------------------


@sensitive_variables()
def apply(credential: Credential, given: Import, variables: dict[str, str], trip: Authorization | None) -> None:
    """Everything of the import that is not in the tokens' row; `save()` writes it."""
    identify(credential, given)
    credential.variables = variables
    if secrets := given.secrets:
        credential.secrets = json.dumps(secrets)
        credential.secret_names = list(secrets)
    granted = granted_scopes(given)
    credential.scopes_granted = granted
    if trip is not None:
        credential.scopes_requested, credential.redirect_uri = trip.scopes, trip.redirect_uri
    elif not credential.scopes_requested:
        credential.scopes_requested = granted


def identify(credential: Credential, given: Import) -> None:
    """Take over what tells whose it is, with everything else that is no secret. What is known is not forgotten."""
    is_identified = bool(given.kind.identity(given.values))
    if is_identified or not credential.identity_hash or not credential.is_identified:
        credential.identity_hash, credential.is_identified = identity_hash(given), is_identified
    credential.properties = credential.properties | given.plain
