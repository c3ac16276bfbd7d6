//! One secret of 32 bytes, from which every other key is derived under a label of its own, so
//! that a cursor's signature can never be taken for a claim's hash.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Marks a key that `runnel keys` made for development.
const DEV_MARK: &str = "dev:";

/// Length of the secret and of a derived key in bytes.
const KEY_LENGTH: usize = 32;

/// Bytes of the HMAC that a signed text carries: 128 bits.
const TAG_LENGTH: usize = 16;

/// The process's secret. Its bytes never leave this file.
#[derive(Clone)]
pub struct SecretKey {
    bytes: [u8; KEY_LENGTH],
    dev: bool,
}

/// The text is not a secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not 32 bytes as hex (64 characters) or base64")]
pub struct InvalidSecretKey;

/// A signed text that we did not sign, or not for this use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text was not signed by this service")]
pub struct NotSigned;

impl SecretKey {
    /// A key of the given bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_LENGTH]) -> SecretKey {
        SecretKey { bytes, dev: false }
    }

    /// Reads a key as hex or base64, after an optional `dev:`.
    ///
    /// # Errors
    /// When it is not 32 bytes.
    pub fn parse(text: &str) -> Result<SecretKey, InvalidSecretKey> {
        let text = text.trim();
        let (dev, text) = match text.strip_prefix(DEV_MARK) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let padless = text.trim_end_matches('=');
        let bytes = from_hex(text)
            .or_else(|| URL_SAFE_NO_PAD.decode(padless).ok())
            .or_else(|| STANDARD.decode(text).ok());
        let bytes = bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(InvalidSecretKey)?;
        Ok(SecretKey { bytes, dev })
    }

    /// Makes a random key that is marked `dev`, and the text to keep it as.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    #[must_use]
    pub fn generate_dev() -> (SecretKey, String) {
        let mut bytes = [0; KEY_LENGTH];
        aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives randomness");
        let text = format!("{DEV_MARK}{}", URL_SAFE_NO_PAD.encode(bytes));
        (SecretKey { bytes, dev: true }, text)
    }

    /// True for a key that `runnel keys` made; production refuses it.
    #[must_use]
    pub fn is_dev(&self) -> bool {
        self.dev
    }

    /// Derives the key of one use, by HKDF-SHA256 with the label as its info.
    #[must_use]
    pub fn derive(&self, label: &str) -> HmacKey {
        let key: [u8; KEY_LENGTH] = self.derive_bytes(label);
        HmacKey {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        }
    }

    /// Sixteen characters that tell whether two processes have the same secret, and nothing else.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let bytes: [u8; KEY_LENGTH] = self.derive_bytes("fingerprint");
        hex(&bytes[..8])
    }

    fn derive_bytes(&self, label: &str) -> [u8; KEY_LENGTH] {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"runnel");
        let extracted = salt.extract(&self.bytes);
        let info = [label.as_bytes()];
        let mut derived = [0; KEY_LENGTH];
        extracted
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|expanded| expanded.fill(&mut derived))
            .expect("32 bytes are within what HKDF-SHA256 expands to");
        derived
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// The key of one use.
#[derive(Clone)]
pub struct HmacKey {
    key: hmac::Key,
}

impl HmacKey {
    /// HMAC-SHA256 of the parts, each preceded by its length, so that moving a byte from one part
    /// to the next gives another value.
    #[must_use]
    pub fn authenticate(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }

    /// Makes an opaque, URL-safe text of the bytes, such as a cursor. Not encrypted: put nothing
    /// into it that the client may not read.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> String {
        let mut signed = Vec::with_capacity(TAG_LENGTH + bytes.len());
        signed.extend_from_slice(&self.authenticate(&[bytes])[..TAG_LENGTH]);
        signed.extend_from_slice(bytes);
        URL_SAFE_NO_PAD.encode(signed)
    }

    /// The bytes of a text made by [`HmacKey::sign`] of the same key.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn open(&self, text: &str) -> Result<Vec<u8>, NotSigned> {
        let signed = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotSigned)?;
        let (tag, bytes) = signed.split_at_checked(TAG_LENGTH).ok_or(NotSigned)?;
        let expected = self.authenticate(&[bytes]);
        constant_time::verify_slices_are_equal(tag, &expected[..TAG_LENGTH])
            .map_err(|_| NotSigned)?;
        Ok(bytes.to_vec())
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(…)")
    }
}

/// SHA-256 of some bytes as hex, for names that must not say what they name.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|b| [b >> 4, b & 15]);
    nibbles
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 2 * KEY_LENGTH || !text.is_ascii() {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_bytes([byte; 32])
    }

    #[test]
    fn a_key_is_read_as_hex_or_either_base64_and_nothing_else() {
        let bytes: [u8; 32] = std::array::from_fn(|i| 255 - i as u8);
        let expected = SecretKey::from_bytes(bytes).fingerprint();
        let texts = [
            hex(&bytes),
            STANDARD.encode(bytes),
            URL_SAFE_NO_PAD.encode(bytes),
        ];
        for text in texts {
            let read = SecretKey::parse(&format!(" {text}\n")).unwrap();
            assert_eq!(
                (read.fingerprint(), read.is_dev()),
                (expected.clone(), false)
            );
            assert!(SecretKey::parse(&format!("dev:{text}")).unwrap().is_dev());
        }
        for wrong in ["", "secret", "00", &"0".repeat(63), &"zz".repeat(32)] {
            assert_eq!(
                SecretKey::parse(wrong).unwrap_err(),
                InvalidSecretKey,
                "{wrong}"
            );
        }
    }

    #[test]
    fn generated_keys_are_marked_dev_and_differ() {
        let ((a, text), (b, _)) = (SecretKey::generate_dev(), SecretKey::generate_dev());
        assert!(a.is_dev() && SecretKey::parse(&text).unwrap().is_dev());
        assert_eq!(
            SecretKey::parse(&text).unwrap().fingerprint(),
            a.fingerprint()
        );
        assert_ne!(a.fingerprint(), b.fingerprint());
    }

    #[test]
    fn each_label_and_each_secret_has_a_key_of_its_own() {
        let mac = |key: SecretKey, label| key.derive(label).authenticate(&[b"x"]);
        assert_eq!(mac(key(1), "cursor"), mac(key(1), "cursor"));
        assert_ne!(mac(key(1), "cursor"), mac(key(1), "claim"));
        assert_ne!(mac(key(1), "cursor"), mac(key(2), "cursor"));
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        let key = key(1).derive("claim");
        assert_ne!(
            key.authenticate(&[b"ab", b"c"]),
            key.authenticate(&[b"a", b"bc"])
        );
    }

    #[test]
    fn a_signed_text_opens_under_its_key_only_and_whole_only() {
        let cursor = key(1).derive("cursor");
        let text = cursor.sign(b"page 2");
        assert_eq!(cursor.open(&text).unwrap(), b"page 2");
        assert_eq!(key(1).derive("other").open(&text), Err(NotSigned));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                cursor.open(std::str::from_utf8(&bytes).unwrap()),
                Err(NotSigned)
            );
        }
        for wrong in ["", "A", "!!", &text[..text.len() - 2]] {
            assert_eq!(cursor.open(wrong), Err(NotSigned), "{wrong}");
        }
    }

    #[test]
    fn nothing_of_a_key_is_printed() {
        assert_eq!(
            format!("{:?} {:?}", key(7), key(7).derive("x")),
            "SecretKey(…) HmacKey(…)"
        );
    }
}
