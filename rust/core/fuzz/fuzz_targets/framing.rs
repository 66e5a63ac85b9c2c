//! Fuzzes `live::framing`: cut anywhere, a stream gives the same lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seismolog_fuzz::framing(data));
