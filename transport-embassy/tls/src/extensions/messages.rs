use crate::extensions::{
    extension_data::{
        alpn::AlpnProtocolNameList, key_share::KeyShareServerHello,
        max_fragment_length::MaxFragmentLength, server_name::ServerNameResponse,
        signature_algorithms::SignatureAlgorithms, supported_groups::SupportedGroups,
        supported_versions::SupportedVersionsServerHello, unimplemented::Unimplemented,
    },
    extension_group_macro::extension_group,
};

// Source: https://www.rfc-editor.org/rfc/rfc8446#section-4.2 table, rows marked with SH
extension_group! {
    pub enum ServerHelloExtension<'a> {
        KeyShare(KeyShareServerHello<'a>),
        Cookie(Unimplemented), // temporary so we don't trip up on HelloRetryRequests
        SupportedVersions(SupportedVersionsServerHello)
    }
}

// Source: https://www.rfc-editor.org/rfc/rfc8446#section-4.2 table, rows marked with EE
extension_group! {
    pub enum EncryptedExtensionsExtension {
        ServerName(ServerNameResponse),
        MaxFragmentLength(MaxFragmentLength),
        SupportedGroups(SupportedGroups),
        UseSrtp(Unimplemented),
        Heartbeat(Unimplemented),
        ApplicationLayerProtocolNegotiation(AlpnProtocolNameList),
        ClientCertificateType(Unimplemented),
        ServerCertificateType(Unimplemented),
        EarlyData(Unimplemented)
    }
}

// Source: https://www.rfc-editor.org/rfc/rfc8446#section-4.2 table, rows marked with CR
extension_group! {
    pub enum CertificateRequestExtension {
        StatusRequest(Unimplemented),
        SignatureAlgorithms(SignatureAlgorithms),
        SignedCertificateTimestamp(Unimplemented),
        CertificateAuthorities(Unimplemented),
        OidFilters(Unimplemented),
        SignatureAlgorithmsCert(Unimplemented),
        CompressCertificate(Unimplemented)
    }
}

// Source: https://www.rfc-editor.org/rfc/rfc8446#section-4.2 table, rows marked with CT
extension_group! {
    pub enum CertificateExtension {
        StatusRequest(Unimplemented),
        SignedCertificateTimestamp(Unimplemented)
    }
}

// Source: https://www.rfc-editor.org/rfc/rfc8446#section-4.2 table, rows marked with NST
extension_group! {
    pub enum NewSessionTicketExtension {
        EarlyData(Unimplemented)
    }
}
