//! Reads and checks requests. Errors have pydantic's form.

use core::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::BytesMut;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use toolrunner_std::run::TraceParent;

use super::error::{ApiError, Invalid};
use crate::chat::{ChatMessage, ChatRole, Function, SentMessage, ToolCall, raw};
use crate::engine::{Message, Webhook};

/// The maximum number of bytes of a request body.
pub(crate) const MOST_BYTES: usize = 16 << 20;

/// How much of a larger body is read before the connection is closed.
const DISCARD_BYTES: usize = 64 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(10);

/// Reads the whole body.
pub(crate) async fn bytes_of(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let too_large =
        || ApiError::plain(StatusCode::PAYLOAD_TOO_LARGE, "Request body is larger than 16 MiB");
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let mut frames = body.into_data_stream();
    if length.is_some_and(|length| length > MOST_BYTES) {
        discard(frames);
        return Err(too_large());
    }
    let mut bytes = BytesMut::with_capacity(length.unwrap_or(0));
    while let Some(frame) = frames.next().await {
        // The client has disconnected, so nobody reads this answer.
        let Ok(frame) = frame else {
            return Err(ApiError::plain(StatusCode::BAD_REQUEST, "Request body is incomplete"));
        };
        if bytes.len() + frame.len() > MOST_BYTES {
            discard(frames);
            return Err(too_large());
        }
        bytes.extend_from_slice(&frame);
    }
    Ok(bytes.freeze())
}

/// Reads and drops the rest of a body that is too large, up to a limit. Many clients read the
/// answer only after they have sent the whole body, and lose it if the server closes the connection
/// first.
fn discard(mut frames: BodyDataStream) {
    tokio::spawn(tokio::time::timeout(DISCARD_TIME, async move {
        let mut rest = DISCARD_BYTES;
        while let Some(Ok(frame)) = frames.next().await
            && frame.len() <= rest
        {
            rest -= frame.len();
        }
    }));
}

/// Parses JSON. Returns `None` for an empty body.
pub(crate) fn json_of(bytes: &[u8]) -> Result<Option<Value>, ApiError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(bytes).map(Some).map_err(|error| {
        ApiError::one(Invalid::new(
            "json_invalid",
            &[json!("body"), json!(error.column())],
            format!("JSON decode error: {error}"),
        ))
    })
}

/// Collects validation errors.
struct Check {
    errors: Vec<Invalid>,
}

impl Check {
    fn fail(&mut self, kind: &'static str, loc: &[Value], msg: &str) {
        self.errors.push(Invalid::new(kind, loc, msg));
    }

    fn object(&mut self, value: Value, loc: &[Value]) -> Option<Map<String, Value>> {
        match value {
            Value::Object(object) => Some(object),
            _ => {
                self.fail(
                    "model_attributes_type",
                    loc,
                    "Input should be a valid dictionary or object to extract fields from",
                );
                None
            }
        }
    }

    fn list(&mut self, value: Value, loc: &[Value]) -> Option<Vec<Value>> {
        match value {
            Value::Array(list) => Some(list),
            _ => {
                self.fail("list_type", loc, "Input should be a valid list");
                None
            }
        }
    }

