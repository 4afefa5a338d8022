use std::fmt;
use std::sync::Arc;

/// Hears which tokens have died before their time: the seam between whoever learns of it (a logout, a security event, an operator)
/// and whoever still holds or trusts such tokens.
///
/// # Contract
/// 1. When [`revoke`](Self::revoke) returns, the effect is there: the sender of the news is told so after that, and does not tell it again.
/// 2. It is idempotent, and cheap: no waiting, no IO. The same news may come twice, and in any order.
/// 3. A sink that cannot remember everything ends too many tokens rather than too few.
///
/// A sink may be shared (`Arc`), and several are one: a pair, a `Vec`.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use tower_oauth_core::{Revocation, RevocationSink};
///
/// #[derive(Default)]
/// struct Heard(Mutex<Vec<Revocation>>);
///
/// impl RevocationSink for Heard {
///     fn revoke(&self, what: &Revocation) {
///         self.0.lock().unwrap().push(what.clone());
///     }
/// }
///
/// let heard = Arc::new(Heard::default());
/// let sinks: Vec<Arc<dyn RevocationSink>> = vec![heard.clone(), heard.clone()];
/// sinks.revoke(&Revocation::session("https://idp.example.com", "s-1"));
/// assert_eq!(heard.0.lock().unwrap().len(), 2);
/// ```
pub trait RevocationSink: Send + Sync + 'static {
    /// These tokens are dead from now on.
    fn revoke(&self, what: &Revocation);
}

/// Which tokens have died: a name at an issuer, and the moment up to which tokens under it die.
///
/// Names are compared byte for byte, and only at their issuer: nobody can end the tokens of another issuer, and `*` is a name like any other.
///
/// # Which tokens under the name?
///
/// With a [moment](Self::issued_at_or_before) those that were issued at or before it, so that news that come late do not end the tokens of a
/// new log-in. A token that does not say when it was issued dies in any case.
///
/// Without one, a token or a session is dead for good, since its name does not come back; of a subject, a client, an issuer, or of
/// all, those tokens die that were issued until the sink hears of it.
///
/// ```
/// use tower_oauth_core::{Revocation, Revoked};
///
/// let issuer = "https://idp.example.com/realms/shop";
/// let disabled = Revocation::subject(issuer, "alice").issued_at_or_before(1_800_000_000);
/// assert_eq!(disabled.issuer(), Some(issuer));
/// assert_eq!(disabled.what(), &Revoked::Subject("alice".into()));
/// // The names of people stay out of logs.
/// assert!(!format!("{disabled:?}").contains("alice"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// `None` for all issuers.
    issuer: Option<Box<str>>,
    what: Revoked,
    issued_at_or_before: Option<i64>,
}

/// What it is that has died. `Debug` shows the kind only.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Revoked {
    /// One token, by the SHA-256 digest of its text (what RFC 9449 §4.2 calls `ath`, before it is encoded).
    Token([u8; 32]),
    /// One token, by its `jti`.
    TokenId(Box<str>),
    /// All tokens of a session at the issuer (`sid`).
    Session(Box<str>),
    /// All tokens that stand for a subject (`sub`).
    Subject(Box<str>),
    /// Those tokens of a subject that do not say which session they belong to.
    Sessionless(Box<str>),
    /// All tokens that were issued to a client (`client_id`).
    Client(Box<str>),
    /// All tokens of the issuer, or of every issuer.
    All,
}

impl Revocation {
    /// One token of this issuer, by the SHA-256 digest of its text.
    #[must_use]
    pub fn token(issuer: &str, digest: [u8; 32]) -> Self {
        Self::at(issuer, Revoked::Token(digest))
    }

    /// One token of this issuer, by its `jti`.
    #[must_use]
    pub fn token_id(issuer: &str, token_id: &str) -> Self {
        Self::at(issuer, Revoked::TokenId(token_id.into()))
    }

    /// The tokens of a session at this issuer (`sid`).
    #[must_use]
    pub fn session(issuer: &str, session_id: &str) -> Self {
        Self::at(issuer, Revoked::Session(session_id.into()))
    }

    /// The tokens that stand for this subject of the issuer (`sub`).
    #[must_use]
    pub fn subject(issuer: &str, subject: &str) -> Self {
        Self::at(issuer, Revoked::Subject(subject.into()))
    }

    /// The tokens that stand for this subject of the issuer and name no session: who is told that one of its sessions has ended, and not of which
    /// tokens, ends these along with the [session's](Self::session). Where an issuer can be asked about such a token, that decides.
    #[must_use]
    pub fn sessionless(issuer: &str, subject: &str) -> Self {
        Self::at(issuer, Revoked::Sessionless(subject.into()))
    }

    /// The tokens that the issuer gave to this client.
    #[must_use]
    pub fn client(issuer: &str, client_id: &str) -> Self {
        Self::at(issuer, Revoked::Client(client_id.into()))
    }

