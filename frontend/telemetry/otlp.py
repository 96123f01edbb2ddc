"""Spans to a collector as OTLP over HTTP, in its JSON form.

Form: the OpenTelemetry protocol 1.x, "JSON Protobuf Encoding" (ids in hex, 64-bit numbers as text). The SDK's
own exporter speaks protobuf through generated modules which the package with Envoy's messages brings along in
an older version, under the same names: whichever of the two is installed last wins. JSON needs neither.
"""

import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_HEADERS: Final = {"content-type": "application/json"}
_KIND_OFFSET: Final = 1
"""OTLP counts span kinds from 1 (internal); 0 is "unspecified"."""


class JsonSpanExporter(SpanExporter):
    """Posts batches; runs in the batch processor's thread. A batch that cannot be delivered is lost: the
    processor counts and logs it."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """One batch."""
        request = urllib.request.Request(  # noqa: S310 -- the operator's own address
            self._url, orjson.dumps(document(spans)), _HEADERS
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s):  # noqa: S310 -- see above
                return SpanExportResult.SUCCESS
        except (urllib.error.URLError, OSError, ValueError):
            return SpanExportResult.FAILURE


def document(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """An ``ExportTraceServiceRequest``; all spans of one process have one resource."""
    resource: Mapping[str, Any] = spans[0].resource.attributes if spans else {}
    scope = {"scope": {"name": "frontend"}, "spans": [_span(span) for span in spans]}
    return {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]}


def _span(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    assert context is not None, "a span that ended has a context"
    made: dict[str, Any] = {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "name": span.name,
        "kind": span.kind.value + _KIND_OFFSET,
        "startTimeUnixNano": str(span.start_time or 0),
        "endTimeUnixNano": str(span.end_time or 0),
        "attributes": _attributes(span.attributes or {}),
        "status": {"code": span.status.status_code.value, "message": span.status.description or ""},
    }
    if span.parent is not None:
        made["parentSpanId"] = f"{span.parent.span_id:016x}"
    return made


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": str(value)}
