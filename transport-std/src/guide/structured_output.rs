//! Structured output: the last reply of a run as a value.
//!
//! [`Run::output`](crate::Run::output) drives a run and reads its last reply as a type that derives
//! [`ToolInput`](derive@crate::ToolInput). Tools may be used before.
//!
//! ```
//! # #[cfg(feature = "testing")] {
//! # use toolrunner_std::machine::testing::{Script, ScriptedModel, ScriptedReply};
//! # use toolrunner_std::testing::ScriptedServer;
//! use toolrunner_std::{Client, Error, StructuredResult, ToolInput};
//!
//! #[derive(ToolInput)]
//! #[tool(rename_all = "lowercase")]
//! enum Mood {
//!     Good,
//!     Bad,
//! }
//!
//! #[derive(ToolInput)]
//! struct Review {
//!     mood: Mood,
//!     /// From 1 to 5
//!     #[tool(min = 1, max = 5)]
//!     stars: u8,
//!     quotes: Vec<String>,
//! }
//!
//! async fn rate(client: &Client, text: &str) -> Result<Option<u8>, Error> {
//!     let mut run = client.run("claude-opus-4-7").system("Rate the text.").user(text);
//!     Ok(match run.output::<Review>().await? {
//!         StructuredResult::Value(review) => Some(review.stars),
//!         // The model was asked twice. Its last text is still there.
//!         StructuredResult::Mismatch(reason) => {
//!             eprintln!("{reason}: {:?}", run.message().map(|message| message.text()));
//!             None
//!         }
//!         StructuredResult::Refused => None,
//!         // A higher `max_tokens` may help.
//!         StructuredResult::Truncated => None,
//!         // A limit, a cancellation, or a call for the caller.
//!         _ => None,
//!     })
//! }
//! # let reply = ScriptedReply::text(r#"{"mood":"good","stars":4,"quotes":[]}"#);
//! # let scripted = ScriptedServer::new(ScriptedModel::new(Script::new().reply(reply)));
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # assert_eq!(runtime.block_on(rate(&scripted.client(), "Fine.")).unwrap(), Some(4));
//! # }
//! ```
//! A type with schemars' `JsonSchema` is read as [`Json<T>`](crate::Json), with the feature
//! `schemars`. A type that is not a struct, such as `Vec<Review>` or `Mood`, works too.
//!
//! # What the API enforces
//!
//! The schema is sent in a strict form: every member is required (an `Option` may be `null`), and
//! objects have no other members. The API does not enforce ranges, lengths, counts and some
//! formats. They are part of the descriptions, and the reply is checked against them here. A type
//! with a map or with any JSON does not compile as an output, because the API requires a fixed list
//! of members: use a list of structs with the key as a member. For `Json<T>`, the same is an error
//! before anything is sent.
//!
//! # One turn at a time
//!
//! [`RunBuilder::output`](crate::run::RunBuilder::output) sets the type, and
//! [`Turn::output`](crate::Turn::output) reads one reply:
//!
//! ```no_run
//! # use toolrunner_std::{Client, Error, StructuredResult, ToolInput};
//! # #[derive(ToolInput)] struct Review { stars: u8 }
//! # async fn f(client: Client) -> Result<(), Error> {
//! let mut run = client.run("claude-opus-4-7").output::<Review>().user("Rate it.");
//! while let Some(mut turn) = run.next_turn().await? {
//!     if let StructuredResult::Mismatch(reason) = turn.output::<Review>()? {
//!         turn.append_user(&format!("Please correct this: {reason}"))?;
//!     }
//! }
//! # Ok(()) }
//! ```
