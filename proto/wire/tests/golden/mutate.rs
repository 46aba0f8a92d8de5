//! Damaged samples: decoding is total, and allocates in proportion to what is there.

use super::{all, alloc_meter::allocated_by};

/// Most bytes allocated for each byte of input: an element of a list is larger in memory than on the wire.
const MULTIPLE: usize = 400;
/// What is allocated whatever the input: error values, first allocations of lists.
const FIXED: usize = 4096;
const ROUNDS: u64 = 1000;

fn random(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((z ^ (z >> 31)) >> 1).expect("in range")
}

fn damage(bytes: &mut Vec<u8>, state: &mut u64) {
    for _ in 0..=random(state) % 4 {
        let at = random(state) % bytes.len().max(1);
        let byte = u8::try_from(random(state) % 256).expect("in range");
        match random(state) % 6 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), byte),
            // A huge length.
            2 => {
                bytes.splice(at.min(bytes.len())..at.min(bytes.len()), [0xff, 0xff, 0xff, 0x7f]);
            }
            3 if at < bytes.len() => {
                bytes.remove(at);
            }
            4 if at < bytes.len() => bytes[at] ^= 1 << (byte % 8),
            _ if at < bytes.len() => bytes[at] = byte,
            _ => bytes.push(byte),
        }
    }
}

#[test]
fn damaged_samples_are_errors_or_values_and_never_a_panic() {
    let mut state = 7;
    for case in all() {
        for len in 0..case.bytes.len() {
            let _ = (case.is_sample)(&case.bytes[..len]);
        }
        for _ in 0..ROUNDS {
            let mut bytes = case.bytes.clone();
            damage(&mut bytes, &mut state);
            let allocated = allocated_by(|| {
                let _ = (case.is_sample)(&bytes);
            });
            assert!(
                allocated <= FIXED + MULTIPLE * bytes.len(),
                "{}: {allocated} bytes for {} of input",
                case.name,
                bytes.len()
            );
        }
    }
}
