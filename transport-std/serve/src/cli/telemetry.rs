//! The log and the traces of `start`.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::start::Start;

/// The log, and the destination of spans.
#[derive(Debug)]
pub(super) struct Telemetry {
    #[cfg(feature = "otel")]
    traces: Option<toolrunner_std::otel::Traces>,
}

impl Telemetry {
    /// Starts logging and tracing, unless the program has installed its own `tracing` subscriber.
    pub(super) fn begin(start: &Start) -> Result<Self, String> {
        let filter = EnvFilter::try_new(&start.log).map_err(|error| format!("--log: {error}"))?;
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
        let subscriber = tracing_subscriber::registry().with(log);
        #[cfg(feature = "otel")]
        {
            let traces = traces(start)?;
            let layer = traces.as_ref().map(toolrunner_std::otel::Traces::layer);
            let is_ours = subscriber.with(layer).try_init().is_ok();
            if !is_ours && start.traces.is_some() {
                return Err(
                    "--traces: the program has its own tracing subscriber. Add a layer of \
                            toolrunner_std::otel to it"
                        .to_owned(),
                );
            }
            Ok(Self { traces: traces.filter(|_| is_ours) })
        }
        #[cfg(not(feature = "otel"))]
        {
            let _ = subscriber.try_init();
            Ok(Self {})
        }
    }

    /// Exports the remaining spans.
    #[cfg_attr(not(feature = "otel"), allow(clippy::unused_async))]
    pub(super) async fn end(self) -> Result<(), String> {
        #[cfg(feature = "otel")]
        if let Some(traces) = self.traces {
            traces.shutdown().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Opens a file in the directory of `--traces`, and the collector that the environment names.
#[cfg(feature = "otel")]
fn traces(start: &Start) -> Result<Option<toolrunner_std::otel::Traces>, String> {
    let mut builder = toolrunner_std::otel::Traces::builder().otlp_from_env();
    if let Some(folder) = &start.traces {
        builder = builder.directory(folder);
    }
    if std::env::var_os("OTEL_SERVICE_NAME").is_none()
        && let Some(program) = std::env::args_os().next()
        && let Some(name) = std::path::Path::new(&program).file_stem()
    {
        builder = builder.service_name(name.to_string_lossy());
    }
    let exports = builder.exports();
    exports.then(|| builder.build()).transpose().map_err(|error| error.to_string())
}
