use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tower_oauth_core::{BoxFuture, BuildError, Error, Secret};
use zeroize::Zeroizing;

/// The largest file that is read.
const MAX_FILE: u64 = 64 * 1024;

/// Where a secret, or another text that is not to be seen, comes from: asked at each exchange, never on the way of a
/// request.
///
/// Made of a [`Secret`], a text, a [`SecretFile`], or [by a closure](Self::call).
#[derive(Clone)]
pub struct SecretSource(Kind);

type Call = dyn Fn() -> BoxFuture<Result<Secret, Error>> + Send + Sync;

#[derive(Clone)]
enum Kind {
    Value(Secret),
    File(SecretFile),
    Call(Arc<Call>),
    #[cfg(feature = "assertions")]
    Signed(Arc<(tower_oauth_jose::ClientAssertion, super::SigningKeySource)>),
}

/// A file that holds a secret, read again at each exchange.
///
/// White space at its end is not part of the secret. A file that is missing, empty, larger than 64 KiB or not UTF-8 leaves the last
/// good content in use, with a warning; so does one whose content the authorization server refuses as
/// `invalid_client` where an earlier content had been accepted (a file that is half written, or a server that does not know the new
/// secret yet), until the file changes again or the earlier one is refused, too.
#[derive(Clone)]
pub struct SecretFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    known: Mutex<Known>,
}

struct Known {
    /// The last content that could be a secret.
    content: Secret,
    /// The last content that the server accepted.
    proven: Option<Secret>,
    /// A content that the server refused while `proven` is there.
    refused: Option<Secret>,
}

// === impl SecretSource ===

impl SecretSource {
    /// Asks a closure: a vault, an agent, the token of the inbound request.
    pub fn call<F, R>(call: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Secret, Error>> + Send + 'static,
    {
        Self(Kind::Call(Arc::new(move || Box::pin(call()))))
    }

    /// Signs a new assertion each time, for [`jwt_bearer`](crate::TokenCacheBuilder::jwt_bearer).
    #[cfg(feature = "assertions")]
    pub fn signed(
        assertion: tower_oauth_jose::ClientAssertion,
        key: impl Into<super::SigningKeySource>,
    ) -> Self {
        Self(Kind::Signed(Arc::new((assertion, key.into()))))
    }

    /// The secret at `now`, in seconds since 1970.
    #[cfg_attr(not(feature = "assertions"), allow(unused_variables))]
    pub(crate) async fn secret(&self, now: i64) -> Result<Secret, Error> {
        match &self.0 {
            Kind::Value(secret) => Ok(secret.clone()),
            Kind::File(file) => Ok(file.secret().await),
            Kind::Call(call) => call().await,
            #[cfg(feature = "assertions")]
            Kind::Signed(signed) => super::assertion::sign(&signed.0, &signed.1.key().await, now),
        }
    }

    pub(crate) fn file(&self) -> Option<&SecretFile> {
        match &self.0 {
            Kind::File(file) => Some(file),
            _ => None,
        }
    }

    /// The secret where it is known from the start.
    #[cfg(feature = "assertions")]
    pub(crate) fn value(&self) -> Option<&Secret> {
        match &self.0 {
            Kind::Value(secret) => Some(secret),
            _ => None,
        }
    }
}

impl From<Secret> for SecretSource {
    fn from(secret: Secret) -> Self {
        Self(Kind::Value(secret))
    }
}

impl From<String> for SecretSource {
    fn from(text: String) -> Self {
        Self(Kind::Value(text.into()))
    }
}

impl From<&str> for SecretSource {
    fn from(text: &str) -> Self {
        Self(Kind::Value(text.into()))
    }
}

impl From<SecretFile> for SecretSource {
    fn from(file: SecretFile) -> Self {
        Self(Kind::File(file))
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSource(..)")
    }
}

// === impl SecretFile ===

impl SecretFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// It cannot be read, or holds nothing that could be a secret. The error names the path, never the content.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, BuildError> {
        let path = path.into();
        let content = read(&path)
            .map_err(|why| BuildError::new("secret_file", path.to_string_lossy(), why))?;
        let known = Mutex::new(Known { content, proven: None, refused: None });
        Ok(Self(Arc::new(Inner { path, known })))
    }

    /// The content now, or the last one that was good.
    pub(crate) async fn secret(&self) -> Secret {
        self.read_again().await;
        let known = self.known();
        match (&known.proven, &known.refused) {
            (Some(proven), Some(refused)) if same(refused, &known.content) => proven.clone(),
            _ => known.content.clone(),
        }
    }

    /// The content as it was last read.
    #[cfg(feature = "assertions")]
    pub(super) fn with_content<T>(&self, look: impl FnOnce(&Secret) -> T) -> T {
        look(&self.known().content)
    }

    pub(crate) fn accepted(&self, secret: &Secret) {
        let mut known = self.known();
        if !known.proven.as_ref().is_some_and(|proven| same(proven, secret)) {
            known.proven = Some(secret.clone());
        }
        if known.refused.as_ref().is_some_and(|refused| same(refused, secret)) {
            known.refused = None;
        }
    }

    /// Whether there is something else to try.
    pub(crate) async fn refused(&self, secret: &Secret) -> bool {
        self.read_again().await;
        let mut known = self.known();
        if !same(&known.content, secret) {
            // The file has changed meanwhile, or what was refused is the earlier content.
            known.refused = None;
            return true;
        }
        if known.proven.as_ref().is_some_and(|proven| !same(proven, secret)) {
            tracing::warn!(path = %self.0.path.display(), "the new secret is refused; using the former one");
            known.refused = Some(secret.clone());
            return true;
        }
        false
    }

    async fn read_again(&self) {
        let path = self.0.path.clone();
        // Where there is no runtime there is no request that a slow disk could hold up.
        let content = match Handle::try_current() {
            Ok(runtime) => match runtime.spawn_blocking(move || read(&path)).await {
                Ok(content) => content,
                Err(_) => Err("could not be read"),
            },
            Err(_) => read(&path),
        };
        match content {
            Ok(content) => {
                let mut known = self.known();
                if !same(&known.content, &content) {
                    tracing::debug!(path = %self.0.path.display(), "secret file has changed");
                    known.content = content;
                }
            }
            Err(why) => {
                tracing::warn!(path = %self.0.path.display(), why, "secret file is not good; using the last one");
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both are ours, so there is nobody to learn anything from the time that this takes.
fn same(a: &Secret, b: &Secret) -> bool {
    a.expose() == b.expose()
}

fn read(path: &Path) -> Result<Secret, &'static str> {
    let file = File::open(path).map_err(|_| "cannot be opened")?;
    // With its full size from the start no copy is left behind by growing.
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize + 1));
    file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(|_| "cannot be read")?;
    if content.len() as u64 > MAX_FILE {
        return Err("is larger than 64 KiB");
    }
    let text = std::str::from_utf8(&content).map_err(|_| "is not UTF-8")?.trim_end();
    if text.is_empty() {
        return Err("is empty");
    }
    Ok(Secret::new(text))
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretFile").field(&self.0.path).finish()
    }
}
