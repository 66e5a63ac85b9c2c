//! Fuzzes `count::worker`: the ways of a line.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seismolog_fuzz::lines(data));
