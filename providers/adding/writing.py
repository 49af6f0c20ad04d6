"""
A new catalogue file from a few answers: what is asked, what an answer must keep to, and the text.

The `[sandbox]` table that it begins with plays the provider as the answers describe it. Whoever adds the provider
rewrites it from the documentation, so that a wrong entry fails.
"""

import datetime
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from providers.catalogue.kind_rules import MEMBERS
from providers.catalogue.rules import SLUG, is_https
from providers.placeholders import names_in
from providers.provider import Category

METHODS = ("client_secret_basic", "client_secret_post", "none")
PKCE = ("supported", "required", "none")
ROTATES = ("always", "sometimes", "never", "none")
SEPARATORS = {"space": " ", "comma": ",", "plus": "+", "semicolon": ";", "pipe": "|"}
FORMATS = ("form", "json", "query")
PLACES = ("token_response", "id_token", "follow_up", "callback")
POLICIES = {"always": "rotates", "sometimes": "renews", "never": "keeps", "none": "none"}
BARE = re.compile(r"[A-Za-z0-9_-]+")
USUAL_SCOPES = ("openid", "profile", "email", "offline_access")

Answers = dict[str, str]
Metadata = Mapping[str, Any]


class AnswerNotAccepted(ValueError):
    """Why an answer will not do, in words."""


@dataclass(frozen=True)
class Question:
    """`option` is its name on the command line. `default`: from what is known so far; None: there is none."""

    option: str
    text: str
    default: Callable[[Answers, Metadata], str | None]
    accept: Callable[[str], str]
    asked: Callable[[Answers], bool] = lambda _: True


# ---- what an answer must keep to ---------------------------------------------------------------------------------


def slug(value: str) -> str:
    if not SLUG.fullmatch(value):
        raise AnswerNotAccepted("must be lower-case words joined by dashes")
    return value


def words(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise AnswerNotAccepted("must not be empty")
    return value.strip()


def url(value: str) -> str:
    if not is_https(value.strip()):
        raise AnswerNotAccepted("must be an https URL; parts that differ from customer to customer stand in {braces}")
    return value.strip()


def url_or_nothing(value: str) -> str:
    return url(value) if value.strip() else ""


def one_of(*values: str) -> Callable[[str], str]:
    def accept(value: str) -> str:
        if value not in values:
            raise AnswerNotAccepted(f"must be one of {', '.join(values)}")
        return value

    return accept


def scopes(value: str) -> str:
    return " ".join(value.replace(",", " ").split())


def name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z_0-9]*", value):
        raise AnswerNotAccepted("must be lower-case letters, digits and underscores")
    if value in MEMBERS:
        raise AnswerNotAccepted(f"must not be {value}: every credential has one")
    return value


def path(value: str) -> str:
    if not re.fullmatch(r"[\w*-]+(\.[\w*-]+)*", value):
        raise AnswerNotAccepted("must be a path such as user.id")
    return value


# ---- what is asked -----------------------------------------------------------------------------------------------


def _metadata(field: str) -> Callable[[Answers, Metadata], str | None]:
    return lambda _, found: _text(found, field)


def _optional(field: str) -> Callable[[Answers, Metadata], str | None]:
    return lambda _, found: _text(found, field) or ""


def _text(found: Metadata, field: str) -> str | None:
    """It is shown in a terminal before it is judged."""
    value = found.get(field)
    return value if isinstance(value, str) and value.isprintable() else None


def _said(value: str) -> Callable[[Answers, Metadata], str | None]:
    return lambda _answers, _found: value


def _listed(found: Metadata, field: str) -> list[str]:
    listed = found.get(field)
    texts = [value for value in listed if isinstance(value, str)] if isinstance(listed, list) else []
    return [text for text in texts if text.isprintable()]


def _usual_method(_: Answers, found: Metadata) -> str:
    """The first of those that we know; RFC 8414's default."""
    return next(
        (method for method in _listed(found, "token_endpoint_auth_methods_supported") if method in METHODS), METHODS[0]
    )


def _usual_pkce(_: Answers, found: Metadata) -> str:
    return "supported" if "S256" in _listed(found, "code_challenge_methods_supported") else "none"


def _usual_scopes(_: Answers, found: Metadata) -> str:
    offered = _listed(found, "scopes_supported")
    return " ".join(scope for scope in USUAL_SCOPES if scope in offered)


def _usual_place(answers: Answers, found: Metadata) -> str:
    signs = found.get("issuer") and found.get("jwks_uri") and "openid" in answers["default_scopes"].split()
    return "id_token" if signs else "follow_up"


