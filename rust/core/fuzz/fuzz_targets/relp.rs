//! Fuzzes `live::relp`: cut anywhere, a session gives the same messages and answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seismolog_fuzz::relp(data));
