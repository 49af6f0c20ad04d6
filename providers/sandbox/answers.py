"""What is answered: the script's templates, filled in, as JSON or as a form."""

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from providers.sandbox.reading import Refuse
from providers.sandbox.script import PLACEHOLDER, Refusal, Scopes, Script

ABSENT: Final = object()


def moments() -> dict[str, Any]:
    """The values that every answer may hold."""
    now = timezone.now()
    return {
        "now": int(now.timestamp()),
        "now_ms_text": str(int(now.timestamp() * 1000)),
        "now_iso": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "uuid": str(uuid.uuid4()),
    }


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """`template` with its placeholders; a member whose value is not there (None) is left out. May return ABSENT."""
    if isinstance(template, str):
        return _text(template, values)
    if isinstance(template, dict):
        members = {name: filled(value, values) for name, value in template.items()}
        return {name: value for name, value in members.items() if value is not ABSENT}
    if isinstance(template, list):
        return [value for item in template if (value := filled(item, values)) is not ABSENT]
    return template


def _text(template: str, values: Mapping[str, Any]) -> Any:
    if template == "{null}":
        return None
    names = PLACEHOLDER.findall(template)
    if any(values.get(name) is None for name in names):
        return ABSENT
    if alone := PLACEHOLDER.fullmatch(template):
        return values[alone[1]]
    return PLACEHOLDER.sub(lambda match: str(values[match[1]]), template)


def answered_scopes(scopes: Scopes, granted: list[str]) -> dict[str, Any]:
    """`scope` and `scopes` as this provider spells what it granted."""
    named = [scope for scope in granted if wider(scope, scopes.included_in).isdisjoint(granted)]
    spelled = list(dict.fromkeys(answered for scope in named if (answered := scopes.answered_as.get(scope, scope))))
    return {"scope": scopes.joined_by.join(spelled), "scopes": spelled}


def wider(scope: str, included_in: Mapping[str, str]) -> set[str]:
    """All scopes that include `scope`, by one step or several."""
    found, last = set[str](), {scope}
    for _ in included_in:
        last = {one for narrow in last for one in _one_step_wider(narrow, included_in)}
        found |= last
    return found


def _one_step_wider(scope: str, included_in: Mapping[str, str]) -> Iterator[str]:
    for narrow, wide in included_in.items():
        if match := re.fullmatch(re.escape(narrow).replace(r"\*", "(.+)"), scope):
            yield wide.replace("*", "".join(match.groups()))


def named_account(account: str) -> dict[str, Any]:
    """Which of the simulated accounts it is, in three spellings."""
    number = 9_000_000 + int(account)
    return {"account": account, "account_number": number, "account_uuid": str(uuid.UUID(int=number, version=4))}


def document(content: Any, *, status: int = 200) -> HttpResponse:
    """JSON, or nothing for None."""
    return private(
        HttpResponse(
            b"" if content is None or content is ABSENT else msgspec.json.encode(content),
            status=status,
            content_type="application/json",
        )
    )


def token_document(request: HttpRequest, script: Script, content: Any, *, status: int = 200) -> HttpResponse:
    """An answer of the token endpoint, in the format that the provider gives it."""
    if_asked = script.answer_format == "form_unless_json_accepted" and "application/json" not in accepted(request)
    as_form = if_asked or script.answer_format == "form"
    if not as_form or not isinstance(content, dict):
        return document(content, status=status)
    return private(HttpResponse(urlencode(content), status=status, content_type="application/x-www-form-urlencoded"))


def accepted(request: HttpRequest) -> str:
    return request.headers.get("Accept", "").lower()


def is_machine(request: HttpRequest) -> bool:
    """Whether the request asks for JSON and could not do with a page: curl, a test, no browser."""
    return "application/json" in accepted(request) and "text/html" not in accepted(request)


def refused(script: Script, refuse: Refuse) -> tuple[Any, Refusal]:
    """The provider's own words for a refusal: the document, and how it is sent."""
    refusal = refuse.refusal or script.refusal(refuse.what)
    template = script.errors.body if refusal.body is None else refusal.body
    values = {**moments(), "error": refusal.error, "description": refusal.description or None}
    return filled(template, values), refusal


def private(response: HttpResponse) -> HttpResponse:
    """Neither kept by a cache nor told to the next page."""
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    return response


def with_params(url: str, params: Mapping[str, str]) -> str:
    """`url` with `params` behind those that it has."""
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, urlencode(params)]))
    return urlunsplit(parts._replace(query=query))
