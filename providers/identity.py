"""What is kept beside the tokens: whose they are, and where that account's API is."""

import re
from collections.abc import Mapping
from typing import Any

from django.views.decorators.debug import sensitive_variables

from providers import dpop, oauth1, oauth2
from providers.answers import at, claims_in
from providers.client import Client
from providers.errors import AnswerNotUnderstood
from providers.id_token import claims_of
from providers.provider import Property, Provider
from providers.tokens import TokenResponse


@sensitive_variables()
def properties(
    provider: Provider, client: Client, tokens: TokenResponse, *, callback: Mapping[str, str], nonce: str
) -> dict[str, Any]:
    """The properties that the catalogue file's `[credential]` declares, in its order.

    Read in the token answer, the callback's query, the id_token, or one further call; the id_token is verified and the
    call made only if a property is read there. Raises AnswerNotUnderstood if a required one is missing.
    """
    wanted = {prop.source[0] for prop in provider.credential.values()}
    ask = oauth1.follow_up if provider.auth == "oauth1" else oauth2.follow_up
    sources: dict[str, Any] = {
        "token_response": tokens.answer,
        "callback": dict(callback),
        "variable": client.variables,
        "id_token": claims_of(provider, client, tokens, nonce=nonce) if "id_token" in wanted else {},
        "follow_up": ask(provider, client, tokens) if "follow_up" in wanted else None,
    }
    found = {name: _read(prop, sources) for name, prop in provider.kept.items()}
    missing = [name for name, prop in provider.kept.items() if prop.required and found[name] is None]
    if missing:
        raise AnswerNotUnderstood(f"The provider did not say whose tokens these are: {', '.join(missing)} is missing.")
    identity = provider.identity_properties()
    if identity and all(found[name] is None for name in identity):
        raise AnswerNotUnderstood("The provider did not say whose tokens these are.")
    return {name: value for name, value in found.items() if value is not None} | dpop.kept(tokens)


@sensitive_variables()
def told_again(provider: Provider, tokens: TokenResponse) -> dict[str, Any]:
    """The properties that a refresh's answer tells by itself; those that it does not tell are absent.

    Nobody is asked: what an id_token says is taken unverified, since it comes from the token endpoint over TLS, as does
    the rest of the answer. Source: OpenID Connect Core, 3.1.3.7 and 12.2.
    """
    sources = {"token_response": tokens.answer, "id_token": claims_in(tokens.answer.get("id_token"))}
    told = {name: _read(prop, sources) for name, prop in provider.credential.items() if prop.source[0] in sources}
    return {name: value for name, value in told.items() if value is not None}


def reads_id_token(provider: Provider) -> bool:
    """Whether the authorization request needs a nonce, since an id_token will be read."""
    return any(prop.id_token for prop in provider.credential.values())


NOT_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # stands in no identity, and PostgreSQL stores not all of it


def _read(prop: Property, sources: Mapping[str, Any]) -> Any:
    place, path = prop.source
    value = at(sources[place], path)
    if prop.pattern and isinstance(value, str):
        match = re.search(prop.pattern, value)
        value = match[1] if match else None
    if value is None or value == "" or (prop.values and value not in prop.values):
        return None
    return _typed(prop, value)


def _typed(prop: Property, value: Any) -> Any:
    """`value` as the type that the file declares; None if it cannot be that."""
    match prop.type:
        case "string":
            return _text(value)
        case "integer":
            text = _text(value) or ""
            return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "array":
            texts = [_text(item) for item in value] if isinstance(value, list) else None
            return texts and [text for text in texts if text is not None]


def _text(value: Any) -> str | None:
    """A text, or a number as one, if it can be stored and compared."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    if isinstance(value, int) and value.bit_length() > 64:
        return None
    return str(value) if NOT_TEXT.search(str(value)) is None else None
