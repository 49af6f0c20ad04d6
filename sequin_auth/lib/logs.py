"""
Log lines: JSON, one a line, on standard error, so that what a command prints stays readable by a program.

What we write ourselves has fields, and only those of FIELDS come out. What libraries write is text: there the query of
a URL, the token of a start link, an API token, an Authorization header and whatever is named like a secret are cut. An
exception comes without its message, which may repeat a parameter, a row or an answer; its type and its lines stay.
From all of it, whoever has written it, every secret is cut that this process knows (redaction.py).
"""

import json
import logging.config
import re
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from sequin_auth.lib import redaction

FIELDS: Final = frozenset(
    {
        "event", "level", "logger", "timestamp", "exception", "exc_info", "stack_info", "request_id",
        "method", "path", "route", "status", "ms", "client",
        "account", "api_token", "authorization", "credential", "oauth_app", "provider", "reason", "replayed", "count",
        "webhook", "endpoint", "attempt", "place",
        "sync", "stop", "rows", "requests", "waited_ms", "seconds", "jobs", "task",
    }
)  # fmt: skip
# What libraries call the things that nobody may read; a word before it belongs to it: `x-api-key`, `access_token`
NAMES: Final = (
    r"[\w-]*(?:[_-]token|secret|password|passphrase|api[_-]?key|private[_-]?key|[_-]keys|assertion|verifier|signature)"
    r"|token|sessionid|csrftoken|ticket|dpop"
)
HEADERS: Final = r"(?:proxy-)?authorization|(?:set-)?cookie"
HOW: Final = re.IGNORECASE | re.DOTALL
CUTS: Final = [
    (re.compile(r"^(Invalid request from ip=[^ ]+):.*", re.DOTALL), r"\1"),  # gunicorn, with the line that it got
    (re.compile(r"(/link/+oauth2/+start/+)[^\s?'\"]+"), r"\1…"),
    (re.compile(r"\?[^\s'\"]+"), "?…"),
    (re.compile(r"\b(sqa_)[0-9A-Za-z]+"), r"\1…"),
    (re.compile(r"\b(Bearer|Basic|DPoP)\s+[^\s'\"]+", re.IGNORECASE), r"\1 …"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s/@]+@", re.IGNORECASE), r"\1:…@"),  # the password of a DSN
    # "key": "value", 'key': 'value', ('key', 'value')
    (re.compile(rf"""(["'](?:{NAMES}|code|state)["']\s*[:,]\s*b?)(["'])(?:\\.|(?!\2)[^\\])*""", HOW), r"\1\2…"),
    (re.compile(rf"""(\\["'](?:{NAMES}|code|state)\\["']\s*[:,]\s*)(\\["'])(?:(?!\2).)*""", HOW), r"\1\2…"),
    # key=value, key="value"
    (re.compile(rf"""\b((?:{NAMES}|code|state)=)(?:"[^"]*"?|'[^']*'?|[^\s&;,'")]+)""", HOW), r"\1…"),
    # Key: value
    (re.compile(rf"\b({HEADERS}):\s*+(?!(?:Bearer|Basic|DPoP) …)[^\r\n'\"]+", HOW), r"\1: …"),
    (re.compile(rf"\b({NAMES}):\s++(?!…)[^\s'\",]{{8,}}", HOW), r"\1: …"),
]

# Ids of ours, an address, and what logging itself says
LEFT_ALONE: Final = frozenset(
    {
        "level", "logger", "timestamp", "request_id", "method", "route", "client",
        "account", "api_token", "authorization", "credential", "oauth_app", "webhook", "endpoint",
    }
)  # fmt: skip
WORD: Final = re.compile(r"[a-z]+(_[a-z]+)*", re.ASCII)
# What stands in our routes, and ids in them: `oauth-apps`, `v1`, `openapi.json`
PLAIN_SEGMENT: Final = re.compile(
    r"(?=.{0,40}$)([a-z]+[0-9]?([_.-][a-z]+[0-9]?)*)?|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|…", re.ASCII
)
# Controls, what ends a line for some readers, what turns the direction of text, and halves of characters
UNSAFE_IN_A_LINE: Final = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

