//! Fuzzes the dialect `postfix`.
#![no_main]

seismolog_fuzz::fuzz_dialect!(Postfix);
