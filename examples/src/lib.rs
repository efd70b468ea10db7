//! Shared code of the examples: the server that they use if the environment names none.

pub mod loopback;
pub mod own_transport;

use core::error::Error;
use std::io;
use std::process::ExitCode;

use toolrunner_core::testing::ScriptedModel;
use toolrunner_std::http::Proxies;
use toolrunner_std::{Client, SetupError};

/// Returns a client for the server that the environment names, or else for the scripted model on
/// this machine, and whether it is the latter.
///
/// # Errors
/// Returns an error if the environment is invalid, or if no port could be opened.
pub fn client() -> Result<(Client, bool), Box<dyn Error>> {
    match Client::from_env() {
        Ok(client) => Ok((client, false)),
        Err(SetupError::NoCredential) => {
            let url = loopback::serve(ScriptedModel::demo())?;
            // A proxy of the environment would not reach this machine's loopback interface.
            Ok((Client::builder().base_url(url).proxies(Proxies::none()).build()?, true))
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends a program: silently if it succeeded or if its output is no longer read, otherwise with the
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
