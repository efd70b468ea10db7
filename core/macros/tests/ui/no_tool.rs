
use toolrunner_core::__private::{check_server_tools, check_tools};
fn plain(a: i64) -> i64 {
    a
}

fn now() -> i64 {
    0
}

struct Board;

fn main() {
    let _ = check_tools(&plain);
    let _ = check_server_tools(&now);
    let _ = check_tools(&Board);
    let _ = check_server_tools(&(Board,));
}
