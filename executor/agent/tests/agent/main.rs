//! The agent through its public calls.

mod capacity;
mod node;
mod session;
mod work;
