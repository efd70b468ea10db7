//! Request hooks: called before every attempt, with the request as it is sent, and never shown.

mod captured;
mod common;

use core::error::Error as _;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use captured::Log;
use common::{answers, calls, echo, scripted, serve};
use toolrunner_core::testing::{Answer, Script, ScriptedModel, ScriptedReply};
use toolrunner_std::http::{HookFuture, OutgoingRequest, Proxies, RequestHook};
use toolrunner_std::{Client, Error, HttpTransport};

fn header<'a>(request: &'a toolrunner_core::testing::Request, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Sets a token that changes with each request, and a header computed from the body.
#[derive(Default)]
struct Signer {
    count: AtomicUsize,
    seen: Mutex<Vec<String>>,
}

impl RequestHook for Signer {
    fn before_send<'a>(&'a self, request: &'a mut OutgoingRequest<'_>) -> HookFuture<'a> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let n = self.count.fetch_add(1, Ordering::Relaxed);
            let sum: u64 = request.body_pieces().flatten().copied().map(u64::from).sum();
            assert_eq!(request.body_to_vec().len(), request.body_len());
            request.set_header("Authorization", &format!("Bearer hush-{n}"))?;
            request.set_header("x-sum", &sum.to_string())?;
            request.remove_header("X-Api-Key");
            self.seen.lock().unwrap().push(format!(
                "{} {} {} {request:?}",
                request.method(),
                request.url(),
                request.host()
            ));
            Ok(())
        })
    }
}

#[tokio::test]
async fn every_attempt_is_signed() {
    let log = Log::of_everything();
    let script = Script::new()
        .reply(calls(&["t1"], "echo"))
        .answer(Answer::error(529, "overloaded_error", "busy").header("retry-after-ms", "1"))
        .reply(ScriptedReply::text("done"));
    let (address, model) = serve(ScriptedModel::new(script));
    let signer = Arc::new(Signer::default());
    let client = Client::builder()
        .base_url(format!("http://{address}"))
        .api_key("hush-key")
        .proxies(Proxies::none())
        .request_hook(Arc::clone(&signer))
        .request_hook_fn(|request| {
            // A later hook sees what an earlier one did.
            let seen = request.header("x-sum").is_some() && request.header("x-api-key").is_none();
            Ok(request.set_header("x-second", &seen.to_string())?)
        })
        .build()
        .unwrap();
    let mut run = client.run("m").tools(echo("echo")).user("Go.");
    assert_eq!(run.until_done().await.unwrap().text(), "done");

    let model = model.lock().unwrap();
    let requests = model.requests();
    assert_eq!(requests.len(), 3);
    for (n, request) in requests.iter().enumerate() {
        let sum: u64 = request.body.iter().copied().map(u64::from).sum();
        assert_eq!(header(request, "authorization"), Some(&*format!("Bearer hush-{n}")));
        assert_eq!(header(request, "x-sum"), Some(&*sum.to_string()));
        assert_eq!(header(request, "x-api-key"), None);
        assert_eq!(header(request, "x-second"), Some("true"));
    }
    let seen = signer.seen.lock().unwrap();
    assert!(
        seen[0].starts_with(&format!("POST http://{address}/v1/messages {address} ")),
        "{seen:?}"
    );
    assert!(!seen.iter().any(|seen| seen.contains("hush")), "{seen:?}");
    let log = log.text();
    assert!(log.contains("toolrunner_std"), "{log}");
    assert!(!log.contains("hush"), "{log}");
}

#[tokio::test]
async fn a_hook_may_change_path_and_body() {
    let scripted = scripted(Script::new().reply(ScriptedReply::text("ok")));
    let client = scripted.builder().request_hook_fn(|request| {
        request.set_path("/v1/messages?a=b");
        let body = String::from_utf8(request.body_to_vec())?.replacen("\"m\"", "\"n\"", 1);
        request.set_body(body);
        Ok(())
    });
    client.build().unwrap().run("m").user("Go.").until_done().await.unwrap();
    let requests = scripted.requests();
    assert_eq!(requests[0].path, "/v1/messages?a=b");
    assert!(requests[0].body.starts_with(b"{\"model\":\"n\","));
}

#[derive(Debug)]
struct Expired(core::num::ParseIntError);

impl core::fmt::Display for Expired {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the token\nexpired")
    }
}

impl core::error::Error for Expired {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test]
async fn an_error_of_a_hook_is_the_callers_and_keeps_its_chain() {
    let scripted = scripted(Script::new().reply(ScriptedReply::text("ok")));
    let fails = Arc::new(AtomicUsize::new(1));
    let left = Arc::clone(&fails);
    let client = scripted.builder().max_retries(5).request_hook_fn(move |_| {
        let now = left.load(Ordering::Relaxed);
        left.store(now.saturating_sub(1), Ordering::Relaxed);
        if now > 0 {
            return Err(Box::new(Expired("x".parse::<u8>().unwrap_err())));
        }
        Ok(())
    });
    let mut run = client.build().unwrap().run("m").user("Go.");
    let error = run.until_done().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the request hook failed: the token\\nexpired: invalid digit found in string"
    );
    assert!(matches!(&error, Error::Hook(inner) if inner.is::<Expired>()));
    assert!(error.source().unwrap().downcast_ref::<Expired>().unwrap().source().is_some());
    // It was not retried, nothing was sent, and the run continues.
    assert_eq!((fails.load(Ordering::Relaxed), scripted.requests().len()), (0, 0));
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
}

#[tokio::test]
async fn a_hook_is_called_once_however_settings_are_changed() {
    let scripted = scripted(answers([Answer::error(401, "authentication_error", "no")]));
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let client = scripted.builder().request_hook_fn(move |request| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(request.set_header("x-run", "1")?)
    });
    let client = client.build().unwrap();
    let again = client.settings().to_builder().build().unwrap();
    let mut run = again.run("m").settings(|client| client.beta("b")).user("Go.");
    let _ = run.until_done().await;
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert_eq!(header(&scripted.requests()[0], "x-run"), Some("1"));
}

#[test]
fn a_header_that_cannot_be_sent_is_refused() {
    let transport = HttpTransport::default().with_hook(Arc::new(Signer::default()));
    drop(transport);
    let refused = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&refused);
    let scripted = scripted(Script::new().reply(ScriptedReply::text("ok")));
    let client = scripted.builder().request_hook_fn(move |request| {
        for (name, value) in [("a b", "c"), ("Content-Length", "1"), ("host", "h"), ("a", "b\nc")] {
            noted.lock().unwrap().push(request.set_header(name, value).unwrap_err().to_string());
        }
        Ok(())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client.build().unwrap().run("m").user("Go.").until_done()).unwrap();
    assert_eq!(
        *refused.lock().unwrap(),
        [
            "the header \"a b\" cannot be set",
            "the header \"Content-Length\" cannot be set",
            "the header \"host\" cannot be set",
            "the value of the header \"a\" contains a character that is not allowed in a header",
        ]
    );
}
