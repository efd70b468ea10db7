//! `derive(ToolInput)`.

use core::cell::RefCell;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{
    Data, DeriveInput, Error, Field, Fields, GenericParam, Ident, Lifetime, Result, Variant,
};

use crate::TargetCrate;
use crate::arguments::{self, Argument};
use crate::case::Case;
use crate::options::{ContainerOptions, FieldOptions, Fill, VariantOptions, docs};

pub(crate) fn expand(item: TokenStream, target: TargetCrate) -> TokenStream {
    match syn::parse2(item).and_then(|input| generate(&input, target)) {
        Ok(generated) => generated,
        Err(error) => error.into_compile_error(),
    }
}

/// The code that is generated for a type: the schema, and the body of `decode`, which can use
/// `value` and `decoder`.
struct GeneratedCode {
    schema: TokenStream,
    decode: TokenStream,
    /// Items outside the trait implementation.
    more: TokenStream,
}

struct Context<'i> {
    core: TokenStream,
    ident: &'i Ident,
    lifetime: TokenStream,
    options: ContainerOptions,
    /// The type, with its own lifetime replaced by `'static`.
    of_static: TokenStream,
    /// Whether the type has parameters other than its lifetime.
    is_generic: bool,
    /// Parts of the schema that need their own constant: a slice in an argument of a const function
    /// is not promoted to `'static`. Each has a name, a type and a value.
    constants: RefCell<Vec<(Ident, TokenStream, TokenStream)>>,
}

