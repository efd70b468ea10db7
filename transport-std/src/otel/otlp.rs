//! OTLP over HTTP with protobuf, on this crate's own connections.

use core::time::Duration;
use std::sync::Arc;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use tokio::runtime::Handle;
use toolrunner_core::transport::{Body, Head, Transport};

use super::TracesError;
use crate::http::HttpTransport;

/// The time limit for a batch, unless `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT` or
/// `OTEL_EXPORTER_OTLP_TIMEOUT` is set. OpenTelemetry's default.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum length of a collector's answer, in bytes.
const ANSWER: usize = 64 * 1024;

/// Creates an exporter to this URL, or to the one in the environment.
pub(super) fn exporter(url: Option<String>) -> Result<SpanExporter, TracesError> {
    let runtime = Handle::try_current()
        .map_err(|_| TracesError("OTLP needs a tokio runtime to send spans".to_owned()))?;
    let client = Client { transport: HttpTransport::default(), runtime, timeout: timeout() };
    let builder = SpanExporter::builder().with_http().with_http_client(client);
    match url {
        Some(url) => builder.with_endpoint(url),
        None => builder,
    }
    .build()
    .map_err(|error| TracesError(error.to_string()))
}

fn timeout() -> Duration {
    ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]
        .iter()
        .find_map(|name| std::env::var(name).ok()?.trim().parse().ok())
        .map_or(TIMEOUT, Duration::from_millis)
}

/// Sends batches on the runtime, because the exporting thread has none.
#[derive(Clone, Debug)]
struct Client {
    transport: HttpTransport,
    runtime: Handle,
    timeout: Duration,
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (this, timeout) = (self.clone(), self.timeout);
        let sending = async move { tokio::time::timeout(timeout, this.send(&request)).await };
        self.runtime.spawn(sending).await?.map_err(|_| "the collector did not answer in time")?
    }
}

impl Client {
    async fn send(mut self, request: &Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri();
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("the collector's URL has no host".into());
        };
        let mut headers = Vec::with_capacity(request.headers().len());
        for (name, value) in request.headers() {
            headers.push((name.as_str(), value.to_str()?));
        }
        let head = Head {
            base_url: &format!("{scheme}://{authority}"),
            path: uri.path_and_query().map_or("/v1/traces", |path| path.as_str()),
            headers: &headers,
        };
        let body = Arc::new(request.body().to_vec());
        let body = Body::new(&[], &body, &[]).with_shared(&body);
        let mut reply = self.transport.send(&head, &body).await?;
        let answer = reply.body.read_to_end(ANSWER).await?;
        let answer = answer.map_err(|_| "the collector's answer is too long")?;
        Ok(Response::builder().status(reply.head.status).body(answer.into())?)
    }
}
