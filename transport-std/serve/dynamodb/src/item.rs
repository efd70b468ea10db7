//! The items of the table, and their encoding.
//!
//! | `pk` | `sk` | what |
//! |---|---|---|
//! | `S#id` | `META` | the session's record, and what its last commit added ([`Meta`]) |
//! | `S#id` | `R#life#seq` | the rows of one commit, under the last one's number |
//! | `S#id` | `B#life#name#part` | a part of something that does not fit into one item |
//! | `A#scope#key` | `-` | the answer to a key, or only a claim: which session would have it |
//! | `SERVER#id` | `-` | until when a server is alive |
//! | `COUNT`, `SCHEMA` | `-` | how many sessions there are; the layout's version |
//!
//! `life` is unique to each session, even among sessions with the same id, so that no data of a
//! deleted session can appear in its successor.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use toolrunner_serve::Timestamp;
use toolrunner_serve::store::{IdempotencyRecord, Record, Row, Status, StoreError};
use uuid::Uuid;

pub(crate) type Item = HashMap<String, AttributeValue>;

/// The maximum number of bytes of a part. An item can have at most 400 KB.
pub(crate) const PART: usize = 350_000;

/// Larger values are not stored in `META`, which has room for two values of this size and for small
/// ones.
pub(crate) const INLINE: usize = 120_000;

pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn n(number: u64) -> AttributeValue {
    // DynamoDB's numbers have 38 digits.
    AttributeValue::N(number.to_string())
}

pub(crate) fn b(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

pub(crate) fn key(pk: &str, sk: &str) -> Item {
    [("pk".into(), s(pk)), ("sk".into(), s(sk))].into()
}

pub(crate) fn session_key(id: Uuid) -> String {
    format!("S#{id}")
}

/// Returns the key of an answer. Lengths separate scope and key, whatever they contain.
pub(crate) fn answer_key(scope: &str, key: &str) -> String {
    format!("A#{}#{scope}#{key}", scope.len())
}

pub(crate) fn part_key(life: Uuid, name: &str, part: usize) -> String {
    format!("B#{}#{name}#{part:06}", life.simple())
}

pub(crate) fn row_key(life: Uuid, seq: u64) -> String {
    format!("R#{}#{seq:020}", life.simple())
}

fn unreadable(name: &str) -> StoreError {
    StoreError::new(format!("an item of the DynamoDB table has no readable attribute {name:?}"))
}

pub(crate) fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub(crate) fn number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

pub(crate) fn blob(item: &Item, name: &str) -> Option<Bytes> {
    item.get(name)?.as_b().ok().map(|blob| Bytes::copy_from_slice(blob.as_ref()))
}

pub(crate) fn uuid(item: &Item, name: &str) -> Option<Uuid> {
    text(item, name)?.parse().ok()
}

/// Bytes in `META`, or in separate parts whose `name` is that of [`part_key`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Here(Bytes),
    Parts { name: String, count: usize },
}

impl Place {
    pub(crate) fn of(bytes: &Bytes, name: impl FnOnce() -> String) -> Self {
        if bytes.len() <= INLINE {
            Self::Here(bytes.clone())
        } else {
            Self::Parts { name: name(), count: bytes.len().div_ceil(PART) }
        }
    }

    /// Writes `attribute` for bytes in the item, or `attribute` with the suffixes `_at` and
    /// `_parts`.
    pub(crate) fn write(&self, attribute: &str, into: &mut Item) {
        match self {
            Self::Here(bytes) => {
                into.insert(attribute.into(), b(bytes));
            }
            Self::Parts { name, count } => {
                into.insert(format!("{attribute}_at"), s(name));
                into.insert(format!("{attribute}_parts"), n(*count as u64));
            }
        }
    }

    pub(crate) fn read(attribute: &str, item: &Item) -> Option<Self> {
        if let Some(bytes) = blob(item, attribute) {
            return Some(Self::Here(bytes));
        }
        let name = text(item, &format!("{attribute}_at"))?.to_owned();
        Some(Self::Parts {
            name,
            count: usize::try_from(number(item, &format!("{attribute}_parts"))?).ok()?,
        })
    }
}

