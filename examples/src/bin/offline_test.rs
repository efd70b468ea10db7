//! How to test an agent without a network: its own code unchanged, a script instead of a model, a
//! link that breaks, a clock that does not wait, and inputs that are generated from a tool's
//! schema. `cargo test -p toolrunner-examples --bin offline_test` runs the tests below; the program
//! itself prints one run.

use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Client, Error, ToolError, tool};

/// Look up how many pieces of an article are in stock.
#[tool]
async fn stock(
    /// The article's number
    #[tool(min = 1)]
    article: u32,
) -> Result<u32, ToolError> {
    match article {
        7 => Ok(12),
        unknown => Err(ToolError::format(format_args!("there is no article {unknown}"))),
    }
}

/// The agent. Only this function uses the model.
async fn answer(client: &Client, question: &str) -> Result<String, Error> {
    let mut run = client
        .run("claude-opus-4-7")
        .system("You answer questions about our stock.")
        .max_turns(5)
        .tools(stock)
        .user(question);
    Ok(run.until_done().await?.text())
}

/// Returns a model that requests article 7 and then answers with its stock.
fn asks_for_seven() -> ScriptedModel {
    let script = Script::new()
        .reply(ScriptedReply::new().tool_use("toolu_1", "stock", r#"{"article":7}"#))
        .reply(ScriptedReply::text("There are 12 of them."));
    ScriptedModel::new(script)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let scripted = ScriptedServer::new(asks_for_seven());
    println!("{}", answer(&scripted.client(), "How many of article 7 are there?").await?);
    for request in scripted.requests() {
        print!("\n{request}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use toolrunner_core::message::Block;
    use toolrunner_core::testing::{BadLink, InputKind, VirtualClock, inputs};
    use toolrunner_std::{Outcome, StopReason, Tools};

    use super::*;

    /// Returns the results that the model received for the calls of its last turn.
    fn results(scripted: &ScriptedServer) -> Vec<String> {
        let requests = scripted.requests();
        let message = requests
            .last()
            .and_then(|request| request.messages().last())
            .expect("a request with a message");
        let text = |block| {
            if let Block::Text(text) = block { text.text().to_string() } else { String::new() }
        };
        message.tool_results().map(|result| result.content().map(text).collect()).collect()
    }

    #[tokio::test]
    async fn the_model_is_told_what_the_tool_found() {
        let scripted = ScriptedServer::new(asks_for_seven());
        assert_eq!(
            answer(&scripted.client(), "How many of 7?").await.unwrap(),
            "There are 12 of them."
        );
        assert_eq!(results(&scripted), ["12"]);
    }

    #[tokio::test]
    async fn an_unknown_article_is_told_and_does_not_end_the_run() {
        let script = Script::new()
            .reply(ScriptedReply::new().tool_use("toolu_1", "stock", r#"{"article":8}"#))
            .reply(ScriptedReply::text("No."));
        let scripted = ScriptedServer::new(ScriptedModel::new(script));
        assert_eq!(answer(&scripted.client(), "How many of 8?").await.unwrap(), "No.");
        assert_eq!(results(&scripted), ["there is no article 8"]);
    }

    #[tokio::test]
    async fn bad_input_never_reaches_the_tool() {
        let script = Script::new()
            .reply(ScriptedReply::new().tool_use("toolu_1", "stock", r#"{"article":0}"#))
            .reply(ScriptedReply::text("Sorry."));
        let scripted = ScriptedServer::new(ScriptedModel::new(script));
        answer(&scripted.client(), "How many of 0?").await.unwrap();
        let [told] = &results(&scripted)[..] else { panic!("one result") };
        assert!(told.starts_with("Error: invalid input for tool 'stock': article: "), "{told}");
    }

    #[tokio::test]
    async fn no_input_ends_the_run() {
        let tool = stock();
        let definition = Tools::definition(&tool, 0).unwrap();
        for input in inputs(definition.json, 1).unwrap().take(150) {
            let script = Script::new()
                .reply(ScriptedReply::new().tool_use_cut("toolu_1", "stock", &input.json))
                .reply(ScriptedReply::text("Done."));
            let scripted = ScriptedServer::new(ScriptedModel::new(script));
            let said = answer(&scripted.client(), "How many?").await;
            assert_eq!(said.unwrap(), "Done.", "{}: {}", input.what, input.json);
            let [told] = &results(&scripted)[..] else { panic!("one result") };
            if input.kind == InputKind::NearlyValid {
                assert!(told.starts_with("Error: invalid input for tool 'stock': "), "{told}");
            }
        }
    }

    #[tokio::test]
    async fn a_bad_link_is_survived() {
        for seed in 0..200 {
            let link = BadLink::new(seed).longest_piece(7).resets(200).early_ends(200);
            let scripted = ScriptedServer::new(asks_for_seven()).link(link);
            let clock = Arc::new(VirtualClock::new(seed));
            // Hours of waiting pass at once.
            let client = scripted.builder().max_retries(20).build().unwrap();
            let mut run = client.run("m").clock(clock).tools(stock).user("How many of 7?");
            let finished = run.until_done().await.unwrap();
            assert_eq!(finished.text(), "There are 12 of them.", "seed {seed}");
            assert_eq!(finished.outcome, Outcome::Ended(Some(StopReason::EndTurn)));
        }
    }
}
