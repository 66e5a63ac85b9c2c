//! Fuzzes the dialect `dovecot`.
#![no_main]

seismolog_fuzz::fuzz_dialect!(Dovecot);
