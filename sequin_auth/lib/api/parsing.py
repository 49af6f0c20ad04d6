"""One reader of JSON for everything that a stranger sends. It is stricter than RFC 8259, so that what it lets through
can be stored in PostgreSQL, read again and written back.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any, NoReturn

from django.utils.http import parse_header_parameters
from rest_framework.parsers import BaseParser

from sequin_auth.lib import redaction
from sequin_auth.lib.api.errors import ApiError, Invalid, NotJSON, TooLarge

MAX_BYTES = 1_048_576
MAX_DEPTH = 32  # objects and lists within one another, in each field
MAX_NUMBER = 310  # characters: the largest double, written out
NOT_TEXT = re.compile(r"[\x00\ud800-\udfff]")  # PostgreSQL stores neither


class StrictJSONParser(BaseParser):
    """Reads a body of at most 1 MiB with `parse_json`."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        media_type, parameters = parse_header_parameters(media_type or "")
        if media_type != self.media_type or parameters.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
            raise NotJSON
        return parse_json(stream.read(MAX_BYTES + 1))


def parse_json(data: bytes) -> object:
    """The value that `data` says. Raises TooLarge, ApiError (400: no JSON) or Invalid (422: JSON that we refuse)."""
    if len(data) > MAX_BYTES:
        raise TooLarge
    try:
        text = data.decode()
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise Invalid({"body": [f"JSON may be nested {MAX_DEPTH} levels deep."]}) from None
    except ValueError:
        raise ApiError("The body is not JSON in UTF-8.", code="invalid_json") from None  # the cause holds the body
    _check(value)
    redaction.learn_from(value)
    return value


def _walk(value: object) -> Iterator[tuple[int, object]]:
    """Every value in `value` and every name, with the number of objects and lists around it (its own included)."""
    waiting = [(0, value)]
    while waiting:
        level, item = waiting.pop()
        if isinstance(item, dict | list):
            level += 1
            parts = [*item.keys(), *item.values()] if isinstance(item, dict) else item
            waiting.extend((level, part) for part in parts)
        yield level, item


def _check(value: object) -> None:
    fields = value.items() if isinstance(value, dict) else [("body", value)]
    for field, part in fields:
        if NOT_TEXT.search(field):
            raise Invalid({"body": ["Names must not hold NUL or half of a surrogate pair."]})
        for level, item in _walk(part):
            if level > MAX_DEPTH:
                raise Invalid({field: [f"JSON may be nested {MAX_DEPTH} levels deep."]})
            if isinstance(item, str) and NOT_TEXT.search(item):
                raise Invalid({field: ["Text must not hold NUL or half of a surrogate pair."]})


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Invalid({"body": ["The same name stands twice in one object."]}, code="duplicate_name")
    return value


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER:
        raise Invalid({"body": [f"A number has at most {MAX_NUMBER} characters."]})
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits) if len(digits) <= MAX_NUMBER else math.inf
    if math.isinf(value):
        raise Invalid({"body": [f"A number has at most {MAX_NUMBER} characters and fits a double."]})
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ApiError("NaN and Infinity are not JSON.", code="invalid_json")
