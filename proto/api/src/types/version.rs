use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The version of the API that wrote an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ApiVersion {
    /// The first version.
    #[default]
    #[serde(rename = "v1")]
    V1,
}

/// An object of the API with its version at the top level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Versioned<T> {
    /// Always `v1`.
    pub api: ApiVersion,
    /// The object's own fields.
    #[serde(flatten)]
    pub object: T,
}

impl<T> From<T> for Versioned<T> {
    fn from(object: T) -> Self {
        Self { api: ApiVersion::V1, object }
    }
}
