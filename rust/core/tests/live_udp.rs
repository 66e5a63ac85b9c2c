//! UDP: received and dropped together are what was sent.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // failing is how tests speak

mod live;

use std::net::UdpSocket;

use live::{Lab, config};
use seismolog_core::live::settings::{IntakeConfig, Listener};

fn udp(receive_buffer: usize) -> Vec<Listener> {
    vec![Listener::Udp {
        address: "127.0.0.1:0".parse().unwrap(),
        receive_buffer,
    }]
}

#[test]
fn datagrams_are_lines() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start(config(folder.path(), udp(1 << 20)));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(lab.address("udp")).unwrap();
    let mut expected = Vec::new();
    for i in 0..500 {
        socket.send(format!("<30>line {i}").as_bytes()).unwrap();
        expected.push(format!("<30>line {i}"));
    }
    socket.send(b"<30>two\nlines\n\0").unwrap();
    socket.send(b"").unwrap();
    expected.push("<30>two lines".to_owned());
    lab.lines(501);
    assert!(lab.sum("seismolog_udp_buffer_bytes") >= 4096);
    assert_eq!(lab.drain(), expected);
}

#[test]
fn a_stranger_is_not_heard() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start(IntakeConfig {
        allow: vec!["192.0.2.1".to_owned()],
        ..config(folder.path(), udp(1 << 20))
    });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(lab.address("udp")).unwrap();
    socket.send(b"<30>x").unwrap();
    lab.until("refused", |lab| lab.sum("seismolog_refused_peers_total") == 1);
    assert!(lab.drain().is_empty());
}

#[test]
fn received_and_dropped_are_what_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    // A buffer for a few datagrams and a sender that does not wait.
    let lab = Lab::start(config(folder.path(), udp(8192)));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(lab.address("udp")).unwrap();
    let text = [b'x'; 155];
    for _ in 0..100_000 {
        socket.send(&text).unwrap();
    }
    lab.until("all accounted for", |lab| {
        lab.sum("seismolog_received_lines_total") + lab.sum("seismolog_kernel_dropped_total") == 100_000
    });
    assert!(lab.sum("seismolog_kernel_dropped_total") > 0);
    lab.drain();
}
