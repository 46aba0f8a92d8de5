use serde_json::json;

use crate::{exit::Exit, failure::Result, output::Out};

/// `wctl version`.
pub(crate) fn version(out: Out) -> Result<Exit> {
    let version = env!("CARGO_PKG_VERSION");
    if out.is_for_people() {
        out.bytes(format!("wctl {version} (api v1)\n").as_bytes())?;
    } else {
        out.value(&json!({ "api": "v1", "client": version }), version)?;
    }
    Ok(Exit::Ok)
}
