pub mod alpn;
pub mod key_share;
pub mod max_fragment_length;
pub mod server_name;
pub mod signature_algorithms;
pub mod supported_groups;
pub mod supported_versions;
pub mod unimplemented;
