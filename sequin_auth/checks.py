"""What is wrong before anything is served; registered by `apps.py`."""

import ipaddress
import stat
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.admin import autodiscover
from django.contrib.admin.sites import all_sites
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register  # noqa: A004 - Django's word
from django.core.exceptions import FieldDoesNotExist
from django.db import ProgrammingError, transaction
from django.db.models import Model
from django.http.request import validate_host

from credentials.models import FingerprintKey
from credentials.refresh import spool
from oauth_apps.models import AuditKey
from sequin_auth.lib.encryption import SealedField, Tampered, UnknownKey, key_ring, keys_missing, sealed_fields

SHORTEST_SECRET_KEY = 32  # characters
FEWEST_DISTINCT_CHARACTERS = 8  # of 32 random hexadecimal digits there are fewer once in 20 million keys
WIDEST = {4: 8, 6: 16}  # bits that a network of proxies has at least, such as 10.0.0.0/8
UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")  # nobody comes from there over the Internet. Source: RFC 4193

deployment = register(Tags.security, deploy=True)  # `manage.py check --deploy`, and `manage.py serve`


@register(Tags.database)
def no_key_is_missing(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Run by `manage.py migrate`, `serve` and `check --database default`: looks for key ids that we do not know.

    `call_command("migrate")` passes over checks, unless it is told `skip_checks=False`.
    """
    if not databases:
        return []
    missing: set[str] = set()
    for field in sealed_fields():
        try:
            with transaction.atomic():
                missing |= keys_missing(field)
        except ProgrammingError:  # its table or column waits for a migration
            continue
    missing.update(key_id for key_id in spool.keys_in_use() if key_id and key_id not in key_ring().key_ids)
    return [
        Error(
            f"Stored secrets are sealed with the key {key_id}, which ENCRYPTION_KEYS does not hold.",
            hint="Put the key back behind the first one; `manage.py rotate_keys` makes it superfluous.",
            id="sequin_auth.E003",
        )
        for key_id in sorted(missing)
    ]


@register(Tags.database)
def keys_open_what_they_have_sealed(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """The canary: under an id that is known there may stand another key. Two rows that every installation has tell."""
    problems: list[CheckMessage] = []
    for model in (FingerprintKey, AuditKey) if databases else ():
        try:
            with transaction.atomic():
                for row in model._default_manager.all():
                    bool(row.key)  # what is read is opened
        except Tampered:
            problems.append(
                Error(
                    f"ENCRYPTION_KEYS does not open {model._meta.label}, which one of its keys has sealed.",
                    hint="Under that key's id there stands another key now. Put back the one that the data came with.",
                    id="sequin_auth.E005",
                )
            )
        except (UnknownKey, ProgrammingError):  # said by E003; its table waits for a migration
            continue
    return problems


@register(Tags.admin)
def no_secret_is_shown(**_: Any) -> list[CheckMessage]:
    """The console reads the attributes that it lists, which would open them."""
    autodiscover()
    return [
        Error(f"The console would show {model._meta.label}.{name} in the clear.", id="sequin_auth.E004")
        for model, names in shown()
        for name in names
        if is_sealed(model, name)
    ]


def shown() -> Iterator[tuple[type[Model], Iterable[Any]]]:
    for site in all_sites:
        for model, admin in site._registry.items():
            yield model, (*admin.list_display, *admin.readonly_fields)
            for inline in admin.inlines:
                yield inline.model, inline.readonly_fields


def is_sealed(model: type[Model], name: Any) -> bool:
    try:
        return isinstance(model._meta.get_field(str(name)), SealedField)
    except FieldDoesNotExist:
        return False


# ---- before others can reach it --------------------------------------------------------------------------------------


@deployment
def it_is_reached_under_its_name(**_: Any) -> list[CheckMessage]:
    problems: list[CheckMessage] = []
    if settings.ON_LOOPBACK:
        problems.append(
            Warning(
                "PUBLIC_URL is plain http on loopback: cookies are not Secure, and nobody else gets here.",
                hint="Set PUBLIC_URL to the https origin under which browsers reach the gateway.",
                id="sequin_auth.W006",
            )
        )
    elif settings.DEBUG:
        problems.append(
            Error(
                "DEBUG is on where others can reach it: error pages would show them the inside.",
                hint="Leave DEBUG out.",
                id="sequin_auth.E007",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        problems.append(
            Error(
                "ALLOWED_HOSTS allows every name, so a request may claim to be for any host.",
                hint="Name the hosts, or leave it out: then it is the host of PUBLIC_URL.",
                id="sequin_auth.E008",
            )
        )
    elif any(name.startswith(".") and "." not in name.strip(".") for name in settings.ALLOWED_HOSTS):
        problems.append(
            Error(
                "ALLOWED_HOSTS allows every name under a top-level domain, so a request may claim to be for any host.",
                hint="Name the hosts, or leave it out: then it is the host of PUBLIC_URL.",
                id="sequin_auth.E020",
            )
        )
    elif not validate_host(urlsplit(settings.PUBLIC_URL).hostname or "", settings.ALLOWED_HOSTS):
        problems.append(
            Error(
                "ALLOWED_HOSTS does not hold the host of PUBLIC_URL, so nobody would be answered.",
                hint="Add it, or leave ALLOWED_HOSTS out.",
                id="sequin_auth.E009",
            )
        )
    return problems


@deployment
def proxies_are_named(**_: Any) -> list[CheckMessage]:
    problems: list[CheckMessage] = []
    for number, text in enumerate(settings.TRUSTED_PROXIES, start=1):
        try:
            network = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            problems.append(
                Error(
                    f"TRUSTED_PROXIES: entry {number} is no address or network.",
                    hint="Such as 10.0.0.7 or 10.0.0.0/24; no names, no ports.",
                    id="sequin_auth.E010",
                )
            )
            continue
        if network.prefixlen < WIDEST[network.version] and not is_unique_local(network):
            problems.append(
                Error(
                    f"TRUSTED_PROXIES: entry {number} is too wide: whoever is in it may say that he is anybody.",
                    hint="Name the addresses of the proxies alone, at most an IPv4 /8 or an IPv6 /16.",
                    id="sequin_auth.E011",
                )
            )
    if not settings.ON_LOOPBACK and not settings.TRUSTED_PROXIES:
        problems.append(
            Warning(
                "PUBLIC_URL is https and TRUSTED_PROXIES is empty: no proxy is believed that TLS was spoken, so "
                "every page leads to itself.",
                hint="Name the proxy that ends TLS in TRUSTED_PROXIES.",
                id="sequin_auth.W012",
            )
        )
    return problems


def is_unique_local(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return isinstance(network, ipaddress.IPv6Network) and network.subnet_of(UNIQUE_LOCAL)


@deployment
def nobody_guesses_the_secret_key(**_: Any) -> list[CheckMessage]:
    """Whoever knows it signs what we take for ours; W009 of Django's, which only warns, asks for more."""
    key: str = settings.SECRET_KEY
    is_strong = len(key) >= SHORTEST_SECRET_KEY and len(set(key)) >= FEWEST_DISTINCT_CHARACTERS
    if is_strong and not key.startswith("django-insecure-"):
        return []
    return [
        Error(
            f"SECRET_KEY can be guessed: it needs at least {SHORTEST_SECRET_KEY} characters, and"
            f" {FEWEST_DISTINCT_CHARACTERS} different ones.",
            hint="Make one with `openssl rand -base64 48`.",
            id="sequin_auth.E019",
        )
    ]


@deployment
def keys_are_apart(**_: Any) -> list[CheckMessage]:
    keys = [entry.partition(":")[2].strip() for entry in settings.ENCRYPTION_KEYS.split(",")]
    spellings = {spelling for key in keys for spelling in (key, key.rstrip("="), b64decode(key).hex())}
    if settings.SECRET_KEY.strip() not in spellings:
        return []
    return [
        Error(
            "SECRET_KEY is one of ENCRYPTION_KEYS: who learns the one could open everything.",
            hint="Make another SECRET_KEY. It signs everybody out and breaks nothing else.",
            id="sequin_auth.E013",
        )
    ]


@deployment
def doors_that_were_opened(**_: Any) -> list[CheckMessage]:
    """What somebody has decided, said once more: none of it is wrong by itself."""
    said: list[CheckMessage] = []
    if settings.EGRESS_ALLOW:
        said.append(
            Info(
                f"EGRESS_ALLOW lets calls out that the guard would refuse, to {len(settings.EGRESS_ALLOW)} places.",
                hint="Whoever registers OAuth apps reaches them through a provider whose host he names.",
                id="sequin_auth.I014",
            )
        )
    if settings.SANDBOX and not settings.ON_LOOPBACK:
        said.append(
            Info(
                "The provider simulator is on: apps of the environment sandbox approve whatever they are asked.",
                hint="SANDBOX=off turns it off; no live app is touched by it.",
                id="sequin_auth.I015",
            )
        )
    return said


@deployment
def files_are_ours(**_: Any) -> list[CheckMessage]:
    """Whoever writes a provider's file gets its apps' secrets; whoever writes VAR_DIR, the embedded PostgreSQL."""
    folder = Path(settings.PROVIDERS_DIR) if settings.PROVIDERS_DIR else None
    problems: list[CheckMessage] = [
        Warning(
            f"Everybody on this machine may write {place.name} of PROVIDERS_DIR, and choose where secrets go.",
            hint="chmod o-w",
            id="sequin_auth.W016",
        )
        for place in ([folder, *sorted(folder.glob("*.toml"))] if folder else [])
        if mode_of(place) & stat.S_IWOTH
    ]
    if mode_of(settings.VAR_DIR) & (stat.S_IWGRP | stat.S_IWOTH):
        problems.append(
            Warning(
                "Others on this machine may write VAR_DIR, where the database and what waits for it lie.",
                hint="chmod go-w",
                id="sequin_auth.W017",
            )
        )
    if settings.ENV_FILE and mode_of(Path(settings.ENV_FILE)) & (stat.S_IRWXG | stat.S_IRWXO):
        problems.append(
            Warning(
                "Others on this machine may read ENV_FILE, which holds the keys.",
                hint="chmod 600",
                id="sequin_auth.W018",
            )
        )
    return problems


def mode_of(path: Path) -> int:
    """0 for what is not there, of which others complain."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0
