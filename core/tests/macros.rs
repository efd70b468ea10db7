//! `#[tool]`, `#[toolbox]` and `derive(ToolInput)`: definitions, checked inputs, results, texts.
#![cfg(all(feature = "macros", feature = "alloc", feature = "serde-json"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    dead_code,
    reason = "tests"
)]

use std::cell::Cell;
use std::collections::BTreeMap;
use toolrunner_core::__private::check_tools;

use toolrunner_core::__private::{SchemaDefault, with_default};
use toolrunner_core::error::Misuse;
use toolrunner_core::json::{Text, Value};
use toolrunner_core::schema::{InputError, Property, Schema};
use toolrunner_core::tool::{
    ContentBlock, DeclaredTool, Decoder, Output, RawTool, ToolCall, ToolError, Toolbox,
};
use toolrunner_core::{ToolInput, tool, toolbox};

/// Polls a future that never waits.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("the tool waits"),
    }
}

/// Checks the tools, and each definition without relying on how it was made.
fn check_all(tools: &impl Toolbox) {
    check_tools(tools).unwrap();
    for i in 0..tools.count() {
        check_tools(&DeclaredTool::new(tools.definition(i).unwrap().json.to_owned()).unwrap())
            .unwrap();
    }
}

/// Calls the tool of this name. Returns its `content`, and whether it is an error.
fn call(tools: &impl Toolbox, name: &str, input: &str) -> (String, bool) {
    let mut memory = Vec::new();
    let mut out = Output::growing(&mut memory);
    let mut scratch = vec![0; input.len()];
    let call = ToolCall::new(
        Text::from_raw("toolu_1"),
        Text::from_raw(name),
        Value::first(input.as_bytes()).unwrap(),
        &mut scratch,
    );
    let i = tools.find(Text::from_raw(name)).unwrap();
    let failed = ready(tools.call(i, call, &mut out))
        .map_err(|error| error.write_to(&mut out).unwrap())
        .is_err();
    let content = String::from_utf8(out.finish().unwrap().to_vec()).unwrap();
    (content, failed)
}

fn ok(tools: &impl Toolbox, name: &str, input: &str) -> String {
    let (content, failed) = call(tools, name, input);
    assert!(!failed, "{content}");
    content
}

/// Returns the text of the error, unescaped.
fn error(tools: &impl Toolbox, name: &str, input: &str) -> String {
    let (content, failed) = call(tools, name, input);
    assert!(failed, "{content}");
    serde_json::from_str(&content).unwrap()
}

fn schema(tools: &impl Toolbox, i: usize) -> String {
    let json = tools.definition(i).unwrap().json;
    Value::first(json.as_bytes()).unwrap().member("input_schema").unwrap().as_json().to_owned()
}

/// Get the current weather in a given location.
#[tool]
async fn get_weather(
    /// The city and state, e.g. San Francisco, CA
    location: &str,
    /// Temperature unit, either 'celsius' or 'fahrenheit'
    #[tool(default = "fahrenheit")]
    unit: &str,
) -> String {
    format!("{location}: 20 {unit}")
}

/// Add two numbers together.
#[tool]
fn calculate_sum(
    /// First number
    a: i64,
    /// Second number
    b: i64,
) -> i64 {
    a + b
}

#[test]
fn the_seeds_tools_have_the_seeds_schemas() {
    let tools = (get_weather, calculate_sum);
    check_all(&tools);
    assert_eq!(
        tools.definition(1).unwrap().json,
        r#"{"name":"calculate_sum","description":"Add two numbers together.","input_schema":{"type":"object","properties":{"a":{"type":"integer","description":"First number"},"b":{"type":"integer","description":"Second number"}},"required":["a","b"],"additionalProperties":false}}"#
    );
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(
        json(tools.definition(0).unwrap().json),
        json(
            r#"{"name":"get_weather","description":"Get the current weather in a given location.","input_schema":{"additionalProperties":false,
            "properties":{"location":{"description":"The city and state, e.g. San Francisco, CA","type":"string"},
            "unit":{"default":"fahrenheit","description":"Temperature unit, either 'celsius' or 'fahrenheit'","type":"string"}},
            "required":["location"],"type":"object"}}"#
        )
    );
}

