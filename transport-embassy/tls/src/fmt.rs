//! What upstream logs is dropped here: at its levels `trace` and `debug` it would log secrets.
#![macro_use]

macro_rules! trace {
    ($s:literal $(, $x:expr)* $(,)?) => {
        let _ = ($( & $x ),*);
    };
}

macro_rules! debug {
    ($s:literal $(, $x:expr)* $(,)?) => {
        let _ = ($( & $x ),*);
    };
}

macro_rules! warn {
    ($s:literal $(, $x:expr)* $(,)?) => {
        let _ = ($( & $x ),*);
    };
}

macro_rules! error {
    ($s:literal $(, $x:expr)* $(,)?) => {
        let _ = ($( & $x ),*);
    };
}

macro_rules! unwrap {
    ($arg:expr) => {
        match $crate::fmt::Try::into_result($arg) {
            ::core::result::Result::Ok(t) => t,
            ::core::result::Result::Err(e) => {
                ::core::panic!("unwrap of `{}` failed: {:?}", ::core::stringify!($arg), e);
            }
        }
    };
}

#[derive(Debug, Copy, Clone, Eq, PartialEq)]
pub struct NoneError;

pub trait Try {
    type Ok;
    type Error;
    fn into_result(self) -> Result<Self::Ok, Self::Error>;
}

impl<T> Try for Option<T> {
    type Ok = T;
    type Error = NoneError;

    #[inline]
    fn into_result(self) -> Result<T, NoneError> {
        self.ok_or(NoneError)
    }
}

impl<T, E> Try for Result<T, E> {
    type Ok = T;
    type Error = E;

    #[inline]
    fn into_result(self) -> Self {
        self
    }
}
