//! The loop's own texts in place of a tool's result.

use toolrunner_core::__private::Notice;
/// Returns one of the loop's own texts as content, and that it is an error.
pub(super) fn notice(notice: Notice<'_>) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    // A Vec is never full.
    let _ = notice.write_json(&mut content);
    (content, true)
}
