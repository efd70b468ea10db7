//! A JSON value that can be changed.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::json::quoted;
use crate::json::{Kind, Value};

/// A value. Scalars are JSON text, which may be invalid in a hostile input.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Scalar(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Tree {
    pub(super) fn text(text: &str) -> Self {
        Self::Scalar(quoted(text))
    }

    pub(super) fn json(json: &str) -> Self {
        Self::of(crate::testing::text::parse(json))
    }

    pub(super) fn of(value: Value<'_>) -> Self {
        match value.kind() {
            Kind::Array => Self::Array(value.elements().map(Self::of).collect()),
            Kind::Object => Self::Object(
                value
                    .members()
                    .map(|(name, member)| (name.to_string(), Self::of(member)))
                    .collect(),
            ),
            _ => Self::Scalar(value.as_json().to_string()),
        }
    }

    /// Returns the number of values in the tree, including itself.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Scalar(_) => 1,
            Self::Array(elements) => 1 + elements.iter().map(Self::len).sum::<usize>(),
            Self::Object(members) => {
                1 + members.iter().map(|(_, member)| member.len()).sum::<usize>()
            }
        }
    }

    /// Returns the value at `at`, counted from the root, and appends its path.
    pub(super) fn nth(&mut self, at: usize, path: &mut String) -> Option<&mut Self> {
        if at == 0 {
            return Some(self);
        }
        let mut left = at - 1;
        match self {
            Self::Scalar(_) => None,
            Self::Array(elements) => {
                for (i, element) in elements.iter_mut().enumerate() {
                    let len = element.len();
                    if left < len {
                        path.push_str(&alloc::format!("[{i}]"));
                        return element.nth(left, path);
                    }
                    left -= len;
                }
                None
            }
            Self::Object(members) => {
                for (name, member) in members {
                    let len = member.len();
                    if left < len {
                        if !path.is_empty() {
                            path.push('.');
                        }
                        path.push_str(name);
                        return member.nth(left, path);
                    }
                    left -= len;
                }
                None
            }
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(json) => f.write_str(json),
            Self::Array(elements) => {
                f.write_str("[")?;
                for (i, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if i > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (i, (name, member)) in members.iter().enumerate() {
                    write!(f, "{}{}:{member}", if i > 0 { "," } else { "" }, quoted(name))?;
                }
                f.write_str("}")
            }
        }
    }
}
