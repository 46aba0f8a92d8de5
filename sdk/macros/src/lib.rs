//! The attribute macro of the Weir guest SDK. Use it as `weir_sdk::task`.

mod expand;
mod signature;

/// Makes a function the entry point of a Weir task.
///
/// The function has the form `fn name(input: Input) -> Result<Output, Error>`, where `Input` implements
/// `serde::Deserialize` without borrowing, `Output` implements `serde::Serialize`, and `Error` converts into
/// `weir_sdk::Error`. It stays an ordinary function that tests can call. A crate has one task.
#[proc_macro_attribute]
pub fn task(attribute: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::task(attribute.into(), item.into()).into()
}
