"""
Writes down who did what. What is told holds names and ids, never a value of a secret.

An event is written in the transaction of the deed, if there is one, and before anybody is answered; if it cannot be
written, the deed fails. Record last in a transaction, and what belongs to no account after what belongs to one: the end
of a chain is locked from then on, and two transactions must not wait for each other (audit_chain.py).
"""

import os
import platform
import pwd
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

import msgspec
from django.db import models

from oauth_apps import audit_chain, audit_seals
from oauth_apps.models import Account, ApiToken, AuditEvent

WORDS = re.compile(r"OAuth|[A-Z]+(?![a-z])|[A-Z][a-z]+")
# Classes that are called otherwise than what they stand for
OTHER_WORDS = {"Membership": "member", "Authenticator": "second_factor", "AccessAttempt": "sign_in_attempt"}
MOST_A_MINUTE = 60  # of one deed of strangers, of one account, in one process


class Actor(msgspec.Struct, frozen=True):
    """Who does something, and from where: a user of the console, whoever shows an API token, an OAuth app's client, an
    end user, a command, or the schedule.

    `user_id`: of the console's user; `api_token_id`: of the API token that was shown.
    """

    name: str
    user_id: int | None = None
    address: str = ""
    request_id: str = ""
    api_token_id: UUID | None = None

    @classmethod
    def command(cls, name: str) -> "Actor":
        """Somebody at the machine: `manage.py <name> (<login name>@<host>)`."""
        return cls(f"manage.py {name} ({whoever_runs_this()})")


END_USER = "an end user"  # whoever comes without a name
SCHEDULE = Actor("the schedule")

_acting: ContextVar[Actor] = ContextVar("acting", default=SCHEDULE)


def whoever_runs_this() -> str:
    """`login name@host`, as the system has them: the environment says what one likes."""
    number = os.getuid()
    try:
        login = pwd.getpwuid(number).pw_name
    except KeyError:  # as in a container, whose user need not have a name
        login = f"uid {number}"
    return f"{login}@{platform.node() or 'this machine'}"


# ---- who acts --------------------------------------------------------------------------------------------------------


def acting() -> Actor:
    """Who does what is done here and now: whoever sent the request; without one, the schedule."""
    return _acting.get()


@contextmanager
def acting_as(actor: Actor) -> Iterator[None]:
    """What is done within is done by `actor`."""
    before = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(before)


def identify_as(name: str, *, api_token: UUID | None = None) -> None:
    """Whoever sent this request has proved who he is. It counts until the request ends."""
    _acting.set(msgspec.structs.replace(acting(), name=name, api_token_id=api_token))


def identify_by(token: ApiToken) -> None:
    """Whoever sent this request has shown `token`."""
    identify_as(str(token), api_token=token.pk)


# ---- what was done ---------------------------------------------------------------------------------------------------


def record(
    action: str,
    *,
    by: Actor | None = None,
    account: Account | UUID | None,
    to: models.Model | None = None,
    named: str = "",
    detail: str = "",
    is_refresh: bool = False,
) -> None:
    """Write down one deed: `action` is `oauth_app.created` or the like, `to` what it was done to, `named` its name.

    `by`: whoever acts now, unless it is said. `is_refresh`: of the credential `to`, of which there are many at once.
    """
    write([event(action, by=by, account=account, to=to, named=named, detail=detail, is_refresh=is_refresh)])


def record_of_strangers(action: str, *, account: Account | UUID | None, to: models.Model, detail: str = "") -> None:
    """As `record`, for what anybody can bring about: as often as he likes, so that more than MOST_A_MINUTE of one sort
    stand in the log file alone.
    """
    if counts_as_event(action, account):
        record(action, account=account, to=to, detail=detail)


def event(
    action: str,
    *,
    by: Actor | None = None,
    account: Account | UUID | None,
    to: models.Model | None = None,
    named: str = "",
    detail: str = "",
    is_refresh: bool = False,
) -> AuditEvent:
    """As `record`, not written yet: of a row that is about to go, say."""
    by = by or acting()
    account_id = account.pk if isinstance(account, Account) else account
    object_id = str(to.pk) if to is not None else ""
    return AuditEvent(
        account_id=account_id,
        user_id=by.user_id,
        api_token=by.api_token_id,
        actor=fitting(by.name, 200),
        action=fitting(action, 100),
        object_type=word_for(to) if to is not None else "",
        object_id=object_id,
        object_name=fitting(named or (str(to) if to is not None else ""), 300),
        detail=fitting(detail, 500),
        address=fitting(by.address, 45),
        request_id=fitting(by.request_id, 36),
        chain=audit_seals.name_of(account_id, refresh_of=object_id if is_refresh else ""),
    )


def word_for(thing: models.Model | type[models.Model]) -> str:
    """What the API and the actions call it: `oauth_app` of an OAuthApp, `redirect_uri` of a RedirectURI."""
    name = thing._meta.object_name or ""
    return OTHER_WORDS.get(name) or "_".join(WORDS.findall(name)).lower()


def write(events: Sequence[AuditEvent]) -> None:
    """Put `events` at the ends of their chains, in the caller's transaction or in one of their own."""
    audit_chain.append(events)


def fitting(text: str, most: int) -> str:
    """What a column of so many characters takes."""
    return text[:most].replace("\x00", "").encode("utf-8", "replace").decode()


# ---- strangers -------------------------------------------------------------------------------------------------------

lately: dict[tuple[str, UUID | None], tuple[float, int]] = {}  # since when, how many
lock = threading.Lock()


def counts_as_event(action: str, account: Account | UUID | None) -> bool:
    """Whether not too many of these were written within the minute."""
    key, now = (action, account.pk if isinstance(account, Account) else account), time.monotonic()
    with lock:
        if len(lately) > 10_000:
            lately.clear()
        since, count = lately.get(key, (now, 0))
        since, count = (now, 0) if now - since > 60 else (since, count)
        lately[key] = since, count + 1
        return count < MOST_A_MINUTE
