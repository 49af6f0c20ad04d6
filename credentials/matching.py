"""What is stored already of imports that come: looked up for many at once, so that each costs no statements of its own.

The rows of credentials are locked, in the order of their ids, so that two imports of the same ones do not wait for each
other.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from django.db.models import Q
from django.views.decorators.debug import sensitive_variables

from credentials.imported import Import, identity_hash
from credentials.models import Authorization, Credential, CredentialQuerySet, Step, Token, fingerprint
from oauth_apps.models import Account
from providers.kinds import PropertiesNotAccepted

Match = Credential | PropertiesNotAccepted | None
Key = tuple[str, uuid.UUID | None, bytes]  # kind, OAuth app, and a hash


def key_of(given: Import, known_by: bytes) -> Key:
    return given.kind.name, given.oauth_app.pk if given.oauth_app else None, known_by


# ---- which of them can meet ------------------------------------------------------------------------------------------


def lots(imports: Sequence[Import]) -> Iterator[Sequence[Import]]:
    """In their order, and none of a lot can be found by what another of it writes."""
    lot: list[Import] = []
    marks: set[object] = set()
    for given in imports:
        own = set(marks_of(given))
        if not marks.isdisjoint(own):
            yield lot
            lot, marks = [], set()
        lot.append(given)
        marks |= own
    if lot:
        yield lot


@sensitive_variables()
def marks_of(given: Import) -> Iterator[object]:
    """Everything by which this import can be found, or finds another."""
    yield key_of(given, identity_hash(given))
    if refresh_token := given.token_value("refresh_token"):
        yield "refresh_token", key_of(given, fingerprint(refresh_token))
    if given.kind.fallback_identity(given.values):  # which may move a credential from one to another
        yield "fallback", key_of(given, b"")
    if given.id is not None:
        yield given.id


# ---- their credentials -----------------------------------------------------------------------------------------------


@sensitive_variables()
def credentials_of(account: Account, imports: Sequence[Import]) -> list[Match]:
    """The credential that each of them is, with its row locked; PropertiesNotAccepted if it could be several."""
    rows = Credential.objects.of(account).select_for_update(of=("self",)).order_by("pk")
    found: list[Match] = list(matching_by_identity(rows, imports))
    unidentified = dict[int, Import]()
    for place, given in enumerate(imports):
        if found[place] is None and given.kind.fallback_identity(given.values):
            found[place] = matching_by_fallback(rows, given)
        elif found[place] is None and not given.kind.identity(given.values) and given.token_value("refresh_token"):
            unidentified[place] = given
    for place, match in matching_by_refresh_token(account, rows, unidentified):
        found[place] = match
    return found


def matching_by_identity(rows: CredentialQuerySet, imports: Sequence[Import]) -> list[Credential | None]:
    keys = [key_of(given, identity_hash(given)) for given in imports]
    hashes: dict[tuple[str, uuid.UUID | None], list[bytes]] = defaultdict(list)
    for kind, oauth_app_id, known_by in keys:
        hashes[kind, oauth_app_id].append(known_by)
    either = [Q(kind=kind, oauth_app=app, identity_hash__in=some) for (kind, app), some in hashes.items()]
    found = {
        (row.kind, row.oauth_app_id, bytes(row.identity_hash)): row for row in rows.filter(Q(*either, _connector=Q.OR))
    }
    return [found.get(key) for key in keys]


def matching_by_fallback(rows: CredentialQuerySet, given: Import) -> Match:
    """An import with an identity takes over one without; one without is whichever is there, if it is the only one."""
    candidates = rows.filter(
        kind=given.kind.name,
        oauth_app=given.oauth_app,
        properties__contains=given.kind.fallback_identity(given.values),
    )
    if given.kind.identity(given.values):
        return candidates.filter(is_identified=False).first()
    found = list(candidates[:2])
    if len(found) > 1:
        names = [name for name, prop in given.kind.properties.items() if prop.identity]
        return PropertiesNotAccepted({name: ["Is required: several credentials could be meant."] for name in names})
    return found[0] if found else None


@sensitive_variables()
def matching_by_refresh_token(
    account: Account, rows: CredentialQuerySet, imports: Mapping[int, Import]
) -> Iterator[tuple[int, Credential]]:
    """Whose refresh token it was until the last rotation, or is."""
    if not imports:
        return
    keys = {place: key_of(given, fingerprint(given.token_value("refresh_token"))) for place, given in imports.items()}
    fingerprints = [known_by for _, _, known_by in keys.values()]
    either = Q(previous_fingerprint__in=fingerprints) | Q(refresh_fingerprint__in=fingerprints)
    tokens = Token.objects.filter(either, credential__account=account).select_related("credential")
    before: dict[Key, uuid.UUID] = {}
    now: dict[Key, uuid.UUID] = {}
    for token in tokens.order_by("pk"):
        of = token.credential.kind, token.credential.oauth_app_id
        before.setdefault((*of, bytes(token.previous_fingerprint or b"")), token.pk)
        now.setdefault((*of, bytes(token.refresh_fingerprint or b"")), token.pk)
    whose = {place: pk for place, key in keys.items() if (pk := before.get(key) or now.get(key))}
    found = {row.pk: row for row in rows.filter(pk__in=whose.values())}
    yield from ((place, found[pk]) for place, pk in whose.items() if pk in found)


# ---- what else is there ----------------------------------------------------------------------------------------------


@sensitive_variables()
def trips_of(imports: Sequence[Import]) -> list[Authorization | None]:
    """The trip on which the tokens of each came, if it was made here and not long ago."""
    keys = [trip_key_of(given) for given in imports]
    known = [key for key in keys if key]
    if not known:
        return [None] * len(imports)
    trips = Authorization.objects.filter(
        oauth_app__in={app for app, _ in known}, access_fingerprint__in=[by for _, by in known], step=Step.EXCHANGED
    )
    found: dict[tuple[uuid.UUID, bytes], Authorization] = {}
    for trip in trips.order_by("pk"):
        found.setdefault((trip.oauth_app_id, bytes(trip.access_fingerprint or b"")), trip)
    return [found.get(key) if key else None for key in keys]


def trip_key_of(given: Import) -> tuple[uuid.UUID, bytes] | None:
    access_token = given.token_value("access_token")
    if given.oauth_app is None or not access_token:
        return None
    return given.oauth_app.pk, fingerprint(access_token)


def owners_of(imports: Sequence[Import]) -> dict[uuid.UUID, uuid.UUID]:
    """Whose credentials have the ids that the imports have."""
    ids = [given.id for given in imports if given.id is not None]
    return dict(Credential.objects.filter(pk__in=ids).values_list("pk", "account")) if ids else {}