/// The item `META`: the record, and the rows and the answer of the last commit. The next commit
/// copies them to separate items before it replaces them.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    pub(crate) life: Uuid,
    /// The record without its document.
    pub(crate) record: Record,
    pub(crate) document: Place,
    /// The encoded rows of the last commit. The last row is the head.
    pub(crate) tail: Option<Place>,
    pub(crate) answer: Option<IdempotencyRecord>,
    /// The number of parts of the base; `None` without a base.
    pub(crate) base: Option<usize>,
}

impl Meta {
    /// Reads the item. Returns `None` for a session that is being removed.
    pub(crate) fn read(id: Uuid, item: &Item) -> Result<Option<Self>, StoreError> {
        if item.contains_key("gone") {
            return Ok(None);
        }
        let number_of = |name| number(item, name).ok_or_else(|| unreadable(name));
        let metadata = text(item, "metadata").and_then(|json| serde_json::from_str(json).ok());
        let record = Record {
            id,
            owner: text(item, "owner").ok_or_else(|| unreadable("owner"))?.to_owned(),
            metadata: metadata.ok_or_else(|| unreadable("metadata"))?,
            created: Timestamp(number_of("created")?),
            updated: Timestamp(number_of("updated")?),
            expires: number(item, "expires").map(Timestamp),
            version: number_of("version")?,
            head: number_of("head")?,
            status: text(item, "status")
                .and_then(Status::from_name)
                .ok_or_else(|| unreadable("status"))?,
            messages: number_of("messages")?,
            holder: uuid(item, "holder"),
            fence: number_of("fence")?,
            token: uuid(item, "token").ok_or_else(|| unreadable("token"))?,
            document: Bytes::new(),
        };
        let answer = item.get("answer").and_then(|answer| answer.as_m().ok()).and_then(read_answer);
        Ok(Some(Self {
            life: uuid(item, "life").ok_or_else(|| unreadable("life"))?,
            record,
            document: Place::read("document", item).ok_or_else(|| unreadable("document"))?,
            tail: Place::read("tail", item),
            answer,
            base: number(item, "base_parts").and_then(|count| usize::try_from(count).ok()),
        }))
    }
}

pub(crate) fn write_metadata(metadata: &BTreeMap<String, String>) -> String {
    serde_json::Value::from_iter(metadata.clone()).to_string()
}

pub(crate) fn write_answer(one: &IdempotencyRecord) -> Item {
    [
        ("scope".into(), s(&one.scope)),
        ("key".into(), s(&one.key)),
        ("fingerprint".into(), b(&one.fingerprint)),
        ("answer".into(), b(&one.answer)),
        ("expires".into(), n(one.expires.0)),
    ]
    .into()
}

pub(crate) fn read_answer(item: &Item) -> Option<IdempotencyRecord> {
    Some(IdempotencyRecord {
        scope: text(item, "scope")?.to_owned(),
        key: text(item, "key")?.to_owned(),
        fingerprint: blob(item, "fingerprint")?,
        answer: blob(item, "answer")?,
        expires: Timestamp(number(item, "expires")?),
    })
}

/// Encodes rows. Each row is its number, the length and the bytes of the event, and the patch's
/// length plus one, or 0 without a patch.
pub(crate) fn write_rows(rows: &[Row]) -> Bytes {
    let mut bytes = BytesMut::new();
    for row in rows {
        bytes.put_u64(row.seq);
        bytes.put_u64(row.event.len() as u64);
        bytes.put(&row.event[..]);
        bytes.put_u64(row.patch.as_ref().map_or(0, |patch| patch.len() as u64 + 1));
        bytes.put(row.patch.as_deref().unwrap_or_default());
    }
    bytes.freeze()
}

pub(crate) fn read_rows(mut bytes: Bytes) -> Result<Vec<Row>, StoreError> {
    let take = |bytes: &mut Bytes, length: u64| {
        let length = usize::try_from(length).ok().filter(|length| *length <= bytes.len());
        length.map(|length| bytes.split_to(length)).ok_or_else(|| unreadable("rows"))
    };
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let short = |_| unreadable("rows");
        let seq = bytes.try_get_u64().map_err(short)?;
        let length = bytes.try_get_u64().map_err(short)?;
        let event = take(&mut bytes, length)?;
        let patch = match bytes.try_get_u64().map_err(short)? {
            0 => None,
            more => Some(take(&mut bytes, more - 1)?),
        };
        rows.push(Row { seq, event, patch });
    }
    Ok(rows)
}
