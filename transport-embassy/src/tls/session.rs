//! A future that runs one TLS session after another; the link polls it.

use core::cell::Cell;
use core::convert::Infallible;

use embassy_futures::poll_once;
use embassy_futures::select::{Either, select};
use embedded_io_async::{ErrorType, Read, Write};
use embedded_nal_async::TcpConnect;
use embedded_tls::alert::AlertDescription;
use embedded_tls::{
    Aes128GcmSha256, CryptoProvider, CryptoRngCore, MaxFragmentLength, TlsConfig, TlsConnection,
    TlsContext, TlsError, TlsVerifier,
};

use toolrunner_core::error::{Capacity, CapacityKind};

use super::handoff::{Ask, Handoff, Job};
use super::random::Random;
use super::verifier::Verifier;
use super::{Entropy, Records, Refusal, Trust, WallClock};
use crate::link::dial;
use crate::{Error, Lookup, Target};

/// The trust anchors, the clock and the source of randomness.
#[derive(Clone, Copy, Debug)]
pub struct Security<'a, C, E> {
    /// The keys to trust.
    pub trust: Trust<'a>,
    /// The date and time.
    pub clock: C,
    /// The source of randomness; 64 bytes are drawn for each connection.
    pub entropy: E,
}

/// Runs the sessions of one [`Secure`](super::Secure) link. Pin the future (`core::pin::pin!`) and
/// pass it to the link, which polls it; do not await it.
pub async fn session<'b, T: TcpConnect, D: Lookup, C: WallClock, E: Entropy>(
    handoff: &Handoff<'b>,
    records: Records<'_>,
    tcp: &T,
    dns: &D,
    mut security: Security<'_, C, E>,
) -> Infallible {
    let Records { read, write } = records;
    loop {
        let Ask { job, buffer } = handoff.next().await;
        let Job::Open { host, port, deadline } = job else {
            handoff.give(buffer, Err(Error::Closed));
            continue;
        };
        let name =
            buffer.get(..host).and_then(|name| core::str::from_utf8(name).ok()).unwrap_or_default();
        let target = Target { secure: true, authority: name, host: name, port, prefix: "" };
        let tcp = match select(handoff.closing(), dial(tcp, dns, &target, deadline)).await {
            Either::First(()) => Err(Error::Closed),
            Either::Second(tcp) => tcp,
        };
        let tcp = match tcp {
            Ok(tcp) => tcp,
            Err(e) => {
                handoff.give(buffer, Err(e));
                continue;
            }
        };
        let (needed, free) = (HELLO + name.len(), write.len());
        if free < needed {
            handoff.give(
                buffer,
                Err(Error::Capacity(Capacity { what: CapacityKind::Record, needed, free })),
            );
            continue;
        }
        let small = read.len() < FULL_RECORD;
        let heard = Cell::new(false);
        let mut tls = TlsConnection::new(ReceiveMonitor { tcp, heard: &heard }, read, write);
        let opened = match select(
            handoff.closing(),
            handshake(&mut tls, name, small, &mut security),
        )
        .await
        {
            Either::First(()) => Err(Error::Closed),
            Either::Second(opened) => opened,
        };
        let failed = opened.is_err();
        handoff.give(buffer, opened.map(|()| 0));
        if !failed {
            serve(handoff, &mut tls, &heard).await;
        }
    }
}

/// A connection that records whether bytes were received.
struct ReceiveMonitor<'h, S> {
    tcp: S,
    heard: &'h Cell<bool>,
}

impl<S: ErrorType> ErrorType for ReceiveMonitor<'_, S> {
    type Error = S::Error;
}

impl<S: Read> Read for ReceiveMonitor<'_, S> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, S::Error> {
        let len = self.tcp.read(buffer).await?;
        self.heard.set(true);
        Ok(len)
    }
}

impl<S: Write> Write for ReceiveMonitor<'_, S> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, S::Error> {
        self.tcp.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), S::Error> {
        self.tcp.flush().await
    }
}

/// The size of the longest ClientHello in bytes, without the host name.
const HELLO: usize = 174;

/// The size of the largest record that a server may send in bytes, including its header.
const FULL_RECORD: usize = 16_640;

