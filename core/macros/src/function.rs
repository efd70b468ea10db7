//! `#[tool]` on a function, and the code that it shares with `#[toolbox]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{Error, FnArg, Ident, ItemFn, Pat, Result, ReturnType, Signature, Type};

use crate::TargetCrate;
use crate::arguments::{self, Argument};
use crate::options::{FieldOptions, ToolOptions, check_name, docs};

/// A function or method that is a tool.
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) function: Ident,
    pub(crate) asynchronous: bool,
    description: String,
    options: ToolOptions,
    parameters: Vec<Parameter>,
    /// Whether the tool is a type, whose `run` takes the input as its receiver.
    is_type: bool,
}

/// A parameter of the function.
enum Parameter {
    /// Part of the input.
    Argument(Ident, Box<Argument>),
    /// `&ToolContext`: the context of the call.
    Context,
    /// `&mut Output`: the buffer to which the tool writes its result itself.
    Output,
}

impl Tool {
    /// Parses a function's signature. Removes the macro's own attributes from the parameters and
    /// ignores a receiver.
    pub(crate) fn of(
        signature: &mut Signature,
        description: Option<String>,
        options: ToolOptions,
    ) -> Result<Self> {
        if let Some(generic) = signature
            .generics
            .params
            .iter()
            .find(|param| !matches!(param, syn::GenericParam::Lifetime(_)))
        {
            return Err(Error::new(
                generic.span(),
                "a tool cannot be generic: its schema is a constant. Write a tool for each type, or use `json::Value` (any JSON)",
            ));
        }
        let name =
            options.name.as_ref().map_or_else(|| signature.ident.to_string(), syn::LitStr::value);
        let name = name.trim_start_matches("r#").to_owned();
        check_name(&name, signature.ident.span())?;
        let mut parameters = Vec::new();
        for input in &mut signature.inputs {
            let FnArg::Typed(typed) = input else { continue };
            let options = FieldOptions::take(&mut typed.attrs, true)?;
            if let Some(given) = given(&typed.ty)? {
                parameters.push(given);
                continue;
            }
            let Pat::Ident(pattern) = &*typed.pat else {
                return Err(Error::new(
                    typed.pat.span(),
                    "an argument of a tool needs a name: the model passes it by that name",
                ));
            };
            if let Type::ImplTrait(ty) = &*typed.ty {
                return Err(Error::new(
                    ty.span(),
                    "a tool cannot be generic: its schema is a constant. Name the type",
                ));
            }
            let name = options
                .rename
                .clone()
                .unwrap_or_else(|| pattern.ident.to_string().trim_start_matches("r#").to_owned());
            let same = |other: &Parameter| matches!(other, Parameter::Argument(_, argument) if argument.name == name);
            if parameters.iter().any(same) {
                return Err(Error::new(
                    pattern.span(),
                    format!("two arguments are named \"{name}\""),
                ));
            }
            let argument = Argument { name, ty: (*typed.ty).clone(), options };
            parameters.push(Parameter::Argument(pattern.ident.clone(), Box::new(argument)));
        }
        if options.input {
            let mut arguments = parameters.iter().filter_map(|parameter| match parameter {
                Parameter::Argument(_, argument) => Some(argument),
                _ => None,
            });
            let is_plain = |argument: &Argument| {
                let FieldOptions { rename, default, parse, flatten, bounds, alias, .. } =
                    &argument.options;
                rename.is_none()
                    && default.is_none()
                    && bounds.is_empty()
                    && alias.is_empty()
                    && !parse
                    && !flatten
            };
            let (first, second) = (arguments.next(), arguments.next());
            if second.is_some() || !first.is_some_and(|argument| is_plain(argument)) {
                return Err(Error::new(
                    signature.ident.span(),
                    "with the option `input`, a tool has one argument, without options: the whole input. \
                     Several arguments are members of the input; `#[tool(flatten)]` on one adds the members of its struct",
                ));
            }
        }
        let description = options
            .description
            .as_ref()
            .map(syn::LitStr::value)
            .or(description)
            .unwrap_or_default();
        Ok(Self {
            name,
            function: signature.ident.clone(),
            asynchronous: signature.asyncness.is_some(),
            description,
            options,
            parameters,
            is_type: false,
        })
    }

    /// Parses the `run` of a type that is a tool. `signature` has the input as its first argument
    /// instead of the receiver.
    pub(crate) fn of_type(
        signature: &mut Signature,
        description: Option<String>,
        options: ToolOptions,
    ) -> Result<Self> {
        let mut tool = Self::of(signature, description, options)?;
        tool.is_type = true;
        Ok(tool)
    }

