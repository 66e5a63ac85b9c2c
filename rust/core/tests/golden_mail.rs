//! The golden cases of the mail dialects, and what real log lines of these daemons come to.

mod support;

use proptest::prelude::*;
use seismolog_core::dialect::Dialect;
use seismolog_core::event::{Kind, Memory, Verdict};

#[test]
fn sendmail() {
    assert!(support::check("sendmail") > 80);
}

#[test]
fn postfix() {
    assert!(support::check("postfix") > 90);
}

#[test]
fn qpopper() {
    assert!(support::check("qpopper") > 20);
}

#[test]
fn dovecot() {
    assert!(support::check("dovecot") > 45);
}
