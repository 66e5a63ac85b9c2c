//! Fuzzes the dialect `sendmail`.
#![no_main]

seismolog_fuzz::fuzz_dialect!(Sendmail);
