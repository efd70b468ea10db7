use toolrunner_core::toolbox;

struct Board;

#[toolbox]
impl Board {
    #[tool]
    fn set_led(&self, on: bool) {}

    #[tool(name = "set_led")]
    fn switch(&self, on: bool) {}
}

fn main() {}
