//! Who the client is, and how it proves it: looked up anew for each try.

#[cfg(feature = "assertions")]
mod assertion;
mod secret;

use std::fmt;
use std::sync::Arc;

use tower_oauth_core::codec::ClientAuth;
use tower_oauth_core::{BoxFuture, BuildError, EndpointUri, Error, ErrorKind, Secret};

#[cfg(feature = "assertions")]
use self::assertion::Signer;
#[cfg(feature = "assertions")]
pub use self::assertion::{KeyFile, SigningKeySource};
pub use self::secret::{SecretFile, SecretSource};

/// A client as the authorization server has registered it: its id, and how it authenticates at the
/// token endpoint (the names are those of RFC 7591 §2).
///
/// Secrets and keys are looked up for each try, so a file that has changed is noticed at the next
/// exchange. `Debug` shows the id and the method.
///
/// ```
/// use tower_oauth_client::{Client, Secret, TokenCache};
///
/// # fn main() -> Result<(), tower_oauth_client::BuildError> {
/// let tokens = TokenCache::builder()
///     .issuer("https://idp.example.com")
///     .client(Client::basic("orders", Secret::new("s3cret")))
///     .password("robot", Secret::new("pa55word"))
///     .build()?;
/// # drop(tokens); Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Client {
    id: String,
    proof: Proof,
    audience: AssertionAudience,
}

#[derive(Clone)]
enum Proof {
    Basic(SecretSource),
    Post(SecretSource),
    IdOnly,
    #[cfg(feature = "assertions")]
    Signed(Signer),
    Foreign(Arc<dyn Fn(AssertionRequest) -> BoxFuture<Result<Secret, Error>> + Send + Sync>),
}

/// Whom an assertion is for: its `aud` (RFC 7523 §3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssertionAudience {
    /// The issuer's identifier: an assertion for one server cannot be used at another. The default; it needs an
    /// issuer.
    #[default]
    Issuer,
    /// The address of the token endpoint, for servers that want that.
    TokenEndpoint,
    /// This text.
    Is(String),
}

/// What a client assertion must say, for a signer that is not this crate (a KMS, an HSM, an agent).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AssertionRequest {
    /// `iss` and `sub`.
    pub client_id: String,
    /// `aud`, as one text.
    pub audience: String,
    /// `iat`: now, in seconds since 1970. `exp` is a minute later or so; `jti` is new each time.
    pub issued_at: i64,
}

/// What proves the client in one try, and what there is to be learned from its success or failure.
pub(crate) struct Resolved {
    pub(crate) auth: ClientAuth,
    used: Option<(SecretFile, Secret)>,
}

/// Where and when a try takes place.
pub(crate) struct Try<'a> {
    pub(crate) issuer: Option<&'a str>,
    pub(crate) endpoint: &'a EndpointUri,
    pub(crate) now: i64,
}

impl Client {
    /// `client_secret_basic`: id and secret in the `Authorization` header (RFC 6749 §2.3.1).
    pub fn basic(id: impl Into<String>, secret: impl Into<SecretSource>) -> Self {
        Self::new(id, Proof::Basic(secret.into()))
    }

    /// `client_secret_post`: id and secret in the form.
    pub fn post(id: impl Into<String>, secret: impl Into<SecretSource>) -> Self {
        Self::new(id, Proof::Post(secret.into()))
    }

    /// `none`: a public client, which has only its id.
    pub fn public(id: impl Into<String>) -> Self {
        Self::new(id, Proof::IdOnly)
    }

    /// `tls_client_auth` or `self_signed_tls_client_auth` (RFC 8705 §2): the id in the form, the proof in the
    /// connection. The HTTP client has the certificate: see `HttpClient::transport_builder`.
    pub fn mutual_tls(id: impl Into<String>) -> Self {
        Self::new(id, Proof::IdOnly)
    }

    /// `client_secret_jwt`: a JWT signed with the secret by HS256, new for each try (RFC 7523 §2.2). The secret has
    /// 32 bytes at least.
    #[cfg(feature = "assertions")]
    pub fn secret_jwt(id: impl Into<String>, secret: impl Into<SecretSource>) -> Self {
        Self::new(id, Proof::Signed(Signer::secret(secret.into())))
    }

