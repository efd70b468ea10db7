//! The types that an argument of a tool can have: their schemas, what they read, what they refuse.
#![cfg(all(
    feature = "macros",
    feature = "schemars",
    feature = "chrono",
    feature = "uuid",
    feature = "url"
))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    dead_code,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use toolrunner_core::__private::check_tools;

use serde::Deserialize;
use toolrunner_core::json::{Text, Value};
use toolrunner_core::tool::{FromText, Json, Output, ToolCall, ToolContext, Toolbox};
use toolrunner_core::{ToolInput, tool};

/// Polls a future that never waits.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("the tool waits"),
    }
}

/// Calls a tool. Returns its text, or the text of its error.
fn call(tools: &impl Toolbox, input: &str) -> Result<String, String> {
    let mut memory = Vec::new();
    let mut out = Output::growing(&mut memory);
    let mut scratch = vec![0; input.len()];
    let [id, name] = ["toolu_1", tools.definition(0).unwrap().name].map(Text::from_raw);
    let call = ToolCall::new(id, name, Value::first(input.as_bytes()).unwrap(), &mut scratch);
    let result = ready(tools.call(0, call, &mut out));
    if let Err(error) = &result {
        error.write_to(&mut out).unwrap();
    }
    let text: String = serde_json::from_slice(out.finish().unwrap()).unwrap();
    let prefix = format!("Error: invalid input for tool '{name}': ");
    match result {
        Ok(()) => Ok(text),
        Err(_) => Err(text.strip_prefix(&prefix).unwrap_or(&text).to_owned()),
    }
}

fn schema(tool: &impl Toolbox) -> String {
    check_tools(tool).unwrap();
    let json = tool.definition(0).unwrap().json;
    Value::first(json.as_bytes()).unwrap().member("input_schema").unwrap().as_json().to_owned()
}

/// Returns the schema of each property.
fn properties(tool: &impl Toolbox) -> BTreeMap<String, String> {
    let schema = schema(tool);
    let schema = Value::first(schema.as_bytes()).unwrap().member("properties").unwrap();
    schema.members().map(|(name, value)| (name.to_string(), value.as_json().to_owned())).collect()
}

macro_rules! shows {
    ($tool:ident($($argument:ident: $type:ty),*)) => {
        #[tool]
        fn $tool($($argument: $type),*) -> String {
            [$(format!("{:?}", $argument)),*].join(" ")
        }
    };
}

