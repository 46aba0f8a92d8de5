//! The router over a real scheduler, with a store that is always durable at once and a scripted executor.

mod contract;
mod kinds;
mod live;
mod logs;
mod refusals;
mod runs;
mod world;
