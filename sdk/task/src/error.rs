use std::fmt;

/// What a task returns, with [`Error`] as the error unless another one is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a task has no result: a message for people, and whether another attempt may succeed.
///
/// Every [`std::error::Error`] converts into it, so `?` works. It does not implement that trait itself, because the
/// two would conflict.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    message: String,
    retryable: bool,
}

impl Error {
    /// Makes a permanent error from a message.
    #[must_use]
    pub fn msg(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), retryable: false }
    }

    /// Marks the error as one that another attempt may not meet, for example a busy service. The job's retry policy
    /// decides whether there is another attempt.
    #[must_use]
    pub fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }

    /// Puts what was being done in front of the message: `failed to read input.txt: no such file`.
    #[must_use]
    pub fn wrap(self, doing: impl fmt::Display) -> Self {
        Self { message: format!("{doing}: {}", self.message), ..self }
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns whether another attempt may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// Takes the message out, and whether another attempt may succeed.
    #[must_use]
    pub fn into_parts(self) -> (String, bool) {
        (self.message, self.retryable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.retryable { "retryable" } else { "permanent" };
        write!(f, "{} ({kind})", self.message)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Many errors repeat their source in their own text.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Self { message, retryable: false }
    }
}

/// Adds to a result what was being done, for the case that it is an error.
pub trait WrapErr<T> {
    /// Puts the text in front of the error's message; it is made only when there is an error.
    ///
    /// # Errors
    /// The error of `self`, with the text in front.
    fn wrap_err<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> WrapErr<T> for Result<T, E> {
    fn wrap_err<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.into().wrap(doing()))
    }
}

/// Returns from the function with an error made of format arguments.
#[macro_export]
macro_rules! bail {
    ($($argument:tt)+) => {
        return ::core::result::Result::Err($crate::Error::msg(::core::format_args!($($argument)+)).into())
    };
}

/// Returns from the function with an error made of format arguments, unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr $(,)?) => {
        $crate::ensure!($condition, "condition failed: {}", ::core::stringify!($condition))
    };
    ($condition:expr, $($argument:tt)+) => {
        if !$condition {
            $crate::bail!($($argument)+);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Layer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|layer| layer as &dyn std::error::Error)
        }
    }

    #[test]
    fn the_message_has_the_whole_chain_of_causes_once() {
        let chain =
            Layer("open: no entry", Some(Box::new(Layer("no entry", Some(Box::new(Layer("disk gone", None)))))));
        assert_eq!(Error::from(chain).message(), "open: no entry: disk gone");
    }

    #[test]
    fn a_question_mark_converts() {
        fn parse() -> Result<u8> {
            Ok("300".parse()?)
        }
        assert_eq!(parse().unwrap_err().message(), "number too large to fit in target type");
    }

    #[test]
    fn retryable_and_wrap_keep_the_rest() {
        let error = Error::msg("busy").retryable().wrap("failed to store");
        assert_eq!(error.clone().into_parts(), ("failed to store: busy".to_owned(), true));
        assert_eq!(format!("{error} / {error:?}"), "failed to store: busy / failed to store: busy (retryable)");
        assert!(!Error::msg("wrong").is_retryable());
    }

    #[test]
    fn wrap_err_makes_its_text_only_for_an_error() {
        let good: Result<u8> = Ok(1);
        assert_eq!(good.wrap_err(|| -> String { unreachable!() }), Ok(1));
        let bad = "x".parse::<u8>().wrap_err(|| "failed to read top");
        assert_eq!(bad.unwrap_err().message(), "failed to read top: invalid digit found in string");
    }

    #[test]
    fn bail_and_ensure_return_errors() {
        fn check(top: u32) -> Result<u32> {
            ensure!(top > 0);
            ensure!(top != 3, "top is {top}");
            if top > 100 {
                bail!("top is {}, more than {}", top, 100);
            }
            Ok(top)
        }
        for (top, expected) in [(0, "condition failed: top > 0"), (3, "top is 3"), (101, "top is 101, more than 100")] {
            assert_eq!(check(top).unwrap_err().message(), expected);
        }
        assert_eq!(check(5), Ok(5));
    }
}
