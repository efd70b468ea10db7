//! The part that all exporters share.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;

use opentelemetry::{Array, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// Attributes that are lists of strings, which `tracing` can carry only as JSON text.
const LISTS: [&str; 1] = ["gen_ai.response.finish_reasons"];

/// Converts attributes to the types of the conventions before they are exported, and counts lost
/// spans.
#[derive(Debug)]
pub(super) struct Conventions<E> {
    pub(super) exporter: E,
    pub(super) lost: Arc<AtomicUsize>,
}

impl<E: SpanExporter> SpanExporter for Conventions<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        for attribute in batch.iter_mut().flat_map(|span| &mut span.attributes) {
            if LISTS.contains(&attribute.key.as_str())
                && let Ok(list) = serde_json::from_str::<Vec<String>>(&attribute.value.as_str())
            {
                let list = list.into_iter().map(StringValue::from).collect();
                attribute.value = Value::Array(Array::String(list));
            }
        }
        let len = batch.len();
        let exported = self.exporter.export(batch).await;
        if exported.is_err() {
            self.lost.fetch_add(len, Ordering::Relaxed);
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
