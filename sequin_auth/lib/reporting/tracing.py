"""
Spans to a collector of OpenTelemetry: of each request that Django answers, of its statements, and of the calls to
token endpoints. The instrumentations of OpenTelemetry make them; what they know beside KEPT is left out on the way.

A stranger's `traceparent` is not believed, and none is sent to a provider. A statement outside of a request has none.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, Status

from sequin_auth import __version__
from sequin_auth.lib.reporting.sending import Sender, origin_of

KEPT: Final = frozenset(
    {
        "http.method", "http.request.method", "http.route", "http.status_code", "http.response.status_code",
        "db.system", "db.operation", "provider", "call", "outcome",
    }
)  # fmt: skip
STATEMENTS: Final = ("db.statement", "db.query.text")
VERBS: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "SET", "SAVEPOINT", "RELEASE", "BEGIN"})
OTHER: Final = "OTHER"


def begin(endpoint: str) -> None:
    """`endpoint`: of the collector; spans go to `/v1/traces` below it. Raises ImproperlyConfigured."""
    origin = origin_of(endpoint, "OTLP_ENDPOINT")
    exporter = OTLPSpanExporter(
        endpoint=f"{endpoint.rstrip('/')}/v1/traces",
        headers={"User-Agent": f"sequin-auth/{__version__}"},  # given, so that no variable of theirs is read for it
        timeout=5,
        compression=Compression.Gzip,
        session=Sender(origin),
    )
    provider = TracerProvider(
        resource=Resource({"service.name": "sequin-auth", "service.version": __version__}),
        sampler=ParentBased(OfRequests()),
        span_limits=SpanLimits(max_span_attributes=32, max_events=0, max_links=0),
        shutdown_on_exit=True,
    )
    provider.add_span_processor(BatchSpanProcessor(Bare(exporter), max_queue_size=2048, schedule_delay_millis=2000))
    trace.set_tracer_provider(provider)
    propagate.set_global_textmap(NothingPassedOn())
    DjangoInstrumentor().instrument(tracer_provider=provider, is_sql_commentor_enabled=False)
    PsycopgInstrumentor().instrument(tracer_provider=provider, enable_commenter=False, skip_dep_check=True)


def span(name: str, attributes: Mapping[str, str]) -> AbstractContextManager[object]:
    """An exception that passes is not recorded: its message may repeat anything."""
    return trace.get_tracer("sequin_auth").start_as_current_span(
        name, kind=SpanKind.CLIENT, attributes=dict(attributes), record_exception=False, set_status_on_exception=False
    )


class NothingPassedOn(TextMapPropagator):
    """Each trace begins and ends here."""

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = None) -> Context:
        return Context()

    def inject(self, carrier: Any, context: Context | None = None, setter: Any = None) -> None:
        """Nothing."""

    @property
    def fields(self) -> set[str]:
        return set()


class OfRequests(Sampler):
    """Of spans that are nobody's children, those of requests."""

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Any = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        return SamplingResult(Decision.RECORD_AND_SAMPLE if kind == SpanKind.SERVER else Decision.DROP)

    def get_description(self) -> str:
        return "OfRequests"


class Bare(SpanExporter):
    """Passes on what KEPT names, and of a statement its verb; no events, no links, no words of an exception."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self.exporter.export([bare(one) for one in spans])

    def shutdown(self) -> None:
        self.exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.exporter.force_flush(timeout_millis)


def bare(one: ReadableSpan) -> ReadableSpan:
    attributes = {name: value for name, value in (one.attributes or {}).items() if name in KEPT}
    statement = next(
        (str(one.attributes[name]) for name in STATEMENTS if one.attributes and name in one.attributes), ""
    )
    if statement:
        verb = statement.split(None, 1)[0].upper() if statement.split() else ""
        attributes["db.operation"] = verb if verb in VERBS else OTHER
    return ReadableSpan(
        name=name_of(one, attributes),
        context=one.context,
        parent=one.parent,
        resource=one.resource,
        attributes=attributes,
        kind=one.kind,
        status=Status(one.status.status_code),
        start_time=one.start_time,
        end_time=one.end_time,
        instrumentation_scope=one.instrumentation_scope,
    )


def name_of(one: ReadableSpan, attributes: Mapping[str, Any]) -> str:
    """Of words alone: the libraries would take the beginning of a statement, or a path that leads nowhere."""
    if one.kind == SpanKind.SERVER:
        method = attributes.get("http.method") or attributes.get("http.request.method") or ""
        return f"{method} {attributes.get('http.route', 'nowhere')}".strip()
    if "db.operation" in attributes or "db.system" in attributes:
        return str(attributes.get("db.operation", OTHER))
    return f"{attributes.get('call', 'call')} {attributes.get('provider', '')}".strip()
