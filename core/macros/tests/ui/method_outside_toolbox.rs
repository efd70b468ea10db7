use toolrunner_core::tool;

struct Board;

impl Board {
    #[tool]
    fn set_led(&self, on: bool) {}
}

fn main() {}
