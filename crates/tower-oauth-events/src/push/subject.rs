//! Whom an event is about: subject identifiers (RFC 9493; SSF 1.0 §3), and what they are called in tokens.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use tower_oauth_core::Revocation;
use tower_oauth_jose::InvalidToken;

/// The most identifiers of one `aliases`.
const MAX_ALIASES: usize = 16;
const MALFORMED: InvalidToken = InvalidToken::InvalidClaim("sub_id");

/// A subject identifier that does not say what the subject is called in tokens: an address, a number, an id.
#[derive(Clone, Copy)]
pub struct SubjectName<'a> {
    format: &'a str,
    value: &'a str,
}

/// Says which `sub` a name stands for.
pub(super) type Resolve = Arc<dyn Fn(SubjectName<'_>) -> Option<String> + Send + Sync>;

/// Reads subjects, as one issuer's.
#[derive(Clone)]
pub(super) struct Subjects {
    /// Whose tokens they are the subjects of.
    pub(super) issuer: String,
    pub(super) resolve: Resolve,
}

/// One simple subject.
enum Simple {
    Subject(String),
    TokenId(String),
    /// Of another issuer.
    Foreign,
    /// In a format that is not known, or by a name that means nobody.
    Unknown,
}

// === impl SubjectName ===

impl<'a> SubjectName<'a> {
    /// `opaque`, `email`, `phone_number`, `account`, `did` or `uri`.
    #[must_use]
    pub const fn format(self) -> &'a str {
        self.format
    }

    /// The name itself: the id, the address, the number, the URI.
    #[must_use]
    pub const fn value(self) -> &'a str {
        self.value
    }
}

// It is personal data.
impl fmt::Debug for SubjectName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectName").field("format", &self.format).finish_non_exhaustive()
    }
}

/// An id and an address may well be what the issuer calls its subjects; if not, they are the `sub` of nobody.
pub(super) fn by_default(name: SubjectName<'_>) -> Option<String> {
    matches!(name.format, "opaque" | "email").then(|| name.value.to_owned())
}

// === impl Subjects ===

impl Subjects {
    /// What the subject's tokens are known by; nothing if it has none of ours.
    pub(super) fn read(&self, subject: &Value) -> Result<Vec<Revocation>, InvalidToken> {
        let subject = subject.as_object().ok_or(MALFORMED)?;
        match text(subject, "format")? {
            "complex" => self.complex(subject),
            "aliases" => {
                let all = subject.get("identifiers").and_then(Value::as_array);
                let all = all.filter(|all| all.len() <= MAX_ALIASES).ok_or(MALFORMED)?;
                let mut ended = Vec::new();
                for one in all {
                    ended.extend(self.revocation(self.simple(one)?));
                }
                Ok(ended)
            }
            _ => Ok(self.revocation(self.simple_of(subject)?).into_iter().collect()),
        }
    }

    /// The members of a complex subject describe one and the same thing together (SSF §3.2).
    fn complex(&self, subject: &Map<String, Value>) -> Result<Vec<Revocation>, InvalidToken> {
        let part = |name| subject.get(name).map(|part| self.simple(part)).transpose();
        let user = match part("user")? {
            // Somebody else's session, whatever it is called.
            Some(Simple::Foreign) => return Ok(Vec::new()),
            Some(Simple::Subject(user)) => Some(user),
            _ => None,
        };
        if let Some(session) = subject.get("session") {
            let session = session.as_object().ok_or(MALFORMED)?;
            if text(session, "format")? == "opaque" {
                let ended = Revocation::session(&self.issuer, text(session, "id")?);
                let along = user.map(|user| Revocation::sessionless(&self.issuer, &user));
                return Ok([ended].into_iter().chain(along).collect());
            }
        }
        if let Some(user) = user {
            // A session or a device of it that cannot be told ends all of them.
            return Ok(vec![Revocation::subject(&self.issuer, &user)]);
        }
        // Only where nothing but the application is described: else it would be all of its users.
        let is_alone = ["user", "session", "device", "tenant", "org_unit", "group"]
            .into_iter()
            .all(|name| !subject.contains_key(name));
        match subject.get("application").and_then(Value::as_object).filter(|_| is_alone) {
            Some(application) if text(application, "format")? == "opaque" => {
                Ok(vec![Revocation::client(&self.issuer, text(application, "id")?)])
            }
            _ => Ok(Vec::new()),
        }
    }

    fn simple(&self, subject: &Value) -> Result<Simple, InvalidToken> {
        self.simple_of(subject.as_object().ok_or(MALFORMED)?)
    }

    fn simple_of(&self, subject: &Map<String, Value>) -> Result<Simple, InvalidToken> {
        let format = text(subject, "format")?;
        let member = match format {
            "iss_sub" => {
                let (issuer, sub) = (text(subject, "iss")?, text(subject, "sub")?);
                let is_ours = issuer == self.issuer;
                return Ok(if is_ours { Simple::Subject(sub.to_owned()) } else { Simple::Foreign });
            }
            "jwt_id" => {
                let (issuer, id) = (text(subject, "iss")?, text(subject, "jti")?);
                let is_ours = issuer == self.issuer;
                return Ok(if is_ours { Simple::TokenId(id.to_owned()) } else { Simple::Foreign });
            }
            "opaque" => "id",
            "email" => "email",
            "phone_number" => "phone_number",
            "account" | "uri" => "uri",
            "did" => "url",
            _ => return Ok(Simple::Unknown),
        };
        let name = SubjectName { format, value: text(subject, member)? };
        Ok((self.resolve)(name).map_or(Simple::Unknown, Simple::Subject))
    }

    fn revocation(&self, simple: Simple) -> Option<Revocation> {
        match simple {
            Simple::Subject(subject) => Some(Revocation::subject(&self.issuer, &subject)),
            Simple::TokenId(id) => Some(Revocation::token_id(&self.issuer, &id)),
            Simple::Foreign | Simple::Unknown => None,
        }
    }
}

/// A member that has to be a text, and not an empty one.
fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, InvalidToken> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or(MALFORMED)
}
