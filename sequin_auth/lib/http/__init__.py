"""
The only way out of the process, but for reports to a host of the operator's own (reporting/sending.py).

A call goes to a public address over https on port 443, by the name and certificate it was meant for, or not at all;
`EGRESS_ALLOW` names the exceptions (destinations.py). It has a total deadline (calls.py) and a largest answer, follows
no redirect, is never repeated, and takes nothing from the environment: no proxy, no .netrc, no cookie. What comes in
the place of an answer is an EgressError (errors.py).

Whoever calls has no database transaction open: it would hold its locks for as long as the other side pleases.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from math import ceil
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError

from sequin_auth import __version__
from sequin_auth.lib import redaction
from sequin_auth.lib.http.calls import CALLS_AT_ONCE, Call, bulkhead, calls_at_once, in_flight, no_transaction_waits
from sequin_auth.lib.http.connections import (
    CONNECT_TIMEOUT,
    GuardedAdapter,
    authorities,
    close_idle_lines,
    ends_connection,
    keeps_connections,
    line,
)
from sequin_auth.lib.http.destinations import permitted
from sequin_auth.lib.http.errors import (
    AnswerTooLarge,
    Busy,
    EgressBlocked,
    EgressError,
    InTransaction,
    NoAnswer,
    Unreachable,
)

__all__ = [
    "CALLS_AT_ONCE",
    "LARGEST_ANSWER",
    "AnswerTooLarge",
    "Busy",
    "Call",
    "ConfinedSession",
    "EgressBlocked",
    "EgressError",
    "GuardedAdapter",
    "InTransaction",
    "NoAnswer",
    "Response",
    "Unreachable",
    "answered_here",
    "authorities",
    "calls_at_once",
    "close_idle_lines",
    "in_flight",
    "keeps_connections",
    "no_transaction_waits",
    "permitted",
    "prepare",
    "request",
    "retry_after",
]

LARGEST_ANSWER = 256 * 1024  # bytes, decoded
LATE = "No whole answer within the deadline."
FORM = "application/x-www-form-urlencoded"
HEADERS = {"User-Agent": f"SequinAuth/{__version__}", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}


@dataclass(frozen=True, slots=True, repr=False)
class Response:
    """An answer, whatever its status. A redirect is one like any other: its target was not called."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    content: bytes  # decoded

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.content)} bytes, {hashlib.sha256(self.content).hexdigest()[:12]}>"

    @property
    def media_type(self) -> str:
        """Lower case, without parameters; empty if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def retry_after(self) -> int | None:
        return retry_after(self.headers.get("retry-after", ""))


def retry_after(value: str) -> int | None:
    """Seconds, from either form of the header `Retry-After`. Source: RFC 9110, 10.2.3."""
    value = value.strip()
    if re.fullmatch("[0-9]{1,9}", value):
        return int(value)
    try:
        return max(0, ceil(parsedate_to_datetime(value).timestamp() - time.time()))
    except (ValueError, TypeError, OverflowError):
        return None


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
    form: Mapping[str, str] | None = None,
    json: object = None,
    content: bytes | None = None,
    params: Mapping[str, str] | None = None,
    deadline: float = 10.0,
    within: str | None = None,
    reads_content: bool = True,
) -> Response:
    """Make one call and return its answer, whatever the status; or raise an EgressError.

    `deadline`: seconds in all, from here to the last byte of the answer.
    `within`: a prefix under PUBLIC_URL; the URL must lie under it. Without it, our own origin is out of bounds.
    `content`: the body as it is, instead of `form` or `json`. `reads_content`: whether the answer's matters; if not,
    the call is over with the answer's head, however much would follow. Raises InTransaction where
    OUTBOUND_IN_TRANSACTION_FAILS, if the caller has a transaction open.
    """
    redaction.learn_from((headers, form, json, params))
    call = Call(permitted(url, within), deadline)
    method, headers = method.upper(), {**HEADERS, **headers}
    prepared = prepare(method, url, headers, params=params, content=content, form=form, json=json)
    if (deliver := delivery.get()) is not None:
        return delivered(prepared, deliver, within)
    no_transaction_waits()
    with bulkhead(call), call, line(call) as adapter:
        try:
            answer = adapter.send(prepared, stream=True, timeout=(CONNECT_TIMEOUT, deadline))
            with closing(answer):
                answered = read(answer) if reads_content else b""
            adapter.ends_here = not reads_content or ends_connection(answer)
        except (OSError, HTTPError, HTTPException, ValueError):  # not kept as the cause: they quote URL and answer
            raise NoAnswer(LATE if call.is_over else "The connection broke, or the answer is malformed.") from None
        if call.is_over:  # an answer without a length would seem to have ended
            raise NoAnswer(LATE)
    return Response(
        status=answer.status_code,
        headers=MappingProxyType({name.lower(): value for name, value in answer.headers.items()}),
        content=answered,
    )


def prepare(
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    params: Mapping[str, str] | None = None,
    content: bytes | None = None,
    form: Mapping[str, str] | None = None,
    json: Any = None,
) -> requests.PreparedRequest:
    """Without what requests would look for besides: cookies, hooks, files, a name and a password in the URL. A form is
    encoded as requests would, which finds out with much ado whether it is one.
    """
    if not re.fullmatch("[A-Z]+", method):
        raise EgressBlocked("The method is malformed.")
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or name.lower() == "host":
            raise EgressBlocked("The name of a header is malformed, or not the caller's to set.")
        if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value) or value != value.strip():
            raise EgressBlocked("The value of a header is malformed.")
    prepared, fields = requests.PreparedRequest(), [pair for pair in (form or {}).items() if pair[1] is not None]
    try:
        prepared.prepare_method(method)
        prepared.prepare_url(url, params)
        prepared.prepare_headers(CaseInsensitiveDict(headers))
        prepared.prepare_body(content or urlencode(fields, doseq=True), None, json)
        if form and not content:
            prepared.headers.setdefault("Content-Type", FORM)
    except (requests.RequestException, ValueError):  # not kept as the cause: they hold what was to be sent
        raise EgressBlocked("The request is malformed.") from None
    return prepared


def read(answer: requests.Response, *, largest: int | None = None) -> bytes:
    content, largest = bytearray(), LARGEST_ANSWER if largest is None else largest
    for chunk in answer.iter_content(16 * 1024):
        content += chunk
        if len(content) > largest:
            raise AnswerTooLarge("The answer is too large.")
    return bytes(content)


# ---- calls that are not made -----------------------------------------------------------------------------------------

# A method, a URL, headers and a body
Deliver = Callable[[str, str, Mapping[str, str], bytes], Response]
delivery: ContextVar[Deliver | None] = ContextVar("delivery", default=None)


@contextmanager
def answered_here(deliver: Deliver) -> Iterator[None]:
    """In this block nothing leaves the process: `deliver` answers what is confined to our own origin, the rest is
    refused. So a trip through the simulator is made without a server.
    """
    before = delivery.set(deliver)
    try:
        yield
    finally:
        delivery.reset(before)


def delivered(prepared: requests.PreparedRequest, deliver: Deliver, within: str | None) -> Response:
    if within is None:
        raise EgressBlocked("Nothing leaves the process here.")
    body = prepared.body.encode() if isinstance(prepared.body, str) else bytes(prepared.body or b"")
    headers = {name: str(value) for name, value in prepared.headers.items()}
    return deliver(str(prepared.method), str(prepared.url), headers, body)


# ---- for libraries of others -----------------------------------------------------------------------------------------


class ConfinedSession(requests.Session):
    """For a library that wants a session of requests: each of its calls goes out as `request()` would make it, to URLs
    below `prefix` alone, and nothing of the environment, no cookie and no redirect has a say in it.

    `deadline`: seconds for one call. `largest`: bytes of an answer, decoded. `send` raises EgressError.
    """

    def __init__(self, prefix: str, *, deadline: float = 30.0, largest: int = LARGEST_ANSWER) -> None:
        super().__init__()
        self.trust_env = False
        self.headers = CaseInsensitiveDict(HEADERS)
        self.prefix, self.deadline, self.largest = prefix, deadline, largest

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        call = Call(permitted(str(request.url), self.prefix), self.deadline)
        if (deliver := delivery.get()) is not None:
            return as_answer(request, delivered(request, deliver, self.prefix))
        no_transaction_waits()
        with bulkhead(call), call, line(call) as adapter:
            try:
                answer = adapter.send(request, stream=True, timeout=(CONNECT_TIMEOUT, self.deadline))
                with closing(answer):
                    content = read(answer, largest=self.largest)
            except (OSError, HTTPError, HTTPException, ValueError):  # not kept as the cause: they quote URL and answer
                raise NoAnswer(LATE if call.is_over else "The connection broke, or the answer is malformed.") from None
            if call.is_over:
                raise NoAnswer(LATE)
        answer._content = content
        return answer


def as_answer(request: requests.PreparedRequest, answered: Response) -> requests.Response:
    answer = requests.Response()
    answer.status_code, answer._content = answered.status, answered.content
    answer.headers, answer.url, answer.request = CaseInsensitiveDict(answered.headers), str(request.url), request
    return answer
