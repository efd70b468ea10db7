use toolrunner_core::ToolInput;

#[derive(ToolInput)]
struct Node {
    name: String,
    children: Vec<Node>,
}

fn main() {}