#[test]
fn calls_with_defaults_escapes_and_whole_numbers() {
    let tools = (get_weather, calculate_sum);
    assert_eq!(ok(&tools, "get_weather", r#"{"location":"Paris"}"#), r#""Paris: 20 fahrenheit""#);
    assert_eq!(
        ok(&tools, "get_weather", r#"{"location":"\u00c5\ud83d\ude00","unit":"\"K\""}"#),
        r#""Å😀: 20 \"K\"""#
    );
    assert_eq!(ok(&tools, "calculate_sum", r#"{"a":5.0,"b":1e2}"#), r#""105""#);
    assert_eq!(ready(get_weather().run("Rome", "celsius")), "Rome: 20 celsius");
    assert_eq!(calculate_sum().run(15, 27), 42);
}

/// A check remembers which members it has seen, as far as there are bits for them.
#[test]
fn repeated_members_are_found_among_any_number() {
    let properties: Vec<Property> = (0..140)
        .map(|i| Property::optional(Box::leak(format!("p{i}").into_boxed_str()), Schema::INTEGER))
        .collect();
    let schema = Schema::object(properties.leak());
    let members: Vec<String> = (0..140).map(|i| format!("\"p{i}\":{i}")).collect();
    let object = |members: &[String]| format!("{{{}}}", members.join(","));
    let check = |text: &str| {
        let value = Value::first(text.as_bytes()).unwrap();
        schema.check(value).map_err(|error| error.explain(value).to_string())
    };
    assert_eq!(check(&object(&members)), Ok(()));
    for repeated in [0, 1, 31, 32, 63, 64, 65, 139] {
        let mut members = members.clone();
        members.push(format!("\"p{repeated}\":0"));
        let error = format!("p{repeated}: expected one member of this name, got 0");
        assert_eq!(check(&object(&members)), Err(error.clone()));
        members.rotate_right(1);
        let error = error.replace("got 0", &format!("got {repeated}"));
        assert_eq!(check(&object(&members)), Err(error));
    }
}

#[test]
fn bad_inputs_are_told_exactly() {
    let tools = (get_weather, calculate_sum);
    for (name, input, text) in [
        ("get_weather", "{}", "location: expected string, got nothing"),
        ("get_weather", r#"{"location":5}"#, "location: expected string, got 5"),
        (
            "get_weather",
            r#"{"location":"a","city":1}"#,
            "city: expected only the members \"location\", \"unit\", got an unknown member",
        ),
        ("get_weather", r#"{"location":"a","unit":null}"#, "unit: expected string, got null"),
        (
            "get_weather",
            r#"{"location":"a","location":"b"}"#,
            "location: expected one member of this name, got \"b\"",
        ),
        ("get_weather", "[1]", "input: expected object, got array"),
        ("calculate_sum", r#"{"a":1.5,"b":2}"#, "a: expected integer, got 1.5"),
        (
            "calculate_sum",
            r#"{"a":9223372036854775808,"b":2}"#,
            "a: expected integer from -9223372036854775808 to 9223372036854775807, got 9223372036854775808",
        ),
    ] {
        assert_eq!(
            error(&tools, name, input),
            format!("Error: invalid input for tool '{name}': {text}")
        );
    }
}

/// Where to look.
#[derive(ToolInput, Debug, PartialEq)]
struct Area {
    /// Degrees north.
    #[tool(min = -90, max = 90)]
    lat: f64,
    #[tool(min = -180, max = 180.0)]
    lon: f64,
}

#[derive(ToolInput, Debug, PartialEq, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    CoffeeShop,
    Museum,
    #[serde(rename = "parks!")]
    Park,
}

#[derive(ToolInput, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Shape {
    /// Round.
    Circle {
        radius: u8,
    },
    Rect(Rect),
    Everywhere,
}

#[derive(ToolInput, Debug, PartialEq)]
struct Rect {
    w: i32,
    h: i32,
}

#[derive(ToolInput, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
enum Sort {
    None,
    ByName(bool),
    #[serde(rename_all = "camelCase")]
    ByDistance {
        up_to: f32,
    },
}

#[derive(ToolInput, Debug, PartialEq)]
#[serde(tag = "t", content = "c")]
enum Pair {
    A(Vec<i64>),
    B { x: bool },
    C,
}

#[derive(ToolInput, Debug)]
#[serde(rename_all = "camelCase")]
struct Query<'a> {
    #[tool(min_len = 2, max_len = 5)]
    search_text: &'a str,
    area: Option<Area>,
    #[tool(default = Kind::Museum)]
    kind: Kind,
    #[tool(min_items = 1, max_items = 2)]
    tags: Vec<&'a str>,
    #[serde(default)]
    counts: BTreeMap<String, u8>,
    #[serde(skip)]
    cache: u32,
    shape: Option<Shape>,
    sort: Option<Sort>,
    pair: Option<Pair>,
    pixel: Option<[u8; 3]>,
    raw: Option<Value<'a>>,
}

/// Search for places.
#[tool(
    name = "search-places",
    defer_loading,
    raw = r#""cache_control":{"type":"ephemeral"}"#,
    serial,
    timeout_ms = 500
)]
fn search(query: Query<'_>) -> String {
    format!("{query:?}")
}

#[test]
fn nested_types() {
    let definition = search.definition(0).unwrap();
    assert_eq!(definition.name, "search-places");
    assert!(definition.serial == Some("") && !definition.blocking && definition.runnable);
    assert_eq!(definition.timeout, Some(std::time::Duration::from_millis(500)));
    assert!(
        definition.json.ends_with(r#","defer_loading":true,"cache_control":{"type":"ephemeral"}}"#)
    );
    assert_eq!(
        schema(&search, 0),
        concat!(
            r#"{"type":"object","properties":{"query":{"type":"object","properties":{"#,
            r#""searchText":{"type":"string","minLength":2,"maxLength":5},"#,
            r#""area":{"type":["object","null"],"description":"Where to look.","properties":{"lat":{"type":"number","description":"Degrees north.","minimum":-90,"maximum":90},"lon":{"type":"number","minimum":-180,"maximum":180.0}},"required":["lat","lon"],"additionalProperties":false},"#,
            r#""kind":{"type":"string","enum":["coffee-shop","museum","parks!"],"default":"museum"},"#,
            r#""tags":{"type":"array","minItems":1,"maxItems":2,"items":{"type":"string"}},"#,
            r#""counts":{"type":"object","additionalProperties":{"type":"integer","minimum":0}},"#,
            r#""shape":{"anyOf":[{"type":"object","description":"Round.","properties":{"type":{"type":"string","enum":["circle"]},"radius":{"type":"integer","minimum":0}},"required":["type","radius"],"additionalProperties":false},"#,
            r#"{"type":"object","properties":{"type":{"type":"string","enum":["rect"]},"w":{"type":"integer"},"h":{"type":"integer"}},"required":["type","w","h"],"additionalProperties":false},"#,
            r#"{"type":"object","properties":{"type":{"type":"string","enum":["everywhere"]}},"required":["type"],"additionalProperties":false},{"type":"null"}]},"#,
            r#""sort":{"anyOf":[{"type":"string","enum":["none"]},{"type":"object","properties":{"byName":{"type":"boolean"}},"required":["byName"],"additionalProperties":false},"#,
            r#"{"type":"object","properties":{"byDistance":{"type":"object","properties":{"upTo":{"type":"number"}},"required":["upTo"],"additionalProperties":false}},"required":["byDistance"],"additionalProperties":false},{"type":"null"}]},"#,
            r#""pair":{"anyOf":[{"type":"object","properties":{"t":{"type":"string","enum":["A"]},"c":{"type":"array","items":{"type":"integer"}}},"required":["t","c"],"additionalProperties":false},"#,
            r#"{"type":"object","properties":{"t":{"type":"string","enum":["B"]},"c":{"type":"object","properties":{"x":{"type":"boolean"}},"required":["x"],"additionalProperties":false}},"required":["t","c"],"additionalProperties":false},"#,
            r#"{"type":"object","properties":{"t":{"type":"string","enum":["C"]}},"required":["t"],"additionalProperties":false},{"type":"null"}]},"#,
            r#""pixel":{"type":["array","null"],"minItems":3,"maxItems":3,"items":{"type":"integer","minimum":0}},"raw":{}},"#,
            r#""required":["searchText","tags"],"additionalProperties":false}},"required":["query"],"additionalProperties":false}"#
        )
    );
    check_tools(&search).unwrap();
}

#[test]
fn nested_inputs() {
    let query =
        |members: &str| format!(r#"{{"query":{{"searchText":"abc","tags":["x"]{members}}}}}"#);
    let text: String = serde_json::from_str(&ok(&search, "search-places", &query(""))).unwrap();
    assert_eq!(
        text,
        "Query { search_text: \"abc\", area: None, kind: Museum, tags: [\"x\"], counts: {}, cache: 0, shape: None, sort: None, pair: None, pixel: None, raw: None }"
    );
    for (members, shown) in [
        (r#","area":{"lat":1,"lon":-2.5e1}"#, "area: Some(Area { lat: 1.0, lon: -25.0 })"),
        (r#","area":null"#, "area: None"),
        (r#","kind":"parks!""#, "kind: Park"),
        (r#","counts":{"a":1,"b\n":2}"#, r#"counts: {"a": 1, "b\n": 2}"#),
        (r#","shape":{"type":"circle","radius":7}"#, "shape: Some(Circle { radius: 7 })"),
        (r#","shape":{"h":2,"type":"rect","w":1}"#, "shape: Some(Rect(Rect { w: 1, h: 2 }))"),
        (r#","shape":{"type":"everywhere"}"#, "shape: Some(Everywhere)"),
        (r#","sort":"none""#, "sort: Some(None)"),
        (r#","sort":{"byName":true}"#, "sort: Some(ByName(true))"),
        (r#","sort":{"byDistance":{"upTo":0.5}}"#, "sort: Some(ByDistance { up_to: 0.5 })"),
        (r#","pair":{"c":[1,2],"t":"A"}"#, "pair: Some(A([1, 2]))"),
        (r#","pair":{"t":"B","c":{"x":false}}"#, "pair: Some(B { x: false })"),
        (r#","pair":{"t":"C"}"#, "pair: Some(C)"),
        (r#","pixel":[1,2,255]"#, "pixel: Some([1, 2, 255])"),
        (r#","raw":{"any":[1]}"#, r#"raw: Some({"any":[1]})"#),
    ] {
        let text: String =
            serde_json::from_str(&ok(&search, "search-places", &query(members))).unwrap();
        assert!(text.contains(shown), "{text} has no {shown}");
    }
    for (members, expected) in [
        (r#","area":{"lat":91,"lon":0}"#, "query.area.lat: expected at most 90, got 91"),
        (r#","area":{"lat":1}"#, "query.area.lon: expected number, got nothing"),
        (r#","area":5"#, "query.area: expected object or null, got 5"),
        (
            r#","kind":"zoo""#,
            "query.kind: expected one of \"coffee-shop\", \"museum\", \"parks!\", got \"zoo\"",
        ),
        (
            r#","counts":{"b c":300}"#,
            "query.counts[\"b c\"]: expected integer from 0 to 255, got 300",
        ),
        (
            r#","shape":{"type":"blob"}"#,
            "query.shape.type: expected one of \"circle\", \"rect\", \"everywhere\", got \"blob\"",
        ),
        (r#","shape":{"type":"circle"}"#, "query.shape.radius: expected integer, got nothing"),
        (
            r#","shape":{"type":"circle","radius":1,"x":2}"#,
            "query.shape.x: expected only the members \"type\", \"radius\", got an unknown member",
        ),
        (r#","shape":{}"#, "query.shape.type: expected string, got nothing"),
        (
            r#","sort":{"byName":true,"x":1}"#,
            "query.sort: expected an object with one member, got object",
        ),
        (
            r#","sort":{"byColour":true}"#,
            "query.sort.byColour: expected only the members \"byName\", \"byDistance\", got an unknown member",
        ),
        (r#","sort":"up""#, "query.sort: expected \"none\", got \"up\""),
        (r#","pixel":[1,2]"#, "query.pixel: expected at least 3 items, got 2"),
        (r#","pixel":[1,2,256]"#, "query.pixel[2]: expected integer from 0 to 255, got 256"),
    ] {
        let text = error(&search, "search-places", &query(members));
        assert_eq!(text, format!("Error: invalid input for tool 'search-places': {expected}"));
    }
    for (input, expected) in [
        (
            r#"{"query":{"searchText":"ä","tags":["x"]}}"#,
            "query.searchText: expected at least 2 characters, got 1",
        ),
        (
            r#"{"query":{"searchText":"abcde\u00e4","tags":["x"]}}"#,
            "query.searchText: expected at most 5 characters, got 6",
        ),
        (
            r#"{"query":{"searchText":"abc","tags":[]}}"#,
            "query.tags: expected at least 1 item, got 0",
        ),
        (
            r#"{"query":{"searchText":"abc","tags":["a",{}]}}"#,
            "query.tags[1]: expected string, got object",
        ),
    ] {
        assert_eq!(
            error(&search, "search-places", input),
            format!("Error: invalid input for tool 'search-places': {expected}")
        );
    }
}

#[derive(serde::Serialize)]
struct Weather {
    temperature: f32,
    condition: &'static str,
}

#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the sensor is broken")
    }
}

impl std::error::Error for Broken {}

struct Shown;

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("only shown")
    }
}

struct Board {
    led: Cell<bool>,
}

#[toolbox]
impl Board {
    /// Switch the user LED.
    #[tool]
    fn set_led(
        &self,
        /** true is on */
        on: bool,
    ) {
        self.led.set(on);
    }

    /// Read the ambient temperature
    /// in degrees Celsius.
    #[tool]
    async fn temperature(&self) -> Result<f32, ToolError> {
        if self.led.get() { Ok(21.5) } else { Err(ToolError::new("dark and cold")) }
    }

    #[tool]
    fn weather(&self) -> Weather {
        Weather { temperature: 20.0, condition: "\"sunny\"" }
    }

    #[tool]
    fn broken(&self) -> Result<(), Broken> {
        Err(Broken)
    }

    #[tool]
    fn shown(&self) -> Result<Weather, Shown> {
        Err(Shown)
    }

    #[tool]
    fn text_error(&self) -> Result<&'static str, String> {
        Err("a string".into())
    }

    #[tool]
    fn boxed(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        Err(Box::new(Broken))
    }

    #[tool]
    fn question(&self, number: &str) -> Result<i64, ToolError> {
        Ok(number.parse::<i64>()?)
    }

    #[tool]
    fn picture(&self) -> [ContentBlock<'static>; 2] {
        [
            ContentBlock::text("a"),
            ContentBlock::image_url("https://x").with(r#""cache_control":{"type":"ephemeral"}"#),
        ]
    }

    #[tool]
    fn own(&self, out: &mut Output<'_>, n: u32) -> Result<(), ToolError> {
        use std::fmt::Write;
        write!(out, "n is {n}").unwrap();
        Ok(())
    }

    #[tool]
    fn optional(&self) -> Option<u8> {
        None
    }

    fn no_tool(&self) {}
}

#[test]
fn toolbox_and_results() {
    let board = Board { led: Cell::new(false) };
    check_all(&board);
    assert_eq!(
        board.definition(0).unwrap().json,
        r#"{"name":"set_led","description":"Switch the user LED.","input_schema":{"type":"object","properties":{"on":{"type":"boolean","description":"true is on"}},"required":["on"],"additionalProperties":false}}"#
    );
    assert_eq!(
        board.definition(1).unwrap().json,
        r#"{"name":"temperature","description":"Read the ambient temperature\nin degrees Celsius.","input_schema":{"type":"object","properties":{},"required":[],"additionalProperties":false}}"#
    );
    assert_eq!(error(&board, "temperature", "{}"), "dark and cold");
    assert_eq!(ok(&board, "set_led", r#"{"on":true}"#), r#""(no output)""#);
    assert_eq!(ok(&board, "temperature", "{}"), r#""21.5""#);
    assert_eq!(
        ok(&board, "weather", "{}"),
        r#""{\"temperature\":20.0,\"condition\":\"\\\"sunny\\\"\"}""#
    );
    assert_eq!(error(&board, "broken", "{}"), "Error: the sensor is broken");
    assert_eq!(error(&board, "shown", "{}"), "Error: only shown");
    assert_eq!(error(&board, "text_error", "{}"), "Error: a string");
    assert_eq!(error(&board, "boxed", "{}"), "Error: the sensor is broken");
    assert_eq!(
        error(&board, "question", r#"{"number":"x"}"#),
        "Error: invalid digit found in string"
    );
    assert_eq!(ok(&board, "question", r#"{"number":"-7"}"#), r#""-7""#);
    assert_eq!(
        ok(&board, "picture", "{}"),
        r#"[{"type":"text","text":"a"},{"type":"image","source":{"type":"url","url":"https://x"},"cache_control":{"type":"ephemeral"}}]"#
    );
    assert_eq!(ok(&board, "own", r#"{"n":3}"#), r#""n is 3""#);
    assert_eq!(ok(&board, "optional", "{}"), r#""null""#);
    assert_eq!(
        error(&board, "own", r#"{"n":-3}"#),
        "Error: invalid input for tool 'own': n: expected integer from 0 to 4294967295, got -3"
    );
}

#[test]
fn raw_tools() {
    let double = RawTool::new(
        "double",
        "Twice \"n\".",
        r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#,
        |input| async move {
            #[derive(serde::Deserialize)]
            struct Args {
                n: i64,
            }
            let args: Args = input.deserialize()?;
            Ok::<_, ToolError>(args.n * 2)
        },
    )
    .unwrap();
    let tools = (get_weather, double, (calculate_sum, Board { led: Cell::new(true) }));
    check_all(&tools);
    assert_eq!(ok(&tools, "double", r#"{"n":21}"#), r#""42""#);
    assert_eq!(
        error(&tools, "double", r#"{"n":"x"}"#),
        "Error: invalid input for tool 'double': n: expected integer, got \"x\""
    );
    assert_eq!(
        error(&tools, "double", "{}"),
        "Error: invalid input for tool 'double': n: expected integer, got nothing"
    );
    assert_eq!(tools.count(), 3 + 11);
    assert_eq!(ok(&tools, "temperature", "{}"), r#""21.5""#);
}

/// A type with an invalid schema.
struct Wrong<const WHICH: usize>;

impl<'a, const WHICH: usize> ToolInput<'a> for Wrong<WHICH> {
    const SCHEMA: &'static Schema = [
        &with_default(Schema::STRING, SchemaDefault::Json("{")),
        &Schema::INTEGER.minimum("one"),
        &Schema::INTEGER.maximum("-"),
        &Schema::INTEGER.minimum("01"),
        &Schema::array(&Schema::NUMBER.maximum("1.")),
        &Schema::map(&with_default(Schema::STRING, SchemaDefault::Json(""))),
    ][WHICH];

    fn decode(_: Value<'a>, _: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        Ok(Self)
    }
}

/// A schema that is composed at compile time is valid, except if it was given as JSON text: then it
/// is checked.
#[test]
fn json_that_was_given_for_a_schema_is_checked() {
    #[tool]
    fn wrong_default(_a: Wrong<0>) {}
    #[tool]
    fn wrong_minimum(_a: Wrong<1>) {}
    #[tool]
    fn wrong_maximum(_a: Wrong<2>) {}
    #[tool]
    fn wrong_zero(_a: Wrong<3>) {}
    #[tool]
    fn wrong_items(_a: Option<Wrong<4>>) {}
    #[tool]
    fn wrong_values(_a: Vec<Wrong<5>>) {}
    #[tool]
    fn right(_a: Vec<Option<u8>>) {}
    check_all(&right);
    let refused = Err(Misuse::ToolDefinition(0));
    let all = [
        check_tools(&wrong_default),
        check_tools(&wrong_minimum),
        check_tools(&wrong_maximum),
        check_tools(&wrong_zero),
    ];
    assert_eq!(all, [refused; 4]);
    assert_eq!([check_tools(&wrong_items), check_tools(&wrong_values)], [refused; 2]);
}
