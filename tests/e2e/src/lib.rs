//! A whole cluster of real processes for tests and benches: real etcd, real QUIC, `kill -9`.
//!
//! Non-deterministic by nature; what can be decided without processes is tested in `tests/sim` instead.

pub mod binaries;
pub mod chaos;
pub mod cluster;
pub mod daemon;
pub mod disk;
pub mod etcd;
pub mod faked_clock;
pub mod foreign;
pub mod guests;
pub mod network;
pub mod skip;
pub mod until;
pub mod wctl;

pub use cluster::{Cluster, Options, Store};
pub use until::until;
pub use wctl::Answer;
