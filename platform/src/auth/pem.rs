//! PEM, the little of it that keeping one PKCS#8 key needs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A private key as text.
pub(super) fn private_key(pkcs8: &[u8]) -> String {
    let base64 = STANDARD.encode(pkcs8);
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in base64.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    text
}
