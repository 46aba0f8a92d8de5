//! The memory of the host under hostile guests: one after the other, each between two neighbours, so that what the process
//! grows by is their doing. The only test of its program, since memory is counted for a whole process.

use weir_isolation::{
    Bench, Peak,
    hostile::{self, MEMORY, OUTPUT},
};

const MIB: u64 = 1 << 20;
/// What the process may use for three guests beside their memory: stacks, tables, captures, and what it loads lazily.
const SLACK: u64 = 24 * MIB;

#[test]
fn hostile_guests_cost_the_host_their_limits_and_a_constant() {
    let mut bench = Bench::new();
    // What is loaded once, at the first guest, is nobody's in particular.
    bench.run_among_neighbours(&hostile::guest(1, "unreachable"));
    for hostile::Kind { name, guest, reason } in hostile::kinds() {
        let peak = Peak::watch(&bench.guest_pids());
        let end = bench.run_among_neighbours(&guest);
        assert_eq!(end.reason(), reason, "{name}: {end:?}");
        let growth = peak.growth();
        assert!(growth < MEMORY + 2 * OUTPUT + SLACK, "{name}: {} MiB", growth / MIB);
        println!("{name}: {} KiB", growth >> 10);
    }
    let refused = bench.prepare(&hostile::jump(500_000).wasm).refused.expect("refused");
    assert!(refused.contains("br_table"), "{refused}");
}
