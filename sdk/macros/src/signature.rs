//! What the signature of a task has to look like.

use syn::{Error, FnArg, Ident, ReturnType, Type};

/// The form every message about a wrong signature ends with.
pub(crate) const EXPECTED: &str = "fn name(input: Input) -> Result<Output, Error>";

/// The parts of a valid task signature that the expansion needs.
pub(crate) struct Signature<'a> {
    pub(crate) name: &'a Ident,
    pub(crate) input: &'a Type,
    pub(crate) output: &'a Type,
}

impl<'a> Signature<'a> {
    /// Reads a signature.
    ///
    /// # Errors
    /// All mistakes of the signature at once, each at its own place.
    pub(crate) fn parse(signature: &'a syn::Signature) -> syn::Result<Self> {
        let mut mistakes = Mistakes::default();
        refuse_qualifiers(signature, &mut mistakes);
        let input = input(signature, &mut mistakes);
        let output = output(signature, &mut mistakes);
        match (mistakes.0, input, output) {
            (None, Some(input), Some(output)) => Ok(Self { name: &signature.ident, input, output }),
            (Some(error), ..) => Err(error),
            (None, ..) => Err(wrong(signature, "this is not the signature of a task")),
        }
    }
}

#[derive(Default)]
struct Mistakes(Option<Error>);

impl Mistakes {
    fn add(&mut self, at: impl quote::ToTokens, what: &str) {
        let mistake = wrong(at, what);
        match &mut self.0 {
            Some(earlier) => earlier.combine(mistake),
            None => self.0 = Some(mistake),
        }
    }
}

fn wrong(at: impl quote::ToTokens, what: &str) -> Error {
    Error::new_spanned(at, format!("{what}; expected `{EXPECTED}`"))
}

fn refuse_qualifiers(signature: &syn::Signature, mistakes: &mut Mistakes) {
    if let Some(word) = signature.asyncness {
        mistakes.add(word, "a task cannot be async");
    }
    if let Some(word) = signature.constness {
        mistakes.add(word, "a task cannot be const");
    }
    if let syn::Safety::Unsafe(word) = signature.safety {
        mistakes.add(word, "a task cannot be unsafe");
    }
    if let Some(abi) = &signature.abi {
        mistakes.add(abi, "a task cannot be extern");
    }
    let generics = &signature.generics;
    if !generics.params.is_empty() {
        mistakes.add(&generics.params, "a task cannot be generic");
    } else if let Some(clause) = &generics.where_clause {
        mistakes.add(clause, "a task cannot be generic");
    }
    if let Some(variadic) = &signature.variadic {
        mistakes.add(variadic, "a task takes exactly one argument, its input");
    }
}

fn input<'a>(signature: &'a syn::Signature, mistakes: &mut Mistakes) -> Option<&'a Type> {
    let mut arguments = signature.inputs.iter();
    let Some(first) = arguments.next() else {
        let what = "a task takes exactly one argument, its input; write `_: ()` for a task without input";
        mistakes.add(&signature.ident, what);
        return None;
    };
    if arguments.next().is_some() {
        let what = "a task takes exactly one argument, its input; put several values in a struct or a tuple";
        mistakes.add(&signature.inputs, what);
        return None;
    }
    let argument = match first {
        FnArg::Typed(argument) => argument,
        FnArg::Receiver(receiver) => {
            mistakes.add(receiver, "a task is a free function, not a method");
            return None;
        }
    };
    if let Type::Reference(reference) = &*argument.ty {
        mistakes.add(reference, "a task takes its input by value, for example `String` and not `&str`");
        return None;
    }
    named(&argument.ty, mistakes)
}

fn output<'a>(signature: &'a syn::Signature, mistakes: &mut Mistakes) -> Option<&'a Type> {
    match &signature.output {
        ReturnType::Type(_, output) => named(output, mistakes),
        ReturnType::Default => {
            mistakes.add(&signature.ident, "a task returns a `Result`");
            None
        }
    }
}

fn named<'a>(kind: &'a Type, mistakes: &mut Mistakes) -> Option<&'a Type> {
    if matches!(kind, Type::ImplTrait(_)) {
        mistakes.add(kind, "a task needs a named type here, not `impl Trait`");
        return None;
    }
    Some(kind)
}
