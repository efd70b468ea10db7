//! The list of white space, compared with the standard library's table.

use super::is_space;

#[test]
fn white_space_is_that_of_unicode_and_of_python() {
    for c in '\0'..=char::MAX {
        let is_separator = ('\u{1c}'..='\u{1f}').contains(&c);
        assert_eq!(is_space(c), c.is_whitespace() || is_separator, "{c:?}");
    }
}
