//! Keys for development, made by `runnel keys` and `runnel up`. They are marked, so that
//! production refuses them.

use std::fs::{DirBuilder, OpenOptions, read_to_string};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::keys::DEV_MEMBER;
use super::signer::TokenSigner;
use crate::secret::SecretKey;

/// Issuer of development tokens.
pub const DEV_ISSUER: &str = "runnel-dev";
/// Audience of development tokens.
pub const DEV_AUDIENCE: &str = "runnel-dev";
const KEY_ID: &str = "dev";

/// Where the development keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevKeys {
    /// The private key that signs tokens.
    pub jwt_key: PathBuf,
    /// The public keys, for `JWKS`.
    pub jwks: PathBuf,
    /// The secret, for `SECRET_KEY_FILE`.
    pub secret_key: PathBuf,
}

impl DevKeys {
    /// Where the keys are in a folder, such as `.runnel/keys`.
    #[must_use]
    pub fn in_folder(folder: &Path) -> DevKeys {
        DevKeys {
            jwt_key: folder.join("jwt.key"),
            jwks: folder.join("jwks.json"),
            secret_key: folder.join("secret.key"),
        }
    }

    /// Makes the keys that are not there yet; files are 0600 in a folder of 0700. A secret that
    /// exists is never replaced: cursors and claims depend on it.
    ///
    /// # Errors
    /// When a file cannot be written or a key not be made.
    pub fn ensure(folder: &Path) -> io::Result<DevKeys> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let keys = DevKeys::in_folder(folder);
        if !keys.jwt_key.exists() {
            let signer = TokenSigner::generate(KEY_ID).map_err(io::Error::other)?;
            write_private(&keys.jwt_key, signer.to_pem())?;
        }
        let mut jwk = keys.signer()?.jwk();
        jwk[DEV_MEMBER] = json!(true);
        write_private(&keys.jwks, &format!("{:#}\n", json!({ "keys": [jwk] })))?;
        if !keys.secret_key.exists() {
            let (_, text) = SecretKey::generate_dev();
            write_private(&keys.secret_key, &format!("{text}\n"))?;
        }
        Ok(keys)
    }

    /// Signs with the private key.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn signer(&self) -> io::Result<TokenSigner> {
        let pem = read_to_string(&self.jwt_key)?;
        TokenSigner::from_pem(&pem, KEY_ID).map_err(io::Error::other)
    }
}

/// Writes beside the file and renames, so that a reader sees the old text or the new one.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_made_once_and_only_their_owner_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let keys = DevKeys::ensure(&folder.path().join("keys")).unwrap();
        let read = |keys: &DevKeys| {
            [&keys.jwt_key, &keys.jwks, &keys.secret_key].map(|path| {
                let mode = path.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{}", path.display());
                read_to_string(path).unwrap()
            })
        };
        let first = read(&keys);
        let again = DevKeys::ensure(&folder.path().join("keys")).unwrap();
        assert_eq!(read(&again), first);
        assert!(SecretKey::parse(&first[2]).unwrap().is_dev());
    }
}
