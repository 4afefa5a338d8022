use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::BuildError;

/// A client secret or another text that must never show.
///
/// `Debug` prints `Secret(..)`, there is no `Display`, `PartialEq` or serialisation, and the text is
/// overwritten when the last clone is dropped. Cloning is a reference count.
///
/// ```
/// use tower_oauth_core::Secret;
/// let secret = Secret::new("s3cret");
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert_eq!(secret.expose(), "s3cret");
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes the text. The `String` that is passed in is moved, not copied.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// Reads the environment variable `name`.
    ///
    /// # Errors
    /// The variable is not set, is empty, or is not UTF-8. The error names the variable, never its value.
    pub fn from_env(name: &str) -> Result<Self, BuildError> {
        match std::env::var(name) {
            Ok(text) if !text.is_empty() => Ok(Self::new(text)),
            Ok(_) => Err(BuildError::new("secret", name, "the environment variable is empty")),
            Err(std::env::VarError::NotPresent) => {
                Err(BuildError::new("secret", name, "the environment variable is not set"))
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(BuildError::new("secret", name, "the environment variable is not UTF-8"))
            }
        }
    }

    /// The text itself. The name is long on purpose: each use should be easy to find.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What lies in this process's memory at the address where the text was, after `end`.
    #[cfg(target_os = "linux")]
    fn left_behind<T>(held: T, text: impl Fn(&T) -> &[u8], end: impl FnOnce(T)) -> Vec<u8> {
        use std::os::unix::fs::FileExt;
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let (address, mut found) = (text(&held).as_ptr().addr() as u64, vec![0; text(&held).len()]);
        memory.read_exact_at(&mut found, address).unwrap();
        assert_eq!(found, text(&held), "it is read where it is");
        found.fill(0);
        end(held);
        memory.read_exact_at(&mut found, address).unwrap();
        found
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn l05_the_text_is_overwritten_with_the_last_clone_and_not_before() {
        // Small enough to lie where other things lie, so that its page is there afterwards.
        let canary = |left: &[u8]| left.windows(6).filter(|part| *part == b"CANARY").count();
        let text = "CANARY".repeat(40);
        let secret = Secret::new(text.clone());
        let clone = secret.clone();
        let kept = left_behind(secret, |secret| secret.expose().as_bytes(), drop);
        assert_eq!(canary(&kept), 40, "there is another clone");
        let left = left_behind(clone, |secret| secret.expose().as_bytes(), drop);
        assert_eq!(canary(&left), 0);

        let token = crate::Token::bearer(&text).unwrap();
        let header = token.header().clone();
        let kept = left_behind(token, |token| token.header().as_bytes(), drop);
        assert_eq!(canary(&kept), 40, "a request has it still");
        let left = left_behind(header, |header| header.as_bytes(), drop);
        assert_eq!(canary(&left), 0);
    }

    #[test]
    fn an_unset_variable_is_named_and_nothing_else() {
        let error = Secret::from_env("TOWER_OAUTH_SURELY_NOT_SET").unwrap_err();
        assert_eq!(
            error.to_string(),
            "secret `TOWER_OAUTH_SURELY_NOT_SET`: the environment variable is not set"
        );
    }
}