#[test]
fn collections() {
    shows!(many(map: HashMap<String, u8>, tree: BTreeMap<String, bool>, set: HashSet<i32>, sorted: BTreeSet<String>));
    let schemas = properties(&many);
    assert_eq!(
        schemas["map"],
        r#"{"type":"object","additionalProperties":{"type":"integer","minimum":0}}"#
    );
    assert_eq!(schemas["set"], r#"{"type":"array","uniqueItems":true,"items":{"type":"integer"}}"#);
    assert_eq!(
        call(&many, r#"{"map":{"a\n":1},"tree":{"x":true},"set":[7,7],"sorted":["b","a","b"]}"#),
        Ok(r#"{"a\n": 1} {"x": true} {7} {"a", "b"}"#.to_owned())
    );
    assert_eq!(
        call(&many, r#"{"map":{"a":-1},"tree":{},"set":[],"sorted":[]}"#),
        Err("map.a: expected integer from 0 to 255, got -1".to_owned())
    );
    assert_eq!(
        call(&many, r#"{"map":{},"tree":{},"set":[1,"2"],"sorted":[]}"#),
        Err("set[1]: expected integer, got \"2\"".to_owned())
    );
}

#[test]
fn tuples_and_boxes_and_paths_and_any_json() {
    #[derive(ToolInput, Debug)]
    struct Point(f32, f32);
    shows!(mixed(pair: (String, u8), point: Box<Point>, path: PathBuf, any: serde_json::Value, rest: serde_json::Map<String, serde_json::Value>));
    let schemas = properties(&mixed);
    assert_eq!(
        schemas["pair"],
        r#"{"type":"array","minItems":2,"maxItems":2,"prefixItems":[{"type":"string"},{"type":"integer","minimum":0}]}"#
    );
    assert_eq!(schemas["any"], "{}");
    let input = |pair: &str| {
        format!(
            r#"{{"pair":{pair},"point":[1,2.5],"path":"a/b","any":{{"k":[1e2]}},"rest":{{"z":null}}}}"#
        )
    };
    assert_eq!(
        call(&mixed, &input(r#"["x",3]"#)),
        Ok(r#"("x", 3) Point(1.0, 2.5) "a/b" Object {"k": Array [Number(100.0)]} {"z": Null}"#
            .to_owned())
    );
    assert_eq!(
        call(&mixed, &input(r#"["x"]"#)),
        Err("pair: expected at least 2 items, got 1".to_owned())
    );
    assert_eq!(
        call(&mixed, &input(r#"["x",3,4]"#)),
        Err("pair: expected at most 2 items, got 3".to_owned())
    );
    assert_eq!(
        call(&mixed, &input(r#"["x","y"]"#)),
        Err("pair[1]: expected integer, got \"y\"".to_owned())
    );
}

#[test]
fn formats() {
    shows!(stamped(at: chrono::DateTime<chrono::Utc>, day: Option<chrono::NaiveDate>, id: uuid::Uuid, site: url::Url, host: Ipv4Addr, six: Option<Ipv6Addr>));
    let schemas = properties(&stamped);
    for (name, expected) in [
        ("at", r#"{"type":"string","format":"date-time"}"#),
        ("day", r#"{"type":["string","null"],"format":"date"}"#),
        ("id", r#"{"type":"string","format":"uuid"}"#),
        ("site", r#"{"type":"string","format":"uri"}"#),
        ("host", r#"{"type":"string","format":"ipv4"}"#),
    ] {
        assert_eq!(schemas[name], expected);
    }
    let input = |at: &str, id: &str, site: &str| {
        format!(
            r#"{{"at":"{at}","day":"2026-11-29","id":"{id}","site":"{site}","host":"10.0.0.1"}}"#
        )
    };
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let good = call(&stamped, &input("2026-11-29T07:00:00+01:00", id, "https:\\/\\/example.org/a"));
    let good = good.unwrap();
    assert!(
        good.starts_with(&format!("2026-11-29T06:00:00Z Some(2026-11-29) {id} Url {{")),
        "{good}"
    );
    assert_eq!(
        call(&stamped, &input("tomorrow", id, "https://a")),
        Err(
            "at: expected a string that is a valid chrono::datetime::DateTime<chrono::offset::utc::Utc>, got \"tomorrow\": input contains invalid characters"
                .to_owned()
        )
    );
    let bad = call(&stamped, &input("2026-11-29T07:00:00Z", "1", "https://a")).unwrap_err();
    assert!(
        bad.starts_with("id: expected a string that is a valid Uuid, got \"1\": invalid length"),
        "{bad}"
    );
    let bad = call(&stamped, &input("2026-11-29T07:00:00Z", id, "a")).unwrap_err();
    assert_eq!(
        bad,
        "site: expected a string that is a valid Url, got \"a\": relative URL without a base"
    );
}

#[test]
fn durations() {
    shows!(wait(time: Duration));
    assert_eq!(properties(&wait)["time"], r#"{"type":"string","format":"duration"}"#);
    let read = |text: &str| call(&wait, &format!(r#"{{"time":"{text}"}}"#));
    for (text, shown) in [
        ("PT90S", "90s"),
        ("PT1H30M", "5400s"),
        ("P2D", "172800s"),
        ("P1W", "604800s"),
        ("P1DT0.25S", "86400.25s"),
        ("PT0,000000001S", "1ns"),
    ] {
        assert_eq!(read(text), Ok(shown.to_owned()), "{text}");
    }
    for text in [
        "",
        "P",
        "PT",
        "P1DT",
        "90",
        "PT1.5H",
        "P1M",
        "P1Y",
        "PT1S1M",
        "PT1M1M",
        "PTT1S",
        "-PT1S",
        "PT0.0000000001S",
        "PT99999999999999999999S",
        "P99999999999999W1D",
        "PT1",
        "PT.5S",
        "PT1.S",
        "pt1s",
    ] {
        assert_eq!(
            read(text),
            Err(format!(
                "time: expected a duration in ISO 8601 without months and years, such as \"PT1H30M\", got \"{text}\""
            ))
        );
    }
}

#[test]
fn whatever_can_be_parsed() {
    #[derive(ToolInput)]
    struct Target {
        #[tool(parse, format = "hostname", alias = "addr")]
        address: SocketAddr,
    }
    #[tool]
    fn ping(
        target: Target,
        #[tool(parse, default = Ipv4Addr::LOCALHOST, default_json = "\"127.0.0.1\"")]
        from: Ipv4Addr,
        #[tool(parse)] via: Option<SocketAddr>,
        hops: Option<Vec<FromText<SocketAddr>>>,
    ) -> String {
        format!("{} {from} {via:?} {hops:?}", target.address)
    }
    let schemas = properties(&ping);
    assert_eq!(
        schemas["target"],
        r#"{"type":"object","properties":{"address":{"type":"string","format":"hostname"}},"required":["address"],"additionalProperties":false}"#
    );
    assert_eq!(schemas["from"], r#"{"type":"string","default":"127.0.0.1"}"#);
    assert_eq!(schemas["via"], r#"{"type":["string","null"]}"#);
    assert_eq!(
        call(&ping, r#"{"target":{"addr":"1.2.3.4:\u0035"}}"#),
        Ok("1.2.3.4:5 127.0.0.1 None None".to_owned())
    );
    assert_eq!(
        call(
            &ping,
            r#"{"target":{"address":"1.2.3.4:5"},"from":"10.0.0.1","via":"[::1]:2","hops":["1.1.1.1:1"]}"#
        ),
        Ok("1.2.3.4:5 10.0.0.1 Some([::1]:2) Some([FromText(1.1.1.1:1)])".to_owned())
    );
    assert_eq!(
        call(&ping, r#"{"target":{"address":"1.2.3.4"}}"#),
        Err("target.address: expected a string that is a valid SocketAddr, got \"1.2.3.4\": invalid socket address syntax".to_owned())
    );
    assert_eq!(
        call(&ping, r#"{"target":{"address":"1.2.3.4:5","addr":"1.2.3.4:5"}}"#),
        Err("target.addr: expected a member under only one of its names, got \"1.2.3.4:5\""
            .to_owned())
    );
    assert_eq!(
        call(&ping, r#"{"target":{}}"#),
        Err("target.address: expected string, got nothing".to_owned())
    );
    assert_eq!(
        call(&ping, r#"{"target":{"a":1}}"#),
        Err("target.a: expected only the member \"address\", got an unknown member".to_owned())
    );
}

#[derive(ToolInput, Debug)]
struct Page {
    /// From 0.
    #[tool(default = 0)]
    page: u32,
}

#[derive(ToolInput, Debug)]
struct Search<'a> {
    query: &'a str,
    #[serde(flatten)]
    page: Page,
}

#[test]
fn flattened_structs() {
    #[tool]
    fn search(#[tool(flatten)] search: Search<'_>, exact: bool) -> String {
        format!("{search:?} {exact}")
    }
    assert_eq!(
        schema(&search),
        r#"{"type":"object","properties":{"query":{"type":"string"},"page":{"type":"integer","description":"From 0.","minimum":0,"default":0},"exact":{"type":"boolean"}},"required":["query","exact"],"additionalProperties":false}"#
    );
    assert_eq!(
        call(&search, r#"{"exact":true,"page":3,"query":"q\t"}"#),
        Ok("Search { query: \"q\\t\", page: Page { page: 3 } } true".to_owned())
    );
    assert_eq!(
        call(&search, r#"{"exact":true,"query":"q","size":1}"#),
        Err(
            "size: expected only the members \"query\", \"page\", \"exact\", got an unknown member"
                .to_owned()
        )
    );
}

#[test]
fn a_struct_is_the_whole_input() {
    #[tool(input)]
    fn search(input: Search<'_>, context: &ToolContext<'_>) -> String {
        format!("{} {}", input.query, context.name)
    }
    assert_eq!(
        schema(&search),
        r#"{"type":"object","properties":{"query":{"type":"string"},"page":{"type":"integer","description":"From 0.","minimum":0,"default":0}},"required":["query"],"additionalProperties":false}"#
    );
    assert_eq!(call(&search, r#"{"query":"q"}"#), Ok("q search".to_owned()));
    assert_eq!(call(&search, "{}"), Err("query: expected string, got nothing".to_owned()));

    #[tool(input)]
    fn scores(input: BTreeMap<String, u8>) -> String {
        format!("{input:?}")
    }
    assert_eq!(
        schema(&scores),
        r#"{"type":"object","additionalProperties":{"type":"integer","minimum":0}}"#
    );
    assert_eq!(call(&scores, r#"{"a":1}"#), Ok(r#"{"a": 1}"#.to_owned()));
}

#[test]
fn untagged_enums() {
    #[derive(ToolInput, Debug)]
    #[serde(untagged)]
    enum Place<'a> {
        Number(u8),
        Big(u64),
        Named { city: &'a str, zip: Option<&'a str> },
        At { lat: f32, lon: f32 },
        Many(Vec<Place2>),
    }
    #[derive(ToolInput, Debug)]
    #[tool(untagged)]
    enum Place2 {
        Id(i64),
        Text(String),
    }
    #[tool]
    fn go(place: Place<'_>) -> String {
        format!("{place:?}")
    }
    assert_eq!(
        properties(&go)["place"],
        concat!(
            r#"{"anyOf":[{"type":"integer","minimum":0},{"type":"integer","minimum":0},"#,
            r#"{"type":"object","properties":{"city":{"type":"string"},"zip":{"type":["string","null"]}},"required":["city"],"additionalProperties":false},"#,
            r#"{"type":"object","properties":{"lat":{"type":"number"},"lon":{"type":"number"}},"required":["lat","lon"],"additionalProperties":false},"#,
            r#"{"type":"array","items":{"anyOf":[{"type":"integer"},{"type":"string"}]}}]}"#
        )
    );
    for (input, result) in [
        ("7", Ok("Number(7)")),
        ("700", Ok("Big(700)")),
        (r#"{"city":"Oslo"}"#, Ok("Named { city: \"Oslo\", zip: None }")),
        (r#"{"lat":1,"lon":2}"#, Ok("At { lat: 1.0, lon: 2.0 }")),
        (r#"[1,"b"]"#, Ok("Many([Id(1), Text(\"b\")])")),
        ("-1", Err("place: expected integer from 0 to 255, got -1")),
        ("true", Err("place: expected integer or array or object, got true")),
        (r#"{"lat":1,"lon":"x"}"#, Err("place.lon: expected number, got \"x\"")),
        (r#"{"town":1}"#, Err("place: expected one of the allowed forms, got object")),
        (r#"[1,null]"#, Err("place[1]: expected integer or string, got null")),
    ] {
        assert_eq!(
            call(&go, &format!(r#"{{"place":{input}}}"#)),
            result.map(str::to_owned).map_err(str::to_owned),
            "{input}"
        );
    }
}

#[test]
fn generic_structs() {
    #[derive(ToolInput, Debug)]
    struct Between<T: PartialOrd, const N: usize = 2> {
        from: T,
        to: Option<T>,
        #[tool(min_items = 1)]
        tags: heapless::Vec<T, N>,
    }
    #[derive(ToolInput, Debug)]
    enum OneOf<'a, T>
    where
        T: Copy,
    {
        Exactly(T),
        Named(&'a str),
    }
    #[tool]
    fn find(age: Between<u8>, name: Option<Between<String, 3>>, id: OneOf<'_, i32>) -> String {
        format!("{age:?} {name:?} {id:?}")
    }
    assert_eq!(
        properties(&find)["age"],
        r#"{"type":"object","properties":{"from":{"type":"integer","minimum":0},"to":{"type":["integer","null"],"minimum":0},"tags":{"type":"array","minItems":1,"maxItems":2,"items":{"type":"integer","minimum":0}}},"required":["from","tags"],"additionalProperties":false}"#
    );
    assert_eq!(
        call(&find, r#"{"age":{"from":1,"tags":[5]},"id":{"Named":"x"}}"#),
        Ok("Between { from: 1, to: None, tags: [5] } None Named(\"x\")".to_owned())
    );
    assert_eq!(
        call(&find, r#"{"age":{"from":300,"tags":[5]},"id":{"Exactly":1}}"#),
        Err("age.from: expected integer from 0 to 255, got 300".to_owned())
    );
}

mod external {
    use super::*;

    #[derive(Deserialize, schemars::JsonSchema, Debug)]
    pub(super) struct Filter {
        /// What to look for.
        #[serde(alias = "q")]
        query: String,
        #[serde(flatten)]
        range: Range,
        #[serde(default)]
        any: Vec<Clause>,
    }

    #[derive(Deserialize, schemars::JsonSchema, Debug)]
    pub(super) struct Range {
        #[serde(deserialize_with = "even", default)]
        #[schemars(with = "u8")]
        size: u8,
    }

    #[derive(Deserialize, schemars::JsonSchema, Debug)]
    #[serde(untagged)]
    pub(super) enum Clause {
        Word(String),
        Not { not: Box<Self> },
    }

    fn even<'d, D: serde::Deserializer<'d>>(from: D) -> Result<u8, D::Error> {
        let size = u8::deserialize(from)?;
        if size % 2 == 0 {
            Ok(size)
        } else {
            Err(serde::de::Error::custom("the size must be even"))
        }
    }

    pub(super) mod other {
        use super::*;

        /// Another type of the same name.
        #[derive(Deserialize, schemars::JsonSchema, Debug)]
        pub(in super::super) enum Clause {
            End,
            And(Box<Self>),
        }
    }
}

#[test]
fn whatever_serde_reads() {
    use external::{Clause, Filter, other};
    /// Find.
    #[tool]
    fn find(
        /// Of the caller.
        filter: Json<Filter>,
        clause: Option<Json<Clause>>,
        more: Vec<Json<other::Clause>>,
        anything: Json<serde_json::Value>,
    ) -> String {
        format!("{:?} {:?} {:?} {:?}", filter.0, clause.map(|clause| clause.0), more, anything.0)
    }
    let schemas = properties(&find);
    for text in
        [r##""$ref":"#/$defs/Clause""##, r#""description":"Of the caller.""#, r#""minimum":0"#]
    {
        assert!(schemas["filter"].contains(text), "{}", schemas["filter"]);
    }
    assert!(!schemas["filter"].contains("$defs\":"), "{}", schemas["filter"]);
    assert_eq!(schemas["clause"], r##"{"anyOf":[{"$ref":"#/$defs/Root"},{"type":"null"}]}"##);
    assert_eq!(schemas["anything"], "{}");
    let all: serde_json::Value = serde_json::from_str(&schema(&find)).unwrap();
    let defs = all["$defs"].as_object().unwrap();
    assert_eq!(defs.keys().collect::<Vec<_>>(), ["Clause", "Root", "Root2"], "{all}");
    assert_eq!(
        find.definition(0).unwrap().json.as_ptr(),
        find.definition(0).unwrap().json.as_ptr()
    );

    let input =
        |filter: &str, more: &str| format!(r#"{{"filter":{filter},"more":{more},"anything":[1]}}"#);
    let good = call(
        &find,
        &input(r#"{"query":"x","size":4,"any":["a",{"not":{"not":"b"}}]}"#, r#"[{"And":"End"}]"#),
    );
    assert_eq!(
        good.unwrap(),
        "Filter { query: \"x\", range: Range { size: 4 }, any: [Word(\"a\"), Not { not: Not { not: Word(\"b\") } }] } None [Json(And(End))] Array [Number(1)]"
    );
    for (filter, more, text) in [
        (r#"{"query":5}"#, "[]", "filter.query: expected string, got 5"),
        (r#"{"query":"x","any":["a",1]}"#, "[]", "filter.any[1]: expected string or object, got 1"),
        (
            r#"{"query":"x"}"#,
            r#"["End",{"And":"Start"}]"#,
            "more[1].And: expected string or object, got \"Start\"",
        ),
        (
            r#"{"query":"x","size":3}"#,
            "[]",
            "filter: expected a valid value, got object: the size must be even",
        ),
    ] {
        assert_eq!(call(&find, &input(filter, more)), Err(text.to_owned()));
    }
}

#[test]
fn an_error_of_serde_names_the_path() {
    #[derive(Deserialize, schemars::JsonSchema)]
    struct Sizes {
        all: Vec<external::Range>,
    }
    #[tool]
    fn add(sizes: Option<Json<Sizes>>) -> usize {
        sizes.map_or(0, |sizes| sizes.0.all.len())
    }
    assert_eq!(call(&add, r#"{"sizes":{"all":[{"size":2},{}]}}"#), Ok("2".to_owned()));
    assert_eq!(
        call(&add, r#"{"sizes":{"all":[{"size":2},{"size":5}]}}"#),
        Err("sizes.all[1].size: expected a valid value, got 5: the size must be even".to_owned())
    );
}

#[test]
fn a_type_of_serde_is_the_whole_input() {
    #[derive(Deserialize, schemars::JsonSchema)]
    struct Node {
        name: String,
        #[serde(default)]
        children: Vec<Self>,
    }
    impl Node {
        fn count(&self) -> usize {
            self.children.iter().map(Self::count).sum::<usize>() + 1
        }
    }
    #[tool(input, strict)]
    fn plant(input: Json<Node>) -> String {
        format!("{} of {}", input.0.count(), input.0.name)
    }
    let schema = schema(&plant);
    assert!(
        schema.starts_with(r#"{"#)
            && schema.contains(r##"{"$ref":"#"}"##)
            && !schema.contains('\u{1}'),
        "{schema}"
    );
    assert_eq!(
        call(
            &plant,
            r#"{"name":"a","children":[{"name":"b"},{"name":"c","children":[{"name":"d"}]}]}"#
        ),
        Ok("4 of a".to_owned())
    );
    assert_eq!(
        call(&plant, r#"{"name":"a","children":[{"name":"b","children":[{}]}]}"#),
        Err("children[0].children[0].name: expected string, got nothing".to_owned())
    );

    // The API accepts no choice at the root: this is reported before anything is sent.
    #[derive(Deserialize, schemars::JsonSchema)]
    #[serde(tag = "type")]
    enum Either {
        A { a: u8 },
        B { b: u8 },
    }
    #[tool(input)]
    fn choose(input: Json<Either>) -> bool {
        matches!(input.0, Either::A { .. })
    }
    assert!(check_tools(&choose).is_err());
}
