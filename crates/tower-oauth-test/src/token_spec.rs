use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

/// A token to be [minted](crate::ScriptedIssuer::mint): good unless told otherwise.
///
/// Starts as what `/token` would issue (RFC 9068): subject and client `test-client`, the issuer's
/// own audience and life, no scope. Each method changes one thing; the last word counts.
///
/// ```
/// use serde_json::json;
/// use tower_oauth_test::{ScriptedIssuer, Signature, TokenSpec};
///
/// let issuer = ScriptedIssuer::builder().audience("inventory").build()?;
/// let good = TokenSpec::new().subject("alice").scope("inventory.read").claim("tenant", json!(7));
/// let bad = [
///     good.clone().expired(),
///     good.clone().audience("payroll"),
///     good.clone().without_claim("exp"),
///     good.clone().header("alg", json!("none")).signature(Signature::Empty),
/// ];
/// let good = issuer.mint(good);
/// # assert_eq!(good.split('.').count(), 3);
/// # for spec in bad { assert_ne!(issuer.mint(spec), good); }
/// # Ok::<_, tower_oauth_core::BuildError>(())
/// ```
#[derive(Clone, Default)]
pub struct TokenSpec {
    pub(crate) claims: Vec<Edit>,
    pub(crate) header: Vec<(String, Option<Value>)>,
    pub(crate) raw_header: Option<Bytes>,
    pub(crate) raw_payload: Option<Bytes>,
    pub(crate) signature: Signature,
}

/// One change of a claim.
#[derive(Clone)]
pub(crate) enum Edit {
    Set(String, Value),
    Remove(String),
    /// These dates are known only when the token is minted.
    ExpiresIn(Duration),
    Expired,
}

/// Who signs a minted token.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signature {
    /// The issuer's current key.
    #[default]
    Issuer,
    /// A key of the same algorithm that the issuer never had, under the `kid` of the current key.
    /// It is made for each token, which takes its time with RSA.
    Stranger,
    /// Random bytes of the right length: no key made them.
    Random,
    /// None: the token ends with a dot.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// HMAC-SHA-256 with these bytes as the key: the public key as a secret (RFC 8725 §2.1).
    /// The header says what it says; set its `alg` to `HS256`.
    Hmac(Bytes),
}

impl TokenSpec {
    /// What `/token` would issue to the client `test-client`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `sub`.
    #[must_use]
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject)
    }

    /// `client_id`, and `sub` with it, as when the client acts for itself (RFC 9068 §2.2).
    #[must_use]
    pub fn client(self, client_id: &str) -> Self {
        self.claim("client_id", client_id).claim("sub", client_id)
    }

    /// `aud`, as one text.
    #[must_use]
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// `aud`, as an array.
    #[must_use]
    pub fn audiences<'a>(self, audiences: impl IntoIterator<Item = &'a str>) -> Self {
        self.claim("aud", audiences.into_iter().collect::<Vec<_>>())
    }

    /// `scope`: names parted by spaces (RFC 8693 §4.2).
    #[must_use]
    pub fn scope(self, scope: &str) -> Self {
        self.claim("scope", scope)
    }

    /// `iss`.
    #[must_use]
    pub fn issuer(self, issuer: &str) -> Self {
        self.claim("iss", issuer)
    }

    /// `exp`: so long from now.
    #[must_use]
    pub fn expires_in(mut self, life: Duration) -> Self {
        self.claims.push(Edit::ExpiresIn(life));
        self
    }

    /// `iat` an hour ago and `exp` ten minutes ago: beyond any leeway that is allowed.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.claims.push(Edit::Expired);
        self
    }

    /// Any claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.push(Edit::Set(name.into(), value.into()));
        self
    }

    /// Leaves a claim out.
    #[must_use]
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.push(Edit::Remove(name.into()));
        self
    }

    /// Any header member. The signature stays that of the issuer's key, whatever `alg` or `kid` say.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.push((name.into(), Some(value.into())));
        self
    }

    /// Leaves a header member out.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.push((name.into(), None));
        self
    }

    /// Exactly these bytes as the header: duplicate members, broken JSON, anything.
    #[must_use]
    pub fn raw_header(mut self, header: impl Into<Bytes>) -> Self {
        self.raw_header = Some(header.into());
        self
    }

    /// Exactly these bytes as the payload; the claims do not count then.
    #[must_use]
    pub fn raw_payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.raw_payload = Some(payload.into());
        self
    }

    /// Who signs it.
    #[must_use]
    pub fn signature(mut self, signature: Signature) -> Self {
        self.signature = signature;
        self
    }

    /// The claims of this token: the given ones, changed.
    pub(crate) fn apply(&self, claims: &mut Map<String, Value>, now: i64) {
        for edit in &self.claims {
            match edit {
                Edit::Set(name, value) => {
                    claims.insert(name.clone(), value.clone());
                }
                Edit::Remove(name) => {
                    claims.remove(name);
                }
                Edit::ExpiresIn(life) => {
                    claims.insert("exp".into(), now.saturating_add_unsigned(life.as_secs()).into());
                }
                Edit::Expired => {
                    claims.insert("iat".into(), now.saturating_sub(3600).into());
                    claims.insert("exp".into(), now.saturating_sub(600).into());
                }
            }
        }
    }
}

impl fmt::Debug for TokenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.claims.iter().map(|edit| match edit {
            Edit::Set(name, _) => name.as_str(),
            Edit::Remove(name) => name.as_str(),
            Edit::ExpiresIn(_) | Edit::Expired => "exp",
        });
        f.debug_struct("TokenSpec")
            .field("claims", &names.collect::<Vec<_>>())
            .field("header", &self.header.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Issuer => "Issuer",
            Self::Stranger => "Stranger",
            Self::Random => "Random",
            Self::Empty => "Empty",
            Self::Bytes(_) => "Bytes(..)",
            Self::Hmac(_) => "Hmac(..)",
        })
    }
}
