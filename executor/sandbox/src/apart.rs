//! The namespaces whose guests share worker processes with nobody.

use weir_wire::id::Namespace;

/// What a text ends with that stands for all namespaces which begin like it.
const ANY: char = '*';

/// The namespaces whose guests run in worker processes of their own, each namespace in others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Apart {
    names: Vec<Namespace>,
    /// How names begin.
    prefixes: Vec<String>,
}

/// Most names and beginnings of names.
const TEXTS_MAX: usize = 256;

/// Why namespaces cannot be kept apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApartError {
    /// A text is neither a name nor the beginning of one.
    #[error("{0:?} is neither a namespace, such as payments, nor the beginning of some, such as team-*; \"*\" is all")]
    Name(String),
    /// There are too many.
    #[error("there may be at most {TEXTS_MAX}; one that ends in * stands for many")]
    Many,
}

impl Apart {
    /// Reads names of namespaces, and beginnings of names that end in `*`; `*` alone is every namespace.
    ///
    /// # Errors
    /// A text that is neither, or too many of them.
    pub fn new(texts: &[String]) -> Result<Self, ApartError> {
        if texts.len() > TEXTS_MAX {
            return Err(ApartError::Many);
        }
        let mut apart = Self::default();
        for text in texts {
            let prefix = text.strip_suffix(ANY);
            // Whatever a name begins with is itself a name.
            let name = prefix.unwrap_or(text).parse::<Namespace>();
            match (prefix, name) {
                (Some(""), _) => apart.prefixes.push(String::new()),
                (Some(prefix), Ok(_)) => apart.prefixes.push(prefix.to_owned()),
                (None, Ok(name)) => apart.names.push(name),
                (_, Err(_)) => return Err(ApartError::Name(text.clone())),
            }
        }
        Ok(apart)
    }

    /// Whether it keeps no namespace apart.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.names.is_empty() && self.prefixes.is_empty()
    }

    /// Whether the guests of a namespace are kept apart.
    #[must_use]
    pub fn contains(&self, namespace: &Namespace) -> bool {
        let begins = |prefix: &String| namespace.as_str().starts_with(prefix.as_str());
        self.names.contains(namespace) || self.prefixes.iter().any(begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(texts: &[&str]) -> Result<Apart, ApartError> {
        Apart::new(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_and_beginnings_are_told_apart() {
        let cases: [(&[&str], &[&str], &[&str]); 4] = [
            (&[], &[], &["a", "default"]),
            (&["*"], &["a", "default"], &[]),
            (&["payments", "team-*"], &["payments", "team-", "team-a"], &["payments2", "pay", "team", "default"]),
            (&["a*", "a"], &["a", "ab"], &["b"]),
        ];
        for (texts, inside, outside) in cases {
            let apart = apart(texts).expect("usable");
            assert_eq!(apart.is_empty(), texts.is_empty());
            let contains = |name: &&str| apart.contains(&name.parse().expect("a name"));
            assert!(inside.iter().all(contains), "{texts:?}");
            assert!(!outside.iter().any(contains), "{texts:?}");
        }
    }

    #[test]
    fn what_no_namespace_can_be_called_is_an_error() {
        for bad in ["", "**", "*a", "a*b", "Team", "-a", "-*", "a b"] {
            assert_eq!(apart(&[bad]), Err(ApartError::Name(bad.to_owned())));
        }
        assert_eq!(apart(&["a"; TEXTS_MAX + 1]), Err(ApartError::Many));
    }
}
