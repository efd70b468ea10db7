//! The options in `#[tool(…)]` and `#[serde(…)]`, and doc comments.

use proc_macro2::{Span, TokenStream};
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, ExprLit, ExprUnary, Lit, LitInt, LitStr, Meta, Result, UnOp};

use crate::case::Case;

/// The error for a serde attribute that the schema cannot express.
const UNSUPPORTED: &str = "`derive(ToolInput)` does not support this serde attribute: the schema \
                           would not match the input that is read. Take the type as `Json<T>` \
                           (feature `schemars`), which leaves the input to serde";

/// The options of a tool: `#[tool(name = "…", strict, …)]`.
#[derive(Default)]
pub(crate) struct ToolOptions {
    pub(crate) name: Option<LitStr>,
    pub(crate) description: Option<LitStr>,
    /// The serial group. An empty string is the unnamed group.
    pub(crate) serial: Option<String>,
    /// The toolset that contains the tool.
    pub(crate) toolset: Option<LitStr>,
    pub(crate) blocking: bool,
    pub(crate) timeout_ms: Option<LitInt>,
    pub(crate) lenient: bool,
    pub(crate) idempotent: bool,
    pub(crate) requires_approval: bool,
    /// The only argument is the whole input.
    pub(crate) input: bool,
    /// The API enforces the schema.
    pub(crate) is_strict: bool,
    /// Extra members of the definition, as JSON.
    pub(crate) extra: Vec<String>,
}

impl ToolOptions {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        let mut options = Self::default();
        syn::meta::parser(|meta| options.one(&meta)).parse2(tokens)?;
        Ok(options)
    }

    /// Removes all `#[tool]` and `#[tool(…)]` attributes of a method and combines them. Returns
    /// `None` if there are none.
    pub(crate) fn take(attributes: &mut Vec<Attribute>) -> Result<Option<Self>> {
        let mut found = None;
        for attribute in take_all(attributes, "tool") {
            let options = found.get_or_insert_with(Self::default);
            if !matches!(attribute.meta, Meta::Path(_)) {
                attribute.parse_nested_meta(|meta| options.one(&meta))?;
            }
        }
        Ok(found)
    }

    fn one(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let is = |name| meta.path.is_ident(name);
        if is("name") {
            let name: LitStr = meta.value()?.parse()?;
            check_name(&name.value(), name.span())?;
            self.name = Some(name);
        } else if is("description") {
            self.description = Some(meta.value()?.parse()?);
        } else if is("serial") {
            let group = if meta.input.peek(syn::Token![=]) {
                meta.value()?.parse::<LitStr>()?.value()
            } else {
                String::new()
            };
            self.serial = Some(group);
        } else if is("toolset") {
            self.toolset = Some(meta.value()?.parse()?);
        } else if is("blocking") {
            self.blocking = true;
        } else if is("timeout_ms") {
            self.timeout_ms = Some(meta.value()?.parse()?);
        } else if is("lenient") {
            self.lenient = true;
        } else if is("idempotent") {
            self.idempotent = true;
        } else if is("requires_approval") {
            self.requires_approval = true;
        } else if is("input") {
            self.input = true;
        } else if is("strict") || is("defer_loading") || is("eager_input_streaming") {
            let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            self.is_strict |= name == "strict";
            self.extra.push(format!("\"{name}\":true"));
        } else if is("raw") {
            let raw: LitStr = meta.value()?.parse()?;
            if !raw.value().trim_start().starts_with('"') {
                return Err(Error::new(
                    raw.span(),
                    "members in JSON without braces, such as r#\"\"cache_control\":{\"type\":\"ephemeral\"}\"#",
                ));
            }
            self.extra.push(raw.value());
        } else {
            return Err(meta.error(
                "unknown tool option; the options are `name = \"…\"`, `description = \"…\"`, `toolset = \"…\"`, `strict`, `serial`, \
                 `serial = \"group\"`, `blocking`, `timeout_ms = …`, `lenient`, `idempotent`, `requires_approval`, `input`, `defer_loading`, `eager_input_streaming` and \
                 `raw = \"…\"`",
            ));
        }
        Ok(())
    }
}