fn generate(input: &DeriveInput, target: TargetCrate) -> Result<TokenStream> {
    let core = target.core();
    let ident = &input.ident;
    let mut lifetimes = input.generics.lifetimes();
    let own: Option<&Lifetime> = lifetimes.next().map(|param| &param.lifetime);
    if let Some(second) = lifetimes.next() {
        return Err(Error::new(
            second.span(),
            "at most one lifetime is allowed: that of the input",
        ));
    }
    let lifetime = own.map_or_else(|| quote!('tool), |own| quote!(#own));
    let params = &input.generics.params;
    let (_, ty_generics, where_clause) = input.generics.split_for_impl();
    let types: Vec<_> = input.generics.type_params().map(|param| &param.ident).collect();
    let more_bounds = where_clause.into_iter().flat_map(|clause| &clause.predicates);
    let bounds = quote!(where #(#more_bounds,)* #(#types: #core::tool::ToolInput<#lifetime>,)*);
    let params = params.iter().map(without_default);
    // The lifetime of the input comes first, as lifetimes do.
    let generics = match own {
        Some(_) => quote!(#(#params),*),
        None => quote!('tool, #(#params),*),
    };
    let of_static = input.generics.params.iter().map(|param| match param {
        GenericParam::Lifetime(_) => quote!('static),
        GenericParam::Type(param) => param.ident.to_token_stream(),
        GenericParam::Const(param) => param.ident.to_token_stream(),
    });
    let of_static = quote!(#ident<#(#of_static),*>);
    refuse_recursion(input)?;
    let context = Context {
        core: core.clone(),
        ident,
        lifetime: lifetime.clone(),
        of_static,
        is_generic: !types.is_empty() || input.generics.const_params().next().is_some(),
        options: ContainerOptions::of(&input.attrs)?,
        constants: RefCell::default(),
    };
    let GeneratedCode { schema, decode, more } = match &input.data {
        Data::Struct(data) => context.of_struct(&data.fields)?,
        Data::Enum(data) => context.of_enum(&data.variants.iter().collect::<Vec<_>>())?,
        Data::Union(data) => {
            return Err(Error::new(
                data.union_token.span,
                "`ToolInput` cannot be derived for a union",
            ));
        }
    };
    let description = docs(&input.attrs).unwrap_or_default();
    let constants = context.constants.into_inner();
    let declared = constants.iter().map(|(name, ty, _)| quote!(const #name: #ty;));
    let defined = constants.iter().map(|(name, ty, value)| quote!(const #name: #ty = #value;));
    Ok(quote! {
        const _: () = {
        /// The constants of the schema. They are not those of the type itself, because they may
        /// use its parameters, which must be inputs too.
        trait Parts<'tool> {
            #(#declared)*
        }

        #[automatically_derived]
        impl<#generics> Parts<#lifetime> for #ident #ty_generics #bounds {
            #(#defined)*
        }

        #[automatically_derived]
        impl<#generics> #core::tool::ToolInput<#lifetime> for #ident #ty_generics #bounds {
            const SCHEMA: &'static #core::schema::Schema = &#schema.describe(#description);

            #[allow(unused_variables, reason = "generated")]
            fn decode(
                value: #core::json::Value<#lifetime>,
                decoder: &mut #core::tool::Decoder<#lifetime>,
            ) -> ::core::result::Result<Self, #core::schema::InputError<'static>> {
                #decode
            }
        }
        #more
        };
    })
}

/// Returns a parameter as an `impl` declares it.
fn without_default(param: &GenericParam) -> GenericParam {
    let mut param = param.clone();
    match &mut param {
        GenericParam::Type(param) => (param.eq_token, param.default) = (None, None),
        GenericParam::Const(param) => (param.eq_token, param.default) = (None, None),
        GenericParam::Lifetime(_) => {}
    }
    param
}

impl Context<'_> {
    /// Makes a slice a constant, and returns the path of the constant.
    fn constant(&self, item: &TokenStream, elements: &TokenStream) -> TokenStream {
        self.named(quote!(&'static [#item]), quote!(&#elements)).1
    }

    /// Adds a constant, and returns its name and its path.
    fn named(&self, ty: TokenStream, value: TokenStream) -> (Ident, TokenStream) {
        let lifetime = &self.lifetime;
        let mut constants = self.constants.borrow_mut();
        let name = quote::format_ident!("PART_{}", constants.len());
        constants.push((name.clone(), ty, value));
        let path = quote!(<Self as Parts<#lifetime>>::#name);
        (name, path)
    }

    fn object(&self, fields: &NamedFields) -> Result<TokenStream> {
        let core = &self.core;
        let properties = arguments::properties(&fields.list, core, &self.lifetime)?;
        let mut constant = self.constant(&quote!(#core::schema::Property), &properties);
        if arguments::is_flattened(&fields.list) {
            if self.is_generic {
                let field = fields.list.iter().find(|field| field.options.flatten);
                return Err(Error::new(
                    field.map_or_else(|| self.ident.span(), |field| field.ty.span()),
                    "a generic type cannot have a flattened field: the number of its members is not known here. \
                     Take the type as `Json<T>` (feature `schemars`), or write its members out",
                ));
            }
            // The length of an array cannot depend on a lifetime, so it is that of `'static`.
            let of_static = &self.of_static;
            let (name, _) =
                self.named(quote!(usize), quote!(#core::__private::flattened_len(#constant)));
            let len = quote!(<#of_static as Parts<'static>>::#name);
            let all = quote!(#core::__private::flattened::<{ #len }>(#constant));
            constant = self.constant(&quote!(#core::schema::Property), &all);
        }
        Ok(quote!(#core::schema::Schema::object(#constant)))
    }

    fn of_struct(&self, fields: &Fields) -> Result<GeneratedCode> {
        let (core, lifetime) = (&self.core, &self.lifetime);
        let more = quote!();
        match fields {
            Fields::Unnamed(unnamed) => {
                let Contents { ty, pattern, fields } = contents(unnamed)?;
                let schema = quote!((*<#ty as #core::tool::ToolInput<#lifetime>>::SCHEMA));
                let decode = quote! {
                    let #pattern = <#ty as #core::tool::ToolInput<'_>>::decode(value, decoder)?;
                    ::core::result::Result::Ok(Self(#fields))
                };
                Ok(GeneratedCode { schema, decode, more })
            }
            Fields::Named(_) | Fields::Unit => {
                let fields = self.fields(fields, self.options.rename_all, self.options.default)?;
                let schema = self.object(&fields)?;
                let read = fields.construct(&quote!(value), core);
                Ok(GeneratedCode {
                    schema,
                    decode: quote!(::core::result::Result::Ok(Self #read)),
                    more,
                })
            }
        }
    }

    fn fields(&self, fields: &Fields, case: Option<Case>, default: bool) -> Result<NamedFields> {
        let mut named = NamedFields { list: Vec::new(), idents: Vec::new() };
        for field in fields {
            let Field { ident: Some(ident), ty, .. } = field else { continue };
            let mut options = FieldOptions::take(&mut field.attrs.clone(), false)?;
            if default && options.default.is_none() {
                options.default =
                    Some(Fill::Quiet(quote!(<Self as ::core::default::Default>::default().#ident)));
            }
            let plain = ident.to_string().trim_start_matches("r#").to_owned();
            let name = options
                .rename
                .clone()
                .unwrap_or_else(|| case.map_or_else(|| plain.clone(), |case| case.apply(&plain)));
            named.list.push(Argument { name, ty: ty.clone(), options });
            named.idents.push(ident.clone());
        }
        Ok(named)
    }

    fn of_enum(&self, variants: &[&Variant]) -> Result<GeneratedCode> {
        let mut cases = Vec::new();
        for variant in variants {
            let options = VariantOptions::of(&variant.attrs)?;
            if options.skip {
                continue;
            }
            let plain = variant.ident.to_string();
            let name = options.rename.unwrap_or_else(|| {
                self.options.rename_all.map_or_else(|| plain.clone(), |case| case.apply(&plain))
            });
            cases.push(EnumCase {
                variant,
                name,
                rename_all: options.rename_all.or(self.options.rename_all_fields),
            });
        }
        if cases.is_empty() {
            return Err(Error::new(self.ident.span(), "an enum must have at least one variant"));
        }
        let units = cases.iter().all(|case| matches!(case.variant.fields, Fields::Unit));
        match (&self.options.tag, units) {
            _ if self.options.untagged => self.by_fit(&cases),
            (None, true) => Ok(self.of_names(&cases)),
            (None, false) => self.by_key(&cases),
            (Some(tag), _) => self.by_tag(tag, &cases),
        }
    }

    /// Generates code for an enum without contents: strings.
    fn of_names(&self, cases: &[EnumCase<'_>]) -> GeneratedCode {
        let (core, ident) = (&self.core, self.ident);
        let names: Vec<_> = cases.iter().map(|case| &case.name).collect();
        let idents: Vec<_> = cases.iter().map(|case| &case.variant.ident).collect();
        let constant = self.constant(&quote!(&'static str), &quote!([#(#names),*]));
        let all = quote!(#core::schema::Schema::names(#constant));
        let decode = quote! {
            let text = value.as_text().unwrap_or_default();
            #(if text == *#names {
                return ::core::result::Result::Ok(Self::#idents);
            })*
            ::core::result::Result::Err(decoder.wrong_type(value, <Self as #core::tool::ToolInput<'_>>::SCHEMA))
        };
        let more = quote! {
            impl #ident {
                /// Its name in a schema, where it is a default.
                #[doc(hidden)]
                #[allow(dead_code, unreachable_patterns, reason = "generated")]
                pub const fn __tool_default(&self) -> #core::__private::SchemaDefault {
                    match self {
                        #(Self::#idents => #core::__private::SchemaDefault::Text(#names),)*
                        _ => #core::__private::SchemaDefault::None,
                    }
                }
            }
        };
        GeneratedCode { schema: all, decode, more }
    }

    /// Generates code for the form `"unit"` or `{"name": content}`.
    fn by_key(&self, cases: &[EnumCase<'_>]) -> Result<GeneratedCode> {
        let core = &self.core;
        let (mut schemas, mut arms, mut units) = (Vec::new(), Vec::new(), Vec::new());
        for case in cases {
            let (name, ident) = (&case.name, &case.variant.ident);
            if matches!(case.variant.fields, Fields::Unit) {
                units.push((name, ident));
                continue;
            }
            let (schema, read) = self.content(case, &quote!(content))?;
            schemas.push(quote!(#core::__private::Variant::new(#name, #schema)));
            arms.push(quote!(if key == *#name { return ::core::result::Result::Ok(#read); }));
        }
        let (unit_names, unit_idents): (Vec<_>, Vec<_>) = units.into_iter().unzip();
        if !unit_names.is_empty() {
            let names = self.constant(&quote!(&'static str), &quote!([#(#unit_names),*]));
            schemas.insert(
                0,
                quote!(#core::__private::Variant::new("", #core::schema::Schema::names(#names))),
            );
        }
        let decode = quote! {
            if let ::core::option::Option::Some(text) = value.as_text() {
                #(if text == *#unit_names {
                    return ::core::result::Result::Ok(Self::#unit_idents);
                })*
            }
            if let ::core::option::Option::Some((key, content)) = value.members().next() {
                #(#arms)*
            }
            ::core::result::Result::Err(decoder.wrong_type(value, <Self as #core::tool::ToolInput<'_>>::SCHEMA))
        };
        let constant = self.constant(&quote!(#core::__private::Variant), &quote!([#(#schemas),*]));
        let schema =
            quote!(#core::__private::choice(#core::__private::Discriminator::Key, #constant));
        Ok(GeneratedCode { schema, decode, more: quote!() })
    }

    /// Generates code for the form `{"tag": "name", …}` or `{"tag": "name", "content": …}`.
    fn by_tag(&self, tag: &str, cases: &[EnumCase<'_>]) -> Result<GeneratedCode> {
        let core = &self.core;
        let (mut schemas, mut arms) = (Vec::new(), Vec::new());
        for case in cases {
            let (name, ident) = (&case.name, &case.variant.ident);
            let empty = matches!(case.variant.fields, Fields::Unit);
            let (schema, read) = if empty {
                (quote!(#core::schema::Schema::object(&[])), quote!(Self::#ident))
            } else if let Some(content_name) = &self.options.content {
                let missing =
                    quote!(decoder.member::<#core::json::Value<'_>>(value, #content_name)?);
                let (schema, read) = self.content(case, &quote!(content))?;
                let property = quote!([#core::schema::Property::required(#content_name, #schema)]);
                let property = self.constant(&quote!(#core::schema::Property), &property);
                (
                    quote!(#core::schema::Schema::object(#property)),
                    quote!({ let content = #missing; #read }),
                )
            } else {
                self.content(case, &quote!(value))?
            };
            let description = docs(&case.variant.attrs).unwrap_or_default();
            schemas.push(quote!(#core::__private::Variant::new(#name, #schema.describe(#description).tagged(#tag, #name))));
            arms.push(quote!(if tag == *#name { return ::core::result::Result::Ok(#read); }));
        }
        let decode = quote! {
            let tag = decoder.member::<#core::json::Text<'_>>(value, #tag)?;
            #(#arms)*
            ::core::result::Result::Err(decoder.error(value, "one of the allowed forms"))
        };
        let constant = self.constant(&quote!(#core::__private::Variant), &quote!([#(#schemas),*]));
        let schema =
            quote!(#core::__private::choice(#core::__private::Discriminator::Tag(#tag), #constant));
        Ok(GeneratedCode { schema, decode, more: quote!() })
    }

    /// Generates code for an enum whose variants have nothing to tell them apart but their form:
    /// the first that fits is read.
    fn by_fit(&self, cases: &[EnumCase<'_>]) -> Result<GeneratedCode> {
        let core = &self.core;
        let (mut schemas, mut reads) = (Vec::new(), Vec::new());
        for case in cases {
            if matches!(case.variant.fields, Fields::Unit) {
                return Err(Error::new(
                    case.variant.span(),
                    "in an untagged enum, a variant without contents would be `null`: make the argument an `Option`, or give the variant contents",
                ));
            }
            let (schema, read) = self.content(case, &quote!(value))?;
            let name = &case.name;
            schemas.push(quote!(#core::__private::Variant::new(#name, #schema)));
            reads.push(read);
        }
        let constant = self.constant(&quote!(#core::__private::Variant), &quote!([#(#schemas),*]));
        let places = 0..reads.len();
        let decode = quote! {
            let mut failed = ::core::option::Option::None;
            #(
                if #core::__private::fits(decoder, #constant, #places, value) {
                    #[allow(clippy::redundant_closure_call, reason = "generated")]
                    match (|| ::core::result::Result::Ok::<Self, #core::schema::InputError<'static>>(#reads))() {
                        ::core::result::Result::Ok(read) => return ::core::result::Result::Ok(read),
                        ::core::result::Result::Err(error) => {
                            failed.get_or_insert(error);
                        }
                    }
                }
            )*
            ::core::result::Result::Err(
                failed.unwrap_or_else(|| decoder.error(value, "one of the allowed forms")),
            )
        };
        let schema =
            quote!(#core::__private::choice(#core::__private::Discriminator::Fit, #constant));
        Ok(GeneratedCode { schema, decode, more: quote!() })
    }

    /// Generates the schema of a variant's contents, and the expression that reads the variant from
    /// `source`.
    fn content(
        &self,
        case: &EnumCase<'_>,
        source: &TokenStream,
    ) -> Result<(TokenStream, TokenStream)> {
        let (core, lifetime, ident) = (&self.core, &self.lifetime, &case.variant.ident);
        let description = docs(&case.variant.attrs).unwrap_or_default();
        match &case.variant.fields {
            Fields::Unnamed(unnamed) => {
                let Contents { ty, pattern, fields } = contents(unnamed)?;
                let schema = quote!((*<#ty as #core::tool::ToolInput<#lifetime>>::SCHEMA).describe(#description));
                let read = quote! {{
                    let #pattern = <#ty as #core::tool::ToolInput<'_>>::decode(#source, decoder)?;
                    Self::#ident(#fields)
                }};
                Ok((schema, read))
            }
            fields => {
                let fields = self.fields(fields, case.rename_all, false)?;
                let schema = self.object(&fields)?;
                let read = fields.construct(source, core);
                Ok((quote!(#schema.describe(#description)), quote!(Self::#ident #read)))
            }
        }
    }
}

struct EnumCase<'v> {
    variant: &'v Variant,
    name: String,
    rename_all: Option<Case>,
}

struct NamedFields {
    list: Vec<Argument>,
    idents: Vec<Ident>,
}

impl NamedFields {
    /// Generates `{ field: …, }`.
    fn construct(&self, source: &TokenStream, core: &TokenStream) -> TokenStream {
        let reads = self.list.iter().map(|argument| argument.read(source, core));
        let idents = &self.idents;
        quote!({ #(#idents: #reads,)* })
    }
}

/// The contents of a tuple struct or a variant: the type that is read, a pattern for its value, and
/// the fields that the pattern names.
struct Contents {
    ty: TokenStream,
    pattern: TokenStream,
    fields: TokenStream,
}

/// Returns the contents. Several fields are a tuple, which is an array in JSON.
fn contents(fields: &syn::FieldsUnnamed) -> Result<Contents> {
    let types: Vec<_> = fields.unnamed.iter().map(|field| &field.ty).collect();
    let names: Vec<_> = (0..types.len()).map(|i| quote::format_ident!("field_{i}")).collect();
    match types.as_slice() {
        [] => Err(Error::new(
            fields.span(),
            "a tuple struct or variant must have a field: write it without parentheses",
        )),
        [ty] => {
            let name = names.first();
            Ok(Contents { ty: quote!(#ty), pattern: quote!(#name), fields: quote!(#name) })
        }
        _ => Ok(Contents {
            ty: quote!((#(#types),*)),
            pattern: quote!((#(#names),*)),
            fields: quote!(#(#names),*),
        }),
    }
}

/// Refuses a type that contains itself, because its schema would be infinite.
fn refuse_recursion(input: &DeriveInput) -> Result<()> {
    struct Find<'i> {
        ident: &'i Ident,
        found: Option<proc_macro2::Span>,
    }

    impl<'ast> Visit<'ast> for Find<'_> {
        fn visit_path(&mut self, path: &'ast syn::Path) {
            if path.is_ident("Self")
                || path
                    .segments
                    .last()
                    .is_some_and(|last| path.segments.len() == 1 && last.ident == *self.ident)
            {
                self.found.get_or_insert_with(|| path.span());
            }
            syn::visit::visit_path(self, path);
        }
    }

    let mut find = Find { ident: &input.ident, found: None };
    let mut look = |fields: &Fields| fields.iter().for_each(|field| find.visit_type(&field.ty));
    match &input.data {
        Data::Struct(data) => look(&data.fields),
        Data::Enum(data) => data.variants.iter().for_each(|variant| look(&variant.fields)),
        Data::Union(_) => {}
    }
    let Some(span) = find.found else { return Ok(()) };
    let text = format!(
        "recursive input type: `{0}` contains itself, so its schema would be infinite. Use `json::Value` (any JSON) where it recurs, \
         a flat list of items that name their parent, or take the whole type as `Json<T>` (feature `schemars`)",
        input.ident
    );
    Err(Error::new(span, text))
}