LONGEST_CHAIN: Final = 10
ENCODER: Final = json.JSONEncoder(ensure_ascii=False)

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def known_fields(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Leaves out what FIELDS does not name, and says so."""
    if left_out := sorted(line.keys() - FIELDS - {"_record", "_from_structlog"}):
        line = {name: value for name, value in line.items() if name not in left_out}
        line["left_out"] = left_out
    return line


def cut(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """The text of a library without what may be a secret in it."""
    text = str(line["event"])
    for pattern, replacement in CUTS:
        text = pattern.sub(replacement, text)
    line["event"] = redaction.without_secrets(text)
    return line


def cut_known(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Every field that can hold a text, without the secrets that this process knows.

    A word of ours stays, though a stranger may have sent it as his `state`: he would blot out what tells of him.
    """
    for name, value in line.items():
        if name in LEFT_ALONE or not isinstance(value, str):
            continue
        if name == "path":
            line[name] = cut_path(value)
        elif not WORD.fullmatch(value):
            line[name] = redaction.without_secrets(value)
    return line


def cut_path(path: str) -> str:
    """Whoever sends a path as his `state` or token, too, blots out none of its words and ids."""
    if redaction.without_secrets(path) == path:
        return path
    return "/".join(part if PLAIN_SEGMENT.fullmatch(part) else redaction.CUT for part in path.split("/"))


def is_plain_path(path: str) -> bool:
    """Whether nothing would be cut from it, whatever this process knows."""
    return all(map(PLAIN_SEGMENT.fullmatch, path.split("/")))


def one_line(line: EventDict, **how: Any) -> str:
    """JSON whose letters can be read, and that no terminal and no reader of lines takes for more."""
    return safe_in_a_line(json.dumps(line, ensure_ascii=False, **how))


def safe_in_a_line(text: str) -> str:
    return UNSAFE_IN_A_LINE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def frames(exc_info: ExcInfo) -> str:
    """The exception and what it came from, the oldest first, like a traceback but for the messages."""
    exception: BaseException | None = exc_info[1]
    parts: list[str] = []
    while exception is not None and len(parts) < LONGEST_CHAIN:
        parts.append("".join(traceback.format_tb(exception.__traceback__)) + type(exception).__qualname__)
        exception = exception.__cause__ or (None if exception.__suppress_context__ else exception.__context__)
    return "\n\nand from it\n\n".join(reversed(parts))


ALL_LINES: Final[list[Processor]] = [
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


class FinishedLine(logging.LogRecord):
    """One whose text is made already. `msg` has the fields, as a line that came by structlog has."""

    def __init__(self, logger: logging.Logger, level: int, line: Mapping[str, Any]) -> None:
        super().__init__(logger.name, level, "", 0, line, (), None)
        self.text = safe_in_a_line(ENCODER.encode(line))


def tell(logger: logging.Logger, event: str, *, request_id: str, **fields: str | int | float | None) -> None:
    """An INFO line of fields that can hold no secret: ids of ours, times, an address, a route, a plain path.

    It comes out as structlog would write it, for a tenth of the processor time; nothing is cut from it.
    """
    if logger.isEnabledFor(logging.INFO):
        own = {"event": event, "request_id": request_id, "logger": logger.name, "level": "info"}
        now = datetime.now(UTC).isoformat().removesuffix("+00:00")
        logger.handle(FinishedLine(logger, logging.INFO, {**fields, **own, "timestamp": f"{now}Z"}))


class JsonFormatter(structlog.stdlib.ProcessorFormatter):
    """Of both: lines that came by structlog, and records of the standard library's logging."""

    def format(self, record: logging.LogRecord) -> str:
        return record.text if isinstance(record, FinishedLine) else super().format(record)

    def __init__(self, **rest: Any) -> None:
        super().__init__(
            foreign_pre_chain=[structlog.contextvars.merge_contextvars, *ALL_LINES, cut],
            processors=[
                known_fields,
                structlog.processors.ExceptionRenderer(frames),
                cut_known,
                self.remove_processors_meta,
                structlog.processors.JSONRenderer(one_line),
            ],
            keep_exc_info=False,
            **rest,
        )


def configure(logging_settings: dict[str, Any]) -> None:
    """`LOGGING_CONFIG`: the standard library's logging, and structlog on top of it."""
    logging.raiseExceptions = False  # a line that cannot be written would be told of on stderr, arguments and all
    logging.config.dictConfig(logging_settings)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            *ALL_LINES,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
