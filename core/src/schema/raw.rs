//! Checks of an input against JSON Schema text.

use core::cmp::Ordering;

use super::check::characters;
use super::equal::equal;
use super::{ActualValue, Expectation, InputError, Names, Types};
use crate::error::Misuse;
use crate::json::{
    self, Array, Kind, Object, Text, Value, compare, is_multiple, parse_integer, same,
};

/// The maximum nesting of schemas that a [`RawSchema`] follows. A property, an item, a `$ref` and a
/// branch of `anyOf` are one level each. An input that needs more levels is refused.
pub(crate) const RAW_DEPTH: usize = 32;

/// A schema as JSON Schema text.
///
/// **Checked**: `type` (a name or an array of names), `properties`, `required`,
/// `additionalProperties`, `items`, `prefixItems`, `enum`, `const`, `minimum`, `maximum`,
/// `exclusiveMinimum`, `exclusiveMaximum` (as numbers), `multipleOf` (if 38 digits are enough to
/// decide), `minLength`, `maxLength`, `minItems`, `maxItems`, `minProperties`, `maxProperties`,
/// `anyOf`, `oneOf`, `allOf`, `not`, local `$ref` (`#` and `#/$defs/…`), and `true` and `false` as
/// schemas. `enum` and `const` compare values up to 16 levels deep.
///
/// **Ignored**: every other keyword, including `pattern`, `format`, `uniqueItems`, `contains`,
/// `propertyNames`, `if`, `dependent…` and `unevaluated…`; a `$ref` to another document; and
/// `additionalProperties` if there are `patternProperties`. An ignored keyword allows every value.
///
/// A check does not allocate and does not recurse. The levels are stored in an array of
/// [`RawSchema::MAX_DEPTH`] entries of about 100 bytes each on a 64-bit target.
#[derive(Clone, Copy, Debug)]
pub struct RawSchema<'s> {
    root: Value<'s>,
    nullable: bool,
}

impl<'s> RawSchema<'s> {
    /// The maximum nesting of schemas that a check follows. A property, an item, a `$ref` and a
    /// branch of `anyOf` are one level each. An input that needs more levels is refused.
    pub const MAX_DEPTH: usize = RAW_DEPTH;

    /// Creates a schema from JSON Schema text.
    ///
    /// # Errors
    /// Returns [`Misuse::Json`] if `json` is not a JSON object, or if it has more than
    /// 122 levels.
    pub fn new(json: &'s str) -> Result<Self, Misuse> {
        const NONE: &str = "a schema must be a JSON object";
        json::check(json.as_bytes()).map_err(|error| error.misuse(NONE))?;
        let root = Value::first(json.as_bytes()).filter(|root| root.kind() == Kind::Object);
        root.map(Self::of).ok_or(Misuse::Json(NONE))
    }

    /// Creates a schema from a value that is known to be valid JSON.
    pub(crate) const fn of(root: Value<'s>) -> Self {
        Self { root, nullable: false }
    }

