//! Workload identity over loopback: the exchange, the tokens, and what is never shown.

mod support;

use core::error::Error as _;
use std::sync::Arc;

use support::{Do, Server};
use toolrunner_std::http::Proxies;
use toolrunner_std::identity::{IdentityToken, WorkloadIdentity};
use toolrunner_std::{Client, SetupError};

fn answer(status: &str, body: &str) -> Do {
    let len = body.len();
    Do::Answer(format!("HTTP/1.1 {status}\r\ncontent-length: {len}\r\n\r\n{body}"))
}

fn token(name: &str, seconds: u32) -> Do {
    answer(
        "200 OK",
        &format!(r#"{{"access_token":"{name}","token_type":"Bearer","expires_in":{seconds}}}"#),
    )
}

async fn serve(answers: impl IntoIterator<Item = Do>) -> Server {
    let answers: Vec<Do> = answers.into_iter().collect();
    let next = Arc::new(core::sync::atomic::AtomicUsize::new(0));
    Server::start(move |_, _| {
        let n = next.fetch_add(1, core::sync::atomic::Ordering::SeqCst);
        answers.get(n).cloned().unwrap_or(Do::Hang)
    })
    .await
}

fn client(server: &Server, identity: WorkloadIdentity) -> Client {
    let builder = Client::builder().base_url(server.url()).proxies(Proxies::none());
    builder.max_retries(0).beta("own").workload_identity(identity).build().unwrap()
}

fn identity() -> WorkloadIdentity {
    WorkloadIdentity::new("org", "rule", IdentityToken::Text("hush-jwt".into()))
}

fn heads(server: &Server) -> Vec<String> {
    server.requests.lock().unwrap().iter().map(|(head, _)| head.clone()).collect()
}

#[tokio::test]
async fn a_token_is_exchanged_once_and_replaced_when_it_must_be() {
    let ok = || answer("200 OK", "{}");
    let server = serve([
        token("first", 3600),
        ok(),
        ok(),
        answer("401 Unauthorized", "{}"),
        token("second", 60),
        ok(),
        token("third", 3600),
        ok(),
    ])
    .await;
    let client = client(&server, identity().workspace("w").service_account("s"));
    client.get("/v1/a").await.unwrap();
    // Settings of one run share the token.
    client.settings().to_builder().build().unwrap().get("/v1/b").await.unwrap();
    // A refused token is replaced for the next request.
    client.get("/v1/c").await.unwrap_err();
    client.get("/v1/d").await.unwrap();
    // One that expires soon is too.
    client.get("/v1/e").await.unwrap();
    let heads = heads(&server);
    let lines: Vec<&str> = heads.iter().map(|head| head.lines().next().unwrap()).collect();
    let exchange = "POST /v1/oauth/token HTTP/1.1";
    assert_eq!(
        lines,
        [
            exchange,
            "GET /v1/a HTTP/1.1",
            "GET /v1/b HTTP/1.1",
            "GET /v1/c HTTP/1.1",
            exchange,
            "GET /v1/d HTTP/1.1",
            exchange,
            "GET /v1/e HTTP/1.1"
        ]
    );
    assert!(heads[0].contains("anthropic-beta: oauth-2025-04-20,oidc-federation-2026-04-01\r\n"));
    assert!(!heads[0].contains("authorization"));
    for (at, name) in [(1, "first"), (2, "first"), (5, "second"), (7, "third")] {
        assert!(heads[at].contains(&format!("authorization: Bearer {name}\r\n")), "{}", heads[at]);
        assert!(heads[at].contains("anthropic-beta: own,oauth-2025-04-20\r\n"), "{}", heads[at]);
    }
    let body = server.requests.lock().unwrap()[0].1.clone();
    assert_eq!(
        String::from_utf8(body).unwrap(),
        r#"{"grant_type":"urn:ietf:params:oauth:grant-type:jwt-bearer","assertion":"hush-jwt","federation_rule_id":"rule","organization_id":"org","service_account_id":"s","workspace_id":"w"}"#
    );
    assert!(!format!("{client:?} {:?}", identity()).contains("hush"));
}

#[tokio::test]
async fn simultaneous_requests_make_one_exchange() {
    let server =
        Server::start(|_, n| if n == 0 { token("t", 3600) } else { answer("200 OK", "{}") }).await;
    let client = client(&server, identity());
    let (one, two) = tokio::join!(client.get("/v1/b"), client.get("/v1/c"));
    assert!(one.is_ok() && two.is_ok());
    let exchanges = heads(&server).iter().filter(|head| head.contains("oauth/token")).count();
    assert_eq!(exchanges, 1);
}

#[tokio::test]
async fn an_exchange_that_fails_tells_why_and_shows_no_token() {
    let echo = r#"{"error":"invalid_grant","error_description":"hush-jwt is bad"}"#;
    let server = serve([
        answer("400 Bad Request", echo),
        answer("200 OK", r#"{"access_token":"hush"}"#),
        answer("503 Down", "hush-jwt"),
        token("t", 3600),
        answer("200 OK", "{}"),
    ])
    .await;
    let client = client(&server, identity());
    let error = client.get("/v1/a").await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("the request hook failed: the exchange of the identity token failed:")
    );
    assert!(text.contains("(status 400)"), "{text}");
    assert!(!format!("{error} {error:#?}").contains("hush"), "{error:#?}");
    let error = client.get("/v1/a").await.unwrap_err();
    assert!(error.to_string().ends_with("has no access token"), "{error}");
    // A failure that may pass is tried again.
    client.get("/v1/a").await.unwrap();
}

#[tokio::test]
async fn an_identity_token_that_is_none_is_not_sent() {
    let server = serve([]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let of = |token| client(&server, WorkloadIdentity::new("org", "rule", token));
    let missing = of(IdentityToken::File(path.clone())).get("/v1/a").await.unwrap_err();
    assert!(missing.to_string().contains("cannot read the identity token"), "{missing}");
    assert!(missing.source().unwrap().source().is_some());
    std::fs::write(&path, " \n").unwrap();
    let empty = of(IdentityToken::File(path.clone())).get("/v1/a").await.unwrap_err();
    assert!(empty.to_string().ends_with("the identity token is empty"), "{empty}");
    std::fs::write(&path, "k".repeat(20_000)).unwrap();
    let large = of(IdentityToken::File(path)).get("/v1/a").await.unwrap_err();
    assert!(large.to_string().contains("has 20000 bytes, more than 16384"), "{large}");
    let unset = IdentityToken::Variable("TOOLRUNNER_TEST_UNSET".to_owned());
    let unset = of(unset).get("/v1/a").await.unwrap_err();
    assert!(unset.to_string().contains("is not set"), "{unset}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn the_server_must_be_secure_or_local() {
    let build = |url: &str| Client::builder().base_url(url).workload_identity(identity()).build();
    assert!(matches!(build("http://gateway.example").unwrap_err(), SetupError::BaseUrl(_)));
    assert!(build("https://gateway.example").is_ok() && build("http://localhost:1").is_ok());
}
