//! Never ends and never calls the host. Only a budget of fuel, a wall-clock limit or a stop ends it.

#![forbid(unsafe_code)]

use std::hint::black_box;

fn main() {
    spin();
}

#[inline(never)]
fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns).wrapping_add(1);
    }
}
