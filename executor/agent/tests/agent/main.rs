//! The agent through its public calls.

mod ahead;
mod books;
mod capacity;
mod fencing;
mod inspect;
mod node;
mod session;
mod stop;
mod work;
