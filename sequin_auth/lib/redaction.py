"""
Every secret that this process knows, and how it is cut from a text that ought not to hold it.

Known are the keys and the password of settings.py for as long as the process lives; and while a request or a job
lasts, whatever a sealed field has opened or closed, whatever we find by its hash (API tokens, codes, states, the tokens
of start links), and what a request or a provider's answer names like a secret.

What is learnt belongs to the context (contextvars) that learns it. A request begins with nothing and leaves nothing
behind; a job of the queue has a context of its own. A thread that is given none learns for itself.
"""

import base64
import functools
import json
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Final
from urllib.parse import quote, quote_plus

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

CUT: Final = "…"
SHORTEST: Final = 8  # characters; what is shorter stands in many a text by chance
MOST: Final = 256  # values that a context remembers; of more, the newest
LONGEST: Final = 131_072  # characters that they have all together; a provider's token has 65,536 at most

# Members, parameters and headers that hold secrets, whoever names them; `-` is `_`
SECRET_NAMES: Final = frozenset(
    {
        "token", "secret", "password", "passphrase", "authorization", "proxy_authorization", "cookie", "set_cookie",
        "assertion", "client_assertion", "code_verifier", "oauth_verifier", "dpop", "ticket", "apikey",
    }
)  # fmt: skip
SECRET_ENDINGS: Final = ("_token", "_secret", "_password", "_api_key", "_private_key", "_secret_key", "_token_secret")
ALSO_OF_REQUESTS: Final = frozenset({"code", "state", "client_state", "api_key", "private_key", "secret_key"})
NOT_SECRET: Final = frozenset({"scope", "scope_as_told", "token_type", "properties"})  # beside tokens in what we seal
PLAIN: Final = re.compile(r"[A-Za-z0-9._~-]*", re.ASCII)  # spelled alike in JSON, in a URL and by repr()

Spellings = tuple[str, ...]


class Known(dict[str | bytes, Spellings | None]):
    """Secrets, the oldest first, and how each may be spelled, once that was needed."""

    characters = 0

    def add(self, value: str | bytes) -> None:
        self[value] = None
        self.characters += len(value)
        while len(self) > MOST or self.characters > LONGEST:
            oldest = next(iter(self))
            self.characters -= len(oldest)
            del self[oldest]


known: ContextVar[Known | None] = ContextVar("known", default=None)


# ---- learning --------------------------------------------------------------------------------------------------------


def begin() -> None:
    """A request or a job: nothing is known yet."""
    known.set(Known())


def forget() -> None:
    """It is over: no secret stays in memory for the sake of the log."""
    known.set(None)


def learn(value: str | bytes | None) -> None:
    """Remember a secret. Cheap: how it may be spelled is worked out by the first line that is written."""
    if value is None or len(value) < SHORTEST:
        return
    values = known.get()
    if values is None:
        values = Known()
        known.set(values)
    if value not in values:
        values.add(value)


def learn_from(document: object, *, more_names: frozenset[str] = ALSO_OF_REQUESTS) -> None:
    """Remember what a document holds under the name of a secret, at any depth.

    `more_names`: those that are secret in a request, while an answer says `code` of an error.
    """
    waiting: list[tuple[bool, object]] = [(False, document)]
    while waiting:
        is_secret, item = waiting.pop()
        if isinstance(item, Mapping):
            waiting.extend((is_secret or is_named_secret(name, more_names), part) for name, part in item.items())
        elif isinstance(item, list | tuple):
            waiting.extend((is_secret, part) for part in item)
        elif is_secret and isinstance(item, str | bytes):
            learn(item)


def is_named_secret(name: object, more_names: frozenset[str] = ALSO_OF_REQUESTS) -> bool:
    plain = str(name).lower().replace("-", "_")
    return plain in SECRET_NAMES or plain in more_names or plain.endswith(SECRET_ENDINGS)


# ---- cutting ---------------------------------------------------------------------------------------------------------


def without_secrets(text: str) -> str:
    """`text` with … for every secret that is known, as it is, escaped for JSON or a URL, in Base64 or hexadecimal."""
    length = len(text)
    if length < SHORTEST:
        return text
    found = [spelling for spelling in spellings_of_settings() if spelling in text]
    values = known.get()
    for value in list(values or ()):
        # No spelling of a text is shorter than itself, unless it is that of a part
        if isinstance(value, bytes) or len(value) <= length or value.startswith("{"):
            found += [spelling for spelling in remembered_spellings(values, value) if spelling in text]
    for spelling in sorted(found, key=len, reverse=True):  # one may be the beginning of another
        text = text.replace(spelling, CUT)
    return text


def remembered_spellings(values: Known | None, value: str | bytes) -> Spellings:
    spellings = values.get(value) if values else None
    if spellings is None:
        spellings = spellings_of(value)
        if values is not None and value in values:
            values[value] = spellings
    return spellings


def spellings_of_settings() -> Spellings:
    try:
        password = settings.DATABASES["default"].get("PASSWORD") or ""
        return spellings_of_keys(settings.SECRET_KEY, settings.ENCRYPTION_KEYS, password)
    except (ImproperlyConfigured, AttributeError, KeyError):  # a line about just that is written all the same
        return ()


@functools.lru_cache(maxsize=4)
def spellings_of_keys(secret_key: str, encryption_keys: str, password: str) -> Spellings:
    entries = [entry.strip().partition(":") for entry in encryption_keys.split(",")]
    values: list[str | bytes] = [secret_key, password, *(encoded or entry for entry, _, encoded in entries)]
    for _, _, encoded in entries:
        try:
            values.append(base64.b64decode(encoded, validate=True))
        except ValueError:
            continue
    return tuple({spelling for value in values if len(value) >= SHORTEST for spelling in spellings_of(value)})


def spellings_of(value: str | bytes) -> Spellings:
    """Of the value, and if it is a JSON object, of the secrets in it."""
    raw = value if isinstance(value, bytes) else value.encode(errors="surrogatepass")
    found = set(inside_base64(raw))
    try:
        text = value if isinstance(value, str) else value.decode()
    except UnicodeDecodeError:
        return tuple({*found, raw.hex(), raw.hex().upper()})
    found.add(text)
    if not PLAIN.fullmatch(text):
        found |= {quote(raw), quote(raw, safe=""), quote_plus(raw)}
        found |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
    if isinstance(value, bytes):
        found |= {raw.hex(), raw.hex().upper()}
    for leaf in leaves(text) if text.startswith("{") else ():
        found.update(spellings_of(leaf))
    return tuple(spelling for spelling in found if len(spelling) >= SHORTEST)


def inside_base64(raw: bytes) -> Iterator[str]:
    """What Base64 makes of these bytes wherever they begin, without the characters that depend on their neighbours."""
    for offset in range(3):
        begins, ends = -(-8 * offset // 6), 8 * (offset + len(raw)) // 6
        encoded = base64.b64encode(b"\0" * offset + raw).decode()[begins:ends]
        yield encoded
        if "+" in encoded or "/" in encoded:
            yield encoded.translate(str.maketrans("+/", "-_"))


def leaves(text: str) -> Iterator[str]:
    """The texts in a JSON object that we have sealed, but for what stands beside a token without being secret."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    waiting: list[object] = [document]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(part for name, part in item.items() if name not in NOT_SECRET)
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str) and len(item) >= SHORTEST:
            yield item
