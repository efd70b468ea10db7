//! Inputs that are generated from a tool's schema.

mod generate;
mod hostile;
mod near;
mod tree;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::link::Rng;
use crate::json::{Value, check};
use crate::schema::RawSchema;
use generate::Generator;
use tree::Tree;

/// The number of attempts to generate a value that fits, or one that does not.
const ATTEMPTS: usize = 200;

/// What a generated input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputKind {
    /// The input fits the schema.
    Valid,
    /// The input is an object that differs in one place from one that fits, and does not fit.
    NearlyValid,
    /// The input is meant to break a reader: it may not be JSON, or not an object, or too deep, or
    /// have huge numbers or texts. It may fit the schema.
    Hostile,
}

/// An input of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GeneratedInput {
    /// What the input is.
    pub kind: InputKind,
    /// The input as the model would write it: JSON, except for some hostile inputs.
    pub json: String,
    /// What is special about it, such as `unit: null`. Empty for valid inputs.
    pub what: String,
}

/// Why no inputs can be generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoInputs(String);

impl fmt::Display for NoInputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for NoInputs {}

/// An endless iterator over the inputs of a tool: valid, nearly valid and hostile ones in turn.
/// Created by [`inputs`].
#[derive(Clone, Debug)]
pub struct Inputs<'s> {
    root: Value<'s>,
    rng: Rng,
    count: usize,
    examples: Vec<(String, String)>,
}

/// Generates inputs from a schema: JSON Schema text, or the definition of a tool with its
/// `input_schema`. The same seed produces the same inputs.
///
/// Valid inputs use the bounds of numbers, lengths and counts, optional members that are present
/// and absent, each branch of `anyOf` and `oneOf`, recursive `$ref`s, and the usual formats. The
/// schema's `pattern`, `propertyNames`, `contains`, `if`, `dependent…` and `unevaluated…` are not
/// understood: give the values of such members, and of strings that the tool parses itself, with
/// [`Inputs::example`].
///
/// ```
/// use toolrunner_core::testing::{InputKind, inputs};
/// let schema = r#"{"type":"object","properties":{"celsius":{"type":"integer","minimum":-90}},
///     "required":["celsius"]}"#;
/// for input in inputs(schema, 7)?.take(300) {
///     let is_json = toolrunner_core::json::Value::parse(input.json.as_bytes()).is_ok();
///     assert!(is_json || input.kind == InputKind::Hostile, "{}", input.what);
/// }
/// # Ok::<(), toolrunner_core::testing::NoInputs>(())
/// ```
///
/// # Errors
/// Returns an error if `schema` is not a JSON object, or if no value that fits it was found.
pub fn inputs(schema: &str, seed: u64) -> Result<Inputs<'_>, NoInputs> {
    let json = check(schema.as_bytes()).ok().and_then(|_| Value::first(schema.as_bytes()));
    let Some(json) = json.filter(|json| json.members().next().is_some()) else {
        return Err(NoInputs("a schema must be a JSON object with members".to_owned()));
    };
    let root = json.member("input_schema").unwrap_or(json);
    let mut inputs = Inputs { root, rng: Rng::new(seed), count: 0, examples: Vec::new() };
    // Found now or never: the generator tries every branch.
    match inputs.clone().valid() {
        Some(_) => Ok(inputs),
        None => Err(inputs.none()),
    }
}

impl Inputs<'_> {
    /// Uses `json` for members with this name, wherever they are. Several examples of one name are
    /// used in turn.
    ///
    /// ```
    /// use toolrunner_core::testing::inputs;
    /// let schema = r#"{"type":"object",
    ///     "properties":{"color":{"type":"string","pattern":"^#[0-9a-f]{6}$"}}}"#;
    /// let inputs = inputs(schema, 1)?.example("color", r##""#ff8000""##);
    /// # Ok::<(), toolrunner_core::testing::NoInputs>(())
    /// ```
    #[must_use]
    pub fn example(mut self, name: &str, json: &str) -> Self {
        self.examples.push((name.to_owned(), json.to_owned()));
        self
    }

    fn fits(&self, tree: &Tree) -> bool {
        let json = tree.to_string();
        let schema = RawSchema::of(self.root);
        check(json.as_bytes()).is_ok()
            && Value::first(json.as_bytes()).is_some_and(|value| schema.check(value).is_ok())
    }

    fn none(&mut self) -> NoInputs {
        let tree = self.generate();
        NoInputs(format!(
            "no value that fits the schema was found in {ATTEMPTS} attempts; the last one was {tree}"
        ))
    }

    fn generate(&mut self) -> Tree {
        Generator { root: self.root, rng: &mut self.rng, examples: &self.examples }
            .value(self.root, 0)
    }

    /// Returns a value that fits the schema.
    fn valid(&mut self) -> Option<Tree> {
        (0..ATTEMPTS).find_map(|_| Some(self.generate()).filter(|tree| self.fits(tree)))
    }

    /// Returns an object that does not fit, and what is wrong with it.
    fn nearly_valid(&mut self) -> Option<(Tree, String)> {
        (0..ATTEMPTS).find_map(|_| {
            let mut tree = self.valid()?;
            let what = near::change(&mut tree, &mut self.rng)?;
            let is_json = check(tree.to_string().as_bytes()).is_ok();
            (is_json && matches!(tree, Tree::Object(_)) && !self.fits(&tree))
                .then_some((tree, what))
        })
    }
}

impl Iterator for Inputs<'_> {
    type Item = GeneratedInput;

    fn next(&mut self) -> Option<GeneratedInput> {
        let kinds = [InputKind::Valid, InputKind::NearlyValid, InputKind::Hostile];
        let kind = kinds.get(self.count % kinds.len()).copied().unwrap_or(InputKind::Valid);
        self.count = self.count.wrapping_add(1);
        let tree = self.valid()?;
        let valid = |tree: Tree| GeneratedInput {
            kind: InputKind::Valid,
            json: tree.to_string(),
            what: String::new(),
        };
        Some(match kind {
            InputKind::Valid => valid(tree),
            // A schema that every object fits has no nearly valid input.
            InputKind::NearlyValid => match self.nearly_valid() {
                Some((tree, what)) => GeneratedInput { kind, json: tree.to_string(), what },
                None => valid(tree),
            },
            InputKind::Hostile => {
                let (json, what) = hostile::input(tree, &mut self.rng);
                GeneratedInput { kind, json, what: what.to_owned() }
            }
        })
    }
}