    /// Returns the member with this name, if it exists and is not null.
    fn string(
        &mut self,
        object: &mut Map<String, Value>,
        loc: &[Value],
        name: &str,
    ) -> Option<String> {
        match object.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.fail("string_type", &at(loc, name), "Input should be a valid string");
                None
            }
        }
    }

    fn required(
        &mut self,
        object: &mut Map<String, Value>,
        loc: &[Value],
        name: &str,
    ) -> Option<String> {
        if !object.contains_key(name) {
            self.fail("missing", &at(loc, name), "Field required");
            return None;
        }
        if object.get(name).is_some_and(Value::is_null) {
            self.fail("string_type", &at(loc, name), "Input should be a valid string");
            return None;
        }
        self.string(object, loc, name)
    }

    fn role(
        &mut self,
        object: &mut Map<String, Value>,
        loc: &[Value],
        default: Option<ChatRole>,
    ) -> ChatRole {
        let role = match (object.remove("role"), default) {
            (None, Some(default)) => return default,
            (None, None) => {
                self.fail("missing", &at(loc, "role"), "Field required");
                return ChatRole::User;
            }
            (Some(role), _) => role,
        };
        role.as_str().and_then(ChatRole::from_name).unwrap_or_else(|| {
            self.fail(
                "literal_error",
                &at(loc, "role"),
                "Input should be 'system', 'user', 'assistant' or 'tool'",
            );
            ChatRole::User
        })
    }

    fn chat_message(&mut self, value: Value, loc: &[Value]) -> Option<ChatMessage> {
        let mut object = self.object(value, loc)?;
        let role = self.role(&mut object, loc, None);
        let content = self.string(&mut object, loc, "content");
        let reasoning = self.string(&mut object, loc, "reasoning");
        let details = object.remove("reasoning_details").filter(|value| !value.is_null());
        let reasoning_details =
            details.and_then(|value| self.list(value, &at(loc, "reasoning_details")));
        let calls = object.remove("tool_calls").filter(|value| !value.is_null());
        let tool_calls = calls.and_then(|value| {
            let loc = at(loc, "tool_calls");
            let list = self.list(value, &loc)?;
            let calls = list
                .into_iter()
                .enumerate()
                .filter_map(|(i, call)| self.tool_call(call, &at_index(&loc, i)));
            Some(calls.collect())
        });
        let tool_call_id = self.string(&mut object, loc, "tool_call_id");
        let name = self.string(&mut object, loc, "name");
        let base64_image = self.string(&mut object, loc, "base64_image");
        let user_params = match object.remove("user_params") {
            None | Some(Value::Null) => None,
            Some(Value::Object(params)) => Some(params),
            Some(_) => {
                self.fail(
                    "dict_type",
                    &at(loc, "user_params"),
                    "Input should be a valid dictionary",
                );
                None
            }
        };
        Some(ChatMessage {
            role,
            content,
            reasoning,
            reasoning_details,
            tool_calls,
            tool_call_id,
            name,
            base64_image,
            user_params,
        })
    }

    fn tool_call(&mut self, value: Value, loc: &[Value]) -> Option<ToolCall> {
        let mut object = self.object(value, loc)?;
        let id = self.required(&mut object, loc, "id");
        let kind = self.string(&mut object, loc, "type").unwrap_or_else(|| "function".to_owned());
        let Some(function) = object.remove("function") else {
            self.fail("missing", &at(loc, "function"), "Field required");
            return None;
        };
        let loc = at(loc, "function");
        let mut function = self.object(function, &loc)?;
        let name = self.required(&mut function, &loc, "name");
        let arguments = self.required(&mut function, &loc, "arguments");
        Some(ToolCall { id: id?, kind, function: Function { name: name?, arguments: arguments? } })
    }

    /// Reads a content: a string, or blocks that a user may send.
    fn content(&mut self, value: Option<Value>, loc: &[Value]) -> Box<RawValue> {
        match value {
            None => self.fail("missing", loc, "Field required"),
            Some(Value::String(text)) if text.trim().is_empty() => {
                self.fail("string_too_short", loc, "A message must not be only white space");
            }
            Some(Value::String(text)) => return raw(&text),
            Some(Value::Array(blocks)) => {
                if blocks.is_empty() {
                    self.fail("too_short", loc, "List should have at least 1 item");
                }
                for (i, block) in blocks.iter().enumerate() {
                    self.block(block, &at_index(loc, i));
                }
                return raw(&blocks);
            }
            Some(_) => self.fail(
                "string_type",
                loc,
                "Input should be a valid string or a list of content blocks",
            ),
        }
        Box::default()
    }

    fn block(&mut self, block: &Value, loc: &[Value]) {
        if !block.is_object() {
            return self.fail(
                "model_attributes_type",
                loc,
                "Input should be a valid dictionary or object to extract fields from",
            );
        }
        let needs = match block.get("type").and_then(Value::as_str) {
            Some("text") => "text",
            Some("image" | "document") => "source",
            Some("search_result") => "content",
            Some(_) => {
                let kinds = "Input should be 'text', 'image', 'document' or 'search_result'";
                return self.fail("literal_error", &at(loc, "type"), kinds);
            }
            None => return self.fail("missing", &at(loc, "type"), "Field required"),
        };
        match (needs, block.get(needs)) {
            (_, None) => self.fail("missing", &at(loc, needs), "Field required"),
            ("text", Some(Value::String(text))) if text.trim().is_empty() => {
                self.fail(
                    "string_too_short",
                    &at(loc, needs),
                    "A text must not be only white space",
                );
            }
            ("text", Some(Value::String(_)))
            | ("source", Some(Value::Object(_)))
            | ("content", Some(Value::Array(_))) => {}
            ("text", Some(_)) => {
                self.fail("string_type", &at(loc, needs), "Input should be a valid string")
            }
            ("source", Some(_)) => {
                self.fail("dict_type", &at(loc, needs), "Input should be a valid dictionary")
            }
            _ => self.fail("list_type", &at(loc, needs), "Input should be a valid list"),
        }
    }

    fn webhook(
        &mut self,
        value: Option<Value>,
        loc: &[Value],
        allow_private: bool,
    ) -> Option<Webhook> {
        let mut object = self.object(value.filter(|value| !value.is_null())?, loc)?;
        let url = self.required(&mut object, loc, "url");
        if let Some(Err(text)) =
            url.as_deref().map(|url| crate::server::check_url(url, allow_private))
        {
            self.fail("url_parsing", &at(loc, "url"), text);
        }
        let token = self.string(&mut object, loc, "token");
        if token.as_deref().is_some_and(|token| HeaderValue::from_str(token).is_err()) {
            self.fail(
                "value_error",
                &at(loc, "token"),
                "A token must consist of printable ASCII characters",
            );
        }
        let secret = self.string(&mut object, loc, "secret");
        if secret.as_deref().is_some_and(|secret| crate::server::key_of(secret).is_none()) {
            self.fail(
                "value_error",
                &at(loc, "secret"),
                "A secret must be `whsec_` followed by base64",
            );
        }
        let include_messages = match object.remove("include_messages") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(include)) => include,
            Some(_) => {
                self.fail(
                    "bool_type",
                    &at(loc, "include_messages"),
                    "Input should be a valid boolean",
                );
                false
            }
        };
        Some(Webhook { url: url?, token, secret, include_messages })
    }

    fn done<T>(self, value: T) -> Result<T, ApiError> {
        if self.errors.is_empty() { Ok(value) } else { Err(ApiError::Invalid(self.errors)) }
    }
}

