//! The golden cases of the DNS and firewall dialects.
mod support;

#[test]
fn the_tag_is_cut_off() {
    let parts = |line: &'static str| {
        let (program, pid, message) = support::split(line.as_bytes());
        [program, pid, message].map(|b| std::str::from_utf8(b).unwrap_or("?"))
    };
    assert_eq!(
        parts("Jul 15 18:00:01 dns1 named[12]: client a: b"),
        ["named", "12", "client a: b"]
    );
    assert_eq!(
        parts("2002-07-15T18:00:01.5+09:00 mx postfix/smtpd[7]: x"),
        ["postfix/smtpd", "7", "x"]
    );
    assert_eq!(
        parts("Jul 15 18:00:01 fw kernel: IN=eth0"),
        ["kernel", "", "IN=eth0"]
    );
    assert_eq!(
        parts("15-Jul-2002 18:00:01.123 client 10.0.0.1#5: query: a"),
        ["", "", "client 10.0.0.1#5: query: a"]
    );
    assert_eq!(
        parts("client 10.0.0.1#5: query: a"),
        ["", "", "client 10.0.0.1#5: query: a"]
    );
}
