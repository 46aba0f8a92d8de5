//! Rounds of hostile and honest guests in worker processes: each ends for its reason, and nothing of them stays. The only
//! test of its program, since what the processes hold is counted.

use weir_isolation::{
    Bench, Held,
    crowd::{self, Crowd},
};
use weir_sandbox::Isolation;

const ROUNDS: u32 = 4;
const ATTEMPTS: u32 = 250;
const AT_ONCE: usize = 16;
/// By how much more the allocators may keep after the last round than after the second, bytes: an honest round takes 1 to 2
/// MiB. An attempt in ten that left its result of a megabyte would exceed it, and so would one that left its memory.
const MARGIN: u64 = 12 << 20;

#[test]
fn a_thousand_hostile_and_honest_guests_leave_nothing_behind() {
    let mut bench = Bench::configured(|config| {
        config.workers = 2;
        config.isolation = Isolation::Processes { number: 2 };
    });
    let mut crowd = Crowd::enter(&mut bench, crowd::honest(), crowd::hostile());
    let pids: Vec<u32> = bench.worker_pids().into_iter().chain([std::process::id()]).collect();
    let mut rounds: Vec<Held> = Vec::new();
    for _ in 0..ROUNDS {
        let passed = crowd.round(&mut bench, ATTEMPTS, AT_ONCE);
        assert_eq!(passed.len(), ATTEMPTS as usize / 2);
        rounds.push(Held::by(&pids));
    }
    println!("{rounds:#?}");
    assert_eq!(bench.worker_pids(), pids[..2], "a worker process ended");
    // The first round touches the slots of the pools and starts what is started once.
    let early = rounds[1];
    for held in &rounds[2..] {
        assert!(held.memory < early.memory + MARGIN, "{rounds:#?}");
        assert_eq!((held.threads, held.descriptors), (early.threads, early.descriptors), "{rounds:#?}");
    }
}
