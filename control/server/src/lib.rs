//! The control plane's daemon: it drives [`weir_scheduler`] with a durable store, the link to executors and the HTTP
//! API.
//!
//! One thread owns the scheduler (`driver`); everything else talks to it through bounded channels. `store` is the only
//! place that knows etcd and redb, `sessions` the only one that knows the link, `api` the only one that knows HTTP.

mod blobs;
mod handle;
mod metrics;
mod status;
