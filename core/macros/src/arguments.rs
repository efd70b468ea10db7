//! A list of arguments or fields: its schema, and the code that reads each of them.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, GenericArgument, Lit, PathArguments, Result, Type, UnOp};

use crate::options::{FieldOptions, Fill, number};

/// An argument or a field.
pub(crate) struct Argument {
    /// The name in the JSON.
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) options: FieldOptions,
}

impl Argument {
    /// Returns the type that reads the value: that of the argument, or with `parse` the type that
    /// wraps it, and then whether it is in an `Option`.
    fn reader(&self, core: &TokenStream) -> (TokenStream, Option<bool>) {
        let ty = &self.ty;
        if !self.options.parse {
            return (quote!(#ty), None);
        }
        match optional(ty) {
            Some(inner) => {
                (quote!(::core::option::Option<#core::tool::FromText<#inner>>), Some(true))
            }
            None => (quote!(#core::tool::FromText<#ty>), Some(false)),
        }
    }

    /// Refuses options that exclude each other.
    fn check(&self) -> Result<()> {
        let options = &self.options;
        let is_alone = options.alias.is_empty()
            && options.default.is_none()
            && options.rename.is_none()
            && options.bounds.is_empty()
            && !options.parse;
        if options.flatten && !is_alone {
            return Err(Error::new(
                self.ty.span(),
                "a flattened struct has no name and no value of its own: put the other options on its fields",
            ));
        }
        Ok(())
    }

    /// Generates a `Property`, and one more for each alias.
    fn property(&self, core: &TokenStream, lifetime: &TokenStream) -> Result<TokenStream> {
        self.check()?;
        let Self { name, options, .. } = self;
        let (ty, _) = self.reader(core);
        if options.flatten {
            return Ok(quote! {
                #core::__private::flat_member(*<#ty as #core::tool::ToolInput<#lifetime>>::SCHEMA)
            });
        }
        let description = options.description.as_deref().unwrap_or_default();
        let bounds = options.bounds.iter().map(|(function, argument)| {
            let function = syn::Ident::new(function, proc_macro2::Span::call_site());
            quote!(.#function(#argument))
        });
        let schema = quote! {
            (*<#ty as #core::tool::ToolInput<#lifetime>>::SCHEMA).describe(#description) #(#bounds)*
        };
        let schema = match self.default(core)? {
            Some(default) => quote!(#core::__private::with_default(#schema, #default)),
            None => schema,
        };
        let (aliases, mark) =
            (&options.alias, (!options.alias.is_empty()).then(|| quote!(.aliased())));
        let property = quote!(#core::schema::Property);
        let property = match options.default {
            Some(_) => quote!(#property::optional(#name, #schema)),
            // Not a function with a bound on the type, because it would repeat the error for a type
            // that is not an input.
            None => quote! {
                match (#schema, <#ty as #core::tool::ToolInput<#lifetime>>::OPTIONAL) {
                    (schema, true) => #property::optional(#name, schema),
                    (schema, false) => #property::required(#name, schema),
                }
            },
        };
        Ok(quote! {
            #property #mark
            #(, #core::schema::Property::alias(#aliases, #schema))*
        })
    }

    /// Generates the default for the schema, if it is known.
    fn default(&self, core: &TokenStream) -> Result<Option<TokenStream>> {
        if let Some(json) = &self.options.default_json {
            return Ok(Some(quote!(#core::__private::SchemaDefault::Json(#json))));
        }
        let Some(Fill::Expr(expr)) = &self.options.default else { return Ok(None) };
        let constant = |kind: &str| {
            let kind = syn::Ident::new(kind, proc_macro2::Span::call_site());
            quote!(#core::__private::SchemaDefault::#kind)
        };
        if let Some(json) = json(expr) {
            let kind = constant("Json");
            return Ok(Some(quote!(#kind(#json))));
        }
        let ty = type_name(&self.ty);
        if matches!(ty.as_str(), "i8" | "i16" | "i32" | "i64" | "isize" | "u8" | "u16" | "u32") {
            let kind = constant("Integer");
            return Ok(Some(quote!(#kind((#expr) as i64))));
        }
        match ty.as_str() {
            "bool" => {
                let kind = constant("Boolean");
                return Ok(Some(quote!(#kind(#expr))));
            }
            "str" => {
                let kind = constant("Text");
                return Ok(Some(quote!(#kind(#expr))));
            }
            _ => {}
        }
        if let Expr::Path(path) = &**expr
            && path.path.segments.len() > 1
            && path
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident.to_string().chars().any(char::is_lowercase))
        {
            // A variant without contents: its derive generates this function.
            return Ok(Some(quote!(#path.__tool_default())));
        }
        Err(Error::new(
            expr.span(),
            "the schema cannot express this default; add `default_json = \"…\"` with its value as JSON",
        ))
    }

    /// Generates the expression that reads the value from `object`. It uses `?` and `decoder`, a
    /// `&mut Decoder`.
    pub(crate) fn read(&self, object: &TokenStream, core: &TokenStream) -> TokenStream {
        let Self { name, options, .. } = self;
        if options.skip {
            return quote!(::core::default::Default::default());
        }
        let (ty, parsed) = self.reader(core);
        let input = quote!(<#ty as #core::tool::ToolInput<'_>>);
        if options.flatten {
            return quote!(#input::decode(#object, decoder)?);
        }
        let aliases = &options.alias;
        let name = if aliases.is_empty() {
            quote!(#name)
        } else {
            quote!(decoder.name_of(#object, #name, &[#(#aliases),*])?)
        };
        let default = match &options.default {
            None => None,
            Some(Fill::Expr(expr)) => Some(expr.to_token_stream()),
            Some(Fill::Quiet(expr)) => Some(expr.clone()),
        };
        let wrap = |value| match parsed {
            None => value,
            Some(false) => quote!(#core::tool::FromText(#value)),
            Some(true) => quote!((#value).map(#core::tool::FromText)),
        };
        let read = match default.map(wrap) {
            None => quote! {{ let name = #name; #input::read_member(decoder, #object, name)? }},
            Some(default) => quote! {{
                let name = #name;
                #input::read_member_or(decoder, #object, name, || #default)?
            }},
        };
        match parsed {
            None => read,
            Some(false) => quote!((#read).0),
            Some(true) => quote!((#read).map(|parsed| parsed.0)),
        }
    }
}

/// Returns the type inside an `Option`.
fn optional(ty: &Type) -> Option<&Type> {
    let path = match ty {
        Type::Path(path) => &path.path,
        Type::Group(group) => return optional(&group.elem),
        _ => return None,
    };
    let last = path.segments.last().filter(|last| last.ident == "Option")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(inner) => Some(inner),
        _ => None,
    }
}

/// Returns whether one of the arguments stands for the members of its type.
pub(crate) fn is_flattened(arguments: &[Argument]) -> bool {
    arguments.iter().any(|argument| argument.options.flatten && !argument.options.skip)
}

/// Generates an array of `Property`.
pub(crate) fn properties(
    arguments: &[Argument],
    core: &TokenStream,
    lifetime: &TokenStream,
) -> Result<TokenStream> {
    let listed = arguments.iter().filter(|argument| !argument.options.skip);
    let properties =
        listed.map(|argument| argument.property(core, lifetime)).collect::<Result<Vec<_>>>()?;
    Ok(quote!([#(#properties),*]))
}

/// Returns a literal expression as JSON.
fn json(expr: &Expr) -> Option<String> {
    if let Some(number) = number(expr) {
        return Some(number);
    }
    let list = |items: &mut dyn Iterator<Item = &Expr>| {
        let items = items.map(json).collect::<Option<Vec<_>>>()?;
        Some(format!("[{}]", items.join(",")))
    };
    match expr {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(quoted(&text.value())),
        Expr::Lit(ExprLit { lit: Lit::Char(c), .. }) => Some(quoted(&c.value().to_string())),
        Expr::Lit(ExprLit { lit: Lit::Bool(value), .. }) => Some(value.value.to_string()),
        Expr::Path(path) if path.path.is_ident("None") => Some("null".to_owned()),
        Expr::Array(array) => list(&mut array.elems.iter()),
        Expr::Reference(reference) => json(&reference.expr),
        Expr::Group(group) => json(&group.expr),
        Expr::Paren(paren) => json(&paren.expr),
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => number(expr),
        Expr::Macro(mac) if mac.mac.path.is_ident("vec") => {
            let items = mac
                .mac
                .parse_body_with(
                    syn::punctuated::Punctuated::<Expr, syn::Token![,]>::parse_terminated,
                )
                .ok()?;
            list(&mut items.iter())
        }
        // `Some(x)`, `String::from("x")`, `Vec::new()`
        Expr::Call(call) => {
            let Expr::Path(function) = &*call.func else { return None };
            let names: Vec<_> =
                function.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            match (names.as_slice(), call.args.first()) {
                (["Some" | "Box"] | ["String" | "Cow" | "Box", "from" | "new"], Some(inner)) => {
                    json(inner)
                }
                (["String", "new"], None) => Some("\"\"".to_owned()),
                (["Vec", "new"], None) => Some("[]".to_owned()),
                _ => None,
            }
        }
        // `"x".into()`
        Expr::MethodCall(call) if call.args.is_empty() => {
            let converts = ["into", "to_owned", "to_string"].iter().any(|name| call.method == name);
            converts.then(|| json(&call.receiver)).flatten()
        }
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            control if control < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => json.push(plain),
        }
    }
    json.push('"');
    json
}

/// Returns the last name of a type, ignoring references.
fn type_name(ty: &Type) -> String {
    match ty {
        Type::Reference(reference) => type_name(&reference.elem),
        Type::Group(group) => type_name(&group.elem),
        Type::Path(path) => {
            path.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default()
        }
        _ => String::new(),
    }
}
