use toolrunner_core::tool;

struct Weather;

#[tool]
fn weather() -> Weather {
    Weather
}

fn main() {}
