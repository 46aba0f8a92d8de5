//! The control plane's daemon: it drives [`weir_scheduler`] with a durable store, the link to executors and the HTTP
//! API.
//!
//! One thread owns the scheduler (`driver`); everything else talks to it through bounded channels. `store` is the only
//! place that knows etcd and redb, `sessions` and `outlets` the only ones that know the link, `api` the only one that
//! knows HTTP. `leader` campaigns and keeps the lease, `commit` makes transactions durable,
//! `assemble` makes payloads of results.

mod api;
mod assemble;
mod blobs;
mod clock;
mod commit;
mod config;
mod driver;
mod followers;
mod garbage;
mod handle;
mod https;
mod index_set;
mod inspections;
mod leader;
mod metrics;
mod outlets;
mod readiness;
mod server;
mod sessions;
pub mod snapshot;
mod status;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use config::{
    ApiConfig, Args, Config, ConfigError, EtcdCertificate, EtcdConfig, EtcdLogin, EtcdTls, Placing, StoreConfig,
};
pub use server::{Server, run};
