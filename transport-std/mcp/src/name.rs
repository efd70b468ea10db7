//! Names that the API accepts.

/// The maximum length of a name.
const LONGEST: usize = 128;

/// Returns the name of a tool for the API: `^[a-zA-Z0-9_-]{1,128}$`.
///
/// A name that fits stays as it is after the prefix. Otherwise every other character becomes `_`,
/// and a hash of the whole name follows, so that two names that differ stay different.
pub(crate) fn api_name(prefix: &str, remote: &str) -> String {
    let whole = format!("{prefix}{remote}");
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !remote.is_empty() && whole.len() <= LONGEST && whole.chars().all(is_allowed) {
        return whole;
    }
    let hash = format!("_{:08x}", fnv1a(&whole));
    let plain = whole.chars().map(|c| if is_allowed(c) { c } else { '_' });
    let mut name: String = plain.take(LONGEST - hash.len()).collect();
    name.push_str(&hash);
    name
}

/// FNV-1a, which is the same in every version of this crate: a name in a stored conversation must
/// not change.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::api_name;

    #[test]
    fn names_that_fit_stay_and_others_stay_apart() {
        assert_eq!(api_name("", "read_file"), "read_file");
        assert_eq!(api_name("fs-", "read_file"), "fs-read_file");
        assert_eq!(api_name("", "fs.read"), "fs_read_d154e2a4");
        assert_ne!(api_name("", "fs.read"), api_name("", "fs/read"));
        assert_ne!(api_name("", "fs.read"), "fs_read");
        assert_eq!(api_name("", ""), "_811c9dc5");
        let long = api_name("", &"é".repeat(200));
        assert!(long.len() == 128 && long.starts_with("___"), "{long}");
        assert_ne!(long, api_name("", &"é".repeat(201)));
        assert_eq!(api_name("", &"x".repeat(128)), "x".repeat(128));
        assert_eq!(api_name("", &"x".repeat(129)).len(), 128);
    }
}
