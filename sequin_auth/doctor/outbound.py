"""
Whether the providers' hosts can be reached from here: name, connection, TLS, through the same guard as every call, and
no OAuth in it. What they say of the time is compared with our clock.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from statistics import median
from typing import Final, NamedTuple

from django.db import connection

from oauth_apps.models import OAuthApp
from providers import catalogue
from providers.provider import Provider
from providers.variables import VariableNotAccepted
from sequin_auth.doctor import Finding, error, ok, warning
from sequin_auth.lib import http

DEADLINE: Final = 6.0  # seconds for one host
AT_ONCE: Final = 16
MOST_SKEW: Final = 10.0  # seconds; signed requests and id_tokens are refused for minutes, at some for less
TOO_MUCH_SKEW: Final = 60.0
CLOCK: Final = "Have this machine take the time from NTP (`timedatectl set-ntp true`, chrony)."
NO_WAY: Final = "See that names resolve here and that a firewall lets https out, on port 443 and without a proxy."
BLOCKED: Final = (
    "If the host is one of your own network, name it in EGRESS_ALLOW; else look up who answers for its name."
)


class Reached(NamedTuple):
    host: str
    problem: http.EgressError | None = None
    skew: float | None = None  # seconds that our clock is ahead


def look(hosts: Iterable[str]) -> Iterator[Finding]:
    wanted = sorted(set(hosts))
    if not wanted:
        yield ok("No OAuth app is registered yet, so no provider's host is in use; `--hosts all` tries every one.")
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(reached, wanted))
    failed = [one for one in found if one.problem is not None]
    is_all = len(failed) == len(found)
    for one in failed:
        yield of_failure(one, is_all=is_all)
    if len(found) > len(failed):
        yield ok(f"{len(found) - len(failed)} of {len(found)} hosts of providers answer over TLS.")
    skews = [one.skew for one in found if one.skew is not None]
    if skews:
        yield of_clock(median(skews))


def reached(host: str) -> Reached:
    """A HEAD of `/`, whatever is answered. If nothing is, though a connection stands, that is its business."""
    before = time.time()
    try:
        answer = http.request("HEAD", f"https://{host}/", deadline=DEADLINE, reads_content=False)
    except http.NoAnswer:
        return Reached(host)
    except http.EgressError as exc:
        return Reached(host, exc)
    finally:
        connection.close()
    return Reached(host, skew=skew_of(answer.headers.get("date", ""), (before + time.time()) / 2))


def skew_of(date: str, now: float) -> float | None:
    """Seconds that we are ahead. The header has whole seconds, cut off. Source: RFC 9110, 6.6.1."""
    try:
        return now - (parsedate_to_datetime(date).timestamp() + 0.5)
    except (ValueError, TypeError, OverflowError):
        return None


def of_failure(one: Reached, *, is_all: bool) -> Finding:
    """One host that is away is the provider's trouble; all of them, ours."""
    if isinstance(one.problem, http.EgressBlocked):
        return error(f"{one.host} is not called: {one.problem}", BLOCKED)
    tell = error if is_all else warning
    return tell(f"{one.host} is not reached: {one.problem}", NO_WAY)


def of_clock(skew: float) -> Finding:
    if abs(skew) <= MOST_SKEW:
        return ok("Our clock agrees with the providers'.")
    tell = error if abs(skew) > TOO_MUCH_SKEW else warning
    return tell(f"Our clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the providers'.", CLOCK)


# ---- which -----------------------------------------------------------------------------------------------------------


def hosts_in_use() -> set[str]:
    """Of the live OAuth apps that are enabled: where their codes are exchanged and their tokens refreshed."""
    live = OAuthApp.objects.enabled().filter(environment=OAuthApp.Environment.LIVE).order_by()
    known = catalogue.load()
    hosts: set[str] = set()
    for slug, variables in live.values_list("provider", "variables").distinct():
        if (provider := known.get(slug)) is not None:
            hosts.update(hosts_of(provider, variables))
    return hosts


def all_hosts() -> set[str]:
    """Of the whole catalogue, but for those that a customer's variable names."""
    return {host for provider in catalogue.load().values() for host in hosts_of(provider, {})}


def hosts_of(provider: Provider, variables: Mapping[str, str]) -> Iterator[str]:
    try:
        bound = provider.bound(provider.accept_variables({}, fixed=variables))
    except VariableNotAccepted:
        return
    for url in (bound.token_endpoint, bound.refresh_endpoint):
        authority = url.removeprefix("https://").partition("/")[0]
        if url.startswith("https://") and authority and "{" not in authority:
            yield authority
