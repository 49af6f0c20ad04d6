"""
How a sync calls an API: confined to the credential's base URL, at the credential's pace, with a token that is good; and
what its refusals mean.
"""

import math
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from django.db import IntegrityError

from credentials.api_auth import ApiAuth, CannotCall
from credentials.models import pace
from providers.collection import BadData, Request
from providers.vocabulary import RateLimit
from sequin_auth.lib import http
from syncs.models import Stop

LARGEST_PAGE = 16 * 1024 * 1024  # bytes, decoded
DEADLINE = 30.0  # seconds for one page
ATTEMPTS = 3
ALL_ATTEMPTS = 20.0  # seconds
LONGEST_WAIT = 5.0  # seconds that a slice waits; who is told to wait longer comes back then
USUAL_LIMIT = RateLimit(allowed_requests=5, interval=1)
TOO_SLOW = "The provider took too long to answer."
WAIT_UNTOLD = 60.0  # seconds, where a 429 does not say how long
LONGEST_PAUSE = 86_400.0
SHORTEST_SECRET = 8  # characters

stopping = threading.Event()  # the worker is told to end


class SessionStop(Exception):
    """The slice ends here, and keeps what it has. `retry_after`: seconds until it is worth another try."""

    def __init__(self, stop: Stop, note: str, *, retry_after: float | None = None) -> None:
        super().__init__(note)
        self.stop = stop
        self.note = note
        self.retry_after = retry_after


class RequestRefused(SessionStop):
    """A 4xx that is neither about the credential nor about the pace: perhaps a cursor that has expired."""

    def __init__(self, status: int) -> None:
        super().__init__(Stop.BAD_DATA, f"The provider refused a request of ours ({status}).")
        self.status = status


@dataclass
class Tally:
    """What a slice has spent. `statuses`: how often each was answered."""

    requests: int
    waited: float
    statuses: dict[int, int]


class SyncSession(http.ConfinedSession):
    """The session of one slice. `send` raises SessionStop and BadData; a redirect is BadData, nobody follows it.

    `seconds`: that all its calls may take together.
    """

    def __init__(self, auth: ApiAuth, *, own_limit: RateLimit | None = None, seconds: float = math.inf) -> None:
        api = auth.provider.api
        super().__init__(f"{auth.base_url}/", deadline=DEADLINE, largest=LARGEST_PAGE)
        self.api_auth = auth
        self.ends_at = time.monotonic() + seconds
        self.own_limit = own_limit
        self.limit = own_limit or (api.rate_limit if api else None) or USUAL_LIMIT
        self.limit_headers = api.limit_headers if api else []
        self.limit_mark = api.limit_mark if api else ""
        self.bucket = ""
        self.tally = Tally(requests=0, waited=0.0, statuses={})
        self.secrets: set[str] = set()  # that the latest request was dressed with

    def paced_as(self, limit: RateLimit | None, *, bucket: str) -> None:
        """A collection may have a limit of its own; the developer's word for the whole sync is stronger."""
        api = self.api_auth.provider.api
        is_own = limit is not None and self.own_limit is None
        self.bucket = bucket if is_own else ""
        self.limit = self.own_limit or limit or (api.rate_limit if api else None) or USUAL_LIMIT

    def kept(self, request: Request) -> Request:
        """The next request as a checkpoint: below the prefix, and without a token that the provider has written in it.

        Raises SessionStop.
        """
        url = self.at_the_simulator(self._without_secrets(request["url"]))
        params = {name: value for name, value in request["params"].items() if str(value) not in self.secrets}
        try:
            http.permitted(url, self.prefix)
        except http.EgressBlocked as exc:
            raise outside(exc) from exc
        return {"url": url, "params": params, "json": request["json"]}

    def _without_secrets(self, url: str) -> str:
        address, _, query = url.partition("?")
        pieces = [piece for piece in query.split("&") if unquote_plus(piece.partition("=")[2]) not in self.secrets]
        return f"{address}?{'&'.join(pieces)}" if query else address

    def at_the_simulator(self, url: str) -> str:
        """Where the simulator, if it stands in for the provider, plays a path that the provider tells without a host;
        any other URL is left alone.
        """
        sandbox_url = self.api_auth.sandbox_url
        origin = sandbox_url.partition("/sandbox/")[0]
        if not sandbox_url or not url.startswith(f"{origin}/") or url.startswith(f"{sandbox_url}/"):
            return url
        host = self.prefix.removeprefix(f"{sandbox_url}/").partition("/")[0]
        return f"{sandbox_url}/{host}{url.removeprefix(origin)}"

    def send(self, request: Any, **_: Any) -> Any:
        ends_at = min(time.monotonic() + ALL_ATTEMPTS, self.ends_at)
        was_renewed = False
        attempts = 0
        while True:
            attempts += 1
            is_last = attempts >= ATTEMPTS or time.monotonic() > ends_at
            try:
                answer = self._sent(request)
            except http.EgressBlocked as exc:
                raise outside(exc) from exc
            except http.AnswerTooLarge as exc:
                raise BadData("A page is larger than 16 MiB.") from exc
            except http.EgressError as exc:
                if is_last:
                    raise SessionStop(Stop.PROVIDER_ERROR, f"The provider could not be reached: {exc}") from exc
                self._wait(attempts)
                continue
            status = answer.status_code
            if status == 401 and not was_renewed and self._renewed():
                was_renewed = True
                attempts -= 1
            elif is_limit(status, answer.headers) or self._is_marked_as_limit(answer):
                wait = self._told_to_wait(answer.headers)
                pace.put_off(self.api_auth.credential_id, min(wait, LONGEST_PAUSE), bucket=self.bucket)
                if is_last or wait > LONGEST_WAIT:
                    note = "The provider asks for fewer requests."
                    raise SessionStop(Stop.RATE_LIMITED, note, retry_after=max(wait, LONGEST_WAIT))
            elif status >= 500 and not is_last:
                self._wait(attempts)
            else:
                judge(status, answer.headers)
                return answer

    def _sent(self, request: Any) -> Any:
        self._take_turn()
        dressed = request.copy()
        try:
            self.api_auth.dress(dressed)
        except CannotCall as exc:
            if exc.may_pass:
                raise SessionStop(Stop.PROVIDER_ERROR, str(exc)) from exc
            raise SessionStop(Stop.UNAUTHORIZED, str(exc)) from exc
        self.secrets = secrets_in(dressed, request)
        self.tally.requests += 1
        answer = super().send(dressed)
        self.tally.statuses[answer.status_code] = self.tally.statuses.get(answer.status_code, 0) + 1
        return answer

    def _renewed(self) -> bool:
        try:
            return self.api_auth.renew()
        except CannotCall as exc:
            if exc.may_pass:
                raise SessionStop(Stop.PROVIDER_ERROR, str(exc)) from exc
            return False

    def _take_turn(self) -> None:
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise SessionStop(Stop.PROVIDER_ERROR, TOO_SLOW)
        self.deadline = min(DEADLINE, left)
        try:
            seconds = pace.reserve(self.api_auth.credential_id, self.limit, bucket=self.bucket)
        except IntegrityError as exc:
            raise SessionStop(Stop.UNAUTHORIZED, "The credential was deleted.") from exc
        except pace.TooFarAhead as exc:
            note = "The rate limit is used up for now; the credential's other syncs share it."
            raise SessionStop(Stop.RATE_LIMITED, note, retry_after=exc.seconds) from exc
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        """At most LONGEST_WAIT and one gap: a turn is not reserved further ahead."""
        if seconds <= 0:
            return
        if time.monotonic() + seconds > self.ends_at:
            raise SessionStop(Stop.PROVIDER_ERROR, TOO_SLOW, retry_after=seconds)
        self.tally.waited += seconds
        stopping.wait(min(seconds, 2 * LONGEST_WAIT))

    def _is_marked_as_limit(self, answer: Any) -> bool:
        return bool(self.limit_mark) and answer.status_code == 400 and self.limit_mark.encode() in answer.content

    def _told_to_wait(self, headers: Mapping[str, str]) -> float:
        told: list[float | None] = [http.retry_after(headers.get("Retry-After", ""))]
        told += [told_by(headers.get(name, "")) for name in self.limit_headers]
        known = [seconds for seconds in told if seconds is not None]
        return max(0.5, known[0]) if known else WAIT_UNTOLD


