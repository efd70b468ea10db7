//! The kinds of blocks and the deltas that extend them. Every reader and writer of replies takes
//! them from the two tables here: the stream, the whole-JSON reply, the events and the scripted
//! model.

use crate::json::Value;

/// Passes the table of deltas to the macro `$use`. To add a delta type, add a row. A new event also
/// needs its variant of [`Event`](crate::observe::Event).
///
/// The columns: the name of the row; the kind of block that the delta extends; the delta's type and
/// the member with its value; the member of the block that grows, and how; the event, its member,
/// and how that is read. In a whole-JSON reply, the events of a block come in the order of its
/// rows.
#[rustfmt::skip]
macro_rules! deltas { ($use:ident) => { $use! {
    Text       Text       "text_delta" "text" "text" Text Text text text;
    Citations  Text       "citations_delta" "citation" "citations" Array Citation citation value;
    Thinking   Thinking   "thinking_delta" "thinking" "thinking" Text Thinking text text;
    Signature  Thinking   "signature_delta" "signature" "signature" Whole Signature signature text;
    Input      Call       "input_json_delta" "partial_json" "input" Json Input json json;
    Compaction Compaction "compaction_delta" "content" "content" Text Compaction text text;
} } }
pub(crate) use deltas;

/// The kinds of blocks that grow in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// `tool_use`.
    Call,
    Compaction,
    /// A block that only the user or the system may send. If a reply contained one, the API would
    /// refuse the conversation from then on.
    Misplaced,
    Other,
    /// `server_tool_use` or `mcp_tool_use`: grows like a call, but the server runs it.
    ServerCall,
    Text,
    Thinking,
}

/// The values of a block's `type`. All others are [`BlockKind::Other`].
const KINDS: [(&str, BlockKind); 9] = [
    ("text", BlockKind::Text),
    ("thinking", BlockKind::Thinking),
    ("tool_use", BlockKind::Call),
    ("server_tool_use", BlockKind::ServerCall),
    ("mcp_tool_use", BlockKind::ServerCall),
    ("compaction", BlockKind::Compaction),
    ("tool_result", BlockKind::Misplaced),
    ("tool_addition", BlockKind::Misplaced),
    ("tool_removal", BlockKind::Misplaced),
];

impl BlockKind {
    /// Returns the kind of a block for the value of its `type`.
    pub(crate) fn of(kind: Option<Value<'_>>) -> Self {
        // Compares the unescaped text and not the bytes, because the run finds its calls in the
        // same way. A call that is not counted would never get a result.
        let known = kind.and_then(|kind| KINDS.iter().find(|(name, _)| kind.is_text(name)));
        known.map_or(Self::Other, |(_, kind)| *kind)
    }

    /// Returns whether a delta of `field` is allowed even if the block began without that member.
    pub(crate) fn has(self, field: Field) -> bool {
        field.kind() == self.grows_like()
    }

    /// Returns the fields of such a block that events report, in the order of their events.
    pub(crate) fn fields(self) -> impl Iterator<Item = Field> {
        FIELDS.iter().copied().filter(move |field| self.has(*field))
    }

    pub(crate) const fn is_call(self) -> bool {
        matches!(self, Self::Call | Self::ServerCall)
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
pub(crate) enum Growth {
    /// Each delta is an element of an array.
    Array,
    /// Each delta is a string with a piece of the JSON text of the member.
    Json,
    /// Each delta is a piece of a string.
    Text,
    /// Each delta is the whole string, and replaces the one before it.
    Whole,
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

        /// The members with the values of the deltas.
        #[cfg(feature = "testing")]
        const VALUES: [&str; FIELDS.len()] = [$($value),+];

        /// The members of a block that its kind needs: its type, and those of the fields in order.
        pub(crate) const MEMBERS: [&str; 1 + FIELDS.len()] = ["type", $($member),+];

        impl Field {
            /// Returns the name of the member in the block.
            pub(crate) fn member(self) -> &'static str {
                // The type precedes the members of the fields, which are in order.
                MEMBERS.get(1 + self as usize).unwrap_or(&"encrypted_content")
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

    /// Returns the type of the field's delta as JSON, and the member that contains its value.
    #[cfg(feature = "testing")]
    pub(crate) fn delta(self) -> Option<(&'static str, &'static str)> {
        let i = FIELDS.iter().position(|field| *field == self)?;
        Some((*DELTAS.get(i)?, *VALUES.get(i)?))
    }
}
