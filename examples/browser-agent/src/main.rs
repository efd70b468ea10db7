//! An agent that orders something in a shop, in headless Chromium.
//!
//! The shop is a page on this machine. If the environment names no server, a script plays the
//! model, so this needs no key and no network. It shows the browser toolset at work: the agent
//! opens the page, clicks, types, sets a box, orders, and reads the answer. Then it wants to leave
//! the shop, which the browser refuses, and the call after that does not run.
//!
//! ```text
//! cargo run -p toolrunner-examples-browser
//! cargo run -p toolrunner-examples-browser -- --no-sandbox    # as root, in a container
//! ```

use core::error::Error;
use std::env;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_examples_browser::site::{Page, Site};
use toolrunner_examples_browser::{Chromium, Launch, Sites};
use toolrunner_std::builtin::BrowserToolset;
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Client, SetupError};

const SHOP: &str = r#"<!doctype html>
<title>Shop</title>
<h1>Tea, 250 g</h1>
<form action="/order">
<label>Name <input name="name" style="position: absolute; left: 100px; top: 100px; width: 200px; height: 30px"></label>
<label><input name="gift" type="checkbox"> Gift</label>
<button>Order</button>
</form>"#;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run() -> Result<(), Box<dyn Error>> {
    let shop = shop()?;
    let sites = Sites::default().allow(&shop.authority()).allow_private();
    let launch = Launch::new(sites);
    let is_open = env::args().skip(1).any(|argument| argument == "--no-sandbox");
    let launch = if is_open { launch.without_sandbox() } else { launch };
    let browser = Arc::new(BrowserToolset::new(launch.start().await?));
    let ordered = order(&shop, &browser).await;
    // Also after an error, so that the profile can be deleted.
    browser.browser().close().await;
    ordered
}

async fn order(shop: &Site, browser: &Arc<BrowserToolset<Chromium>>) -> Result<(), Box<dyn Error>> {
    let client = match Client::from_env() {
        Err(SetupError::NoCredential) => {
            ScriptedServer::new(ScriptedModel::new(script(shop))).client()
        }
        client => client?,
    };
    let mut run = client
        .run("claude-opus-4-7")
        .max_tokens(4096)
        .max_turns(20)
        .tools(Arc::clone(browser))
        .user(format!("Order tea for Ada, as a gift, at {}.", shop.url("/")));
    while let Some(mut turn) = run.next_turn().await? {
        let text = turn.text();
        if !text.is_empty() {
            println!("Model: {text}");
        }
        let calls: Vec<_> =
            turn.calls().map(|call| format!("{}({})", call.name, call.input.as_json())).collect();
        let results = turn.results().await?;
        for (call, result) in calls.iter().zip(results.iter()) {
            println!("{call}");
            show(&serde_json::from_str(result.value().as_json())?);
        }
    }
    println!("The shop received: {}", shop.requests().join(" "));
    Ok(())
}

fn shop() -> io::Result<Site> {
    Site::serve(|path| match path.split_once('?') {
        Some(("/order", order)) => {
            let name = order.split(['=', '&']).nth(1).unwrap_or_default();
            let wrapped = if order.contains("gift=on") { " We will wrap it." } else { "" };
            Page::html(format!("<title>Ordered</title><main>Thank you, {name}.{wrapped}</main>"))
        }
        _ => Page::html(SHOP),
    })
}

/// What the model does.
fn script(shop: &Site) -> Script {
    let turn = |number: usize, calls: &[(&str, Value)]| {
        let calls = calls.iter().enumerate();
        calls.fold(ScriptedReply::new(), |reply, (i, (name, input))| {
            let call = json!({"type": "tool_use", "id": format!("t{number}_{i}"), "name": name, "input": input, "toolset_name": "browser"});
            reply.block(&call.to_string())
        })
    };
    let element = |name: &str| json!({"type": "ref", "ref": name});
    let point = |x: u32, y: u32| json!({"type": "coordinate", "x": x, "y": y});
    Script::new()
        .reply(turn(1, &[("navigate", json!({"url": shop.url("/")})), ("screenshot", json!({}))]))
        .reply(turn(
            2,
            &[
                ("left_click", json!({"target": point(150, 115)})),
                ("type", json!({"text": "Ada"})),
                ("find", json!({"query": "the checkbox for a gift"})),
            ],
        ))
        .reply(turn(
            3,
            &[
                ("form_input", json!({"target": element("ref_1"), "value": true})),
                ("read_page", json!({"filter": "interactive"})),
            ],
        ))
        .reply(turn(
            4,
            &[("left_click", json!({"target": element("ref_4")})), ("get_page_text", json!({}))],
        ))
        .reply(turn(
            5,
            &[("navigate", json!({"url": "https://example.org/"})), ("screenshot", json!({}))],
        ))
        .reply(ScriptedReply::text("The tea is ordered for Ada, as a gift."))
}

/// Prints a result.
fn show(result: &Value) {
    let blocks = match &result["content"] {
        Value::Array(blocks) => blocks.as_slice(),
        text => return println!("  -> {}", text.as_str().unwrap_or_default()),
    };
    for block in blocks {
        match block["type"].as_str() {
            Some("image") => println!("  -> {}", block["source"]["media_type"]),
            Some("browser_state") => println!("  -> tabs: {}", block["tabs"]),
            _ => {
                let text = block["text"].as_str().unwrap_or_default();
                println!("  -> {}", text.replace('\n', "\n     "));
            }
        }
    }
}
