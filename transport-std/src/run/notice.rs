//! What the loop itself says in place of a tool.

use toolrunner_core::tool::Notice;

/// One of the loop's own texts as content.
pub(super) fn notice(notice: Notice<'_>) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    // A Vec is never full.
    let _ = notice.write_json(&mut content);
    (content, true)
}
