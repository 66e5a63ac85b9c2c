//! Fuzzes the dialect `qpopper`.
#![no_main]

seismolog_fuzz::fuzz_dialect!(Qpopper);
