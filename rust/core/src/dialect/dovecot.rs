//! Placeholder until its helper has written it.
use crate::event::Verdict;
/// See the registry.
#[must_use]
pub fn claims(_program: &[u8]) -> bool { false }
/// See the registry.
#[must_use]
pub fn recognizes(_message: &[u8]) -> bool { false }
/// See the registry.
#[must_use]
pub fn parse<'a>(_program: &'a [u8], _pid: &'a [u8], _message: &'a [u8]) -> Verdict<'a> { Verdict::Unmatched("not written") }
