use core::marker::PhantomData;

use p256::EncodedPoint;
use p256::ecdh::EphemeralSecret;
use p256::elliptic_curve::rand_core::RngCore;

use crate::TlsError;
use crate::config::{TlsCipherSuite, TlsConfig};
use crate::extensions::ExtensionType;
use crate::extensions::extension_data::signature_algorithms::SignatureScheme;
use crate::extensions::extension_data::supported_groups::NamedGroup;
use crate::handshake::{LEGACY_VERSION, Random};
use crate::{CryptoProvider, buffer::CryptoBuffer};

/// The only version of TLS that is offered.
const TLS13: u16 = 0x0304;

const SIGNATURE_SCHEMES: [SignatureScheme; 3] = [
    SignatureScheme::EcdsaSecp256r1Sha256,
    SignatureScheme::EcdsaSecp384r1Sha384,
    SignatureScheme::Ed25519,
];

/// RFC 8446, section 4.2.9: a pre-shared key only together with a key exchange.
const PSK_DHE_KE: u8 = 1;

/// RFC 6066, section 3: the type of a name that is a host's.
const HOST_NAME: u8 = 0;

/// Encodes an extension, whose content `data` encodes.
fn extension<'b>(
    buf: &mut CryptoBuffer<'b>,
    extension_type: ExtensionType,
    data: impl FnOnce(&mut CryptoBuffer<'b>) -> Result<(), TlsError>,
) -> Result<(), TlsError> {
    buf.push_u16(extension_type as u16)?;
    buf.with_u16_length(data)
}

pub struct ClientHello<'config, CipherSuite>
where
    CipherSuite: TlsCipherSuite,
{
    pub(crate) config: &'config TlsConfig<'config>,
    random: Random,
    cipher_suite: PhantomData<CipherSuite>,
    pub(crate) secret: EphemeralSecret,
}

impl<'config, CipherSuite> ClientHello<'config, CipherSuite>
where
    CipherSuite: TlsCipherSuite,
{
    pub fn new<Provider>(config: &'config TlsConfig<'config>, mut provider: Provider) -> Self
    where
        Provider: CryptoProvider,
    {
        let mut random = [0; 32];
        provider.rng().fill_bytes(&mut random);

        Self {
            config,
            random,
            cipher_suite: PhantomData,
            secret: EphemeralSecret::random(&mut provider.rng()),
        }
    }

    pub(crate) fn encode(&self, buf: &mut CryptoBuffer<'_>) -> Result<(), TlsError> {
        let public_key = EncodedPoint::from(&self.secret.public_key());
        let public_key = public_key.as_ref();

        buf.push_u16(LEGACY_VERSION)
            .map_err(|_| TlsError::EncodeError)?;
        buf.extend_from_slice(&self.random)
            .map_err(|_| TlsError::EncodeError)?;

        // session id (empty)
        buf.push(0).map_err(|_| TlsError::EncodeError)?;

        // cipher suites (2+)
        buf.push_u16(2).map_err(|_| TlsError::EncodeError)?;
        buf.push_u16(CipherSuite::CODE_POINT)
            .map_err(|_| TlsError::EncodeError)?;

        // compression methods, 1 byte of 0
        buf.push(1).map_err(|_| TlsError::EncodeError)?;
        buf.push(0).map_err(|_| TlsError::EncodeError)?;

        // extensions (1+)
        buf.with_u16_length(|buf| {
            // Section 4.2.1.  Supported Versions
            // Implementations of this specification MUST send this extension in the
            // ClientHello containing all versions of TLS which they are prepared to
            // negotiate
            extension(buf, ExtensionType::SupportedVersions, |buf| {
                buf.with_u8_length(|buf| buf.push_u16(TLS13))
            })?;

            extension(buf, ExtensionType::SignatureAlgorithms, |buf| {
                buf.with_u16_length(|buf| {
                    for scheme in SIGNATURE_SCHEMES {
                        buf.push_u16(scheme as u16)?;
                    }
                    Ok(())
                })
            })?;

            if let Some(max_fragment_length) = self.config.max_fragment_length {
                extension(buf, ExtensionType::MaxFragmentLength, |buf| {
                    buf.push(max_fragment_length as u8)
                })?;
            }

            extension(buf, ExtensionType::SupportedGroups, |buf| {
                buf.with_u16_length(|buf| buf.push_u16(NamedGroup::Secp256r1 as u16))
            })?;

            extension(buf, ExtensionType::PskKeyExchangeModes, |buf| {
                buf.with_u8_length(|buf| buf.push(PSK_DHE_KE))
            })?;

            extension(buf, ExtensionType::KeyShare, |buf| {
                buf.with_u16_length(|buf| {
                    buf.push_u16(NamedGroup::Secp256r1 as u16)?;
                    buf.with_u16_length(|buf| buf.extend_from_slice(public_key))
                })
            })?;

            extension(buf, ExtensionType::ServerName, |buf| {
                buf.with_u16_length(|buf| {
                    buf.push(HOST_NAME)?;
                    buf.with_u16_length(|buf| {
                        buf.extend_from_slice(self.config.server_name.as_bytes())
                    })
                })
            })?;

            Ok(())
        })?;

        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Aes128GcmSha256, MaxFragmentLength};
    use crate::hostile::{Numbers, Provider};

    /// Every byte of the message, without its header of four bytes.
    #[test]
    fn the_bytes_of_a_client_hello() {
        let name = "example.com";
        for small in [false, true] {
            let mut config = TlsConfig::new(name);
            if small {
                config = config.with_max_fragment_length(MaxFragmentLength::Bits12);
            }
            let hello = ClientHello::<Aes128GcmSha256>::new(&config, Provider(Numbers(5)));
            let mut bytes = [0; 512];
            let mut buf = CryptoBuffer::wrap_with_pos(&mut bytes, 0);
            hello.encode(&mut buf).unwrap();

            let point = EncodedPoint::from(&hello.secret.public_key());
            let extensions = [
                &[0, 43, 0, 3, 2, 3, 4][..],                // supported_versions: TLS 1.3
                &[0, 13, 0, 8, 0, 6, 4, 3, 5, 3, 8, 7],     // signature_algorithms
                if small { &[0, 1, 0, 1, 4] } else { &[] }, // max_fragment_length: 4096
                &[0, 10, 0, 4, 0, 2, 0, 23],                // supported_groups: secp256r1
                &[0, 45, 0, 2, 1, 1],                       // psk_key_exchange_modes: psk_dhe_ke
                &[0, 51, 0, 71, 0, 69, 0, 23, 0, 65],       // key_share
                point.as_bytes(),
                &[0, 0, 0, 16, 0, 14, 0, 0, 11], // server_name
                name.as_bytes(),
            ]
            .concat();
            let expected = [
                &[3, 3][..],
                &hello.random,
                &[0, 0, 2, 0x13, 1, 1, 0], // session, cipher suites, compression methods
                &(extensions.len() as u16).to_be_bytes(),
                &extensions,
            ]
            .concat();
            assert_eq!(buf.as_slice(), expected);
            // With the headers of the record and the message: `HELLO` in toolrunner-embassy.
            assert_eq!(
                5 + 4 + buf.len(),
                if small { 174 } else { 169 } + name.len()
            );
        }
    }
}
