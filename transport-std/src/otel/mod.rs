//! Exports the spans of runs, as OTLP to a collector and as JSON lines to a directory (feature
//! `otel`).
//!
//! ```no_run
//! use toolrunner_std::otel::Traces;
//! use tracing_subscriber::layer::SubscriberExt;
//! use tracing_subscriber::util::SubscriberInitExt;
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! // OTEL_EXPORTER_OTLP_ENDPOINT and the other variables of OpenTelemetry say where.
//! let traces = Traces::builder().service_name("myagent").otlp_from_env().build()?;
//! tracing_subscriber::registry().with(traces.layer()).init();
//! // … runs …
//! traces.shutdown().await?;
//! # Ok(()) }
//! ```
//! The layer turns `tracing` spans of level `INFO` and above into OpenTelemetry spans: those of
//! [runs](crate::run) and those that the program creates itself. Log lines are not exported. A span
//! is exported when it is closed, so the run's span comes last.
//!
//! With the layer, each request of a run carries the `traceparent` of its span; see
//! [`RunBuilder::propagate_trace`](crate::RunBuilder::propagate_trace).
//!
//! A separate thread exports spans in batches. If it cannot keep up, spans are dropped and a log
//! line reports it. The OpenTelemetry variables `OTEL_BSP_*`, `OTEL_TRACES_SAMPLER`,
//! `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SPAN_*` apply here too.

mod export;
mod file;
mod otlp;

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanExporter,
};
use tracing::{Level, Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use crate::run::{TRACE_TARGET, TraceParent};

/// Exports spans until it is shut down. See the [module](self).
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    /// The number of spans that an exporter lost.
    lost: Arc<AtomicUsize>,
}

/// Configures [`Traces`].
#[derive(Clone, Debug, Default)]
pub struct TracesBuilder {
    service_name: Option<String>,
    directory: Option<PathBuf>,
    endpoint: Option<Endpoint>,
}

#[derive(Clone, Debug)]
enum Endpoint {
    FromEnv,
    Named(String),
}

/// Why spans cannot be exported, or were not all exported.
#[derive(Debug)]
pub struct TracesError(String);

impl fmt::Display for TracesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for TracesError {}

impl TracesBuilder {
    /// Sets the attribute `service.name` of the resource. Default: the variable
    /// `OTEL_SERVICE_NAME`, or else `unknown_service`.
    #[must_use]
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// Sends spans with OTLP (HTTP, protobuf) to a collector's URL, such as
    /// `http://127.0.0.1:4318/v1/traces`.
    #[must_use]
    pub fn otlp(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(Endpoint::Named(url.into()));
        self
    }

    /// Sends spans with OTLP (HTTP, protobuf) to the collector that the environment names, if any:
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or `OTEL_EXPORTER_OTLP_ENDPOINT` without `/v1/traces`.
    /// `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_EXPORTER_OTLP_TIMEOUT` (milliseconds) apply as well.
    /// `OTEL_SDK_DISABLED=true` or `OTEL_TRACES_EXPORTER=none` disables this.
    #[must_use]
    pub fn otlp_from_env(mut self) -> Self {
        let is = |name: &str, value: &str| {
            std::env::var(name).is_ok_and(|said| said.trim().eq_ignore_ascii_case(value))
        };
        let names = |name: &str| std::env::var(name).is_ok_and(|said| !said.trim().is_empty());
        let is_off = is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none");
        if !is_off
            && (names("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") || names("OTEL_EXPORTER_OTLP_ENDPOINT"))
        {
            self.endpoint = Some(Endpoint::FromEnv);
        }
        self
    }

