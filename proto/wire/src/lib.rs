//! The vocabulary that control plane and executors share, and its encoding.
//!
//! Pure and `no_std`: no clock, socket, thread or randomised hash can be named here. Every type that crosses the
//! network or reaches the store is defined in this crate, carries a format version, and decodes totally: any byte
//! string gives a value or an [`codec::Error`], never a panic or an allocation larger than the input justifies.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod attempt;
pub mod blob;
pub mod codec;
pub mod ended;
pub mod exceptions;
pub mod id;
pub mod inspect;
pub mod items;
pub mod key;
pub mod kind;
pub mod limits;
pub mod log;
pub mod message;
pub mod node;
pub mod outcome;
pub mod placement;
mod previous;
pub mod record;
pub mod resources;
pub mod segment;
pub mod task;
pub mod txn;
pub mod units;
pub mod work;
pub mod worker;