fn at(loc: &[Value], name: &str) -> Vec<Value> {
    [loc, &[json!(name)]].concat()
}

fn at_index(loc: &[Value], i: usize) -> Vec<Value> {
    [loc, &[json!(i)]].concat()
}

/// The input that creates a session.
#[derive(Debug, Default)]
pub(crate) struct NewSession {
    pub(crate) state: Vec<ChatMessage>,
    pub(crate) metadata: std::collections::BTreeMap<String, String>,
}

/// The maximum number of metadata entries, and of bytes of a key and of a value.
const METADATA: (usize, usize, usize) = (32, 64, 512);

pub(crate) fn new_session(body: &[u8]) -> Result<NewSession, ApiError> {
    let (mut check, loc) = (Check { errors: Vec::new() }, [json!("body")]);
    let mut new = NewSession::default();
    let object =
        json_of(body)?.filter(|value| !value.is_null()).and_then(|value| check.object(value, &loc));
    let Some(mut object) = object else { return check.done(new) };
    if let Some(state) = object.remove("state").filter(|value| !value.is_null()) {
        let loc = at(&loc, "state");
        for (i, message) in check.list(state, &loc).into_iter().flatten().enumerate() {
            new.state.extend(check.chat_message(message, &at_index(&loc, i)));
        }
    }
    if let Some(metadata) = object.remove("metadata").filter(|value| !value.is_null()) {
        let loc = at(&loc, "metadata");
        let (most, key_bytes, value_bytes) = METADATA;
        let object = check.object(metadata, &loc).unwrap_or_default();
        if object.len() > most {
            check.fail("too_long", &loc, "Metadata must have at most 32 entries");
        }
        for (key, value) in object {
            let loc = at(&loc, &key);
            match value {
                Value::String(value) if key.len() <= key_bytes && value.len() <= value_bytes => {
                    new.metadata.insert(key, value);
                }
                Value::String(_) => check.fail(
                    "string_too_long",
                    &loc,
                    "A key must have at most 64 bytes, and a value at most 512",
                ),
                _ => check.fail("string_type", &loc, "Input should be a valid string"),
            }
        }
    }
    check.done(new)
}

pub(crate) fn message(
    body: &[u8],
    allow_private: bool,
    trace_parent: Option<TraceParent>,
) -> Result<Message, ApiError> {
    let (mut check, loc) = (Check { errors: Vec::new() }, [json!("body")]);
    let Some(value) = json_of(body)? else { return Err(missing(&loc)) };
    let Some(mut object) = check.object(value, &loc) else {
        return Err(ApiError::Invalid(check.errors));
    };
    let role = check.role(&mut object, &loc, Some(ChatRole::User));
    let content = check
        .content(object.remove("content").filter(|value| !value.is_null()), &at(&loc, "content"));
    let base64_image = check.string(&mut object, &loc, "base64_image");
    let webhook = check.webhook(object.remove("webhook"), &at(&loc, "webhook"), allow_private);
    check.done(Message { sent: SentMessage { role, content, base64_image }, webhook, trace_parent })
}

