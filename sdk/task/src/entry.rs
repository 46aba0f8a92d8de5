//! The way from bytes to the task's own types and back.

use std::any::type_name;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The result type of a task. Implemented for every `Result` that fits; there is no need to name it.
#[diagnostic::on_unimplemented(
    message = "a task returns `Result<Output, Error>`, not `{Self}`",
    label = "expected `Result<Output, Error>`",
    note = "`Output` implements `serde::Serialize`, and `Error` converts into `weir_sdk::Error`"
)]
pub trait TaskResult {
    /// What the task makes.
    type Output: Serialize;

    /// Converts the error.
    ///
    /// # Errors
    /// The error of `self`.
    fn into_result(self) -> Result<Self::Output, Error>;
}

impl<O: Serialize, E: Into<Error>> TaskResult for Result<O, E> {
    type Output = O;

    fn into_result(self) -> Result<O, Error> {
        self.map_err(Into::into)
    }
}

/// Runs a task on its payload and returns its result as JSON. A payload without content is JSON `null`.
///
/// # Errors
/// The payload is not JSON of the input type, the task failed, or its output cannot be JSON.
pub fn run<I, R>(payload: &[u8], task: fn(I) -> R) -> Result<Vec<u8>, Error>
where
    I: DeserializeOwned,
    R: TaskResult,
{
    let output = task(decode(payload)?).into_result()?;
    serde_json::to_vec(&output).map_err(|error| {
        let output = type_name::<R::Output>();
        Error::msg(format_args!("invalid output: `{output}` cannot be written as JSON: {error}"))
    })
}

/// Compiles when the type can be the input of a task.
///
/// ```compile_fail,E0277
/// struct Input;
///
/// #[weir_sdk::task]
/// fn count(input: Input) -> weir_sdk::Result<()> {
///     Ok(())
/// }
/// ```
pub const fn check_input<I: for<'de> Deserialize<'de>>() {}

/// Compiles when the type can be the return type of a task.
///
/// ```compile_fail,E0277
/// #[weir_sdk::task]
/// fn count(_: ()) -> u32 {
///     7
/// }
/// ```
pub const fn check_output<R: TaskResult>() {}

fn decode<I: DeserializeOwned>(payload: &[u8]) -> Result<I, Error> {
    let empty = payload.trim_ascii().is_empty();
    serde_json::from_slice(if empty { b"null" } else { payload }).map_err(|error| {
        let input = type_name::<I>();
        let hint = if empty { "the payload is empty, which is read as JSON `null`: " } else { "" };
        Error::msg(format_args!("invalid input: {hint}expected JSON of `{input}`: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn length(text: String) -> Result<usize, Error> {
        Ok(text.len())
    }

    fn run_text<I: DeserializeOwned, R: TaskResult>(payload: &str, task: fn(I) -> R) -> Result<String, String> {
        match run(payload.as_bytes(), task) {
            Ok(output) => Ok(String::from_utf8(output).unwrap()),
            Err(error) => Err(error.message().to_owned()),
        }
    }

    #[test]
    fn input_and_output_are_json() {
        assert_eq!(run_text(" \"abc\"\n", length), Ok("3".to_owned()));
    }

    #[test]
    fn a_payload_without_content_is_null() {
        for payload in ["", "\n", " \t\r\n"] {
            assert_eq!(run_text(payload, |_: ()| Ok::<_, Error>(())), Ok("null".to_owned()));
            assert_eq!(run_text(payload, |input: Option<u8>| Ok::<_, Error>(input)), Ok("null".to_owned()));
        }
    }

    #[test]
    fn invalid_input_names_the_type_and_the_position() {
        for (payload, message) in [
            (
                "7",
                "invalid input: expected JSON of `alloc::string::String`: invalid type: integer `7`, expected a string at line 1 column 1",
            ),
            (
                "\n\"a",
                "invalid input: expected JSON of `alloc::string::String`: EOF while parsing a string at line 2 column 2",
            ),
            (
                "\"a\" b",
                "invalid input: expected JSON of `alloc::string::String`: trailing characters at line 1 column 5",
            ),
        ] {
            assert_eq!(run_text(payload, length), Err(message.to_owned()));
        }
        let error = run_text("", length).unwrap_err();
        assert!(error.starts_with("invalid input: the payload is empty, which is read as JSON `null`:"), "{error}");
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let error = run_text(&"[".repeat(100_000), |_: serde_json::Value| Ok::<_, Error>(())).unwrap_err();
        assert!(error.contains("recursion limit exceeded"), "{error}");
    }

    #[test]
    fn output_that_json_cannot_hold_is_an_error() {
        let error = run_text("", |_: ()| Ok::<_, Error>(BTreeMap::from([(vec![1], 2)]))).unwrap_err();
        assert!(error.starts_with("invalid output: `alloc::collections::btree::map::BTreeMap<"), "{error}");
        assert!(error.ends_with("key must be a string"), "{error}");
    }

    #[test]
    fn errors_of_the_task_pass_through() {
        let result = run(b"", |_: ()| Err::<(), _>(Error::msg("busy").retryable()));
        assert_eq!(result, Err(Error::msg("busy").retryable()));
        assert_eq!(run_text("", |_: ()| "x".parse::<u8>()), Err("invalid digit found in string".to_owned()));
    }
}