    /// Generates the constants `SCHEMA<suffix>` and `DEFINITION<suffix>`.
    pub(crate) fn constants(&mut self, core: &TokenStream, suffix: &str) -> Result<TokenStream> {
        let arguments: Vec<_> = core::mem::take(&mut self.parameters);
        let (mut listed, mut order) = (Vec::new(), Vec::new());
        for parameter in arguments {
            match parameter {
                Parameter::Argument(ident, argument) => {
                    order.push(Ok(ident));
                    listed.push(*argument);
                }
                given => order.push(Err(given)),
            }
        }
        let properties = arguments::properties(&listed, core, &quote!('_))?;
        let is_flattened = arguments::is_flattened(&listed);
        let whole = listed.first().filter(|_| self.options.input).map(|only| only.ty.clone());
        // The documentation of a type that is a tool describes the tool, unless it has another
        // text.
        let described = whole.clone().filter(|_| self.is_type && self.description.is_empty());
        let mut listed = listed.into_iter();
        self.parameters = order
            .into_iter()
            .filter_map(|ident| match ident {
                Ok(ident) => {
                    listed.next().map(|argument| Parameter::Argument(ident, Box::new(argument)))
                }
                Err(given) => Some(given),
            })
            .collect();
        let Self { name, description, options, .. } = self;
        let description = match &described {
            Some(ty) => quote! {
                #core::__private::description(<#ty as #core::tool::ToolInput<'_>>::SCHEMA)
            },
            None => quote!(#description),
        };
        let extra = options.extra.join(",");
        let is_strict = options.is_strict;
        let text = quote!(#core::__private::text(&BYTES));
        let [schema_name, definition_name] =
            ["SCHEMA", "DEFINITION"].map(|name| constant(name, suffix));
        // Extra members of the definition are checked when it is used.
        let is_extended = !extra.is_empty();
        let new = quote!(made_definition(#name, #text, #schema_name, #is_extended));
        let schema = match whole {
            Some(ty) if described.is_some() => quote! {
                &#core::__private::without_description(*#core::__private::whole_input(<#ty as #core::tool::ToolInput<'_>>::SCHEMA))
            },
            Some(ty) => {
                quote!(#core::__private::whole_input(<#ty as #core::tool::ToolInput<'_>>::SCHEMA))
            }
            None if is_flattened => quote!({
                const PARTS: &[#core::schema::Property] = &#properties;
                const MEMBERS: &[#core::schema::Property] =
                    &#core::__private::flattened::<{ #core::__private::flattened_len(PARTS) }>(PARTS);
                &#core::schema::Schema::object(MEMBERS)
            }),
            None => quote!({
                const MEMBERS: &[#core::schema::Property] = &#properties;
                &#core::schema::Schema::object(MEMBERS)
            }),
        };
        let serial = options.serial.as_ref().map(|group| quote!(.serial_in(#group)));
        let blocking = options.blocking.then(|| quote!(.blocking()));
        let timeout = options
            .timeout_ms
            .as_ref()
            .map(|limit| quote!(.timeout(::core::time::Duration::from_millis(#limit))));
        let toolset = options.toolset.as_ref().map(|toolset| quote!(.member_of(#toolset)));
        let idempotent = options.idempotent.then(|| quote!(.idempotent()));
        let requires_approval = options.requires_approval.then(|| quote!(.requires_approval()));
        Ok(quote! {
            const #schema_name: &#core::schema::Schema = #schema;
            const #definition_name: #core::tool::Definition<'static> = {
                const LEN: usize = #core::__private::definition_len(#name, #description, #schema_name, #extra, #is_strict);
                const BYTES: [u8; LEN] = #core::__private::definition(#name, #description, #schema_name, #extra, #is_strict);
                #core::__private::#new #toolset #serial #blocking #timeout #idempotent #requires_approval
            };
        })
    }

    /// Generates the expression that checks the input, reads it, runs `function` on `receiver`, and
    /// writes the value that it returns. The expression uses `call` and `out`.
    pub(crate) fn run(
        &self,
        core: &TokenStream,
        suffix: &str,
        function: &TokenStream,
        receiver: &TokenStream,
    ) -> TokenStream {
        let name = &self.name;
        let schema_name = constant("SCHEMA", suffix);
        let (mut idents, mut reads, mut passed) = (Vec::new(), Vec::new(), Vec::new());
        for parameter in &self.parameters {
            match parameter {
                Parameter::Argument(ident, argument) => {
                    // The prefix avoids conflicts with the user's constants and macros.
                    let ident = quote::format_ident!(
                        "argument_{}",
                        ident.to_string().trim_start_matches("r#")
                    );
                    let ty = &argument.ty;
                    reads.push(if self.options.input {
                        quote!(<#ty as #core::tool::ToolInput<'_>>::decode(input, decoder)?)
                    } else {
                        argument.read(&quote!(input), core)
                    });
                    if !self.is_type {
                        passed.push(quote!(#ident));
                    }
                    idents.push(ident);
                }
                Parameter::Context => passed.push(quote!(&context_of_call)),
                Parameter::Output => passed.push(quote!(out)),
            }
        }
        let wait = self.asynchronous.then(|| quote!(.await));
        let takes_context =
            self.parameters.iter().any(|parameter| matches!(parameter, Parameter::Context));
        let context = takes_context.then(|| quote!(let context_of_call = call.context();));
        let lenient = self.options.lenient.then(|| {
            quote! {
                let lenient_input = #core::__private::lenient(#schema_name, call.input);
                let call = #core::__private::with_input(call, lenient_input.as_deref());
            }
        });
        quote! {{
            #context
            #lenient
            let (#(#idents,)*) = {
                #[allow(unused_mut, unused_variables, reason = "generated")]
                let ::core::option::Option::Some((input, mut decoder)) = #core::__private::begin(#name, #schema_name, call, out) else {
                    return ::core::result::Result::Err(#core::tool::ToolError::written());
                };
                #[allow(unused_variables, reason = "generated")]
                let decoder = &mut decoder;
                #[allow(clippy::redundant_closure_call)]
                let read = (|| ::core::result::Result::Ok::<_, #core::schema::InputError<'static>>((#(#reads,)*)))();
                match read {
                    ::core::result::Result::Ok(read) => read,
                    ::core::result::Result::Err(error) => {
                        return ::core::result::Result::Err(#core::__private::invalid_input(#name, &error, input, out));
                    }
                }
            };
            #[allow(clippy::let_unit_value)]
            let value = #function(#receiver, #(#passed),*) #wait;
            #[allow(unused_imports, reason = "generated")]
            use #core::__private::kinds::*;
            #[allow(clippy::unit_arg, clippy::needless_borrow)]
            match (&&&Probe(&value)).split_kind().split(value) {
                ::core::result::Result::Ok(value) => (&&&&Probe(&value)).output_kind().write(value, out),
                ::core::result::Result::Err(error) => ::core::result::Result::Err((&&&&Probe(&error)).error_kind().convert(error)),
            }
        }}
    }
}

fn constant(name: &str, suffix: &str) -> Ident {
    quote::format_ident!("{name}{suffix}")
}

/// Returns the parameter for a type that is not part of the input: `&mut Output<…>` or
/// `&ToolContext<…>`.
fn given(ty: &Type) -> Result<Option<Parameter>> {
    let (ty, reference) = match ty {
        Type::Reference(reference) => (&*reference.elem, Some(reference.mutability.is_some())),
        ty => (ty, None),
    };
    let Type::Path(path) = ty else { return Ok(None) };
    let name = path.path.segments.last().map(|segment| segment.ident.to_string());
    match (reference, name.as_deref()) {
        (Some(true), Some("Output")) => Ok(Some(Parameter::Output)),
        (Some(false), Some("ToolContext")) => Ok(Some(Parameter::Context)),
        (_, Some("ToolContext")) => {
            Err(Error::new(ty.span(), "a tool takes its context by reference: `&ToolContext<'_>`"))
        }
        _ => Ok(None),
    }
}

/// Generates the implementation of `Toolbox`, and for servers also that of `Tools`. `count` is the
/// number of tools; `definitions` and `arms` are indexed by `i`.
pub(crate) fn implementations(
    target: TargetCrate,
    generics: &syn::Generics,
    ty: &TokenStream,
    count: usize,
    definitions: &TokenStream,
    arms: &TokenStream,
) -> TokenStream {
    let core = target.core();
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let signature = quote! {
        async fn call(
            &self,
            i: usize,
            call: #core::tool::ToolCall<'_>,
            out: &mut #core::tool::Output<'_>,
        ) -> ::core::result::Result<(), #core::tool::ToolError>
    };
    let common = quote! {
        fn count(&self) -> usize {
            #count
        }

        fn definition(&self, i: usize) -> ::core::option::Option<#core::tool::Definition<'_>> {
            const DEFINITIONS: &[#core::tool::Definition<'static>] = &[#definitions];
            DEFINITIONS.get(i).copied().map(#core::__private::complete_definition)
        }
    };
    let body = quote! {
        match i {
            #arms
            _ => ::core::result::Result::Err(#core::__private::not_found(&call, out)),
        }
    };
    let toolbox_body = if target.tools() {
        quote!(#core::tool::Tools::call(self, i, call, out).await)
    } else {
        body.clone()
    };
    let tools = target.tools().then(|| {
        quote! {
            #[automatically_derived]
            impl #impl_generics #core::tool::Tools for #ty #where_clause {
                #common
                #signature { #body }
            }
        }
    });
    quote! {
        #[automatically_derived]
        impl #impl_generics #core::tool::Toolbox for #ty #where_clause {
            #common
            #signature { #toolbox_body }
        }
        #tools
    }
}

pub(crate) fn expand(options: TokenStream, item: TokenStream, target: TargetCrate) -> TokenStream {
    if let Ok(block) = syn::parse2::<syn::ItemImpl>(item.clone()) {
        return crate::typed::expand(options, &block, target);
    }
    let mut function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            // Keep the item, so that editors can still analyze it.
            let error = Error::new(error.span(), format!("#[tool] must be on a function: {error}"))
                .into_compile_error();
            return quote!(#error #item);
        }
    };
    match generate(options, &mut function, target) {
        Ok(generated) => generated,
        Err(error) => {
            let error = error.into_compile_error();
            for input in &mut function.sig.inputs {
                if let FnArg::Typed(typed) = input {
                    typed.attrs.clear();
                }
            }
            quote!(#error #[allow(unused, reason = "the macro's error says what is wrong")] #function)
        }
    }
}

fn generate(
    options: TokenStream,
    function: &mut ItemFn,
    target: TargetCrate,
) -> Result<TokenStream> {
    if let Some(receiver) = function.sig.receiver() {
        return Err(Error::new(
            receiver.span(),
            "a #[tool] method needs #[toolbox] on its impl block: \
             #[toolbox] impl Board { #[tool] fn … (&self) … }",
        ));
    }
    let core = target.core();
    let mut tool =
        Tool::of(&mut function.sig, docs(&function.attrs), ToolOptions::parse(options)?)?;
    let constants = tool.constants(&core, "")?;
    let ident = &function.sig.ident;
    let run = tool.run(&core, "", &quote!(#ident::run), &quote!(*self));
    let ty = ident.to_token_stream();
    let implementations = implementations(
        target,
        &syn::Generics::default(),
        &ty,
        1,
        &quote!(DEFINITION),
        &quote!(0 => #run),
    );
    let (doc_attributes, attributes): (Vec<_>, Vec<_>) =
        function.attrs.iter().partition(|attribute| attribute.path().is_ident("doc"));
    let (vis, block) = (&function.vis, &function.block);
    let mut signature = function.sig.clone();
    signature.ident = Ident::new("run", ident.span());
    // `self` is taken by value, so that elided lifetimes in the result refer to the arguments, as
    // in the original function.
    signature.inputs.insert(0, syn::parse_quote!(self));
    if let ReturnType::Type(_, ty) = &signature.output
        && let Type::ImplTrait(opaque) = &**ty
    {
        return Err(Error::new(opaque.span(), "a tool's result needs a type with a name"));
    }
    Ok(quote! {
        #(#doc_attributes)*
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug, Default)]
        #[allow(dead_code, reason = "the function of this name makes it")]
        #vis struct #ident {}

        #(#doc_attributes)*
        // This is a function, because a unit struct or a constant would conflict with every
        // variable of the same name in its scope.
        #[allow(non_snake_case)]
        #vis const fn #ident() -> #ident {
            #ident {}
        }

        impl #ident {
            #(#doc_attributes)*
            ///
            /// Runs the tool's function directly.
            #(#attributes)*
            #[allow(clippy::needless_pass_by_value, clippy::unused_async, clippy::too_many_arguments)]
            #vis #signature #block
        }

        const _: () = {
            #constants
            #implementations

            #[automatically_derived]
            impl #core::__private::ToolFunction for #ident {
                const DEFINITION: #core::tool::Definition<'static> = DEFINITION;
            }
        };
    })
}
