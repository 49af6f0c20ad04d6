"""What is wrong before anything is served; registered by `apps.py`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.contrib.admin.sites import all_sites
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import FieldDoesNotExist
from django.db import ProgrammingError, transaction
from django.db.models import Model

from credentials.refresh import spool
from sequin_auth.lib.encryption import SealedField, key_ring, keys_in_use, sealed_fields


@register(Tags.database)
def no_key_is_missing(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Run by `manage.py migrate` and `check --database default`: reads the key ids of all that is sealed.

    `call_command("migrate")` passes over checks, unless it is told `skip_checks=False`.
    """
    if not databases:
        return []
    used: set[str] = set()
    for field in sealed_fields():
        try:
            with transaction.atomic():
                used.update(key_id for key_id in keys_in_use(field) if key_id)
        except ProgrammingError:  # its table or column waits for a migration
            continue
    used.update(key_id for key_id in spool.keys_in_use() if key_id)
    return [
        Error(
            f"Stored secrets are sealed with the key {key_id}, which ENCRYPTION_KEYS does not hold.",
            hint="Put the key back behind the first one; `manage.py rotate_keys` makes it superfluous.",
            id="sequin_auth.E003",
        )
        for key_id in sorted(used.difference(key_ring().key_ids))
    ]


@register(Tags.admin)
def no_secret_is_shown(**_: Any) -> list[CheckMessage]:
    """The console reads the attributes that it lists, which would open them."""
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
