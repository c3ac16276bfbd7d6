//! Who is asking: bearer tokens, verified once and remembered for a short time.
//!
//! The tenant comes from the token only. A handler that takes [`Claims`] cannot be reached
//! without a token that was verified.

mod claims;
mod dev_keys;
mod jwks;
mod keys;
mod pem;
mod signer;
mod verifier;

pub use claims::{Claims, Role};
pub use dev_keys::{DEV_AUDIENCE, DEV_ISSUER, DevKeys};
pub use keys::{KeySet, KeySetError};
pub use signer::{SignError, TokenSigner};
pub(crate) use verifier::Authentication;
pub use verifier::{AuthError, TokenError, Verified, Verifier};
