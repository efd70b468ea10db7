//! Export of spans as JSON lines: each line is an OTLP message with one span, in OTLP's JSON
//! format.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use serde_json::{Value as Json, json};

use super::TracesError;
use crate::lock::lock;

/// The trace file of this process.
#[derive(Debug)]
pub(super) struct File {
    file: Mutex<fs::File>,
    resource: Json,
}

impl File {
    pub(super) fn create(folder: &Path) -> Result<Self, TracesError> {
        let said = |path: &Path, error: std::io::Error| {
            TracesError(format!("{}: {error}", path.display()))
        };
        fs::create_dir_all(folder).map_err(|error| said(folder, error))?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let path = folder.join(format!("traces-{seconds}-{}.jsonl", std::process::id()));
        let mut options = fs::File::options();
        options.append(true).create(true);
        // Spans may contain messages, which are not for other users of the machine.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path);
        let file = Mutex::new(file.map_err(|error| said(&path, error))?);
        Ok(Self { file, resource: json!({}) })
    }
}

impl SpanExporter for File {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut text = String::new();
        for span in &batch {
            text += &line(&self.resource, span).to_string();
            text.push('\n');
        }
        // One write, so that a process that is killed leaves complete lines.
        let mut file = lock(&self.file);
        file.write_all(text.as_bytes())
            .map_err(|error| OTelSdkError::InternalFailure(format!("the traces' file: {error}")))
    }

    fn set_resource(&mut self, resource: &Resource) {
        let pairs = resource.iter().map(|(key, value)| pair(key.as_str(), value));
        self.resource = json!({"attributes": pairs.collect::<Vec<_>>()});
    }
}

fn line(resource: &Json, span: &SpanData) -> Json {
    let scope = &span.instrumentation_scope;
    let mut out = json!({
        "traceId": span.span_context.trace_id().to_string(),
        "spanId": span.span_context.span_id().to_string(),
        "name": span.name,
        "kind": match span.span_kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        },
        "startTimeUnixNano": nanoseconds(span.start_time),
        "endTimeUnixNano": nanoseconds(span.end_time),
        "attributes": pairs(&span.attributes),
        "status": match &span.status {
            Status::Unset => json!({}),
            Status::Ok => json!({"code": 1}),
            Status::Error { description } if description.is_empty() => json!({"code": 2}),
            Status::Error { description } => json!({"code": 2, "message": description}),
        },
    });
    if span.parent_span_id != opentelemetry::trace::SpanId::INVALID {
        out["parentSpanId"] = span.parent_span_id.to_string().into();
    }
    if span.dropped_attributes_count > 0 {
        out["droppedAttributesCount"] = span.dropped_attributes_count.into();
    }
    // Events that the program adds with OpenTelemetry's own API.
    if !span.events.is_empty() {
        let events = span.events.iter().map(|event| {
            json!({"name": event.name, "timeUnixNano": nanoseconds(event.timestamp), "attributes": pairs(&event.attributes)})
        });
        out["events"] = events.collect();
    }
    if !span.links.is_empty() {
        let links = span.links.iter().map(|link| {
            let (trace, id) = (link.span_context.trace_id(), link.span_context.span_id());
            json!({"traceId": trace.to_string(), "spanId": id.to_string(), "attributes": pairs(&link.attributes)})
        });
        out["links"] = links.collect();
    }
    json!({"resourceSpans": [{
        "resource": resource,
        "scopeSpans": [{
            "scope": {"name": scope.name(), "version": scope.version()},
            "spans": [out],
        }],
    }]})
}

/// Formats a time as OTLP's JSON writes 64-bit numbers: as a string.
fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

fn pairs(attributes: &[KeyValue]) -> Json {
    attributes.iter().map(|attribute| pair(attribute.key.as_str(), &attribute.value)).collect()
}

fn pair(key: &str, value: &Value) -> Json {
    json!({"key": key, "value": any_value(value)})
}

fn any_value(value: &Value) -> Json {
    match value {
        Value::Bool(bool) => json!({"boolValue": bool}),
        Value::I64(number) => json!({"intValue": number.to_string()}),
        Value::F64(number) => json!({"doubleValue": number}),
        Value::String(text) => json!({"stringValue": text.as_str()}),
        Value::Array(array) => json!({"arrayValue": {"values": elements(array)}}),
        other => json!({"stringValue": other.to_string()}),
    }
}

fn elements(array: &Array) -> Vec<Json> {
    match array {
        Array::Bool(all) => all.iter().map(|one| json!({"boolValue": one})).collect(),
        Array::I64(all) => all.iter().map(|one| json!({"intValue": one.to_string()})).collect(),
        Array::F64(all) => all.iter().map(|one| json!({"doubleValue": one})).collect(),
        Array::String(all) => all.iter().map(|one| json!({"stringValue": one.as_str()})).collect(),
        other => vec![json!({"stringValue": other.to_string()})],
    }
}