    /// Enables OpenAPI's keyword `nullable`: where it is `true`, `null` is allowed too. By default
    /// the keyword is ignored.
    #[must_use]
    pub const fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// Checks a value.
    ///
    /// # Errors
    /// Returns one error. If all alternatives of a value fail, this is the error that was found
    /// deepest in the value.
    pub fn check(&self, value: Value<'_>) -> Result<(), InputError<'s>> {
        Machine {
            schema: self.root,
            nullable: self.nullable,
            input: value.raw(),
            frames: [const { None }; RAW_DEPTH],
            used: 0,
            deepest: None,
        }
        .run(value)
    }
}

/// One schema that is being applied to one value.
struct Frame<'s, 'v> {
    schema: Value<'s>,
    value: Value<'v>,
    /// The depth of the value in the input.
    level: u8,
    step: Step<'s, 'v>,
}

/// The progress of a frame. Each step may push frames on top of it, one at a time, and receives
/// their results.
enum Step<'s, 'v> {
    /// The keywords that need no other frame.
    Alone,
    /// The remaining members.
    Members(Object<'v>),
    /// The remaining elements, and the index of the next one.
    Elements(Array<'v>, usize),
    /// The remaining keywords.
    Keywords(Object<'s>),
    /// The remaining branches of a keyword, and then the remaining keywords.
    Branches(Combinator, Array<'s>, Object<'s>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Combinator {
    All,
    Any,
    /// Whether a branch has already matched.
    One(bool),
    Not,
}

/// The next action of a frame.
enum FrameAction<'s, 'v> {
    Push(Value<'s>, Value<'v>, u8),
    Done,
}

struct Machine<'s, 'v> {
    schema: Value<'s>,
    /// Whether the keyword `nullable` is enabled.
    nullable: bool,
    input: &'v [u8],
    frames: [Option<Frame<'s, 'v>>; RAW_DEPTH],
    used: usize,
    /// The error deepest in the value, since the last `anyOf` or `oneOf` began.
    deepest: Option<(u8, InputError<'s>)>,
}

type CheckResult<'s> = Result<(), InputError<'s>>;

impl<'s, 'v> Machine<'s, 'v> {
    fn run(mut self, value: Value<'v>) -> CheckResult<'s> {
        let mut outcome = self.push(self.schema, value, 0);
        loop {
            if outcome.is_ok() {
                let Some(mut frame) = self.take() else { return Ok(()) };
                outcome = match self.advance(&mut frame) {
                    Ok(FrameAction::Push(schema, value, level)) => {
                        self.put_back(frame);
                        self.push(schema, value, level)
                    }
                    // The frame stays popped, and the frame below receives its result.
                    Ok(FrameAction::Done) => self.held(),
                    Err(error) => self.failed(frame.level, error),
                };
            } else if self.used == 0 {
                return outcome;
            } else {
                let Err(error) = outcome else { return Ok(()) };
                let Some(frame) = self.take() else { return Err(error) };
                outcome = self.branch_failed(frame, error);
            }
        }
    }

    fn push(&mut self, schema: Value<'s>, value: Value<'v>, level: u8) -> CheckResult<'s> {
        let frame = Frame { schema, value, level, step: Step::Alone };
        match self.frames.get_mut(self.used) {
            Some(slot) => {
                *slot = Some(frame);
                self.used += 1;
                Ok(())
            }
            None => Err(self.error(
                value,
                Expectation::Count("at most", 32, "level"),
                ActualValue::Value,
            )),
        }
    }

    fn take(&mut self) -> Option<Frame<'s, 'v>> {
        self.used = self.used.checked_sub(1)?;
        self.frames.get_mut(self.used)?.take()
    }

    fn put_back(&mut self, frame: Frame<'s, 'v>) {
        if let Some(slot) = self.frames.get_mut(self.used) {
            *slot = Some(frame);
            self.used += 1;
        }
    }

    fn error(
        &self,
        value: Value<'_>,
        expected: Expectation<'s>,
        got: ActualValue,
    ) -> InputError<'s> {
        InputError::new(value.offset_in(self.input).unwrap_or(0), expected, got)
    }

    fn wrong<T>(&self, value: Value<'_>, expected: Expectation<'s>) -> Result<T, InputError<'s>> {
        Err(self.error(value, expected, ActualValue::Value))
    }

    /// Passes the success of a frame to the frame below it.
    fn held(&mut self) -> CheckResult<'s> {
        let Some(mut frame) = self.take() else { return Ok(()) };
        let value = frame.value;
        if let Step::Branches(how, _, rest) = &mut frame.step {
            match how {
                Combinator::All => {}
                Combinator::Any => frame.step = Step::Keywords(rest.clone()),
                Combinator::One(false) => *how = Combinator::One(true),
                Combinator::One(true) => {
                    let error = self.error(
                        value,
                        Expectation::Words("a value of only one of the allowed forms"),
                        ActualValue::Value,
                    );
                    return self.failed(frame.level, error);
                }
                Combinator::Not => {
                    let error =
                        self.error(value, Expectation::Words("another value"), ActualValue::Value);
                    return self.failed(frame.level, error);
                }
            }
        }
        self.put_back(frame);
        Ok(())
    }

    /// Records an error that ends its frame.
    fn failed(&mut self, level: u8, error: InputError<'s>) -> CheckResult<'s> {
        if self.deepest.as_ref().is_none_or(|(deepest, _)| level > *deepest) {
            self.deepest = Some((level, error.clone()));
        }
        Err(error)
    }

    /// Passes the error of a frame to the frame below it, which was popped.
    fn branch_failed(
        &mut self,
        mut frame: Frame<'s, 'v>,
        error: InputError<'s>,
    ) -> CheckResult<'s> {
        match &mut frame.step {
            Step::Branches(Combinator::Not, _, rest) => frame.step = Step::Keywords(rest.clone()),
            Step::Branches(Combinator::Any | Combinator::One(_), ..) => {}
            _ => return Err(error),
        }
        self.put_back(frame);
        Ok(())
    }

    fn advance(
        &mut self,
        frame: &mut Frame<'s, 'v>,
    ) -> Result<FrameAction<'s, 'v>, InputError<'s>> {
        let (schema, value, level) = (frame.schema, frame.value, frame.level);
        loop {
            match &mut frame.step {
                Step::Alone => {
                    if self.nullable
                        && value.is_null()
                        && schema.member("nullable").and_then(Value::as_bool) == Some(true)
                    {
                        return Ok(FrameAction::Done);
                    }
                    match schema.as_bool() {
                        Some(true) => return Ok(FrameAction::Done),
                        Some(false) => return self.wrong(value, Expectation::Words("no value")),
                        None => {}
                    }
                    for (keyword, rule) in schema.members() {
                        self.alone(schema, keyword, rule, value)?;
                    }
                    frame.step = Step::Members(value.members());
                }
                Step::Members(rest) => match rest.next() {
                    None => frame.step = Step::Elements(value.elements(), 0),
                    Some((name, inner)) => {
                        if let Some(rule) = self.rule_of_member(schema, name, inner)? {
                            return Ok(FrameAction::Push(rule, inner, level.saturating_add(1)));
                        }
                    }
                },
                Step::Elements(rest, index) => match rest.next() {
                    None => frame.step = Step::Keywords(schema.members()),
                    Some(inner) => {
                        let prefix = schema
                            .member("prefixItems")
                            .and_then(|prefix| prefix.elements().nth(*index));
                        *index = index.saturating_add(1);
                        if let Some(rule) =
                            prefix.or_else(|| schema.member("items")).filter(is_schema)
                        {
                            return Ok(FrameAction::Push(rule, inner, level.saturating_add(1)));
                        }
                    }
                },
                Step::Keywords(rest) => {
                    let Some((keyword, rule)) = rest.next() else { return Ok(FrameAction::Done) };
                    let rest = rest.clone();
                    let branches = |how, list| Step::Branches(how, list, rest);
                    if keyword == *"allOf" {
                        frame.step = branches(Combinator::All, rule.elements());
                    } else if keyword == *"anyOf" && rule.kind() == Kind::Array {
                        self.deepest = None;
                        frame.step = branches(Combinator::Any, rule.elements());
                    } else if keyword == *"oneOf" && rule.kind() == Kind::Array {
                        self.deepest = None;
                        frame.step = branches(Combinator::One(false), rule.elements());
                    } else if keyword == *"not" && is_schema(&rule) {
                        frame.step = branches(Combinator::Not, EMPTY.elements());
                        return Ok(FrameAction::Push(rule, value, level));
                    } else if keyword == *"$ref"
                        && let Some(target) =
                            rule.as_text().and_then(|path| resolve(self.schema, path))
                    {
                        return Ok(FrameAction::Push(target, value, level));
                    }
                }
                Step::Branches(how, list, rest) => match (list.next(), *how) {
                    (Some(branch), _) if is_schema(&branch) => {
                        return Ok(FrameAction::Push(branch, value, level));
                    }
                    (Some(_), _) => {}
                    (None, Combinator::All | Combinator::One(true) | Combinator::Not) => {
                        frame.step = Step::Keywords(rest.clone())
                    }
                    (None, Combinator::Any | Combinator::One(false)) => {
                        return Err(match self.deepest.take() {
                            Some((deepest, error)) if deepest > level => error,
                            _ => self.error(value, no_form(schema), ActualValue::Value),
                        });
                    }
                },
            }
        }
    }

    /// Returns the schema for a member of the value, if there is one.
    fn rule_of_member(
        &self,
        schema: Value<'s>,
        name: Text<'v>,
        inner: Value<'v>,
    ) -> Result<Option<Value<'s>>, InputError<'s>> {
        let properties = schema.member("properties");
        if let Some((_, rule)) = properties
            .and_then(|properties| properties.members().find(|(known, _)| same(*known, name)))
        {
            return Ok(Some(rule).filter(is_schema));
        }
        if schema.member("patternProperties").is_some() {
            return Ok(None);
        }
        match schema.member("additionalProperties") {
            Some(rule) if rule.as_bool() == Some(false) => Err(self.error(
                inner,
                Expectation::member(Names::members(properties.unwrap_or(Value::NULL))),
                ActualValue::Unknown,
            )),
            rule => Ok(rule.filter(is_schema)),
        }
    }

    /// Checks a keyword that needs no other schema.
    fn alone(
        &self,
        schema: Value<'s>,
        keyword: Text<'s>,
        rule: Value<'s>,
        value: Value<'v>,
    ) -> CheckResult<'s> {
        let Some(keyword) = keyword.as_plain() else { return Ok(()) };
        let number = || {
            (value.kind() == Kind::Number && rule.kind() == Kind::Number)
                .then(|| compare(value.raw(), rule.raw()))
                .flatten()
        };
        match keyword {
            "type" => {
                let types = types_of(rule);
                if types != Types::NONE && !types.fit(value) {
                    return self.wrong(value, Expectation::Type(types));
                }
            }
            "enum"
                if rule.kind() == Kind::Array
                    && !rule.elements().any(|allowed| equal(allowed, value)) =>
            {
                return self.wrong(value, Expectation::one_of(Names::elements(rule), false));
            }
            "const" if !equal(rule, value) => {
                return self.wrong(value, Expectation::Bound("exactly", rule.as_json()));
            }
            "minimum" if number() == Some(Ordering::Less) => {
                return self.wrong(value, Expectation::Bound("at least", rule.as_json()));
            }
            "maximum" if number() == Some(Ordering::Greater) => {
                return self.wrong(value, Expectation::Bound("at most", rule.as_json()));
            }
            "exclusiveMinimum" if matches!(number(), Some(Ordering::Less | Ordering::Equal)) => {
                return self.wrong(value, Expectation::Bound("more than", rule.as_json()));
            }
            "exclusiveMaximum" if matches!(number(), Some(Ordering::Greater | Ordering::Equal)) => {
                return self.wrong(value, Expectation::Bound("less than", rule.as_json()));
            }
            "multipleOf"
                if number().is_some() && is_multiple(value.raw(), rule.raw()) == Some(false) =>
            {
                return self.wrong(value, Expectation::Bound("a multiple of", rule.as_json()));
            }
            "minLength" | "maxLength" => {
                if let Some(text) = value.as_text() {
                    return self.count(
                        keyword == "minLength",
                        rule,
                        "character",
                        characters(text),
                        value,
                    );
                }
            }
            "minItems" | "maxItems" if value.kind() == Kind::Array => {
                return self.count(
                    keyword == "minItems",
                    rule,
                    "item",
                    value.elements().count(),
                    value,
                );
            }
            "minProperties" | "maxProperties" if value.kind() == Kind::Object => {
                return self.count(
                    keyword == "minProperties",
                    rule,
                    "member",
                    value.members().count(),
                    value,
                );
            }
            "required" if value.kind() == Kind::Object => {
                for name in rule.elements().filter_map(Value::as_text) {
                    if !value.members().any(|(other, _)| same(name, other)) {
                        let properties =
                            schema.member("properties").into_iter().flat_map(Value::members);
                        let types = properties
                            .filter(|(other, _)| same(name, *other))
                            .find_map(|(_, rule)| rule.member("type"));
                        return Err(InputError::missing(
                            value.offset_in(self.input).unwrap_or(0),
                            name.raw(),
                            types.map_or(Types::NONE, types_of),
                        ));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn count(
        &self,
        min: bool,
        rule: Value<'s>,
        unit: &'static str,
        count: usize,
        value: Value<'v>,
    ) -> CheckResult<'s> {
        let Some((false, bound)) = parse_integer(rule.raw()) else { return Ok(()) };
        let Ok(bound) = usize::try_from(bound) else { return Ok(()) };
        if if min { count >= bound } else { count <= bound } {
            return Ok(());
        }
        Err(self.error(
            value,
            Expectation::Count(if min { "at least" } else { "at most" }, bound, unit),
            ActualValue::Count(count),
        ))
    }
}

/// Returns whether the API refuses this input schema because of a keyword at its root.
pub(crate) fn is_refused(schema: Value<'_>) -> bool {
    ["anyOf", "oneOf", "allOf", "$ref"].into_iter().any(|keyword| schema.member(keyword).is_some())
}

/// Returns the schema at `#` or `#/a/b` of a root. The path may contain `~0` and `~1`, but no
/// percent encoding.
pub(crate) fn resolve<'s>(root: Value<'s>, path: Text<'s>) -> Option<Value<'s>> {
    let mut at = root;
    let mut rest = path.as_plain()?.strip_prefix('#')?;
    while !rest.is_empty() {
        rest = rest.strip_prefix('/')?;
        let (part, more) = rest
            .split_at_checked(rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len()))?;
        at = at.members().find(|(name, _)| pointer_names(part, *name)).map(|(_, value)| value)?;
        rest = more;
    }
    is_schema(&at).then_some(at)
}

/// An empty array.
const EMPTY: Value<'static> = Value::EMPTY_ARRAY;

fn is_schema(value: &Value<'_>) -> bool {
    matches!(value.kind(), Kind::Object | Kind::Bool)
}

/// Returns the types that the keyword `type` lists.
pub(super) fn types_of(rule: Value<'_>) -> Types {
    let one = rule.as_text().map_or(Types::NONE, Types::named);
    rule.elements()
        .filter_map(Value::as_text)
        .fold(one, |types, name| types.and(Types::named(name)))
}

/// Returns what was expected when no branch matches: the types, if every branch states one.
fn no_form(schema: Value<'_>) -> Expectation<'static> {
    let mut types = Types::NONE;
    for branch in ["anyOf", "oneOf"]
        .into_iter()
        .filter_map(|name| schema.member(name))
        .flat_map(Value::elements)
    {
        match branch.member("type").map_or(Types::NONE, types_of) {
            Types::NONE => return Expectation::Words("one of the allowed forms"),
            more => types = types.and(more),
        }
    }
    Expectation::Type(types)
}

/// Returns whether a part of a JSON pointer refers to `name`.
fn pointer_names(part: &str, name: Text<'_>) -> bool {
    let Some(mut name) = name.as_plain() else { return false };
    let mut escaped = false;
    for c in part.chars() {
        let c = match (escaped, c) {
            (false, '~') => {
                escaped = true;
                continue;
            }
            (true, '0') => '~',
            (true, '1') => '/',
            _ => c,
        };
        escaped = false;
        match name.strip_prefix(c) {
            Some(rest) => name = rest,
            None => return false,
        }
    }
    name.is_empty()
}
