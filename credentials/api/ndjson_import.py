"""
The rows of an export, taken in again: one JSON object a line, read as they come, judged and written one by one.

What is wrong with one line keeps no other from being written, and is told with the line's number.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils.http import parse_header_parameters
from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers

from credentials import imports
from credentials.api.serializers import NO_SUCH_APP, OAuthAppsOf, RowSerializer, fields_of
from credentials.imports import Import
from credentials.link.forms import canonical_uuid
from credentials.models import Credential
from oauth_apps.models import Account
from providers.kinds import PropertiesNotAccepted
from sequin_auth.lib.api.errors import ApiError, Invalid, NotJSON, TooLarge, refusal
from sequin_auth.lib.api.parsing import MAX_BYTES, parse_json

MEDIA_TYPE = "application/x-ndjson"
MOST_ERRORS = 1000
PIECE = 64 * 1024  # bytes


class LineTooLong(ApiError):
    code = "line_too_long"
    summary = "A line has at most 1 MiB."


class NotAnObject(ApiError):
    code = "invalid_json"
    summary = "The line is not a JSON object in UTF-8."


class NotExported(ApiError):
    code = "credential_unreadable"
    summary = "The export could not read this credential, so that the line holds nothing of it."


class BrokenOff(ApiError):
    code = "body_broken_off"
    summary = "The body ended before its end, in this line or before it."


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


# ---- the journey -----------------------------------------------------------------------------------------------------


@sensitive_variables()
def import_lines(account: Account, stream: Readable) -> dict[str, Any]:
    """Import every line of `stream`, each in a transaction of its own. Returns the report.

    A credential that is there already takes what is newer; empty lines are passed over.
    """
    report, oauth_apps, number = Report(), OAuthAppsOf(account), 0
    try:
        for number, line in enumerate(lines_of(stream), start=1):
            if line.strip():
                import_line(oauth_apps, number, line, report)
    except BrokenOff as exc:
        number += 1
        report.refuse(number, exc)
    return report.as_dict(lines=number)


@sensitive_variables()
def import_line(oauth_apps: OAuthAppsOf, number: int, line: bytes, report: "Report") -> None:
    row: dict[str, Any] = {}
    try:
        row = row_of(line)
        is_new = kept(oauth_apps.account, judged(oauth_apps, row))
    except (ApiError, serializers.ValidationError) as exc:
        report.refuse(number, refusal(exc) or ApiError(), credential_id=row.get("id"))
    else:
        report.count(is_new=is_new)


@sensitive_variables()
def row_of(line: bytes) -> dict[str, Any]:
    """Raises ApiError."""
    try:
        row = parse_json(line)
    except TooLarge as exc:
        raise LineTooLong from exc
    except Invalid:
        raise
    except ApiError as exc:
        raise NotAnObject from exc
    if not isinstance(row, dict):
        raise NotAnObject
    return row


@sensitive_variables()
def judged(oauth_apps: OAuthAppsOf, row: dict[str, Any]) -> Import:
    """Raises NotExported, ValidationError."""
    if "error" in row and "properties" not in row:
        raise NotExported
    serializer = RowSerializer(data=row, context={"oauth_apps": oauth_apps})
    serializer.is_valid(raise_exception=True)
    given: Import = serializer.validated_data
    return given


@sensitive_variables()
def kept(account: Account, given: Import) -> bool:
    """Whether it is new. Raises Invalid, with nothing written."""
    try:
        with transaction.atomic():
            credential, is_new = imports.keep(account, given)
            if given.id not in {None, credential.pk} and Credential.objects.of(account).filter(pk=given.id).exists():
                raise PropertiesNotAccepted({"id": ["Belongs to another credential."]})
    except PropertiesNotAccepted as exc:
        raise Invalid(fields_of(exc)) from exc
    except IntegrityError as exc:  # told by the commit
        raise Invalid({"oauth_app_id": [NO_SUCH_APP]}) from exc
    return is_new


class Report:
    """What has become of the lines, so far."""

    def __init__(self) -> None:
        self.created = self.updated = self.refused = 0
        self.errors: list[dict[str, Any]] = []

    def count(self, *, is_new: bool) -> None:
        if is_new:
            self.created += 1
        else:
            self.updated += 1

    def refuse(self, line: int, error: ApiError, *, credential_id: Any = None) -> None:
        self.refused += 1
        if len(self.errors) == MOST_ERRORS:
            return
        is_id = isinstance(credential_id, str) and canonical_uuid(credential_id) is not None
        told = {"line": line} | ({"id": credential_id} if is_id else {})
        self.errors.append({**told, "code": error.code, "summary": error.summary, **error.members})

    def as_dict(self, *, lines: int) -> dict[str, Any]:
        return {
            "lines": lines,
            "created": self.created,
            "updated": self.updated,
            "refused": self.refused,
            "errors": self.errors,
            "errors_left_out": self.refused - len(self.errors),
        }


# ---- the body --------------------------------------------------------------------------------------------------------


def lines_of(stream: Readable) -> Iterator[bytes]:
    """The lines, without their ends. Of one that is too long there is one byte too many, and never more in memory."""
    line = bytearray()
    while piece := stream.read(PIECE):
        *ended, rest = piece.split(b"\n")
        for part in ended:
            yield bytes(_longer(line, part))
            line.clear()
        _longer(line, rest)
    if line:
        yield bytes(line)


def _longer(line: bytearray, part: bytes) -> bytearray:
    line += part[: MAX_BYTES + 1 - len(line)]
    return line


class Upload:
    """The body of a request, of any length, whether its length was told or it comes in chunks.

    Django takes a body without Content-Length for an empty one; a server that ends the stream by itself says so.
    Raises NotJSON for another type than NDJSON.
    """

    def __init__(self, request: HttpRequest) -> None:
        media_type, parameters = parse_header_parameters(request.META.get("CONTENT_TYPE", ""))
        if media_type != MEDIA_TYPE or parameters.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
            raise NotJSON(f"Send lines of JSON in UTF-8: `Content-Type: {MEDIA_TYPE}`.")
        ends_by_itself = request.META.get("wsgi.input_terminated", False)
        self.stream: Readable = request.META["wsgi.input"] if ends_by_itself else request
        length = request.META.get("CONTENT_LENGTH") or ""
        self.missing = int(length) if length.isdecimal() else 0

    def read(self, size: int, /) -> bytes:
        """Raises BrokenOff if the client hung up before the end."""
        try:
            piece = self.stream.read(size)
        except OSError as exc:
            raise BrokenOff from exc
        self.missing -= len(piece)
        if not piece and self.missing > 0:
            raise BrokenOff
        return piece
