//! Fuzzes the dialect `iplog`.
#![no_main]

seismolog_fuzz::fuzz_dialect!(Iplog);
