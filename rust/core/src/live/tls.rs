//! Syslog over TLS (RFC 5425): certificates of the server, and of clients where an authority is given.
//!
//! TLS 1.2 and 1.3 by rustls. With `client_ca` a client without a certificate of that authority is
//! turned away in the handshake.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::error::{Error, Result};

fn refused(path: &Path, message: impl ToString) -> Error {
    Error::Io {
        what: path.display().to_string(),
        source: io::Error::new(io::ErrorKind::InvalidData, message.to_string()),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let file = File::open(path).map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })?;
    let found = CertificateDer::pem_reader_iter(BufReader::new(file))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|error| refused(path, error))?;
    if found.is_empty() {
        return Err(refused(path, "holds no certificate in PEM"));
    }
    Ok(found)
}

/// Reads certificates and key.
///
/// # Errors
/// Names the file that cannot be read or used.
pub fn config(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Arc<ServerConfig>> {
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| refused(key, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(certificate, error))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority).map_err(|error| refused(path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| refused(path, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder
        .with_single_cert(chain, secret)
        .map_err(|error| refused(key, error))?;
    Ok(Arc::new(config))
}

/// One connection.
pub struct Tls {
    socket: TcpStream,
    session: ServerConnection,
}

impl Tls {
    /// Begins the server's side.
    ///
    /// # Errors
    /// The session cannot be made.
    pub fn new(socket: TcpStream, config: &Arc<ServerConfig>) -> io::Result<Tls> {
        let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        Ok(Tls { socket, session })
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether the handshake goes on.
    #[must_use]
    pub fn handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Whether something waits to be sent.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.session.wants_write()
    }

    /// Reads once from the socket and appends what it means. `Ok(0)`: the end. `WouldBlock`: nothing
    /// (yet).
    ///
    /// # Errors
    /// The socket's, or the peer does not speak TLS or shows no right certificate.
    pub fn read_into(&mut self, batch: &mut Vec<u8>) -> io::Result<usize> {
        let got = self.session.read_tls(&mut self.socket)?;
        let state = match self.session.process_new_packets() {
            Ok(state) => state,
            Err(error) => {
                // The alert says why.
                let _ = self.session.write_tls(&mut self.socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        };
        if self.session.wants_write() {
            self.flush()?;
        }
        let plain = state.plaintext_bytes_to_read();
        if plain > 0 {
            let start = batch.len();
            batch.resize(start + plain, 0);
            let read = self
                .session
                .reader()
                .read(batch.get_mut(start..).unwrap_or_default())?;
            batch.truncate(start + read);
            return Ok(read);
        }
        if got == 0 || state.peer_has_closed() {
            return Ok(0);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Sends what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// The socket's.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells the peer that nothing more is read.
    pub fn close(&mut self) {
        self.session.send_close_notify();
        // Whether the peer hears it does not matter any more.
        let _ = self.flush();
        let _ = self.socket.flush();
    }
}