    /// `private_key_jwt`: a JWT signed with a private key, new for each try (RFC 7523 §2.2).
    #[cfg(feature = "assertions")]
    pub fn private_key_jwt(id: impl Into<String>, key: impl Into<SigningKeySource>) -> Self {
        Self::new(id, Proof::Signed(Signer::key(key.into())))
    }

    /// `private_key_jwt` with a signer of your own, which is asked for each try.
    pub fn assertion_from<F, R>(id: impl Into<String>, sign: F) -> Self
    where
        F: Fn(AssertionRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Secret, Error>> + Send + 'static,
    {
        Self::new(id, Proof::Foreign(Arc::new(move |request| Box::pin(sign(request)))))
    }

    /// Whom assertions are for; [`AssertionAudience::Issuer`] by default.
    pub fn assertion_audience(mut self, audience: AssertionAudience) -> Self {
        self.audience = audience;
        self
    }

    fn new(id: impl Into<String>, proof: Proof) -> Self {
        Self { id: id.into(), proof, audience: AssertionAudience::default() }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What can be said before the first try.
    pub(crate) fn check(&self, has_issuer: bool) -> Result<(), BuildError> {
        if self.id.is_empty() {
            return Err(BuildError::new("client", "", "the client id is empty"));
        }
        let signs = match &self.proof {
            Proof::Basic(_) | Proof::Post(_) | Proof::IdOnly => false,
            Proof::Foreign(_) => true,
            #[cfg(feature = "assertions")]
            Proof::Signed(signer) => {
                signer.check(&self.id)?;
                true
            }
        };
        if signs && !has_issuer && self.audience == AssertionAudience::Issuer {
            let why =
                "signs for an issuer that is not known: use issuer(..), or assertion_audience(..)";
            return Err(BuildError::new("client", &self.id, why));
        }
        Ok(())
    }

    /// What proves the client now. An assertion is new each time.
    pub(crate) async fn resolve(&self, at: Try<'_>) -> Result<Resolved, Error> {
        let id = self.id.clone();
        let auth = match &self.proof {
            Proof::Basic(source) => {
                let secret = source.secret(at.now).await?;
                let used = source.file().map(|file| (file.clone(), secret.clone()));
                return Ok(Resolved { auth: ClientAuth::Basic { id, secret }, used });
            }
            Proof::Post(source) => {
                let secret = source.secret(at.now).await?;
                let used = source.file().map(|file| (file.clone(), secret.clone()));
                return Ok(Resolved { auth: ClientAuth::Post { id, secret }, used });
            }
            Proof::IdOnly => ClientAuth::IdOnly { id },
            #[cfg(feature = "assertions")]
            Proof::Signed(signer) => {
                let audience = self.audience_of(&at)?;
                ClientAuth::Assertion { assertion: signer.sign(&id, audience, at.now).await?, id }
            }
            Proof::Foreign(sign) => {
                let audience = self.audience_of(&at)?;
                let request =
                    AssertionRequest { client_id: id.clone(), audience, issued_at: at.now };
                ClientAuth::Assertion { assertion: sign(request).await?, id }
            }
        };
        Ok(Resolved { auth, used: None })
    }

    fn audience_of(&self, at: &Try<'_>) -> Result<String, Error> {
        match &self.audience {
            AssertionAudience::Issuer => at.issuer.map(str::to_owned).ok_or_else(|| {
                ErrorKind::Configuration("the audience of the assertion is not known").into()
            }),
            AssertionAudience::TokenEndpoint => Ok(at.endpoint.to_string()),
            AssertionAudience::Is(audience) => Ok(audience.clone()),
        }
    }

    fn method(&self) -> &'static str {
        match &self.proof {
            Proof::Basic(_) => "client_secret_basic",
            Proof::Post(_) => "client_secret_post",
            Proof::IdOnly => "none",
            #[cfg(feature = "assertions")]
            Proof::Signed(signer) => signer.method(),
            Proof::Foreign(_) => "private_key_jwt",
        }
    }
}

impl Resolved {
    /// The server has taken it.
    pub(crate) fn accepted(&self) {
        if let Some((file, secret)) = &self.used {
            file.accepted(secret);
        }
    }

    /// The server has refused it; whether there is another one to try.
    pub(crate) async fn refused(&self) -> bool {
        match &self.used {
            Some((file, secret)) => file.refused(secret).await,
            None => false,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("method", &self.method())
            .finish_non_exhaustive()
    }
}
