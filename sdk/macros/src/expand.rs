//! The expansion of `#[weir_sdk::task]`, as a function from tokens to tokens.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemFn};

use crate::signature::Signature;

/// Expands the attribute. A wrong use expands to the unchanged item and a `compile_error!`, so that the compiler
/// reports the mistake once and not every later use of the function as well.
pub(crate) fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    match try_task(attribute, item.clone()) {
        Ok(expansion) => expansion,
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#item #error)
        }
    }
}

fn try_task(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !attribute.is_empty() {
        return Err(Error::new_spanned(attribute, "#[weir_sdk::task] takes no arguments"));
    }
    let function: ItemFn = syn::parse2(item.clone()).map_err(|cause| {
        if looks_like_function(&item) {
            cause
        } else {
            Error::new(item.span(), format!("expected a function: `{}`", crate::signature::EXPECTED))
        }
    })?;
    let signature = Signature::parse(&function.sig)?;
    let checks = checks(&signature);
    let export = export(&signature);
    Ok(quote!(#function #checks #export))
}

/// A function with a syntax error keeps the parser's own message, which points at the place.
fn looks_like_function(item: &TokenStream) -> bool {
    item.clone().into_iter().any(|token| matches!(token, proc_macro2::TokenTree::Ident(word) if word == "fn"))
}

/// Type checks that point at the type at fault. They also make the function count as used when it is compiled for
/// the host, where nothing exports it.
fn checks(signature: &Signature<'_>) -> TokenStream {
    let (name, input, output) = (signature.name, signature.input, signature.output);
    let check_input = quote_spanned!(input.span()=> ::weir_sdk::__private::check_input::<#input>(););
    let check_output = quote_spanned!(output.span()=> ::weir_sdk::__private::check_output::<#output>(););
    quote! {
        const _: () = {
            #check_input
            #check_output
            let _: fn(#input) -> #output = #name;
        };
    }
}

/// The component export. `weir_sdk::export!` is empty for the host.
fn export(signature: &Signature<'_>) -> TokenStream {
    let name = signature.name;
    quote!(::weir_sdk::__export!(#name);)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(attribute: &str, item: &str) -> String {
        let parse = |source: &str| source.parse::<TokenStream>().unwrap();
        task(parse(attribute), parse(item)).to_string()
    }

    fn squeeze(text: &str) -> String {
        text.chars().filter(|letter| !letter.is_whitespace()).collect()
    }

    #[test]
    fn keeps_the_function_and_exports_it() {
        let source = "/// Counts.\npub fn count(input: Input) -> Result<Output, Error> { work(input) }";
        let expansion = squeeze(&expand("", source));
        let function = squeeze(&source.parse::<TokenStream>().unwrap().to_string());
        assert!(expansion.starts_with(&function), "{expansion}");
        assert!(expansion.contains("check_input::<Input>()"), "{expansion}");
        assert!(expansion.contains("check_output::<Result<Output,Error>>()"), "{expansion}");
        assert!(expansion.ends_with("::weir_sdk::__export!(count);"), "{expansion}");
    }

    #[test]
    fn accepts_every_valid_form() {
        for source in [
            "fn f(input: Input) -> Result<Output, Error> { g() }",
            "fn f(_: ()) -> weir_sdk::Result<()> { Ok(()) }",
            "fn f(Input { name }: Input) -> Result<String, std::io::Error> { g(name) }",
            "fn f(mut input: Option<Vec<u8>>) -> Outcome { g(input) }",
            "#[inline(never)] pub(crate) fn f(input: [u64; 3]) -> Result<(u8, u8)> { g(input) }",
        ] {
            let expansion = expand("", source);
            assert!(!expansion.contains("compile_error"), "{source}: {expansion}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (attribute, source, message) in [
            ("retries = 3", "fn f(i: I) -> Result<O, E> {}", "takes no arguments"),
            ("", "struct Count;", "expected a function: `fn name(input: Input) -> Result<Output, Error>`"),
            ("", "static F: u8 = 0;", "expected a function"),
            ("", "fn f(i: I) -> Result<O, E>", "expected curly braces"),
            ("", "async fn f(i: I) -> Result<O, E> {}", "a task cannot be async"),
            ("", "const fn f(i: I) -> Result<O, E> {}", "a task cannot be const"),
            ("", "unsafe fn f(i: I) -> Result<O, E> {}", "a task cannot be unsafe"),
            ("", "extern \"C\" fn f(i: I) -> Result<O, E> {}", "a task cannot be extern"),
            ("", "fn f<T>(i: T) -> Result<O, E> {}", "a task cannot be generic"),
            ("", "fn f<'a>(i: I<'a>) -> Result<O, E> {}", "a task cannot be generic"),
            ("", "fn f(i: I) -> Result<O, E> where I: Copy {}", "a task cannot be generic"),
            (
                "",
                "fn f() -> Result<O, E> {}",
                "takes exactly one argument, its input; write `_: ()` for a task without",
            ),
            ("", "fn f(a: A, b: B) -> Result<O, E> {}", "takes exactly one argument, its input; put several values in"),
            ("", "fn f(self) -> Result<O, E> {}", "a task is a free function"),
            ("", "fn f(i: &str) -> Result<O, E> {}", "takes its input by value"),
            ("", "fn f(i: impl Read) -> Result<O, E> {}", "needs a named type"),
            ("", "fn f(i: I) {}", "a task returns a `Result`"),
            ("", "fn f(i: I) -> impl Into<O> {}", "needs a named type"),
        ] {
            let expansion = expand(attribute, source);
            assert!(expansion.contains("compile_error"), "{source}: {expansion}");
            assert!(expansion.contains(message), "{source}: {expansion}");
        }
    }

    #[test]
    fn a_wrong_signature_names_the_right_one() {
        for source in ["fn f() -> Result<O, E> {}", "fn f(i: I) {}", "async fn f(i: I) -> Result<O, E> {}"] {
            assert!(expand("", source).contains(crate::signature::EXPECTED), "{source}");
        }
    }

    #[test]
    fn reports_every_mistake_of_a_signature() {
        let expansion = expand("", "async unsafe fn f<T>(a: &T, b: T) {}");
        assert_eq!(expansion.matches("compile_error").count(), 5, "{expansion}");
    }

    #[test]
    fn a_wrong_function_is_still_defined() {
        let expansion = squeeze(&expand("", "fn f(i: I) {}"));
        assert!(expansion.starts_with("fnf(i:I){}"), "{expansion}");
    }
}
