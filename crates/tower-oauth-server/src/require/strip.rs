//! What a client may not say about itself.

use std::fmt;

use http::{HeaderMap, HeaderName};
use tower_oauth_core::BuildError;

/// Names of headers, in lower case and with `-` for `_`.
#[derive(Clone, Default)]
pub(super) struct Strip(Vec<String>);

impl Strip {
    pub(super) fn add<T: AsRef<str>>(
        &mut self,
        names: impl IntoIterator<Item = T>,
    ) -> Result<(), BuildError> {
        for name in names {
            let name = name.as_ref();
            if HeaderName::try_from(name).is_err() {
                return Err(BuildError::new("strip_headers", name, "is not a header name"));
            }
            self.0.push(name.to_ascii_lowercase().replace('_', "-"));
        }
        Ok(())
    }

    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        let condemned: Vec<_> = headers.keys().filter(|name| self.names(name)).cloned().collect();
        for name in condemned {
            headers.remove(name);
        }
    }

    fn names(&self, header: &HeaderName) -> bool {
        let same = |listed: &str| {
            let sent = header.as_str().bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
            sent.eq(listed.bytes())
        };
        self.0.iter().any(|listed| same(listed))
    }
}

impl fmt::Debug for Strip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
