"""
The rows of an export, taken in again: one JSON object a line, read as they come, judged one by one, and written some
at a time, in one transaction.

What is wrong with one line keeps no other from being written, and is told with the line's number.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from django.db import DatabaseError, IntegrityError, transaction
from django.http import HttpRequest
from django.utils.http import parse_header_parameters
from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers

from credentials import imports
from credentials.api.serializers import NO_SUCH_APP, OAuthAppsOf, RowSerializer, fields_of
from credentials.imported import Import
from credentials.imports import Kept
from credentials.link.forms import canonical_uuid
from oauth_apps import audit
from oauth_apps.models import Account, AuditEvent
from providers.kinds import PropertiesNotAccepted
from sequin_auth.lib.api.errors import ApiError, DeletedMeanwhile, Invalid, NotJSON, TooLarge, refusal
from sequin_auth.lib.api.parsing import MAX_BYTES, parse_json

MEDIA_TYPE = "application/x-ndjson"
MOST_ERRORS = 1000
PIECE = 64 * 1024  # bytes
TOGETHER = 20  # lines in a transaction: many share its cost, and few rows are locked, for some hundredths of a second


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
    """Import every line of `stream`. Returns the report.

    A credential that is there already takes what is newer; empty lines are passed over.
    """
    report, number, waiting, size = Report(), 0, list[Line](), 0
    serializer = RowSerializer(context={"oauth_apps": OAuthAppsOf(account)})  # of all: making its fields takes longest
    broken_off: BrokenOff | None = None
    try:
        for number, line in enumerate(lines_of(stream), start=1):
            if line.strip():
                waiting.append(read_line(serializer, number, line))
                size += len(line)
            if len(waiting) == TOGETHER or size > MAX_BYTES:
                import_together(account, waiting, report)
                waiting, size = [], 0
    except BrokenOff as exc:
        broken_off = exc
    import_together(account, waiting, report)
    if broken_off:
        number += 1
        report.refuse(number, broken_off)
    audit.record("credential.imported", account=account, named=f"{number} lines", detail=report.in_words())
    return report.as_dict(lines=number)


@sensitive_variables()
def import_together(account: Account, lines: Sequence["Line"], report: "Report") -> None:
    """All in one transaction; if that fails as a whole, each in one of its own."""
    try:
        keep_together(account, lines)
    except DatabaseError:
        for line in lines:
            keep_together(account, [line])
    for line in lines:
        if line.error is None:
            report.count(is_new=line.is_new)
        else:
            report.refuse(line.number, line.error, credential_id=line.credential_id)


@sensitive_variables()
def keep_together(account: Account, lines: Sequence["Line"]) -> None:
    """What is wrong with one line is noted in it, and undoes nothing of the others.

    Raises DatabaseError if that is for all of them: the commit fails, or two imports wait for each other.
    """
    rows = [(line, line.given) for line in lines if line.given is not None]
    events: list[AuditEvent] = []
    try:
        with transaction.atomic():
            outcomes = imports.keep_all(account, [given for _, given in rows])
            for (line, _), outcome in zip(rows, outcomes, strict=True):
                if isinstance(outcome, PropertiesNotAccepted):
                    line.error = Invalid(fields_of(outcome))
                    line.error.__cause__ = outcome
                else:
                    line.is_new, line.error = outcome.is_new, None
                    events.append(event_of(account, outcome))
            audit.write(events)  # last, since it locks the end of the account's chain
    except IntegrityError as exc:  # told by the commit
        if len(lines) > 1:
            raise
        (line,) = lines
        names_app = line.given is not None and line.given.oauth_app is not None
        line.error = Invalid({"oauth_app_id": [NO_SUCH_APP]}) if names_app else DeletedMeanwhile()
        line.error.__cause__ = exc


@sensitive_variables()
def read_line(serializer: RowSerializer, number: int, text: bytes) -> "Line":
    line = Line(number)
    try:
        row = row_of(text)
        line.credential_id = row.get("id")
        line.given = judged(serializer, row)
    except (ApiError, serializers.ValidationError) as exc:
        line.error = refusal(exc) or ApiError()
    return line


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
def judged(serializer: RowSerializer, row: dict[str, Any]) -> Import:
    """Raises NotExported, ValidationError."""
    if "error" in row and "properties" not in row:
        raise NotExported
    given: Import = serializer.run_validation(row)
    return given


def event_of(account: Account, kept: Kept) -> AuditEvent:
    """Not written yet."""
    deed = "credential.created" if kept.is_new else "credential.replaced"
    detail = f"{kept.credential.kind}, of an import"
    return audit.event(deed, account=account, to=kept.credential, detail=detail)


class Line:
    """One that is not empty: what it holds, or what is wrong with it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.credential_id: Any = None  # as it stands there
        self.given: Import | None = None
        self.error: ApiError | None = None
        self.is_new = False


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

    def in_words(self) -> str:
        return f"{self.created} created, {self.updated} replaced, {self.refused} refused"

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
