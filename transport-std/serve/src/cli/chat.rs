//! `chat`: a session in the terminal.

use std::io::{BufRead, Write};

use serde_json::{Value, json};

use super::client::{Client, Problem};

pub(super) async fn run(
    client: &Client,
    message: Option<String>,
    session: Option<String>,
    as_json: bool,
) -> Result<(), Problem> {
    let id = match session {
        Some(id) => {
            client.get(&format!("/sessions/{id}")).await?;
            id
        }
        None => {
            let session = client.post("/sessions", &json!({}), None).await?;
            session["session_id"].as_str().unwrap_or_default().to_owned()
        }
    };
    let mut chat = Chat { client, path: format!("/sessions/{id}"), last: None, as_json };
    chat.begin().await?;
    if let Some(text) = message {
        return chat.turn(&text).await;
    }
    if !as_json {
        println!("Session: {id} (use --session to resume)");
    }
    chat.answer_interrupts().await?;
    while let Some(line) = ask("> ").await {
        match line.trim() {
            "" => continue,
            "exit" | "quit" => break,
            text => match chat.turn(text).await {
                // A failed turn is reported, and the chat continues.
                Err(Problem::Turn(text)) => eprintln!("Error: {text}"),
                done => done?,
            },
        }
    }
    if !as_json {
        println!("Bye!");
    }
    Ok(())
}

/// Reads a line from the terminal. Returns `None` at the end of the input.
async fn ask(prompt: &'static str) -> Option<String> {
    let line = tokio::task::spawn_blocking(move || {
        print!("{prompt}");
        std::io::stdout().flush().ok()?;
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).ok().filter(|read| *read > 0).map(|_| line)
    });
    line.await.ok().flatten()
}

struct Chat<'c> {
    client: &'c Client,
    path: String,
    /// The id of the last event that was shown.
    last: Option<String>,
    as_json: bool,
}

impl Chat<'_> {
    /// Starts after the events that the session already has.
    async fn begin(&mut self) -> Result<(), Problem> {
        let mut after = 0;
        loop {
            let page = self.client.get(&format!("{}/events?after={after}", self.path)).await?;
            after = page["last_seq"].as_u64().unwrap_or(after);
            if page["has_more"] != true {
                self.last = Some(after.to_string());
                return Ok(());
            }
        }
    }

    async fn turn(&mut self, text: &str) -> Result<(), Problem> {
        self.client
            .post(&format!("{}/messages", self.path), &json!({"content": text}), None)
            .await?;
        self.show().await?;
        self.answer_interrupts().await?;
        let session = self.client.get(&self.path).await?;
        super::check_turn(&session)
    }

    /// Asks the user for answers until the session has no open interrupts.
    async fn answer_interrupts(&mut self) -> Result<(), Problem> {
        loop {
            let session = self.client.get(&self.path).await?;
            let open = session["interrupts"].as_array().cloned().unwrap_or_default();
            if open.is_empty() {
                return Ok(());
            }
            for interrupt in &open {
                let value = if interrupt["type"] == "tool_approval" {
                    approve(interrupt).await
                } else {
                    choose(interrupt).await
                };
                let Some(value) = value else {
                    return Err(Problem::Other("the session waits for an answer".to_owned()));
                };
                let body = json!({"interrupt_id": interrupt["interrupt_id"], "value": value});
                self.client.post(&format!("{}/resume", self.path), &body, None).await?;
            }
            self.show().await?;
        }
    }

    /// Shows events until the session stops running.
    async fn show(&mut self) -> Result<(), Problem> {
        let path = format!("{}/events?event_deltas[]=agent.message", self.path);
        let as_json = self.as_json;
        let mut shown = String::new();
        let mut is_over = false;
        let mut failures = 0;
        while !is_over {
            let streamed = self
                .client
                .stream(&path, &mut self.last, &mut |event, data| {
                    let data: Value = serde_json::from_str(data).unwrap_or_default();
                    if as_json {
                        if !event.starts_with("event_") {
                            println!("{data}");
                        }
                    } else {
                        show(event, &data, &mut shown);
                    }
                    is_over = event == "session.status_idle";
                    !is_over
                })
                .await;
            match streamed {
                Err(problem @ Problem::Status(..)) => return Err(problem),
                Err(problem) if failures >= 5 => return Err(problem),
                Err(_) => {
                    failures += 1;
                    tokio::time::sleep(core::time::Duration::from_secs(1)).await;
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

/// Shows one event. `shown` is the part of the current message that was already shown.
fn show(event: &str, data: &Value, shown: &mut String) {
    match event {
        "event_start" => shown.clear(),
        "event_delta" => {
            let text = data["delta"]["content"]["text"].as_str().unwrap_or_default();
            print!("{text}");
            // A closed terminal is noticed at the next line.
            let _ = std::io::stdout().flush();
            shown.push_str(text);
        }
        "agent.message" => {
            let blocks = data["content"].as_array().into_iter().flatten();
            let text: String = blocks.filter_map(|block| block["text"].as_str()).collect();
            println!("{}", text.strip_prefix(shown.as_str()).unwrap_or(&text));
            shown.clear();
        }
        "agent.tool_use" => {
            println!("  call   {} {}", data["name"].as_str().unwrap_or_default(), data["input"])
        }
        "agent.tool_result" => {
            let failed = if data["is_error"] == true { " (failed)" } else { "" };
            let blocks = data["content"].as_array().into_iter().flatten();
            let text: Vec<&str> = blocks.filter_map(|block| block["text"].as_str()).collect();
            println!("  result {}{failed}", text.join(" "));
        }
        _ => {}
    }
}

async fn approve(interrupt: &Value) -> Option<Value> {
    let payload = &interrupt["payload"];
    println!(
        "The agent wants to call {} with {}",
        payload["tool_name"].as_str().unwrap_or_default(),
        payload["tool_args"]
    );
    let line = ask("Approve? [y/N] ").await?;
    Some(json!({"approved": matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")}))
}

async fn choose(interrupt: &Value) -> Option<Value> {
    let mut answers = serde_json::Map::new();
    for question in interrupt["payload"]["questions"].as_array().into_iter().flatten() {
        let text = question["question"].as_str().unwrap_or_default();
        println!("{text}");
        let options = question["options"].as_array().cloned().unwrap_or_default();
        for (i, option) in options.iter().enumerate() {
            let description = option["description"]
                .as_str()
                .filter(|text| !text.is_empty())
                .map(|text| format!(": {text}"));
            println!(
                "  {}. {}{}",
                i + 1,
                option["label"].as_str().unwrap_or_default(),
                description.unwrap_or_default()
            );
        }
        let line = ask("Number, or your own words: ").await?;
        let chosen = line
            .trim()
            .parse::<usize>()
            .ok()
            .and_then(|n| options.get(n.checked_sub(1)?)?["label"].as_str());
        answers.insert(text.to_owned(), chosen.unwrap_or_else(|| line.trim()).into());
    }
    Some(json!({"answers": answers}))
}
