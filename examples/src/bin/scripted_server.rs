//! The examples' scripted model as a server on a port of this machine, for programs in other
//! languages. It prints its address and runs until its standard input ends.

use std::io::{Read, stdin};

use toolrunner_core::testing::ScriptedModel;
use toolrunner_examples::loopback;

fn main() -> std::io::Result<()> {
    println!("{}", loopback::serve(ScriptedModel::demo())?);
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
