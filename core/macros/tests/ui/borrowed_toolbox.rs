use toolrunner_core::__private::macros::toolbox_std;

struct Notes<'a> {
    text: &'a str,
}

#[toolbox_std]
impl Notes<'_> {
    /// Read the notes.
    #[tool]
    fn read(&self) -> String {
        self.text.to_string()
    }
}

fn main() {}
