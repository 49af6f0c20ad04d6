"""How the paths of the API are spelled: ids in one spelling only, and a slash at the end or not."""

import re
import uuid
from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, path, register_converter

CANONICAL_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def canonical_uuid(text: str) -> uuid.UUID | None:
    """The id that `text` is, if it is spelt as we spell ids; None for any other spelling."""
    return uuid.UUID(text) if re.fullmatch(CANONICAL_UUID, text) else None


class CanonicalUUIDConverter:
    """`<canonical_uuid:id>`: lower case, with dashes. Python's own reader takes braces, `urn:uuid:` and more."""

    regex = CANONICAL_UUID

    def to_python(self, value: str) -> uuid.UUID:
        return uuid.UUID(value)

    def to_url(self, value: uuid.UUID | str) -> str:
        return str(value)


register_converter(CanonicalUUIDConverter, "canonical_uuid")


def with_and_without_slash(route: str, view: Callable[..., Any], *, name: str) -> list[URLPattern]:
    """Both spellings of a path. A redirect from one to the other would break clients that POST."""
    return [path(route, view, name=name), path(f"{route}/", view)]
