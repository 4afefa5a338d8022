use std::fmt;

use tower_oauth_jose::{Algorithm, DpopSigner, InvalidSigningKey, SigningKey, Thumbprint};

/// The private key that tokens are bound to (RFC 9449), for
/// [`TokenCacheBuilder::dpop`](crate::TokenCacheBuilder::dpop).
///
/// Cloning is a reference count. `Debug` shows the algorithm and the thumbprint, never the key.
///
/// ```
/// use tower_oauth_client::{DpopKey, TokenCache};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = TokenCache::builder()
///     .issuer("https://idp.example.com/realms/shop")
///     .client_credentials("orders", "s3cret")
///     .dpop(DpopKey::generate()?)
///     .build()?;
/// # drop(tokens); Ok(()) }
/// ```
#[derive(Clone)]
pub struct DpopKey(DpopSigner);

impl DpopKey {
    /// A new key for ES256, the algorithm that every server knows. It lives as long as this process: a refresh token of a public client is
    /// bound to the key, too, and one that shall survive a restart needs [a key that does](Self::new).
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self, InvalidSigningKey> {
        Self::new(SigningKey::generate(Algorithm::ES256)?)
    }

    /// This key: RSA, EC or Ed25519. Its `kid` does not matter.
    ///
    /// # Errors
    /// The key is a shared secret.
    pub fn new(key: SigningKey) -> Result<Self, InvalidSigningKey> {
        DpopSigner::new(key).map(Self)
    }

    /// The thumbprint of the public half: `dpop_jkt` of an authorization request (RFC 9449 §10), and `jkt` in what a server says of a token.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.0.jkt()
    }

    pub(super) fn signer(&self) -> &DpopSigner {
        &self.0
    }
}

impl fmt::Debug for DpopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DpopKey").field(&self.0).finish()
    }
}