def is_limit(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the provider asks for fewer requests; some say so with 403. Source: RFC 6585, 4; RFC 9110, 10.2.3."""
    is_told = "Retry-After" in headers or headers.get("X-RateLimit-Remaining") == "0"
    return status == 429 or (status in {403, 503} and is_told)


def outside(exc: http.EgressBlocked) -> SessionStop:
    return SessionStop(Stop.BAD_DATA, f"An address that may not be called: {exc}")


def secrets_in(dressed: Any, plain: Any) -> set[str]:
    """What opens the API, word by word, in the headers and the query of a request."""
    headers = [str(value) for name, value in dressed.headers.items() if plain.headers.get(name) != value]
    asked = dict(parse_qsl(urlsplit(str(plain.url)).query))
    query = [value for name, value in parse_qsl(urlsplit(str(dressed.url)).query) if asked.get(name) != value]
    return {word for text in [*headers, *query] for word in text.split() if len(word) >= SHORTEST_SECRET}


def told_by(value: str) -> float | None:
    """Seconds, from a header that holds seconds, or a time in seconds or milliseconds since 1970."""
    try:
        number = float(value)
    except ValueError:
        return None
    now = time.time()
    if number > 1e11:
        number = number / 1000
    return max(0.0, number - now) if number > 1e9 else max(0.0, number)


def judge(status: int, headers: Mapping[str, str]) -> None:
    """Raises what an answer means that is not the page asked for."""
    if 200 <= status < 300:
        return
    if status < 400:
        raise BadData("The provider answered with a redirect, which is not followed.")
    if status == 401:
        raise SessionStop(Stop.UNAUTHORIZED, "The provider does not accept the credential's token.")
    if status == 403:
        raise SessionStop(Stop.FORBIDDEN, "The credential may not read this collection.")
    if status >= 500:
        raise SessionStop(Stop.PROVIDER_ERROR, f"The provider answered {status}.")
    raise RequestRefused(status)


def places(credential_id: uuid.UUID, count: int) -> list[int]:
    """The numbers of advisory locks of which a slice holds one, where a credential may be called `count` at once."""
    seed = credential_id.int & 0x7FFFFFFFFFFFFF00
    return [seed + number for number in range(min(count, 255))]
