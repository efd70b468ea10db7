//! How things are done, one page per task. Each code block is compiled and run as a test.
//!
//! Start with [`tools`], then read what you need. [`limits`] and [`errors`] list every bound and
//! every failure. The pages `coming_from_…` translate programs of other libraries.

macro_rules! pages {
    ($($name:ident)*) => {
        $(#[doc = include_str!(concat!(stringify!($name), ".md"))] pub mod $name {})*
    };
}

pages! {
    approve
    coming_from_go
    coming_from_python
    coming_from_rig
    coming_from_typescript
    compact
    embed_on_a_board
    errors
    features
    limits
    message_threads
    serve_a_browser
    stream
    suspend_and_resume
    test_offline
}

pub mod structured_output;
pub mod tools;
