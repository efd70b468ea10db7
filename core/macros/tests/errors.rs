//! Compile errors that teach. `TRYBUILD=overwrite` writes the expected texts anew.

#[test]
fn errors() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
