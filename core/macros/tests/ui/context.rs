use toolrunner_core::tool;
use toolrunner_core::tool::ToolContext;

/// Say whether to go on.
#[tool]
fn goes_on(context: ToolContext<'_>) -> bool {
    !context.is_cancelled()
}

fn main() {}
