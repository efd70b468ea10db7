//! A run that is streamed to a browser: an axum handler that sends each event as it happens, and a
//! page that shows the text and the tools. No sessions, no store.
//!
//! ```text
//! cargo run -p toolrunner-examples-serve --bin browser_stream
//! ```
//! It prints the address of the page. The environment names the model's server, as for the other
//! examples; without a key, a scripted model on this machine answers. If the browser goes away, the
//! run is dropped, with its request and its calls.

use core::error::Error;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use futures_util::StreamExt;
use toolrunner_std::{Client, OwnedEvent, tool};

/// Get the current weather in a given location.
#[tool]
fn get_weather(
    /// The city and state, e.g. San Francisco, CA
    location: String,
) -> String {
    format!("20°C and sunny in {location}")
}

/// Add two numbers together.
#[tool]
fn calculate_sum(
    /// First number
    a: i64,
    /// Second number
    b: i64,
) -> i64 {
    a.saturating_add(b)
}

async fn chat(State(client): State<Client>, prompt: String) -> impl IntoResponse {
    let run = client.run("claude-haiku-4-5").tools((get_weather, calculate_sum)).user(&prompt);
    Sse::new(run.into_stream().map(|event| {
        let event = event.unwrap_or_else(OwnedEvent::error);
        Event::default().event(event.name()).json_data(event)
    }))
    .keep_alive(KeepAlive::default())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (client, _) = toolrunner_examples::client()?;
    let page = get(async || Html(include_str!("browser_stream.html")));
    let app = Router::new().route("/", page).route("/chat", post(chat)).with_state(client);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
