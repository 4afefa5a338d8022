use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tower_oauth_core::{BuildError, Error, ErrorKind, Secret};
use tower_oauth_jose::{Algorithm, ClientAssertion, SigningKey};

use super::{SecretFile, SecretSource};

/// Where a signing key comes from: a [`SigningKey`], or a [`KeyFile`] that is read again at each exchange.
#[derive(Clone, Debug)]
pub struct SigningKeySource(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Key(SigningKey),
    File(KeyFile),
}

/// A file that holds a private key in PEM (PKCS #8), read again at each exchange. One that is missing or broken
/// leaves the last good key in use, with a warning.
///
/// The key id stays the same: a key that is to have another one is another file, and another [`Client`](super::Client).
#[derive(Clone)]
pub struct KeyFile {
    file: SecretFile,
    algorithm: Algorithm,
    kid: Option<String>,
    last: Arc<Mutex<SigningKey>>,
}

/// Signs the assertions of a client.
#[derive(Clone)]
pub(super) enum Signer {
    Key(SigningKeySource),
    Secret(SecretSource),
}

/// The one algorithm of `client_secret_jwt` that every server knows.
const SECRET_ALGORITHM: Algorithm = Algorithm::HS256;

// === impl Signer ===

impl Signer {
    pub(super) const fn key(key: SigningKeySource) -> Self {
        Self::Key(key)
    }

    pub(super) const fn secret(secret: SecretSource) -> Self {
        Self::Secret(secret)
    }

    pub(super) fn check(&self, id: &str) -> Result<(), BuildError> {
        match self {
            Self::Secret(source) => match source.value().map(of_secret) {
                Some(Err(_)) => {
                    let why = "signs with a secret that is shorter than 32 bytes";
                    Err(BuildError::new("client", id, why))
                }
                _ => Ok(()),
            },
            Self::Key(_) => Ok(()),
        }
    }

    pub(super) async fn sign(&self, id: &str, aud: String, now: i64) -> Result<Secret, Error> {
        let key = match self {
            Self::Key(source) => source.key().await,
            Self::Secret(source) => of_secret(&source.secret(now).await?)?,
        };
        sign(&ClientAssertion::of_client(id, aud), &key, now)
    }

    pub(super) const fn method(&self) -> &'static str {
        match self {
            Self::Key(_) => "private_key_jwt",
            Self::Secret(_) => "client_secret_jwt",
        }
    }
}

fn of_secret(secret: &Secret) -> Result<SigningKey, Error> {
    SigningKey::hmac(SECRET_ALGORITHM, secret.expose()).map_err(|error| {
        Error::new(ErrorKind::Configuration("the client secret cannot sign")).with_source(error)
    })
}

pub(super) fn sign(
    assertion: &ClientAssertion,
    key: &SigningKey,
    now: i64,
) -> Result<Secret, Error> {
    let signed = assertion.sign(key, now);
    signed
        .map(Secret::new)
        .ok_or_else(|| ErrorKind::Configuration("the assertion cannot be signed").into())
}

// === impl SigningKeySource ===

impl SigningKeySource {
    pub(super) async fn key(&self) -> SigningKey {
        match &self.0 {
            Kind::Key(key) => key.clone(),
            Kind::File(file) => file.key().await,
        }
    }
}

impl From<SigningKey> for SigningKeySource {
    fn from(key: SigningKey) -> Self {
        Self(Kind::Key(key))
    }
}

impl From<KeyFile> for SigningKeySource {
    fn from(file: KeyFile) -> Self {
        Self(Kind::File(file))
    }
}

// === impl KeyFile ===

impl KeyFile {
    /// Reads the key for the first time.
    ///
    /// # Errors
    /// The file cannot be read, or holds no key for this algorithm.
    pub fn open(path: impl Into<PathBuf>, algorithm: Algorithm) -> Result<Self, BuildError> {
        let path = path.into();
        let file = SecretFile::open(&path)?;
        let key = file.with_content(|pem| SigningKey::from_pkcs8_pem(algorithm, pem.expose()));
        let key = key.map_err(|error| {
            let value = format_args!("{}: {error}", path.display()).to_string();
            BuildError::new("key_file", value, "holds no key for this algorithm")
        })?;
        Ok(Self { file, algorithm, kid: None, last: Arc::new(Mutex::new(key)) })
    }

    /// Names the key, as [`SigningKey::with_kid`].
    ///
    /// # Errors
    /// The name is empty or longer than 256 bytes.
    pub fn with_kid(mut self, kid: impl Into<String>) -> Result<Self, BuildError> {
        let kid = kid.into();
        let key = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let key =
            key.with_kid(&*kid).map_err(|error| BuildError::new("kid", error, "is not usable"))?;
        self.last = Arc::new(Mutex::new(key));
        self.kid = Some(kid);
        Ok(self)
    }

    async fn key(&self) -> SigningKey {
        let pem = self.file.secret().await;
        let key = SigningKey::from_pkcs8_pem(self.algorithm, pem.expose());
        let key = match &self.kid {
            Some(kid) => key.and_then(|key| key.with_kid(&**kid)),
            None => key,
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match key {
            Ok(key) => *last = key,
            Err(error) => {
                tracing::warn!(file = ?self.file, %error, "key file is not good; using the last key");
            }
        }
        last.clone()
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile")
            .field("file", &self.file)
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}