    /// Writes spans to a new file in this directory, which is created if it is missing. The file is
    /// called `traces-SECONDS-PROCESS.jsonl`. Each line is the OTLP JSON of one span, so a
    /// collector can read the file too. Files are never deleted.
    #[must_use]
    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.directory = Some(path.as_ref().to_owned());
        self
    }

    /// Returns whether spans are exported anywhere.
    pub fn exports(&self) -> bool {
        self.directory.is_some() || self.endpoint.is_some()
    }

    /// Starts the export. If there is a collector, this must be called in a tokio runtime.
    ///
    /// # Errors
    /// Returns an error if the directory or the file cannot be written, if the collector's URL is
    /// invalid, or if there is no runtime.
    pub fn build(self) -> Result<Traces, TracesError> {
        let mut resource = Resource::builder();
        if let Some(name) = self.service_name {
            resource = resource.with_service_name(name);
        }
        let mut provider = SdkTracerProvider::builder().with_resource(resource.build());
        let lost = Arc::default();
        if let Some(path) = self.directory {
            provider = provider.with_span_processor(processor(file::File::create(&path)?, &lost));
        }
        if let Some(endpoint) = self.endpoint {
            let url = match endpoint {
                Endpoint::Named(url) => Some(url),
                Endpoint::FromEnv => None,
            };
            provider = provider.with_span_processor(processor(otlp::exporter(url)?, &lost));
        }
        Ok(Traces { provider: provider.build(), lost })
    }
}

/// Creates a processor that exports in batches, once a second unless `OTEL_BSP_SCHEDULE_DELAY` is
/// set.
fn processor(exporter: impl SpanExporter + 'static, lost: &Arc<AtomicUsize>) -> BatchSpanProcessor {
    let mut config = BatchConfigBuilder::default();
    if std::env::var_os("OTEL_BSP_SCHEDULE_DELAY").is_none() {
        config = config.with_scheduled_delay(core::time::Duration::from_secs(1));
    }
    if std::env::var_os("OTEL_BSP_MAX_QUEUE_SIZE").is_none() {
        config = config.with_max_queue_size(8192);
    }
    let lost = Arc::clone(lost);
    BatchSpanProcessor::builder(export::Conventions { exporter, lost })
        .with_batch_config(config.build())
        .build()
}

impl Traces {
    /// Returns a builder without an exporter.
    pub fn builder() -> TracesBuilder {
        TracesBuilder::default()
    }

    /// Returns the layer for the program's `tracing` subscriber.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + 'static + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let scope = InstrumentationScope::builder("toolrunner_std")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer_with_scope(scope))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_exported).with_max_level_hint(LevelFilter::INFO))
    }

    /// Exports the remaining spans, and ends. Spans that are closed later are lost.
    ///
    /// # Errors
    /// Returns an error if spans could not be exported, now or earlier.
    pub async fn shutdown(self) -> Result<(), TracesError> {
        let (done, end) = tokio::sync::oneshot::channel();
        // `shutdown` blocks until the exporters are done, and they may need this thread.
        let provider = self.provider;
        let thread = std::thread::Builder::new().name("traces".to_owned()).spawn(move || {
            let _ = done.send(provider.shutdown());
        });
        thread.map_err(|error| TracesError(error.to_string()))?;
        match end.await {
            Ok(Ok(())) => match self.lost.load(Ordering::Relaxed) {
                0 => Ok(()),
                lost => Err(TracesError(format!("{lost} spans were not exported"))),
            },
            Ok(Err(error)) => Err(TracesError(format!("spans were not exported: {error}"))),
            Err(_) => Err(TracesError("the export of spans did not end".to_owned())),
        }
    }
}

/// Selects spans of runs and of the program, but not those that only annotate this project's log
/// lines.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    metadata.is_span()
        && *metadata.level() <= Level::INFO
        && (target == TRACE_TARGET || !target.starts_with("toolrunner_std::"))
}

/// Returns the `traceparent` header for requests to other services within `span`, or `None` if
/// [`Traces`] do not export the span.
pub fn traceparent(span: &Span) -> Option<TraceParent> {
    let context = span.context();
    let context = context.span().span_context().clone();
    let (trace, span) = (context.trace_id(), context.span_id());
    let sampled = u8::from(context.is_sampled());
    context.is_valid().then(|| format!("00-{trace}-{span}-{sampled:02x}"))?.parse().ok()
}

/// Makes `span` a child of a span of another process. Has no effect without the layer.
pub(crate) fn set_parent(span: &Span, parent: &TraceParent) {
    let (Ok(trace), Ok(id)) =
        (TraceId::from_hex(parent.trace_id()), SpanId::from_hex(parent.span_id()))
    else {
        return;
    };
    let flags = if parent.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let context = SpanContext::new(trace, id, flags, true, TraceState::default());
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(context));
}
