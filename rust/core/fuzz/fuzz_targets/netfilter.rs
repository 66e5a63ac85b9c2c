//! Fuzzes the dialect `netfilter`.
#![no_main]

seismolog_fuzz::fuzz_dialect!(Netfilter);
