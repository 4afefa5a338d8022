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

    #[test]
    fn an_unset_variable_is_named_and_nothing_else() {
        let error = Secret::from_env("TOWER_OAUTH_SURELY_NOT_SET").unwrap_err();
        assert_eq!(
            error.to_string(),
            "secret `TOWER_OAUTH_SURELY_NOT_SET`: the environment variable is not set"
        );
    }
}
