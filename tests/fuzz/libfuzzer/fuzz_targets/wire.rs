//! The target `wire` under libFuzzer.

#![no_main]

use weir_fuzz::Target;

libfuzzer_sys::fuzz_target!(init: weir_fuzz::be_helper(), |input: &[u8]| Target::Wire.run(input));
