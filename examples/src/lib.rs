//! What the examples share: the server that they talk to when there is no other.

pub mod loopback;

use core::error::Error;
use std::io;
use std::process::ExitCode;

use toolrunner_core::testing::ScriptedModel;
use toolrunner_std::http::Proxies;
use toolrunner_std::{Client, SetupError};

/// Whom to ask: the server that the environment names, or else the scripted model on this machine.
/// Also whether it is the latter.
///
/// # Errors
/// What is wrong with the environment, or that no port could be opened.
pub fn client() -> Result<(Client, bool), Box<dyn Error>> {
    match Client::from_env() {
        Ok(client) => Ok((client, false)),
        Err(SetupError::NoCredential) => {
            let url = loopback::serve(ScriptedModel::demo())?;
            // A proxy of the environment would not reach this machine's own loopback.
            Ok((Client::builder().base_url(url).proxies(Proxies::none()).build()?, true))
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends a program: silently if it went well or nobody reads its output any more, else with the
/// error and status 1.
pub fn exit(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error)
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The code blocks of the project's README, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
