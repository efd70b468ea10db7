//! The front of a request's body: commas, tools, and the names that a caller's members must not
//! have.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use toolrunner_core::__private::{Decimal, Front};
use toolrunner_core::drive::Driver;
use toolrunner_core::error::{Error, Misuse};
use toolrunner_core::run::Run;
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedTransport, VirtualClock};
use toolrunner_core::tool::{DeclaredTool, Toolbox};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::Config;

fn joined(members: &str, stream: bool, tools: Option<&[&'static str]>) -> String {
    let run = Run::new(Transcript::growing_to(100));
    let front = run.complete(Front::from_members(members, stream, "{}"));
    String::from_utf8(front.to_vec(tools.map(|tools| tools.iter().copied()))).unwrap()
}

#[test]
fn members_have_commas_between_them_and_nowhere_else() {
    for (members, stream, tools, expected) in [
        ("", false, None, r#"{"messages":["#),
        ("", true, None, r#"{"stream":true,"messages":["#),
        ("", false, Some(&[][..]), r#"{"tools":[],"messages":["#),
        (r#""a":1"#, false, None, r#"{"a":1,"messages":["#),
        (
            r#""a":1,"b":2"#,
            true,
            Some(&["{}", "{}"][..]),
            r#"{"a":1,"b":2,"stream":true,"tools":[{},{}],"messages":["#,
        ),
    ] {
        assert_eq!(joined(members, stream, tools), expected);
    }
}

#[test]
fn params_of_only_white_space_are_no_members() {
    let config = Config::new("m", 9).params(" \n\t").stream(false);
    config.check().unwrap();
    let max_tokens = Decimal::new(9);
    let none: Option<core::iter::Empty<&str>> = None;
    let front = Front::new(&config, &max_tokens).to_vec(none);
    assert_eq!(String::from_utf8(front).unwrap(), r#"{"model":"m","max_tokens":9,"messages":["#);
}

/// A compaction may leave no member.
#[test]
fn a_compaction_that_leaves_nothing_has_no_comma_before_it() {
    let mut run = Run::new(Transcript::growing_to(1000));
    run.user("Hello.").unwrap();
    run.compact_on_server();
    run.step(toolrunner_core::time::Instant::ZERO).unwrap();
    assert!(run.is_compacting_on_server());
    let none: Option<core::iter::Empty<&str>> = None;
    for (members, expected) in [
        (r#""stop_sequences":[]"#, r#"{"compaction":{"x":1},"messages":["#),
        (r#""a":1,"compaction":2"#, r#"{"a":1,"compaction":{"x":1},"messages":["#),
        (r#""compaction":2,"a":1"#, r#"{"a":1,"compaction":{"x":1},"messages":["#),
    ] {
        let front = run.complete(Front::from_members(members, false, r#"{"x":1}"#));
        assert_eq!(String::from_utf8(front.to_vec(none.clone())).unwrap(), expected);
    }
}

#[test]
fn params_cannot_have_a_member_that_the_request_has_already() {
    let is_refused = |config: &Config<'_>| match config.check() {
        Err(Misuse::Setting(why)) => {
            assert!(
                Error::Misuse(Misuse::Setting(why)).to_string().contains("must not repeat"),
                "{why}"
            );
            true
        }
        other => {
            assert_eq!(other, Ok(()));
            false
        }
    };
    for name in ["model", "max_tokens", "messages", "stream"] {
        let params = format!(r#""top_k":1,"{name}":[]"#);
        assert!(is_refused(&Config::new("m", 9).params(&params)), "{name}");
    }
    assert!(is_refused(&Config::new("m", 9).params(r#""\u006dodel":"n""#)));
    let system = Config::new("m", 9).params(r#""system":"a\nb""#);
    assert!(!is_refused(&system));
    assert!(is_refused(&system.system("c")));
    assert!(!is_refused(&Config::new("m", 9).params(r#""compaction":{},"container":null"#)));
}

/// The parameters may contain `tools` if no tool of the run has an entry in that list.
#[test]
fn params_have_tools_only_if_the_run_has_none() {
    fn is_refused(tools: &impl Toolbox) -> bool {
        let config = Config::new("m", 9).params(r#""tools":[{"type":"web_search"}]"#);
        let clock = VirtualClock::new(0);
        let transport = ScriptedTransport::new(ScriptedModel::new(Script::new()));
        Driver::new(config, transport, tools, &clock).is_err()
    }
    assert!(!is_refused(&()));
    let json = r#"{"name":"a","input_schema":{"type":"object"}}"#;
    assert!(is_refused(&DeclaredTool::new(json).unwrap()));
}
