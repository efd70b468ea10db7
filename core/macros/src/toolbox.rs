//! `#[toolbox]` on an impl block.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Error, FnArg, ImplItem, ImplItemFn, ItemImpl, Lifetime, Result, Type};

use crate::TargetCrate;
use crate::function::{Tool, implementations};
use crate::options::{ToolOptions, docs};

pub(crate) fn expand(options: &TokenStream, item: TokenStream, target: TargetCrate) -> TokenStream {
    if !options.is_empty() {
        let error = Error::new(
            options.span(),
            "#[toolbox] takes no options: put them on its #[tool] methods",
        )
        .into_compile_error();
        return quote!(#error #item);
    }
    let mut block: ItemImpl = match syn::parse2(item.clone()) {
        Ok(block) => block,
        Err(error) => {
            let error =
                Error::new(error.span(), format!("#[toolbox] must be on an impl block: {error}"))
                    .into_compile_error();
            return quote!(#error #item);
        }
    };
    match generate(&mut block, target) {
        Ok(generated) => quote!(#block #generated),
        Err(error) => {
            let error = error.into_compile_error();
            strip(&mut block);
            quote!(#error #block)
        }
    }
}

/// Removes the attributes that only this macro understands, so that the block itself compiles next
/// to the macro's error.
fn strip(block: &mut ItemImpl) {
    for item in &mut block.items {
        if let ImplItem::Fn(method) = item {
            method.attrs.retain(|attribute| !attribute.path().is_ident("tool"));
            for input in &mut method.sig.inputs {
                if let FnArg::Typed(typed) = input {
                    typed.attrs.clear();
                }
            }
        }
    }
}

/// Refuses a type that contains a lifetime. A server's calls run on other threads, and the compiler
/// would report this only through the bounds of `Tools`.
fn owns(ty: &Type) -> Result<()> {
    struct LifetimeVisitor(Option<Error>);
    impl Visit<'_> for LifetimeVisitor {
        fn visit_lifetime(&mut self, lifetime: &Lifetime) {
            if lifetime.ident != "static" {
                let text = "a server's toolbox must not borrow, because its calls run on other threads: use `Arc` instead of a lifetime";
                add(&mut self.0, Error::new(lifetime.span(), text));
            }
        }
    }
    let mut borrowed = LifetimeVisitor(None);
    borrowed.visit_type(ty);
    borrowed.0.map_or(Ok(()), Err)
}

fn generate(block: &mut ItemImpl, target: TargetCrate) -> Result<TokenStream> {
    let core = target.core();
    if let Some((_, path, _)) = &block.trait_ {
        return Err(Error::new(
            path.span(),
            "#[toolbox] must be on an impl block of the type itself, not of a trait",
        ));
    }
    if target.tools() {
        owns(&block.self_ty)?;
    }
    let (mut tools, mut errors): (Vec<Tool>, Option<Error>) = (Vec::new(), None);
    for item in &mut block.items {
        let ImplItem::Fn(method) = item else { continue };
        match of_method(method) {
            Ok(Some(tool)) => {
                if tools.iter().any(|other| other.name == tool.name) {
                    let error = Error::new(
                        tool.function.span(),
                        format!("two tools of this toolbox are named \"{}\"", tool.name),
                    );
                    add(&mut errors, error);
                }
                tools.push(tool);
            }
            Ok(None) => {}
            Err(error) => add(&mut errors, error),
        }
    }
    if let Some(error) = errors {
        return Err(error);
    }
    if tools.is_empty() {
        return Err(Error::new(
            block.self_ty.span(),
            "no tools: put #[tool] on the methods that the model may call",
        ));
    }
    let ty = block.self_ty.to_token_stream();
    let (mut constants, mut definitions, mut arms) =
        (TokenStream::new(), TokenStream::new(), TokenStream::new());
    for (i, tool) in tools.iter_mut().enumerate() {
        let suffix = format!("_{i}");
        constants.extend(tool.constants(&core, &suffix)?);
        let definition = quote::format_ident!("DEFINITION{suffix}");
        definitions.extend(quote!(#definition,));
        let function = &tool.function;
        let run = tool.run(&core, &suffix, &quote!(Self::#function), &quote!(self));
        arms.extend(quote!(#i => #run));
    }
    let implementations =
        implementations(target, &block.generics, &ty, tools.len(), &definitions, &arms);
    Ok(quote! {
        const _: () = {
            #constants
            #implementations
        };
    })
}

fn of_method(method: &mut ImplItemFn) -> Result<Option<Tool>> {
    let Some(options) = ToolOptions::take(&mut method.attrs)? else { return Ok(None) };
    let shared = method
        .sig
        .receiver()
        .is_some_and(|receiver| receiver.reference.is_some() && receiver.mutability.is_none());
    if !shared {
        return Err(Error::new(
            method.sig.receiver().map_or_else(|| method.sig.ident.span(), Spanned::span),
            "a tool in a toolbox must take `&self`: calls of one turn may run at the same time. Put state that changes into a cell or a lock",
        ));
    }
    Tool::of(&mut method.sig, docs(&method.attrs), options).map(Some)
}

fn add(errors: &mut Option<Error>, error: Error) {
    match errors {
        Some(all) => all.combine(error),
        None => *errors = Some(error),
    }
}
