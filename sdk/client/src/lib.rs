//! The Rust client of Weir's HTTP API.
//!
//! ```no_run
//! # async fn example() -> Result<(), weir_client::Error> {
//! let client = weir_client::Client::new(weir_client::Options {
//!     addresses: vec!["http://127.0.0.1:4640".to_owned()],
//!     ..Default::default()
//! })?;
//! println!("{}", client.cluster().await?.cluster);
//! # Ok(())
//! # }
//! ```
//!
//! Calls that can be repeated without harm (reads, writes by digest, writes with an idempotency key) are tried again,
//! at the next address, when no connection can be made or the replica has no leader; all others are sent once. Of several
//! addresses the first one that answers is asked, so that one that is silent costs 0.3 s.

mod cluster;
mod download;
mod error;
mod jobs;
mod lines;
mod modules;
mod operate;
mod options;
mod race;
mod runs;
mod tasks;
mod transport;
mod tries;

pub use download::Download;
pub use error::{Error, Result};
pub use jobs::JobWrite;
pub use lines::Lines;
pub use operate::Dispatched;
pub use options::Options;
pub use transport::Client;
pub use weir_api as api;

#[cfg(test)]
mod tests;
