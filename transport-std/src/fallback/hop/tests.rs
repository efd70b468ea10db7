//! The blocks of a streamed reply are put together.

use super::*;

/// Returns the block that these deltas make of `start`.
fn block(start: &str, deltas: &[&str]) -> String {
    let mut hop = Hop::new("m".to_owned(), false, false, 0);
    let start = format!(r#"{{"type":"content_block_start","index":0,"content_block":{start}}}"#);
    hop.block_event("content_block_start", &start);
    for delta in deltas {
        let event = format!(r#"{{"type":"content_block_delta","index":0,"delta":{delta}}}"#);
        hop.block_event("content_block_delta", &event);
    }
    hop.blocks().next().unwrap()
}

#[test]
fn a_block_has_all_that_its_deltas_add() {
    for (start, deltas, whole) in [
        (
            r#"{"type":"text","text":"a","citations":[1]}"#,
            &[
                r#"{"type":"text_delta","text":"b"}"#,
                r#"{"type":"citations_delta","citation":{"n":2}}"#,
                r#"{"type":"text_delta","text":"c"}"#,
                r#"{"type":"later_delta","text":"d"}"#,
            ][..],
            r#"{"type":"text","text":"abc","citations":[1,{"n":2}]}"#,
        ),
        (
            r#"{"type":"thinking","thinking":"","signature":""}"#,
            &[
                r#"{"type":"thinking_delta","thinking":"Hm"}"#,
                r#"{"type":"signature_delta","signature":"x"}"#,
                r#"{"type":"signature_delta","signature":"s"}"#,
            ],
            r#"{"type":"thinking","thinking":"Hm","signature":"s"}"#,
        ),
        (
            r#"{"type":"tool_use","id":"i","name":"n","input":{}}"#,
            &[
                r#"{"type":"input_json_delta","partial_json":""}"#,
                r#"{"type":"input_json_delta","partial_json":"{\"a\""}"#,
                r#"{"type":"input_json_delta","partial_json":":1}"}"#,
            ],
            r#"{"type":"tool_use","id":"i","name":"n","input":{"a":1}}"#,
        ),
        (
            r#"{"type":"tool_use","id":"i","name":"n","input":{}}"#,
            &[r#"{"type":"input_json_delta","partial_json":"{\"a\""}"#],
            r#"{"type":"tool_use","id":"i","name":"n","input":{}}"#,
        ),
        (
            r#"{"type":"compaction","content":null,"encrypted_content":null}"#,
            &[r#"{"type":"compaction_delta","content":"All.","encrypted_content":"e"}"#],
            r#"{"type":"compaction","content":"All.","encrypted_content":"e"}"#,
        ),
        (
            r#"{"type":"compaction","content":null}"#,
            &[
                r#"{"type":"compaction_delta","content":null,"encrypted_content":"e"}"#,
                r#"{"type":"compaction_delta","content":"All.","encrypted_content":null}"#,
            ],
            r#"{"type":"compaction","content":"All.","encrypted_content":"e"}"#,
        ),
        (
            r#"{"type":"text","text":"a"}"#,
            &[r#"{"type":"text_delta","text":"b","encrypted_content":"e"}"#],
            r#"{"type":"text","text":"ab"}"#,
        ),
    ] {
        assert_eq!(block(start, deltas), whole);
    }
}