def _usual_name(answers: Answers, _: Metadata) -> str:
    return "sub" if answers["identity_from"] == "id_token" else "user_id"


def _usual_path(answers: Answers, _: Metadata) -> str:
    return {"id_token": "sub", "follow_up": "id"}.get(answers["identity_from"], "user_id")


QUESTIONS = (
    Question("name", "What is it called?", lambda answers, _: answers["slug"].replace("-", " ").title(), words),
    Question("docs", "Which page of its documentation describes OAuth?", _optional("service_documentation"), url),
    Question("category", "Category", _said("other"), one_of(*get_args(Category))),
    Question("authorization_endpoint", "Authorization endpoint", _metadata("authorization_endpoint"), url),
    Question("token_endpoint", "Token endpoint", _metadata("token_endpoint"), url),
    Question("client_authentication", "How does an app say who it is?", _usual_method, one_of(*METHODS)),
    Question("pkce", "PKCE (S256)", _usual_pkce, one_of(*PKCE)),
    Question("token_request_format", "How are token requests sent?", _said(FORMATS[0]), one_of(*FORMATS)),
    Question("default_scopes", "Scopes by default, separated by spaces", _usual_scopes, scopes),
    Question("scope_separator", "What stands between two scopes there?", _said("space"), one_of(*SEPARATORS)),
    Question("rotates", "Do refresh tokens rotate?", _said("always"), one_of(*ROTATES)),
    Question("revocation_endpoint", "Revocation endpoint, if any", _optional("revocation_endpoint"), url_or_nothing),
    Question("identity_from", "Where does it say whose tokens these are?", _usual_place, one_of(*PLACES)),
    Question(
        "issuer", "Who issues its id_tokens (`iss`)?", _metadata("issuer"), url,
        lambda answers: answers["identity_from"] == "id_token",
    ),
    Question(
        "jwks_uri", "Where are the keys of its id_tokens?", _metadata("jwks_uri"), url,
        lambda answers: answers["identity_from"] == "id_token",
    ),
    Question(
        "follow_up", "Which URL says so?", _metadata("userinfo_endpoint"), url,
        lambda answers: answers["identity_from"] == "follow_up",
    ),
    Question("identity_name", "What is the account's id to be called?", _usual_name, name),
    Question("identity_path", "Where in that answer does it stand?", _usual_path, path),
    Question("api", "The API's base URL, if you know it", _said(""), url_or_nothing),
)  # fmt: skip


# ---- the text ----------------------------------------------------------------------------------------------------


