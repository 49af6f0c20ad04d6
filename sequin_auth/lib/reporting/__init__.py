"""
Reports to hosts of the operator's own: errors to Sentry (`SENTRY_DSN`), spans to a collector of OpenTelemetry
(`OTLP_ENDPOINT`). Both are off unless set, and neither library is imported before; what leaves is named field by field,
and every text of it has gone the way of a log line.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

is_tracing = False
report: Callable[[str, logging.LogRecord], None] | None = None  # an error
MISSING = "{setting} is set, and its library is not installed: `uv sync --extra {extra}`, or pip install '.[{extra}]'."


def begin() -> None:
    """Once a process, before it serves; what is forked off goes on with it. Raises ImproperlyConfigured."""
    global is_tracing, report  # noqa: PLW0603 - of this process
    if settings.SENTRY_DSN:
        try:
            from sequin_auth.lib.reporting import errors
        except ImportError as exc:
            raise ImproperlyConfigured(MISSING.format(setting="SENTRY_DSN", extra="sentry")) from exc
        errors.begin(settings.SENTRY_DSN)
        report = errors.report
    if settings.OTLP_ENDPOINT:
        try:
            from sequin_auth.lib.reporting import tracing
        except ImportError as exc:
            raise ImproperlyConfigured(MISSING.format(setting="OTLP_ENDPOINT", extra="opentelemetry")) from exc
        tracing.begin(settings.OTLP_ENDPOINT)
        is_tracing = True


class Reports(logging.Handler):
    """Hands on what the log says of a record, made in the thread that knows which secrets are about."""

    def emit(self, record: logging.LogRecord) -> None:
        if report is not None:
            report(self.format(record), record)


def span(name: str, **attributes: str) -> AbstractContextManager[object]:
    """A span around a block, if there are any. `attributes`: of tracing.KEPT, words of ours and slugs."""
    if not is_tracing:
        return nullcontext()
    from sequin_auth.lib.reporting import tracing

    return tracing.span(name, attributes)