/// Checks a name against the API's rule.
pub(crate) fn check_name(name: &str, span: Span) -> Result<()> {
    if (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    {
        return Ok(());
    }
    Err(Error::new(span, "a tool's name must be 1 to 128 of the characters a-z, A-Z, 0-9, _ and -"))
}

/// How a missing member is filled in.
#[derive(Clone)]
pub(crate) enum Fill {
    /// With this expression, which the schema states.
    Expr(Box<Expr>),
    /// With this expression, which the schema does not state.
    Quiet(TokenStream),
}

/// The options of an argument or a field.
#[derive(Default)]
pub(crate) struct FieldOptions {
    pub(crate) rename: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) default: Option<Fill>,
    pub(crate) default_json: Option<LitStr>,
    pub(crate) skip: bool,
    /// The members of the type take the place of this one.
    pub(crate) flatten: bool,
    /// Further names that the input may use.
    pub(crate) alias: Vec<String>,
    /// The type is read from a string by `FromStr`.
    pub(crate) parse: bool,
    /// Calls on the schema: the name of the function, and its argument.
    pub(crate) bounds: Vec<(&'static str, TokenStream)>,
}

impl FieldOptions {
    /// Reads the options, and removes the macro's own attributes. If `all` is set, doc comments are
    /// removed too.
    pub(crate) fn take(attributes: &mut Vec<Attribute>, all: bool) -> Result<Self> {
        let mut options = Self { description: docs(attributes), ..Self::default() };
        if all {
            attributes.retain(|attribute| !attribute.path().is_ident("doc"));
        }
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            attribute.parse_nested_meta(|meta| options.serde(&meta))?;
        }
        for attribute in take_all(attributes, "tool") {
            attribute.parse_nested_meta(|meta| options.tool(&meta))?;
        }
        Ok(options)
    }

    fn tool(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        const BOUNDS: [(&str, &str); 6] = [
            ("min", "minimum"),
            ("max", "maximum"),
            ("min_len", "min_length"),
            ("max_len", "max_length"),
            ("min_items", "min_items"),
            ("max_items", "max_items"),
        ];
        if let Some((name, function)) =
            BOUNDS.into_iter().find(|(name, _)| meta.path.is_ident(name))
        {
            let value: Expr = meta.value()?.parse()?;
            let argument = if name.contains('_') {
                quote::quote!(#value)
            } else {
                let text = number(&value)
                    .ok_or_else(|| Error::new(value.span(), "a bound must be a number literal"))?;
                quote::quote!(#text)
            };
            self.bounds.push((function, argument));
        } else if meta.path.is_ident("format") {
            let format: LitStr = meta.value()?.parse()?;
            self.bounds.push(("format", quote::quote!(#format)));
        } else if meta.path.is_ident("parse") {
            self.parse = true;
        } else if meta.path.is_ident("flatten") {
            self.flatten = true;
        } else if meta.path.is_ident("alias") {
            self.alias.push(meta.value()?.parse::<LitStr>()?.value());
        } else if meta.path.is_ident("rename") {
            self.rename = Some(meta.value()?.parse::<LitStr>()?.value());
        } else if meta.path.is_ident("description") {
            self.description = Some(meta.value()?.parse::<LitStr>()?.value());
        } else if meta.path.is_ident("default_json") {
            self.default_json = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("default") {
            self.default = Some(if meta.input.peek(syn::Token![=]) {
                Fill::Expr(Box::new(meta.value()?.parse()?))
            } else {
                Fill::Quiet(quote::quote!(::core::default::Default::default()))
            });
        } else {
            return Err(meta.error(
                "unknown argument option; the options are `default = …`, `default_json = \"…\"`, `rename = \"…\"`, `alias = \"…\"`, `description = \"…\"`, \
                 `parse`, `format = \"…\"`, `flatten`, `min`, `max`, `min_len`, `max_len`, `min_items` and `max_items`",
            ));
        }
        Ok(())
    }

    /// Reads serde's attributes of a field, as far as they change what is read.
    fn serde(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let is = |name| meta.path.is_ident(name);
        if is("rename") {
            self.rename = renamed(meta)?.or_else(|| self.rename.take());
        } else if is("default") {
            self.default = Some(Fill::Quiet(if meta.input.peek(syn::Token![=]) {
                let path: syn::ExprPath = meta.value()?.parse::<LitStr>()?.parse()?;
                quote::quote!(#path())
            } else {
                quote::quote!(::core::default::Default::default())
            }));
        } else if is("skip") || is("skip_deserializing") {
            self.skip = true;
        } else if is("flatten") {
            self.flatten = true;
        } else if is("alias") {
            self.alias.push(meta.value()?.parse::<LitStr>()?.value());
        } else if is("with") || is("deserialize_with") || is("getter") {
            return Err(meta.error(UNSUPPORTED));
        } else {
            ignore(meta)?;
        }
        Ok(())
    }
}

/// The options of a struct or an enum.
#[derive(Default)]
pub(crate) struct ContainerOptions {
    pub(crate) rename_all: Option<Case>,
    pub(crate) rename_all_fields: Option<Case>,
    pub(crate) tag: Option<String>,
    pub(crate) content: Option<String>,
    pub(crate) default: bool,
    pub(crate) untagged: bool,
}

impl ContainerOptions {
    pub(crate) fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut options = Self::default();
        for attribute in attributes {
            if attribute.path().is_ident("serde") {
                attribute.parse_nested_meta(|meta| options.one(&meta, true))?;
            } else if attribute.path().is_ident("tool") {
                attribute.parse_nested_meta(|meta| options.one(&meta, false))?;
            }
        }
        Ok(options)
    }

    fn one(&mut self, meta: &ParseNestedMeta<'_>, serde: bool) -> Result<()> {
        let is = |name| meta.path.is_ident(name);
        if is("rename_all") && meta.input.peek(syn::Token![=]) {
            self.rename_all = Some(Case::parse(&meta.value()?.parse()?)?);
        } else if is("rename_all_fields") && meta.input.peek(syn::Token![=]) {
            self.rename_all_fields = Some(Case::parse(&meta.value()?.parse()?)?);
        } else if is("tag") {
            self.tag = Some(meta.value()?.parse::<LitStr>()?.value());
        } else if is("content") {
            self.content = Some(meta.value()?.parse::<LitStr>()?.value());
        } else if is("default") && !meta.input.peek(syn::Token![=]) {
            self.default = true;
        } else if is("untagged") {
            self.untagged = true;
        } else if is("from") || is("try_from") || is("remote") {
            return Err(meta.error(UNSUPPORTED));
        } else if serde {
            ignore(meta)?;
        } else {
            return Err(meta.error(
                "unknown type option; the options are `rename_all`, `rename_all_fields`, `tag`, \
                 `content`, `untagged` and `default`",
            ));
        }
        Ok(())
    }
}

/// The options of a variant: `rename` and `rename_all`.
#[derive(Default)]
pub(crate) struct VariantOptions {
    pub(crate) rename: Option<String>,
    pub(crate) rename_all: Option<Case>,
    pub(crate) skip: bool,
}

impl VariantOptions {
    pub(crate) fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut options = Self::default();
        for attribute in attributes {
            let serde = attribute.path().is_ident("serde");
            if !serde && !attribute.path().is_ident("tool") {
                continue;
            }
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("rename") {
                    options.rename = renamed(&meta)?.or_else(|| options.rename.take());
                } else if meta.path.is_ident("rename_all") && meta.input.peek(syn::Token![=]) {
                    options.rename_all = Some(Case::parse(&meta.value()?.parse()?)?);
                } else if serde
                    && (meta.path.is_ident("skip") || meta.path.is_ident("skip_deserializing"))
                {
                    options.skip = true;
                } else if serde
                    && (meta.path.is_ident("other")
                        || meta.path.is_ident("untagged")
                        || meta.path.is_ident("with"))
                {
                    return Err(meta.error(UNSUPPORTED));
                } else if serde {
                    ignore(&meta)?;
                } else {
                    return Err(meta.error(
                        "unknown variant option; the options are `rename` and `rename_all`",
                    ));
                }
                Ok(())
            })?;
        }
        Ok(options)
    }
}

/// Returns the name in `rename = "…"`, or the `deserialize` name in `rename(serialize = "…",
/// deserialize = "…")`.
fn renamed(meta: &ParseNestedMeta<'_>) -> Result<Option<String>> {
    if meta.input.peek(syn::Token![=]) {
        return Ok(Some(meta.value()?.parse::<LitStr>()?.value()));
    }
    let mut name = None;
    meta.parse_nested_meta(|inner| {
        let text = inner.value()?.parse::<LitStr>()?.value();
        if inner.path.is_ident("deserialize") {
            name = Some(text);
        }
        Ok(())
    })?;
    Ok(name)
}

/// Skips an option that has no effect here.
fn ignore(meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.input.peek(syn::Token![=]) {
        meta.value()?.parse::<Expr>()?;
    } else if meta.input.peek(syn::token::Paren) {
        meta.parse_nested_meta(|inner| ignore(&inner))?;
    }
    Ok(())
}

fn take_all(attributes: &mut Vec<Attribute>, name: &str) -> Vec<Attribute> {
    attributes.extract_if(.., |attribute| attribute.path().is_ident(name)).collect()
}

/// Returns the doc comment without the space at the beginning of each line, and without empty lines
/// at either end.
pub(crate) fn docs(attributes: &[Attribute]) -> Option<String> {
    let mut lines = Vec::new();
    for attribute in attributes {
        if let Meta::NameValue(meta) = &attribute.meta
            && meta.path.is_ident("doc")
            && let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &meta.value
        {
            let text = text.value();
            // A block comment is one attribute with several lines, which may begin with a star.
            let block = text.contains('\n');
            lines.extend(text.lines().map(|line| {
                let line = if block { line.trim_start().trim_start_matches('*') } else { line };
                line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned()
            }));
        }
    }
    let text = lines.join("\n");
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns a literal number as JSON.
pub(crate) fn number(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Lit(ExprLit { lit: Lit::Int(int), .. }) => Some(int.base10_digits().to_owned()),
        Expr::Lit(ExprLit { lit: Lit::Float(float), .. }) => {
            let digits = float.base10_digits();
            Some(if digits.ends_with('.') { format!("{digits}0") } else { digits.to_owned() })
        }
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => {
            number(expr).map(|digits| format!("-{digits}"))
        }
        Expr::Group(group) => number(&group.expr),
        _ => None,
    }
}
