//! The deltas that extend the blocks of a reply. Every reader and writer of replies takes them from
//! the table here: the stream, the whole-JSON reply, the events and the scripted model. The kinds
//! of the blocks are in the table of `message/block.rs`.

use crate::message::{BlockKind, KINDS};

/// Passes the table of deltas to the macro `$use`. To add a delta type, add a row. A new event also
/// needs its variant of [`Event`](crate::observe::Event), and of the clients' owned events. A new
/// kind of block also needs its variant of `BlockKind`, and a kind in its row of the table of
/// blocks. No two rows may have the same member of the delta, or the same member of the block: a
/// reader finds a value by its name.
///
/// The columns: the name of the row; the kind of block that the delta extends; the delta's type and
/// the member with its value; the member of the block that grows, and how; the event, its member,
/// and how that is read. In a whole-JSON reply, the events of a block come in the order of its
/// rows.
#[doc(hidden)]
#[macro_export]
macro_rules! __deltas { ($use:ident) => { $use! {
    Text       Text       "text_delta" "text" "text" Text Text text text;
    Citations  Text       "citations_delta" "citation" "citations" Array Citation citation value;
    Thinking   Thinking   "thinking_delta" "thinking" "thinking" Text Thinking text text;
    Signature  Thinking   "signature_delta" "signature" "signature" Whole Signature signature text;
    Input      Call       "input_json_delta" "partial_json" "input" Json Input json json;
    Compaction Compaction "compaction_delta" "content" "content" Text Compaction text text;
} } }
pub(crate) use __deltas as deltas;

impl BlockKind {
    /// Returns whether a delta of `field` is allowed even if the block began without that member.
    pub(crate) fn has(self, field: Field) -> bool {
        field.kind() == self.grows_like()
    }

    /// Returns the fields of such a block that events report, in the order of their events.
    pub(crate) fn fields(self) -> impl Iterator<Item = Field> {
        FIELDS.iter().copied().filter(move |field| self.has(*field))
    }

    const fn grows_like(self) -> Self {
        match self {
            Self::ServerCall => Self::Call,
            kind => kind,
        }
    }
}

/// How a member of a block grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// Each delta is an element of an array.
    Array,
    /// Each delta is a string with a piece of the JSON text of the member.
    Json,
    /// Each delta is a piece of a string.
    Text,
    /// Each delta is the whole string, and replaces the one before it.
    Whole,
}

/// A type of delta, and the member of a block that it extends.
#[derive(Clone, Copy, Debug)]
pub struct DeltaType {
    /// The value of the delta's `type`.
    pub name: &'static str,
    /// The member of the delta that contains its value.
    pub value: &'static str,
    /// The member of the block that grows.
    pub member: &'static str,
    /// How it grows.
    pub growth: Growth,
}

macro_rules! define_fields {
    ($($field:ident $kind:ident $delta:literal $value:literal $member:literal $growth:ident
        $event:ident $name:ident $read:ident;)+) => {
        /// The member of a block that a delta extends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Field {
            $($field,)+
            /// Part of a compaction delta, and not reported, because nobody can read it.
            EncryptedContent,
        }

        /// The fields with deltas of their own.
        pub(crate) const FIELDS: [Field; [$($delta),+].len()] = [$(Field::$field),+];

        /// The types of the deltas as JSON.
        const DELTAS: [&str; FIELDS.len()] = [$(concat!("\"", $delta, "\"")),+];

        /// The rows of the table, for code that reads streams without a run.
        pub const DELTA_TYPES: [DeltaType; FIELDS.len()] = [$(DeltaType {
            name: $delta,
            value: $value,
            member: $member,
            growth: Growth::$growth,
        }),+];

        /// The members of a block that its kind needs: its type, and those of the fields in order.
        pub(crate) const MEMBERS: [&str; 1 + FIELDS.len()] = ["type", $($member),+];

        impl Field {
            /// Returns the name of the member in the block.
            pub(crate) fn member(self) -> &'static str {
                // The type precedes the members of the fields, which are in order.
                MEMBERS.get(1 + self as usize).unwrap_or(&"encrypted_content")
            }

            /// Returns what precedes the content of the field's delta, a string, in the exact form
            /// of the API. It begins within the quotes of the delta's type.
            pub(super) const fn head(self) -> &'static [u8] {
                match self {
                    $(Self::$field => concat!($delta, "\",\"", $value, "\":\"").as_bytes(),)+
                    Self::EncryptedContent => b"",
                }
            }

            pub(crate) const fn growth(self) -> Growth {
                match self {
                    $(Self::$field => Growth::$growth,)+
                    Self::EncryptedContent => Growth::Whole,
                }
            }

            /// Returns the kind of block that has this member.
            pub(crate) const fn kind(self) -> BlockKind {
                match self {
                    $(Self::$field => BlockKind::$kind,)+
                    Self::EncryptedContent => BlockKind::Compaction,
                }
            }
        }
    };
}
deltas!(define_fields);

// What the compiler does not see in the table.
const _: () = {
    assert!(all_differ(&MEMBERS), "two rows have the same member of the block");
    let mut fields = FIELDS.as_slice();
    while let [field, rest @ ..] = fields {
        let mut kinds = KINDS;
        while let [(_, kind), others @ ..] = kinds
            && *kind as u8 != field.kind() as u8
        {
            kinds = others;
        }
        assert!(!kinds.is_empty(), "no row of the table of blocks has the kind of this row");
        fields = rest;
    }
};

/// Returns whether no two names are the same.
pub(super) const fn all_differ(mut names: &[&str]) -> bool {
    while let [name, rest @ ..] = names {
        let mut others = rest;
        while let [other, more @ ..] = others {
            let (mut a, mut b) = (name.as_bytes(), other.as_bytes());
            while let ([first, a_rest @ ..], [second, b_rest @ ..]) = (a, b)
                && *first == *second
            {
                (a, b) = (a_rest, b_rest);
            }
            if a.is_empty() && b.is_empty() {
                return false;
            }
            others = more;
        }
        names = rest;
    }
    true
}

/// The maximum number of fields of one kind of block.
pub(crate) const MOST_FIELDS: usize = {
    let (mut most, mut fields) = (0, FIELDS.as_slice());
    while let [field, rest @ ..] = fields {
        let (mut count, mut others) = (1, rest);
        while let [other, more @ ..] = others {
            if other.kind() as u8 == field.kind() as u8 {
                count += 1;
            }
            others = more;
        }
        if count > most {
            most = count;
        }
        fields = rest;
    }
    most
};

impl Field {
    /// Returns the field that a delta's type names, which is a JSON value, and its index.
    pub(super) fn of_delta(kind: &[u8]) -> Option<(Self, usize)> {
        let i = DELTAS.iter().position(|name| name.as_bytes() == kind)?;
        Some((*FIELDS.get(i)?, i))
    }

    /// Returns the type of the field's delta, and the member that contains its value.
    #[cfg(feature = "testing")]
    pub(crate) fn delta(self) -> Option<(&'static str, &'static str)> {
        let i = FIELDS.iter().position(|field| *field == self)?;
        DELTA_TYPES.get(i).map(|delta| (delta.name, delta.value))
    }
}