def text_of(answers: Answers, found: Metadata, *, today: datetime.date) -> str:
    """The catalogue file. `found`: what discovery said; empty without."""
    lines = [
        *_head(answers, today),
        "",
        *_metadata_lines(answers, found),
        "",
        *_tables(answers),
        *_sandbox(answers),
    ]
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """One value on one line; a string as JSON writes it is one that TOML reads."""
    if isinstance(value, Mapping):
        return (
            "{ " + ", ".join(f"{_key(name)} = {toml(said)}" for name, said in value.items()) + " }" if value else "{}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, datetime.date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if BARE.fullmatch(name) else json.dumps(name)


def _pairs(values: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{_key(name)} = {toml(value)}" for name, value in values.items() if value not in ("", [], {}, None))


def _head(answers: Answers, today: datetime.date) -> Iterator[str]:
    yield from _pairs({"slug": answers["slug"], "name": answers["name"]})
    if answers["category"] != "other":
        yield from _pairs({"category": answers["category"]})
    yield from _pairs({"docs": answers["docs"], "checked": today})
    yield "setup = ["
    has_secret = answers["client_authentication"] != "none"
    for step in (
        f"Register an app in {answers['name']}'s developer console.",
        "Paste the callback URL into its redirect URIs.",
        f"Copy the client id{' and the client secret' if has_secret else ''}.",
        *(f"Set `{name}` on the OAuth app, or leave it to the end user." for name in _variables(answers)),
    ):
        yield f"  {toml(step)},"
    yield "]"


def _metadata_lines(answers: Answers, found: Metadata) -> Iterator[str]:
    is_signed = answers["identity_from"] == "id_token"
    method = answers["client_authentication"]
    yield from _pairs(
        {
            "authorization_endpoint": answers["authorization_endpoint"],
            "token_endpoint": answers["token_endpoint"],
            "revocation_endpoint": answers["revocation_endpoint"],
            "issuer": answers.get("issuer", ""),
            "jwks_uri": answers.get("jwks_uri", ""),
            "token_endpoint_auth_methods_supported": [] if method == METHODS[0] else [method],
            "code_challenge_methods_supported": [] if answers["pkce"] == "none" else ["S256"],
            "default_scopes": answers["default_scopes"].split(),
            "scope_separator": SEPARATORS[answers["scope_separator"]].strip(),
            "token_request_format": {"form": ""}.get(answers["token_request_format"], answers["token_request_format"]),
            "follow_up": answers.get("follow_up", ""),
        }
    )
    if answers["pkce"] == "required":
        yield "pkce_required = true"
    if found.get("authorization_response_iss_parameter_supported") is True and is_signed:
        yield "authorization_response_iss_parameter_supported = true"
    if answers["rotates"] == "none":
        yield 'refresh_with = "none"'
    elif answers["rotates"] != "always":
        yield from _pairs({"refresh_token_rotates": answers["rotates"]})


def _variables(answers: Answers) -> list[str]:
    templates = [
        answers.get(field, "")
        for field in ("authorization_endpoint", "token_endpoint", "revocation_endpoint", "follow_up", "api")
    ]
    return list(dict.fromkeys(used for template in templates for used in names_in(template)))


def _tables(answers: Answers) -> Iterator[str]:
    if answers["api"]:
        yield from ["[api]", *_pairs({"base_url": answers["api"]}), ""]
    for variable in _variables(answers):
        label = f"{answers['name']} {variable.replace('_', ' ')}"
        yield from [f"[variables.{variable}]", *_pairs({"label": label, "example": "acme"}), ""]
    kept = {variable: {"variable": variable, "identity": True} for variable in _variables(answers)}
    kept[answers["identity_name"]] = {answers["identity_from"]: answers["identity_path"], "identity": True}
    yield from ["[credential]", *_pairs(kept), ""]


def _sandbox(answers: Answers) -> Iterator[str]:
    yield "# A first part for the simulator, from the same answers: rewrite it from the documentation, so that a wrong"
    yield "# entry above fails. `manage.py providers try` plays it."
    yield "[sandbox]"
    yield from _pairs(
        {
            "documentation": [answers["docs"]],
            "authorization_endpoint": answers["authorization_endpoint"],
            "token_endpoint": answers["token_endpoint"],
            "jwks_uri": answers.get("jwks_uri", ""),
            "client_authentication": [answers["client_authentication"]],
            "token_body": [answers["token_request_format"]],
            "pkce": {"none": "ignored"}.get(answers["pkce"], answers["pkce"]),
            "lifetime": 3600,
        }
    )
    place, where = answers["identity_from"], answers["identity_path"]
    if answers["scope_separator"] != "space":
        separator = SEPARATORS[answers["scope_separator"]]
        yield from ["", "[sandbox.scopes]", *_pairs({"separators": separator, "joined_by": separator})]
    if place == "callback":
        yield from ["", "[sandbox.callback]", *_pairs({where: "user{account}"})]
    yield from ["", "[sandbox.refresh]", *_pairs({"policy": POLICIES[answers["rotates"]]})]
    yield from ["", "[sandbox.answer]", *_pairs(_answer(answers))]
    if place == "id_token":
        claims = {"iss": answers["issuer"], where: "user{account}"}
        yield from ["", "[sandbox.id_token.claims]", *_pairs(claims)]
    if place == "follow_up":
        call = {"url": answers["follow_up"], "answer": _nested(where)}
        yield from ["", "[[sandbox.calls]]", *_pairs(call)]
    if answers["revocation_endpoint"]:
        methods = [answers["client_authentication"]]
        call = {
            "url": answers["revocation_endpoint"],
            "method": "POST",
            "token": "form:token",
            "client_authentication": methods,
        }
        yield from ["", "[[sandbox.calls]]", *_pairs(call), "revokes = true"]


def _answer(answers: Answers) -> dict[str, Any]:
    refreshes = {"refresh_token": "{refresh_token}"} if answers["rotates"] != "none" else {}
    signed = {"id_token": "{id_token}"} if answers["identity_from"] == "id_token" else {}
    told = _nested(answers["identity_path"]) if answers["identity_from"] == "token_response" else {}
    usual = {"access_token": "{access_token}", "token_type": "Bearer", "expires_in": "{expires_in}", "scope": "{scope}"}
    return usual | refreshes | signed | told


def _nested(where: str) -> dict[str, Any]:
    """An answer in which the path leads to an account's id."""
    value: Any = "user{account}"
    for step in reversed(where.split(".")):
        value = [value] if step == "*" or step.isdigit() else {step: value}
    return value if isinstance(value, dict) else {"items": value}