pub(crate) fn answer(body: &[u8]) -> Result<crate::engine::Answer, ApiError> {
    #[derive(Deserialize)]
    struct Value<'a> {
        #[serde(borrow)]
        value: &'a RawValue,
    }
    let (mut check, loc) = (Check { errors: Vec::new() }, [json!("body")]);
    let Some(value) = json_of(body)? else { return Err(missing(&loc)) };
    let Some(mut object) = check.object(value, &loc) else {
        return Err(ApiError::Invalid(check.errors));
    };
    let interrupt_id = check.required(&mut object, &loc, "interrupt_id").unwrap_or_default();
    if !object.contains_key("value") {
        check.fail("missing", &at(&loc, "value"), "Field required");
    }
    // The original text is kept, because an answer may contain numbers that would be rounded. It is
    // ambiguous if the member is repeated.
    let value = serde_json::from_slice::<Value<'_>>(body)
        .map(|value| value.value.to_owned())
        .unwrap_or_else(|_| raw(&object.remove("value")));
    check.done(crate::engine::Answer { interrupt_id, value })
}

fn missing(loc: &[Value]) -> ApiError {
    ApiError::one(Invalid::new("missing", loc, "Field required"))
}

/// The query parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(pub(crate) Vec<(String, String)>);

impl Parameters {
    pub(crate) fn of(query: Option<&str>) -> Self {
        Self(
            url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
                .into_owned()
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn bool(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("0" | "off" | "f" | "false" | "n" | "no") => Ok(false),
            Some("1" | "on" | "t" | "true" | "y" | "yes") => Ok(true),
            Some(_) => {
                let text = "Input should be a valid boolean, unable to interpret input";
                Err(ApiError::one(Invalid::query("bool_parsing", name, text)))
            }
        }
    }

    /// Reads a time in seconds, from 0 to one day.
    pub(crate) fn seconds(&self, name: &str) -> Result<Option<Duration>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let seconds: f64 =
            text.trim().parse().ok().filter(|number: &f64| !number.is_nan()).ok_or_else(|| {
                let text = "Input should be a valid number, unable to parse string as a number";
                ApiError::one(Invalid::query("float_parsing", name, text))
            })?;
        Ok(Some(Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0))))
    }

    pub(crate) fn integer(
        &self,
        name: &str,
        default: u64,
        least: u64,
        most: u64,
    ) -> Result<u64, ApiError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let Ok(number) = text.trim().parse::<i128>() else {
            let text = "Input should be a valid integer, unable to parse string as an integer";
            return Err(ApiError::one(Invalid::query("int_parsing", name, text)));
        };
        if number < i128::from(least) {
            let text = format!("Input should be greater than or equal to {least}");
            return Err(ApiError::one(Invalid::query("greater_than_equal", name, text)));
        }
        if number > i128::from(most) {
            return Err(ApiError::one(Invalid::query(
                "less_than_equal",
                name,
                format!("Input should be less than or equal to {most}"),
            )));
        }
        Ok(u64::try_from(number).unwrap_or(most))
    }
}

/// Returns the `traceparent` header, if there is exactly one and it is valid.
pub(crate) fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut all = headers.get_all("traceparent").iter();
    let header = all.next().filter(|_| all.next().is_none())?;
    header.to_str().ok()?.trim().parse().ok()
}

/// Returns the entity tag of a version.
pub(crate) fn tag(version: u64) -> HeaderValue {
    // Quotes and digits are always valid in a header.
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The entity tags of a conditional request.
pub(crate) struct Tags(Vec<String>);

impl Tags {
    /// Reads a header, which may be repeated. Returns `None` without the header. A value that is
    /// not text names no version.
    pub(crate) fn of(headers: &HeaderMap, name: &str) -> Option<Self> {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let tags = values.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned());
        headers.contains_key(name).then(|| Self(tags.collect()))
    }

    /// Returns whether a strong tag names the version.
    pub(crate) fn name(&self, version: u64) -> bool {
        let tag = tag(version);
        self.0.iter().any(|named| named == "*" || tag == named)
    }

    /// Returns whether a tag, strong or weak, names the version.
    pub(crate) fn name_weakly(&self, version: u64) -> bool {
        let tag = tag(version);
        let strong = |named: &String| tag == *named.strip_prefix("W/").unwrap_or(named);
        self.0.iter().any(|named| named == "*" || strong(named))
    }
}

/// Returns whether the client accepts a stream of events.
pub(crate) fn wants_events(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    accepts.flat_map(|accept| accept.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_stream =
            parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"));
        // A weight of 0 means that the client does not accept the type.
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse::<f32>().ok());
        is_stream && weight != Some(0.0)
    })
}
