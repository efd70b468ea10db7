//! The model of the demonstrations. It interprets the prompt and the results of its calls, as far
//! as two tools need it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::request::Request;
use super::script::{Answer, ScriptedReply};
use crate::json::quoted;
use crate::json::{Kind, Value};
use crate::message::{Block, Message, Role, ToolResultBlock, ToolUse};

const WEATHER: &str = "get_weather";
const SUM: &str = "calculate_sum";

/// Answers one request.
pub(super) fn answer(request: &Request) -> Answer {
    let messages: Vec<Message<'_>> = request.messages().collect();
    let called = messages
        .iter()
        .rposition(|message| message.role() == Some(Role::Assistant))
        .and_then(|at| messages.get(at..));
    if let Some([call, rest @ ..]) = called
        && let Some(answer) = rest.first()
        && answer.tool_results().next().is_some()
    {
        return from_results(*call, *answer).into();
    }
    let prompt = messages
        .iter()
        .rfind(|message| message.role() == Some(Role::User))
        .map(|message| said(*message))
        .unwrap_or_default();
    // The number of previous messages differs from turn to turn, and therefore so do the ids.
    from_prompt(request, &prompt, messages.len()).into()
}

/// Returns all text of a message.
fn said(message: Message<'_>) -> String {
    message.texts().map(|text| text.to_string()).collect::<Vec<_>>().join(" ")
}

fn from_prompt(request: &Request, prompt: &str, turn: usize) -> ScriptedReply {
    let place = if request.has_tool(WEATHER) { place(prompt) } else { None };
    let sum = if request.has_tool(SUM) { sum(prompt) } else { None };
    let text = match (&place, sum) {
        (Some(place), Some((a, b))) => {
            format!("I'll look up the weather in {place} and add {a} and {b} for you.")
        }
        (Some(place), None) => format!("I'll look up the weather in {place}."),
        (None, Some((a, b))) => format!("I'll add {a} and {b}."),
        (None, None) => return ScriptedReply::text(&introduction(request)),
    };
    let mut reply = ScriptedReply::text(&text);
    if let Some(place) = place {
        reply = reply.tool_use(
            &format!("toolu_demo_{turn}_1"),
            WEATHER,
            &format!("{{\"location\":{}}}", quoted(&place)),
        );
    }
    if let Some((a, b)) = sum {
        reply = reply.tool_use(
            &format!("toolu_demo_{turn}_2"),
            SUM,
            &format!("{{\"a\":{a},\"b\":{b}}}"),
        );
    }
    reply
}

fn introduction(request: &Request) -> String {
    let names =
        request.tools().filter_map(|tool| Some(tool.member("name")?.as_text()?.to_string()));
    let tools = match names.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "no tools".to_string(),
        names => format!("these tools: {names}"),
    };
    format!(
        "I am a scripted model: no network, no intelligence. You gave me {tools}. Ask me for the weather in a place, or for a sum like 15 + 27."
    )
}

/// Returns the place after the word "in", if the prompt is about the weather.
fn place(prompt: &str) -> Option<String> {
    if !prompt.to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|word| word == "weather") {
        return None;
    }
    let mut words = prompt.split_whitespace().skip_while(|word| !word.eq_ignore_ascii_case("in"));
    words.next()?;
    let mut place = Vec::new();
    for word in words {
        let name = word.trim_matches(|c: char| !c.is_alphanumeric() && c != ',');
        if !name.starts_with(char::is_uppercase) {
            break;
        }
        place.push(name);
        if word.ends_with(['?', '.', '!', ';', ':']) {
            break;
        }
    }
    (!place.is_empty()).then(|| place.join(" ").trim_end_matches(',').to_string())
}

/// Returns the numbers of the first `N + M`.
fn sum(prompt: &str) -> Option<(i64, i64)> {
    prompt.char_indices().filter(|(_, c)| *c == '+').find_map(|(at, _)| {
        let (before, after) = prompt.split_at_checked(at)?;
        Some((last_number(before)?, first_number(after.strip_prefix('+')?)?))
    })
}

fn first_number(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let sign = text.len() - text.strip_prefix('-').unwrap_or(text).len();
    let digits =
        text.get(sign..)?.find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |end| end + sign);
    text.get(..digits)?.parse().ok()
}

fn last_number(text: &str) -> Option<i64> {
    let text = text.trim_end();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_digit());
    // A minus sign belongs to the number only after a space, after a parenthesis, or at the
    // beginning.
    let sign = digits
        .strip_suffix('-')
        .filter(|before| before.is_empty() || before.ends_with([' ', '(']))
        .unwrap_or(digits);
    text.get(sign.len()..)?.parse().ok()
}

/// Creates a reply that states the results.
fn from_results(call: Message<'_>, answer: Message<'_>) -> ScriptedReply {
    let sentences = answer.tool_results().map(|result| {
        let id = result.tool_use_id().to_string();
        match call.tool_uses().find(|call| call.id() == *id) {
            Some(call) => sentence(call, result),
            None => format!("There is a result for {id}, which I did not ask for."),
        }
    });
    ScriptedReply::text(&sentences.collect::<Vec<_>>().join(" "))
}

fn sentence(call: ToolUse<'_>, result: ToolResultBlock<'_>) -> String {
    let name = call.name().to_string();
    let text: String = result
        .content()
        .filter_map(|block| {
            if let Block::Text(text) = block { Some(text.text().to_string()) } else { None }
        })
        .collect();
    if result.is_error() {
        return format!("The tool {name} failed: {text}");
    }
    let input = |field: &str| call.input().member(field).map(plain).unwrap_or_default();
    match name.as_str() {
        SUM => format!("{} + {} = {text}.", input("a"), input("b")),
        WEATHER => weather(&input("location"), &text),
        _ => format!("The tool {name} says: {text}"),
    }
}

/// Formats a weather report from the usual fields that the result contains.
fn weather(asked: &str, result: &str) -> String {
    let checked = crate::json::check(result.as_bytes()).is_ok();
    let Some(report) =
        Value::first(result.as_bytes()).filter(|value| checked && value.kind() == Kind::Object)
    else {
        return format!("The weather in {asked}: {result}.");
    };
    let field = |name: &str| report.member(name).filter(|value| !value.is_null()).map(plain);
    let place = field("location").unwrap_or_else(|| asked.to_string());
    match (field("condition"), field("temperature")) {
        (Some(condition), Some(temperature)) => {
            format!("The weather in {place}: {condition}, {temperature}.")
        }
        (Some(one), None) | (None, Some(one)) => format!("The weather in {place}: {one}."),
        (None, None) => format!("The weather in {place}: {result}."),
    }
}

/// Returns a value in readable form: a string without its quotes, anything else as JSON.
fn plain(value: Value<'_>) -> String {
    value.as_text().map_or_else(|| value.as_json().to_string(), |text| text.to_string())
}
