use toolrunner_core::tool::{check_server_tools, check_tools};

fn plain(a: i64) -> i64 {
    a
}

fn main() {
    let _ = check_tools(&plain);
    let _ = check_server_tools(&plain);
}
