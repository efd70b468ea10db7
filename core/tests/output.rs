//! Results in wire format, results that do not fit, and the text that the model receives when a
//! tool fails.
#![allow(clippy::unwrap_used, clippy::panic, clippy::std_instead_of_core, reason = "tests")]

use std::fmt::Write;
use std::time::Duration;
use toolrunner_core::__private::check;
use toolrunner_core::__private::{EMPTY_RESULT, Notice, check_tools, error_of_chain};

use toolrunner_core::error::{Capacity, CapacityKind, Error, Misuse};
use toolrunner_core::json::Text;
use toolrunner_core::tool::{
    ContentBlock, DeclaredTool, Output, Source, ToolError, ToolOutput, Toolbox,
};

/// Returns what `write` writes to an empty output.
fn content(write: impl FnOnce(&mut Output<'_>)) -> String {
    let mut memory = [0; 1024];
    let mut out = Output::new(&mut memory);
    write(&mut out);
    let content = out.finish().unwrap();
    check(content).unwrap();
    String::from_utf8(content.to_vec()).unwrap()
}

#[test]
fn forms() {
    assert_eq!(content(|_| {}), format!("\"{EMPTY_RESULT}\""));
    assert_eq!(content(|out| out.text("").unwrap()), "\"\"", "an empty text is said verbatim");
    assert_eq!(content(|out| out.text("a\n\"b\"").unwrap()), r#""a\n\"b\"""#);
    assert_eq!(content(|out| write!(out, "{}-x", 1).unwrap()), r#""1-x""#);
    let text_then_block = content(|out| {
        out.text("one \"").unwrap();
        out.text("two").unwrap();
        out.block(ContentBlock::text("three")).unwrap();
        out.text("four").unwrap();
        out.text(" five").unwrap();
        out.block(ContentBlock::raw(r#"{"type":"tool_reference","tool_name":"x"}"#)).unwrap();
    });
    assert_eq!(
        text_then_block,
        r#"[{"type":"text","text":"one \"two"},{"type":"text","text":"three"},{"type":"text","text":"four five"},{"type":"tool_reference","tool_name":"x"}]"#
    );
    assert_eq!(content(|out| out.content(r#" "given" "#).unwrap()), r#""given""#);
    assert_eq!(
        content(|out| {
            out.content(r#"[{"type":"text","text":"given"}]"#).unwrap();
            out.text("more").unwrap();
        }),
        r#"[{"type":"text","text":"given"},{"type":"text","text":"more"}]"#
    );
    assert_eq!(
        content(|out| {
            out.content(r#""given""#).unwrap();
            out.text(" more").unwrap();
        }),
        r#""given more""#
    );
}

#[test]
fn blocks() {
    for (block, json) in [
        (
            ContentBlock::image(Source::Base64 { media_type: "image/png", data: "QUJD" }),
            r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJD"}}]"#,
        ),
        (
            ContentBlock::image(Source::Bytes { media_type: "image/png", data: b"light w" }),
            r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"bGlnaHQgdw=="}}]"#,
        ),
        (
            ContentBlock::image(Source::File("file_1")),
            r#"[{"type":"image","source":{"type":"file","file_id":"file_1"}}]"#,
        ),
        (
            ContentBlock::document(Source::Text("a\tb")).title("T").context("C").citations(true),
            r#"[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"a\tb"},"title":"T","context":"C","citations":{"enabled":true}}]"#,
        ),
        (
            ContentBlock::search_result("https://x", &["a", "b"])
                .title("T")
                .with(r#""cache_control":{"type":"ephemeral"}"#),
            r#"[{"type":"search_result","source":"https://x","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"title":"T","cache_control":{"type":"ephemeral"}}]"#,
        ),
    ] {
        assert_eq!(content(|out| out.block(block).unwrap()), json);
    }
}

#[test]
fn raw_json_that_is_none_is_refused_and_left_out() {
    let json = content(|out| {
        for bad in ["{", "[]", "{}", r#"{"type":5}"#, r#"{"type":"text"},{"type":"text"}"#] {
            assert_eq!(
                out.block(ContentBlock::raw(bad)),
                Err(Error::Misuse(Misuse::Json("a content block")))
            );
        }
        assert!(out.block(ContentBlock::text("a").with("\"x\"")).is_err());
        for bad in [
            "5",
            "null",
            "{}",
            r#"["a"]"#,
            r#"[{"type":"text","text":"a"},"b"]"#,
            r#"[{"text":"a"}]"#,
        ] {
            assert!(out.content(bad).is_err(), "{bad}");
        }
        out.block(ContentBlock::text("good")).unwrap();
    });
    assert_eq!(json, r#"[{"type":"text","text":"good"}]"#);
}

/// The API accepts no text block without text: only that block is left out.
#[test]
fn text_blocks_without_text_are_left_out() {
    const PICTURE: &str = r#"{"type":"image","source":{"type":"url","url":"https://x/a.png"}}"#;
    const EMPTY: &str = r#"{"type":"text","text":""}"#;
    for order in [[EMPTY, PICTURE, EMPTY], [EMPTY, EMPTY, PICTURE], [PICTURE, EMPTY, EMPTY]] {
        assert_eq!(
            content(|out| order
                .iter()
                .for_each(|block| out.block(ContentBlock::raw(block)).unwrap())),
            format!("[{PICTURE}]")
        );
        assert_eq!(
            content(|out| out.content(&format!("[{}]", order.join(" , "))).unwrap()),
            format!("[{PICTURE}]")
        );
    }
    let both = content(|out| {
        out.block(ContentBlock::text("")).unwrap();
        out.block(ContentBlock::image_url("https://x/a.png")).unwrap();
        out.block(ContentBlock::text("")).unwrap();
        out.text("seen").unwrap();
    });
    assert_eq!(both, format!(r#"[{PICTURE},{{"type":"text","text":"seen"}}]"#));
    assert_eq!(
        content(|out| out.block(ContentBlock::text("")).unwrap()),
        format!("\"{EMPTY_RESULT}\"")
    );
    #[cfg(feature = "alloc")]
    for blocks in [EMPTY.to_owned(), format!("{EMPTY},{EMPTY}")] {
        let error = ToolError::blocks(format!("[{blocks},{}]", r#"{"type":"text","text":"why"}"#));
        assert_eq!(
            content(|out| error.write_to(out).unwrap()),
            r#"[{"type":"text","text":"why"}]"#
        );
    }
    let written = content(|out| {
        out.block(ContentBlock::text("")).unwrap();
        ToolError::written().write_to(out).unwrap();
    });
    assert_eq!(written, r#""Error: (no message)""#);
}

/// For every size of memory, the result is complete, or the error reports exactly how much it
/// needs.
#[test]
fn full_at_every_size() {
    let write = |out: &mut Output<'_>| {
        let _ = out.text("a \"quote\" and more");
        let _ = out.block(ContentBlock::image_url("https://x"));
        let _ = write!(out, "n = {}, text", 5);
    };
    let whole = content(write);
    for size in 0..whole.len() + 3 {
        let mut memory = vec![0; size];
        let mut out = Output::new(&mut memory);
        write(&mut out);
        let full = Capacity { what: CapacityKind::Result, needed: whole.len(), free: size };
        if size < whole.len() {
            // The opening that turns a text into a block is counted when it is needed: in the end,
            // never too little is requested.
            let told = out.overflow().unwrap();
            assert!(told.free == full.free && told.needed > size, "{told:?}");
            assert_eq!(out.text("x").unwrap_err().what, CapacityKind::Result);
            out.clear();
            assert_eq!(out.overflow(), None);
        } else {
            assert_eq!(out.finish().unwrap(), whole.as_bytes());
        }
    }
    // A text alone is counted to the byte.
    for size in 0..12 {
        let mut memory = [0; 12];
        let mut out = Output::new(&mut memory).limit(size);
        let _ = out.text("0123");
        let _ = write!(out, "{}789", 456);
        assert_eq!(
            out.finish(),
            Err(Capacity { what: CapacityKind::Result, needed: 12, free: size })
        );
    }
}

fn told(error: &ToolError) -> String {
    content(|out| {
        out.text("half a result").unwrap();
        error.write_to(out).unwrap();
    })
}

#[test]
fn errors() {
    assert_eq!(told(&ToolError::new("no such city")), r#""no such city""#);
    assert_eq!(told(&ToolError::new("")), r#""Error: (no message)""#);
    assert_eq!(told(&ToolError::format(format_args!("sensor {}", 5))), r#""sensor 5""#);
    assert_eq!(
        told(&ToolError::static_blocks(r#"[{"type":"text","text":"x"}]"#)),
        r#"[{"type":"text","text":"x"}]"#
    );
    assert_eq!(told(&ToolError::static_blocks("[]")), r#""Error: (no message)""#);
    assert_eq!(told(&ToolError::static_blocks("{")), r#""{""#);
    assert_eq!(told(&ToolError::written()), r#""half a result""#);
    assert_eq!(
        told(&ToolError::from("x".parse::<i32>().unwrap_err())),
        r#""Error: invalid digit found in string""#
    );
    let mut out = Output::new(&mut []);
    assert!(ToolError::written().write_to(&mut out).is_err());
}

/// An error with a cause.
#[derive(Debug)]
struct Caused(&'static str, Option<Box<Self>>);

impl std::fmt::Display for Caused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Caused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|cause| cause as _)
    }
}

fn caused(texts: &[&'static str]) -> Caused {
    let (first, rest) = texts.split_first().unwrap();
    Caused(first, (!rest.is_empty()).then(|| Box::new(caused(rest))))
}

#[test]
fn the_model_is_told_the_whole_chain() {
    for (texts, read) in [
        (&["reading the config", "no such file"][..], "Error: reading the config: no such file"),
        (&["a", "b", "c", "d"], "Error: a: b: c: d"),
        (&["a"], "Error: a"),
        // An error that shows its source itself is not repeated.
        (&["a: b", "b"], "Error: a: b"),
        (&["a: b: c", "b: c", "c"], "Error: a: b: c"),
        (&["a", "b: c", "c"], "Error: a: b: c"),
        (&["a", "a", "a"], "Error: a"),
        (&["a", "", "b"], "Error: a: b"),
    ] {
        let error = ToolError::from(caused(texts));
        assert_eq!(
            (error.to_string().as_str(), told(&error).as_str()),
            (read, format!("{read:?}").as_str())
        );
        assert_eq!(error_of_chain(&caused(texts)).to_string(), read);
    }
    #[cfg(feature = "alloc")]
    {
        assert_eq!(told(&ToolError::from(caused(&["", ""]))), r#""Error: (no message)""#);
        assert_eq!(ToolError::from_boxed(Box::new(caused(&["a", "b"]))).to_string(), "Error: a: b");
    }
    #[cfg(not(feature = "alloc"))]
    {
        let long = "a cause that takes half of the room that there is";
        let text = ToolError::from(caused(&["outer", long, "in between", long])).to_string();
        assert!(
            text.starts_with(&format!("Error: outer: {long}: in between: a ca"))
                && text.ends_with(" […cut]"),
            "{text}"
        );
    }
}

#[cfg(feature = "alloc")]
#[test]
fn the_source_is_kept() {
    let error = ToolError::from("x".parse::<i32>().unwrap_err());
    assert_eq!(error.source().unwrap().to_string(), "invalid digit found in string");
    assert_eq!(told(&ToolError::text("owned")), r#""owned""#);
    let mut memory = b"before".to_vec();
    let mut out = Output::growing(&mut memory);
    out.text("a").unwrap();
    out.block(ContentBlock::text("b")).unwrap();
    assert_eq!(
        out.finish().unwrap(),
        br#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#
    );
    assert!(memory.starts_with(b"before["));
}

/// Without a heap, the text is made without the formatter.
#[test]
fn a_result_that_does_not_fit_says_what_its_capacity_says() {
    let mut memory = [0; 4];
    let mut out = Output::new(&mut memory);
    let error = 12345.5_f32.write_to(&mut out).unwrap_err();
    let full = out.overflow().unwrap();
    assert_eq!(told(&error), format!("\"Error: {full}\""));
    assert_eq!(full.to_string(), "tool result full: 9 needed, 4 free");
}

#[cfg(not(feature = "alloc"))]
#[test]
fn a_long_error_says_that_it_was_cut() {
    let error = ToolError::format(format_args!("{:>200}", "end"));
    let text = error.to_string();
    assert!(text.ends_with(" […cut]") && text.len() == ToolError::MAX_TEXT, "{text}");
}

#[test]
fn notices() {
    let full = Capacity { what: CapacityKind::Result, needed: 70, free: 60 };
    for (notice, text) in [
        (Notice::NotFound(Text::from_raw(r#"a\"b"#)), "Error: Tool 'a\"b' not found"),
        (Notice::Panicked, "Error: tool panicked"),
        (Notice::Cancelled, "Error: cancelled"),
        (Notice::TimedOut(Duration::from_millis(1500)), "Error: timed out after 1500 ms"),
        (Notice::NotRun, "Error: not run"),
        (Notice::TooLarge(full), "Error: the result is too large: 70 bytes, at most 60 fit"),
        (
            Notice::Breakpoints(5),
            "Error: the request would have 5 cache breakpoints, at most 4 are allowed",
        ),
    ] {
        assert_eq!(notice.to_string(), text);
        assert_eq!(
            content(|out| notice.write_to(out).unwrap()),
            format!("\"{}\"", text.replace('"', "\\\""))
        );
    }
}

#[test]
fn set_up_is_checked() {
    let check = |json: &'static str| check_tools(&DeclaredTool::new(json).unwrap());
    check(r#"{"name":"a","input_schema":{"type":"object"}}"#).unwrap();
    check(r#"{"type":"web_search_20250305","name":"web_search"}"#).unwrap();
    check(r#"{"type":"mcp_toolset","mcp_server_name":"x"}"#).unwrap();
    for name in ["a b", "", "ä", "a\nb"] {
        let json = format!(r#"{{"name":{name:?},"input_schema":{{"type":"object"}}}}"#).leak();
        let refused = DeclaredTool::new(&*json).unwrap_err().to_string();
        assert!(refused.contains("a tool's name must be"), "{name:?}: {refused}");
    }
    let long = format!(r#"{{"name":"{}","type":"x"}}"#, "a".repeat(129)).leak();
    assert!(DeclaredTool::new(&*long).is_err());
    for nameless in ["{}", r#"{"type":"custom","input_schema":{"type":"object"}}"#, r#"{"type":5}"#]
    {
        let refused = DeclaredTool::new(nameless).unwrap_err().to_string();
        assert_eq!(
            refused,
            "unexpected JSON: a tool's definition must have a name, or a `type` that the API defines"
        );
    }
    assert_eq!(check(r#"{"name":"a"}"#), Err(Misuse::ToolDefinition(0)));
    assert_eq!(
        check(r#"{"name":"a","input_schema":{"type":"array"}}"#),
        Err(Misuse::ToolDefinition(0))
    );
    assert!(
        DeclaredTool::new("[]").is_err()
            && DeclaredTool::new("{").is_err()
            && DeclaredTool::new(r#"{"name":5}"#).is_err()
    );
    let one = || DeclaredTool::new(r#"{"name":"a","input_schema":{"type":"object"}}"#).unwrap();
    assert_eq!(check_tools(&(one(), (), [one(), one()])), Err(Misuse::DuplicateTool(0, 1)));
    assert_eq!((one(), one()).find(Text::from_raw("a")), None);
}
