//! Both ends of the link over real QUIC on the loopback interface.

mod blobs;
mod fixture;
mod frames;
mod hostile;
mod refusals;
