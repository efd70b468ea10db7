//! One mapping from a transport's failures to `embedded-io` kinds, for all transports.

use embedded_io_async::ErrorKind;
use toolrunner_core::error::TransportKind;

#[test]
fn each_failure_has_its_kind() {
    for (kind, expected) in [
        (TransportKind::Closed, ErrorKind::ConnectionReset),
        (TransportKind::Connect, ErrorKind::NotConnected),
        (TransportKind::Dns, ErrorKind::AddrNotAvailable),
        (TransportKind::Http, ErrorKind::InvalidData),
        (TransportKind::Other, ErrorKind::Other),
        (TransportKind::Setup, ErrorKind::InvalidInput),
        (TransportKind::Timeout, ErrorKind::TimedOut),
        (TransportKind::Tls, ErrorKind::PermissionDenied),
    ] {
        assert_eq!(ErrorKind::from(kind), expected, "{kind:?}");
    }
}
