//! Syslog over TLS: with a certificate of the right authority, and not without.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // failing is how tests speak

mod live;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use live::{Lab, config};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use seismolog_core::live::settings::Listener;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: rustls::pki_types::CertificateDer<'static>,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    Authority {
        pem: certificate.pem(),
        der: certificate.der().clone(),
        issuer: Issuer::new(params, key),
    }
}

fn signed(by: &Authority, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.signed_by(&key, &by.issuer).unwrap(), key)
}

fn connect(
    address: &str,
    server: &Authority,
    client: Option<&Authority>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(server.der.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(by) => {
            let (certificate, key) = signed(by, "sender.example.org");
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder
                .with_client_auth_cert(vec![certificate.der().clone()], key)
                .unwrap()
        }
    };
    let name = ServerName::try_from("log.example.org").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    StreamOwned::new(session, socket)
}

fn listener(folder: &Path, server: &Authority, client: &Authority) -> Listener {
    let (certificate, key) = signed(server, "log.example.org");
    std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("ca.pem"), &client.pem).unwrap();
    Listener::Tls {
        address: "127.0.0.1:0".parse().unwrap(),
        certificate: folder.join("server.pem"),
        key: folder.join("server.key"),
        client_ca: Some(folder.join("ca.pem")),
    }
}

#[test]
fn only_peers_with_a_certificate_are_heard() {
    let folder = tempfile::tempdir().unwrap();
    let (server, clients, strangers) = (authority(), authority(), authority());
    let lab = Lab::start(config(
        folder.path(),
        vec![listener(folder.path(), &server, &clients)],
    ));
    let address = lab.address("tls");
    let mut good = connect(&address, &server, Some(&clients));
    let mut expected = Vec::new();
    for i in 0..5000 {
        let line = format!("<30>1 - ns1 named 7 - - query {i}");
        good.write_all(format!("{} {line}", line.len()).as_bytes())
            .unwrap();
        expected.push(line);
    }
    for bad in [None, Some(&strangers)] {
        let mut stream = connect(&address, &server, bad);
        let refused = stream.write_all(b"<30>hello\n").is_err() || !matches!(stream.read(&mut [0]), Ok(1));
        assert!(refused);
    }
    // No TLS at all.
    let mut plain = TcpStream::connect(&address).unwrap();
    plain.write_all(b"<30>plain\n<30>plain\n").unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said); // an alert, or a reset
    lab.lines(5000);
    good.conn.send_close_notify();
    good.flush().unwrap();
    lab.until("all gone", |lab| lab.sum("seismolog_connections") == 0);
    assert_eq!(lab.drain(), expected);
}

#[test]
fn a_file_that_is_no_certificate_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (server, clients) = (authority(), authority());
    let tls = listener(folder.path(), &server, &clients);
    let lab = Lab::start(config(folder.path(), Vec::new()));
    std::fs::write(folder.path().join("server.pem"), "nothing").unwrap();
    let error = lab.intake.reload(config(folder.path(), vec![tls])).unwrap_err();
    assert!(error.to_string().contains("server.pem"), "{error}");
    assert_eq!(lab.metrics.troubles().len(), 1);
    lab.drain();
}
