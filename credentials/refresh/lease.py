"""
One refresh for any number of callers.

A refresh is a lease on the row of the tokens: whoever gets it calls the provider, with no transaction open, and commits
the answer before anything else is done with it (leaseholder.py); everybody else waits for that. The version of the row
fences all of it: what comes too late for the version that it was asked for is dropped, and given back to the provider.
"""

import copy
import time
import uuid

from django.views.decorators.debug import sensitive_variables

from credentials.models import Credential, Token
from credentials.refresh import spool, waiting
from credentials.refresh.leaseholder import renewed
from credentials.refresh.prospects import (
    current,
    ended,
    is_backing_off,
    is_examinable,
    is_renewable,
    is_too_early,
    is_usable,
    what_is_left,
)
from credentials.refresh.waiting import wait_for_change
from providers import wire

PATIENCE = wire.DEADLINE + 2  # seconds that a caller waits for somebody else's refresh


@sensitive_variables()
def refreshed(credential: Credential, *, min_ttl: float = 0, force: bool = False, seen: Token | None = None) -> Token:
    """The tokens of `credential`, renewed once, by whoever it is, since they were read.

    `min_ttl`: seconds that the access token should live; the present one is enough if a failure leaves no other choice.
    `force`: renew in any case, since the caller saw the present one refused. `seen`: the tokens as the caller knew
    them, if `credential` was read again since. Raises NoAccessToken, Unreadable, CredentialGone.
    """
    token = credential.token
    seen = seen or token
    gives_up_at = time.monotonic() + PATIENCE
    while True:
        if token.version != seen.version:  # somebody has renewed it: that is enough, whatever its lifetime
            if is_usable(token):
                return token
            seen = token
        if token.lasts(min_ttl) and not force and not token.needs_reauthorization:
            return token
        if is_too_early(credential, token):  # the provider would refuse, `force` or not
            return what_is_left(credential, token)
        if token.attempts != seen.attempts:  # somebody has just tried, in vain
            return what_is_left(credential, token, force=force)
        if not is_renewable(credential, token) and (force or not is_examinable(credential, token)):  # by nobody, ever
            return what_is_left(credential, ended(credential, token))
        if not force and (token.needs_reauthorization or is_backing_off(token)):  # not now, unless it is demanded
            return what_is_left(credential, token)
        with waiting.made(token) as is_mine:  # else another thread of this process is at it, and nothing is asked
            if is_mine and spool.replay(credential.pk):  # the provider has answered, while the database was away
                token = current(token)
                continue
            if is_mine and (lease := Token.objects.lease(token, owner=uuid.uuid4())):
                waiting.has_lease(token)
                return renewed(credential, lease, force=force)
        if time.monotonic() > gives_up_at or (line := wait_for_change(token, until=gives_up_at)) is None:
            return what_is_left(credential, token, force=force)
        token = copy.copy(line.row) if line.row else current(token)


@sensitive_variables()
def refreshed_meanwhile(token: Token) -> Token | None:
    """If another thread of this process is refreshing `token`, or waits for that: what has come of it, if it is good.

    `token` needs no more columns than a reading has.
    """
    renewed = waiting.joined(token, until=time.monotonic() + PATIENCE)
    return renewed if renewed and is_usable(renewed) else None
