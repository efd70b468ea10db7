use toolrunner_core::tool;

#[tool]
fn picture() -> Vec<u8> {
    vec![137, 80, 78, 71]
}

#[tool]
fn checked() -> Result<Option<&'static [u8]>, String> {
    Ok(None)
}

fn main() {}
