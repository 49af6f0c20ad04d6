"""A trip that ended with us, not with a developer's backend: what came is kept as a credential."""

import structlog
from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from credentials import imports, reconnect
from credentials.link.giving_back import give_back
from credentials.models import Authorization, Credential
from credentials.reconnect import ReconnectionRefused
from oauth_apps import audit
from providers.errors import AnswerNotUnderstood
from providers.kinds import PropertiesNotAccepted
from sequin_auth.lib import measures
from sequin_auth.lib.encryption import Unreadable
from sequin_auth.lib.measures import Name

log = structlog.get_logger("credentials")

Refusal = ReconnectionRefused | AnswerNotUnderstood | PropertiesNotAccepted | Unreadable | LookupError


class NotKept(Exception):
    """There is nothing to keep, or it must not be kept; `str()` says why. Nothing was changed, the tokens are gone."""


class Withdrawn(LookupError):
    """The OAuth app starts and exchanges nothing any more."""


@sensitive_variables()
def keep(authorization: Authorization) -> Credential:
    """The credential that the trip was for, or that it makes, with the tokens of the trip. Of two calls, one gets them.

    The trip is over in the same transaction in which the credential stands, so that no trip says "kept" of tokens that
    are not. Raises NotKept; whatever nobody foresaw, a DatabaseError above all, leaves trip and tokens as they were,
    and a second call may succeed.
    """
    with transaction.atomic(durable=True):
        hold_credential(authorization)
        taken = Authorization.objects.claim(authorization.pk)
        if taken is None:
            raise NotKept("What this trip brought was taken already, or has been erased.")
        try:
            with transaction.atomic():
                kept = stored(taken)
                measures.count(Name.TRIPS, taken.provider, "connected")
                return kept
        except (ReconnectionRefused, AnswerNotUnderstood, PropertiesNotAccepted, Unreadable, LookupError) as exc:
            refusal: Refusal = exc
            taken.fail(reason_of(exc), in_words(exc))
    log.warning("not_kept", authorization=str(taken.pk), reason=taken.error)
    give_back(taken, taken.oauth_app)  # an outbound call, so after the commit
    raise NotKept(in_words(refusal)) from refusal


def hold_credential(authorization: Authorization) -> None:
    """Lock the credential that is renewed, before its trip: a deletion takes them in that order, too."""
    if authorization.credential_id is not None:
        Credential.objects.select_for_update(of=("self",)).filter(pk=authorization.credential_id).first()


@sensitive_variables()
def stored(taken: Authorization) -> Credential:
    """Nothing but the database is asked. Raises each Refusal."""
    oauth_app = taken.oauth_app
    if not oauth_app.enabled:
        raise Withdrawn("The OAuth app was disabled meanwhile.")
    grant = taken.granted()
    if taken.credential_id is not None:
        deed, credential = "reconnected", Credential.objects.whole().get(pk=reconnect.replace(taken, oauth_app, grant))
    else:
        deed, (credential, _) = "connected", imports.keep(oauth_app.account, reconnect.as_import(oauth_app, grant))
    detail = f"trip {taken.pk}"
    audit.record(f"credential.{deed}", account=credential.account_id, to=credential, detail=detail)
    return credential


def reason_of(refusal: Refusal) -> str:
    """What the trip's row says of it."""
    match refusal:
        case ReconnectionRefused():
            return refusal.reason
        case Withdrawn():
            return "link_withdrawn"
        case _:
            return "not_kept"


def in_words(refusal: Refusal) -> str:
    """Words of ours, whatever was raised."""
    match refusal:
        case Unreadable():
            return "What the provider gave cannot be read any more."
        case LookupError() if not isinstance(refusal, Withdrawn):
            return "The provider, or this kind of credential, is not in the catalogue any more."
        case _:
            return str(refusal)
