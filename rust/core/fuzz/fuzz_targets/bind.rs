//! Fuzzes the dialect `bind`.
#![no_main]

seismolog_fuzz::fuzz_dialect!(Bind);
