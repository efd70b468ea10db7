//! What the clients with a heap share, `toolrunner_std` and `toolrunner_blocking`. It is hidden here,
//! so that it is documented only where a client exports it.

pub(crate) mod envelope;
pub(crate) mod gate;
