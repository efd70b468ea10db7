//! The texts of compile errors. `TRYBUILD=overwrite` rewrites the expected texts.

#[test]
fn errors() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
