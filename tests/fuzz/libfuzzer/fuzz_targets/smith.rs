//! The target `smith` under libFuzzer.

#![no_main]

use weir_fuzz::Target;

libfuzzer_sys::fuzz_target!(init: weir_fuzz::be_helper(), |input: &[u8]| Target::Smith.run(input));