    /// All tokens of this issuer: it has restarted and forgotten them, say.
    #[must_use]
    pub fn of_issuer(issuer: &str) -> Self {
        Self::at(issuer, Revoked::All)
    }

    /// All tokens of every issuer.
    #[must_use]
    pub fn all() -> Self {
        Self { issuer: None, what: Revoked::All, issued_at_or_before: None }
    }

    /// Only the tokens that were issued at or before this second since 1970.
    #[must_use]
    pub fn issued_at_or_before(mut self, unix_seconds: i64) -> Self {
        self.issued_at_or_before = Some(unix_seconds);
        self
    }

    /// Whose tokens: `None` for every issuer's.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Which of them.
    #[must_use]
    pub fn what(&self) -> &Revoked {
        &self.what
    }

    /// The moment up to which issued tokens die, in seconds since 1970.
    #[must_use]
    pub fn moment(&self) -> Option<i64> {
        self.issued_at_or_before
    }

    fn at(issuer: &str, what: Revoked) -> Self {
        Self { issuer: Some(issuer.into()), what, issued_at_or_before: None }
    }
}

// A subject or a session is personal data, and a digest is a search key for a token.
impl fmt::Debug for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(..)",
            Self::TokenId(_) => "TokenId(..)",
            Self::Session(_) => "Session(..)",
            Self::Subject(_) => "Subject(..)",
            Self::Sessionless(_) => "Sessionless(..)",
            Self::Client(_) => "Client(..)",
            Self::All => "All",
        })
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation")
            .field("issuer", &self.issuer)
            .field("what", &self.what)
            .field("issued_at_or_before", &self.issued_at_or_before)
            .finish()
    }
}

// === several sinks are one ===

impl<T: RevocationSink + ?Sized> RevocationSink for Arc<T> {
    fn revoke(&self, what: &Revocation) {
        (**self).revoke(what);
    }
}

impl<T: RevocationSink> RevocationSink for Vec<T> {
    fn revoke(&self, what: &Revocation) {
        self.iter().for_each(|sink| sink.revoke(what));
    }
}

impl<A: RevocationSink, B: RevocationSink> RevocationSink for (A, B) {
    fn revoke(&self, what: &Revocation) {
        self.0.revoke(what);
        self.1.revoke(what);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<Revocation>>);

    impl RevocationSink for Heard {
        fn revoke(&self, what: &Revocation) {
            self.0.lock().unwrap().push(what.clone());
        }
    }

    #[test]
    fn every_sink_of_a_fan_out_hears_of_it_once() {
        let all: Vec<Arc<Heard>> = (0..4).map(|_| Arc::default()).collect();
        let [a, b, c, d] = all.as_slice() else { panic!("four of them") };
        let many: Vec<Arc<dyn RevocationSink>> = vec![c.clone(), d.clone()];
        let sinks: Arc<dyn RevocationSink> = Arc::new((a.clone(), (b.clone(), many)));
        let what = Revocation::client("https://idp.example", "shop");
        sinks.revoke(&what);
        for heard in all {
            assert_eq!(heard.0.lock().unwrap().as_slice(), std::slice::from_ref(&what));
        }
    }

    #[test]
    fn each_constructor_names_what_it_says() {
        let iss = "https://idp.example";
        let name = || Box::<str>::from("n");
        for (revocation, issuer, what) in [
            (Revocation::token(iss, [7; 32]), Some(iss), Revoked::Token([7; 32])),
            (Revocation::token_id(iss, "n"), Some(iss), Revoked::TokenId(name())),
            (Revocation::session(iss, "n"), Some(iss), Revoked::Session(name())),
            (Revocation::subject(iss, "n"), Some(iss), Revoked::Subject(name())),
            (Revocation::sessionless(iss, "n"), Some(iss), Revoked::Sessionless(name())),
            (Revocation::client(iss, "n"), Some(iss), Revoked::Client(name())),
            (Revocation::of_issuer(iss), Some(iss), Revoked::All),
            (Revocation::all(), None, Revoked::All),
        ] {
            assert_eq!((revocation.issuer(), revocation.what()), (issuer, &what), "{what:?}");
            assert_eq!(revocation.moment(), None, "{what:?}");
            assert_eq!(revocation.issued_at_or_before(5).moment(), Some(5), "{what:?}");
        }
    }

    #[test]
    fn l01_names_and_digests_are_not_shown() {
        let iss = "https://idp.example";
        for revocation in [
            Revocation::token_id(iss, "canary-name"),
            Revocation::session(iss, "canary-name"),
            Revocation::subject(iss, "canary-name"),
            Revocation::sessionless(iss, "canary-name"),
            Revocation::client(iss, "canary-name"),
        ] {
            let shown = format!("{revocation:?}");
            assert!(!shown.contains("canary") && shown.contains(iss), "{shown}");
        }
        assert!(!format!("{:?}", Revocation::token(iss, [171; 32])).contains("171"));
    }
}