/// Performs the operations that the link requests, until the link closes the connection or an
/// operation fails.
async fn serve<S: Read + Write>(
    handoff: &Handoff<'_>,
    tls: &mut TlsConnection<'_, S, Aes128GcmSha256>,
    heard: &Cell<bool>,
) {
    loop {
        let Either::Second(Ask { job, buffer }) = select(handoff.closing(), handoff.next()).await
        else {
            return;
        };
        let result = match select(handoff.closing(), perform(tls, heard, job, buffer)).await {
            Either::First(()) => Err(Error::Closed),
            Either::Second(result) => result,
        };
        handoff.give(buffer, result);
        if result.is_err() {
            return;
        }
    }
}

async fn perform<S: Read + Write>(
    tls: &mut TlsConnection<'_, S, Aes128GcmSha256>,
    heard: &Cell<bool>,
    job: Job,
    buffer: &mut [u8],
) -> Result<usize, Error> {
    match job {
        Job::Open { .. } => Err(Error::Closed),
        Job::Write(len) => {
            let bytes = buffer.get(..len).unwrap_or_default();
            Write::write_all(tls, bytes).await.map(|()| len).map_err(failure)
        }
        Job::Flush => tls.flush().await.map(|()| 0).map_err(failure),
        Job::Read(at) => match tls.read(buffer.get_mut(at..).unwrap_or_default()).await {
            // The server announced the end, so the stream was not truncated by a third party.
            Err(TlsError::ConnectionClosed) => Ok(0),
            read => read.map_err(|error| match failure(error) {
                Error::Tls | Error::HandshakeRefused => Error::Session,
                other => other,
            }),
        },
        Job::Probe => {
            heard.set(false);
            // Part of a record leaves the read pending, and is lost when that read is dropped.
            let came = poll_once(tls.read(buffer)).is_ready() || heard.get();
            Ok(usize::from(came))
        }
    }
}

async fn handshake<S: Read + Write, C: WallClock, E: Entropy>(
    tls: &mut TlsConnection<'_, S, Aes128GcmSha256>,
    host: &str,
    small: bool,
    security: &mut Security<'_, C, E>,
) -> Result<(), Error> {
    let random = Random::new(&mut security.entropy);
    let mut provider = Provider {
        random: random.map_err(|_| Error::Refused(Refusal::Entropy))?,
        verifier: Verifier::new(security.trust, host, security.clock.unix_seconds()),
    };
    let mut config = TlsConfig::new(host);
    if small {
        config = config.with_max_fragment_length(MaxFragmentLength::Bits12);
    }
    let opened = tls.open(TlsContext::new(&config, &mut provider)).await;
    if provider.random.has_failed() {
        return Err(Error::Refused(Refusal::Entropy));
    }
    match (opened, provider.verifier.verdict()) {
        (Ok(()), verdict) => verdict.map_err(Error::Refused),
        // The verifier's reason, if it aborted the handshake. If the verifier was not reached, the
        // error of embedded-tls is the cause.
        (Err(_), Err(why)) if !matches!(why, Refusal::NoCertificate | Refusal::NoSignature) => {
            Err(Error::Refused(why))
        }
        (Err(e), _) => Err(failure(e)),
    }
}

struct Provider<'a, 'e, E> {
    random: Random<'e, E>,
    verifier: Verifier<'a>,
}

impl<E: Entropy> CryptoProvider for Provider<'_, '_, E> {
    type CipherSuite = Aes128GcmSha256;

    fn rng(&mut self) -> impl CryptoRngCore {
        &mut self.random
    }

    fn verifier(&mut self) -> &mut impl TlsVerifier<Aes128GcmSha256> {
        &mut self.verifier
    }
}

/// Maps an error of embedded-tls to the errors that a caller can distinguish.
fn failure(error: TlsError) -> Error {
    match error {
        TlsError::Io(_) | TlsError::IoError | TlsError::ConnectionClosed => Error::Closed,
        TlsError::HandshakeAborted(
            _,
            AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion,
        ) => Error::HandshakeRefused,
        TlsError::RecordTooLarge { needed, free } => {
            Error::Capacity(Capacity { what: CapacityKind::Record, needed, free })
        }
        _ => Error::Tls,
    }
}
