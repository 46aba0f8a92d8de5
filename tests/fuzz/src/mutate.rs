//! Damage to an input, small enough that most of it stays what it was.

use crate::random::Random;

/// Longest input that is made.
const LEN_MAX: usize = 64 << 10;
/// Numbers at which things change: lengths, counts and sizes near a limit, as they are encoded in LEB128 or plain.
const NUMBERS: [&[u8]; 8] = [
    &[0],
    &[0x7f],
    &[0x80, 0x01],
    &[0xff, 0xff, 0x03],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff; 8],
];

/// Changes `input` in a few places; `other` is where pieces come from.
pub(crate) fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + 1 + random.below(16)).min(input.len());
        match random.below(9) {
            0 => input.truncate(at),
            1 => input.insert(at, random.byte()),
            2 => drop(input.drain(at..end)),
            3 => drop(input.splice(at..at, NUMBERS[random.below(NUMBERS.len())].iter().copied())),
            4 => drop(input.splice(at..end, NUMBERS[random.below(NUMBERS.len())].iter().copied())),
            5 => {
                let piece = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            6 => {
                let from = random.below(other.len() + 1);
                let piece = &other[from..(from + random.below(32)).min(other.len())];
                input.splice(at..at, piece.iter().copied());
            }
            7 if at < input.len() => input[at] ^= 1 << random.below(8),
            _ if at < input.len() => input[at] = random.byte(),
            _ => input.push(random.byte()),
        }
    }
    input.truncate(LEN_MAX);
}
