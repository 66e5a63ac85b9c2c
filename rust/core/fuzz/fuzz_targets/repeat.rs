//! Fuzzes `syslog::repeat`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seismolog_fuzz::repeat(data));
