//! `#[tool]` on the impl block of an input's type: the type is the tool.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ImplItem, ImplItemFn, ItemImpl, LitStr, Result, Signature, Type};

use crate::TargetCrate;
use crate::case::Case;
use crate::function::{Tool, implementations};
use crate::options::{ToolOptions, docs};

pub(crate) fn expand(options: TokenStream, block: &ItemImpl, target: TargetCrate) -> TokenStream {
    match generate(options, block, target) {
        Ok(generated) => quote!(#block #generated),
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#error #block)
        }
    }
}

fn generate(options: TokenStream, block: &ItemImpl, target: TargetCrate) -> Result<TokenStream> {
    let core = target.core();
    if let Some((_, path, _)) = &block.trait_ {
        return Err(Error::new(
            path.span(),
            "#[tool] must be on an impl block of the type itself, not of a trait",
        ));
    }
    if let Some(param) = block.generics.params.first() {
        return Err(Error::new(
            param.span(),
            "a type that is a tool cannot be generic: its schema is a constant. Write the lifetime of a borrowed input as `'_`",
        ));
    }
    let ty = &*block.self_ty;
    let run = method(block)?;
    let mut options = ToolOptions::parse(options)?;
    if options.name.is_none() {
        options.name = Some(LitStr::new(&Case::Snake.apply(&name_of(ty)?), ty.span()));
    }
    options.input = true;
    let mut signature = run.sig.clone();
    let receiver = take_receiver(&mut signature, ty)?;
    let description = docs(&block.attrs);
    let mut tool = Tool::of_type(&mut signature, description, options)?;
    let constants = tool.constants(&core, "")?;
    let call = tool.run(&core, "", &quote!(<#ty>::run), &receiver);
    let implementations = implementations(
        target,
        &syn::Generics::default(),
        &quote!(Tool),
        1,
        &quote!(DEFINITION),
        &quote!(0 => #call),
    );
    let vis = &run.vis;
    let tools = target.tools().then(|| quote!(+ #core::tool::Tools));
    let doc = format!(
        "Returns the tool `{}`, whose input is this type and whose calls are passed to [`run`](Self::run).",
        tool.name
    );
    Ok(quote! {
        #[automatically_derived]
        impl #ty {
            #[doc = #doc]
            #[allow(dead_code, reason = "a program may use the type without its tool")]
            #vis const fn tool() -> impl #core::tool::Toolbox #tools + #core::__private::ToolFunction
            + ::core::marker::Copy + ::core::fmt::Debug + use<> {
                /// The tool of the type.
                #[derive(Clone, Copy, Debug)]
                struct Tool;

                #constants
                #implementations

                #[automatically_derived]
                impl #core::__private::ToolFunction for Tool {
                    const DEFINITION: #core::tool::Definition<'static> = DEFINITION;
                }

                Tool
            }
        }
    })
}

/// Returns the method that runs the calls.
fn method(block: &ItemImpl) -> Result<&ImplItemFn> {
    let methods = block.items.iter().filter_map(|item| match item {
        ImplItem::Fn(method) => Some(method),
        _ => None,
    });
    methods.into_iter().find(|method| method.sig.ident == "run").ok_or_else(|| {
        Error::new(
            block.self_ty.span(),
            "a type that is a tool needs a method `run`: `fn run(self) -> …`. \
             For an object with several tools, use #[toolbox]",
        )
    })
}

/// Returns the name of a type.
fn name_of(ty: &Type) -> Result<String> {
    let Type::Path(path) = ty else {
        return Err(Error::new(ty.span(), "a type that is a tool must be a struct"));
    };
    let last = path.path.segments.last();
    Ok(last.map(|segment| segment.ident.to_string()).unwrap_or_default())
}

/// Replaces the receiver with an argument for the whole input, and returns the expression that
/// passes it.
fn take_receiver(signature: &mut Signature, ty: &Type) -> Result<TokenStream> {
    let text = "`run` must take `self` or `&self`: the input of the call";
    let Some(FnArg::Receiver(receiver)) = signature.inputs.first() else {
        return Err(Error::new(signature.ident.span(), text));
    };
    if receiver.colon_token.is_some()
        || (receiver.reference.is_some() && receiver.mutability.is_some())
    {
        return Err(Error::new(receiver.span(), text));
    }
    let borrow = receiver.reference.as_ref().map(|_| quote!(&));
    let first = signature.inputs.first_mut();
    if let Some(first) = first {
        *first = syn::parse2(quote!(input_of_call: #ty).to_token_stream())?;
    }
    Ok(quote!(#borrow argument_input_of_call))
}
