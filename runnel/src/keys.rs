//! `runnel keys`: the development keys of a home, made where they are absent.

use anyhow::Context as _;
use platform::auth::DevKeys;

use crate::home::{Home, HomeArgs};

/// Makes the keys of a home.
///
/// # Errors
/// When a file cannot be written.
pub fn ensure(home: &Home) -> anyhow::Result<DevKeys> {
    let folder = home.keys();
    DevKeys::ensure(&folder)
        .with_context(|| format!("cannot make the keys in {}", folder.display()))
}

/// Makes the keys and says where they are, as lines that a shell or an `.env` file can use.
///
/// # Errors
/// When a file cannot be written.
pub fn run(args: &HomeArgs) -> anyhow::Result<()> {
    let keys = ensure(&Home::open(&args.runnel_home)?)?;
    let (jwks, secret) = (keys.jwks.display(), keys.secret_key.display());
    let said = format!(
        "# Marked `dev`: RUNNEL_ENV=production refuses them. `runnel token` signs with {}\n\
         JWKS={jwks}\nSECRET_KEY_FILE={secret}\nJWT_ISSUER={}\nJWT_AUDIENCE={}\n",
        keys.jwt_key.display(),
        platform::auth::DEV_ISSUER,
        platform::auth::DEV_AUDIENCE,
    );
    Ok(platform::output::write(said.as_bytes())?)
}
