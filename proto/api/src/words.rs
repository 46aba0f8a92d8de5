//! Closed sets of words: an enum that reads and writes itself the way the API does.

macro_rules! words {
    ($(#[$top:meta])* $enum:ident { $($(#[$doc:meta])+ $name:ident = $text:literal,)+ }) => {
        $(#[$top])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ::serde::Serialize, ::serde::Deserialize, ::utoipa::ToSchema)]
        pub enum $enum { $($(#[$doc])+ #[serde(rename = $text)] $name,)+ }

        impl $enum {
            /// Every value, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word that the API uses.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $enum {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| {
                    let all: Vec<&str> = Self::ALL.iter().map(|word| word.as_str()).collect();
                    format!("`{}` is none of {}", text.escape_debug(), all.join(", "))
                })
            }
        }
    };
}
pub(crate) use words;
