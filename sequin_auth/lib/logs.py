"""
Log lines: JSON, one a line, on standard error, so that what a command prints stays readable by a program.

What we write ourselves has fields, and only those of FIELDS come out. What libraries write is text: there the query of
a URL, the token of a start link, an API token and an Authorization header are cut. An exception comes without its
message, which may repeat a parameter, a row or an answer; its type and its lines stay.
"""

import logging.config
import re
import traceback
from types import TracebackType
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

FIELDS: Final = frozenset(
    {
        "event", "level", "logger", "timestamp", "exception", "exc_info", "stack_info", "request_id",
        "method", "path", "route", "status", "ms", "client",
        "account", "api_token", "authorization", "credential", "oauth_app", "provider", "reason", "replayed", "count",
    }
)  # fmt: skip
CUTS: Final = [
    (re.compile(r"^(Invalid request from ip=[^ ]+):.*", re.DOTALL), r"\1"),  # gunicorn, with the line that it got
    (re.compile(r"(/link/oauth2/start/)[^\s?'\"]+"), r"\1…"),
    (re.compile(r"\?[^\s'\"]+"), "?…"),
    (re.compile(r"\b(sqa_)[0-9A-Za-z]+"), r"\1…"),
    (re.compile(r"\b(Bearer|Basic)\s+[^\s'\"]+", re.IGNORECASE), r"\1 …"),
]

LONGEST_CHAIN: Final = 10

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def known_fields(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Leaves out what FIELDS does not name, and says so."""
    if left_out := sorted(line.keys() - FIELDS - {"_record", "_from_structlog"}):
        line = {name: value for name, value in line.items() if name not in left_out}
        line["left_out"] = left_out
    return line


def cut(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """The text of a library without what may be a secret in it."""
    for pattern, replacement in CUTS:
        line["event"] = pattern.sub(replacement, str(line["event"]))
    return line


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


class JsonFormatter(structlog.stdlib.ProcessorFormatter):
    """Of both: lines that came by structlog, and records of the standard library's logging."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(
            foreign_pre_chain=[structlog.contextvars.merge_contextvars, *ALL_LINES, cut],
            processors=[
                known_fields,
                structlog.processors.ExceptionRenderer(frames),
                self.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
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
