//! Errors of a run, in the form that the log stores.

use toolrunner_std::{Error, MessageThread, Run};

use crate::engine::ErrorDetail;

/// Returns why an agent's run cannot be served.
pub(super) fn check(run: &Run) -> Result<(), Error> {
    if run.machine().message_thread() == MessageThread::Free {
        // The store would drop what the run frees, and every turn begins from the store.
        return Err(Error::Invalid(
            "a served agent cannot free the messages of its conversation, because the session \
             keeps them: use MessageThread::Keep"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Converts an error into the form that the log stores.
pub(super) fn detail(error: &Error) -> ErrorDetail {
    let other = |kind| ErrorDetail::new(kind, error.to_string());
    match error {
        Error::Api(failure) => ErrorDetail {
            kind: if failure.kind.is_empty() {
                failure.error.kind.name().to_owned()
            } else {
                failure.kind.clone()
            },
            message: failure.message.clone(),
            status: Some(failure.error.status),
        },
        Error::Transport(_) => other("connection_error"),
        Error::Protocol(_) => other("protocol_error"),
        _ => other("agent_error"),
    }
}
