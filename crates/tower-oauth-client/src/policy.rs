//! What an answer says about the token that was sent.

use http::StatusCode;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::response::Parts;
use tower_oauth_core::Challenges;

/// What an answer says about the token that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenVerdict {
    /// The resource took it.
    Accepted,
    /// The resource says that it is dead.
    Rejected,
    /// Nothing: the answer is about something else.
    Silent,
}

/// Judges answers: one decision, one place.
///
/// Only the head is seen. A refusal in gRPC trailers, behind messages, is the caller's to see.
/// A closure `Fn(&http::response::Parts) -> TokenVerdict` is a policy; [`or`](Self::or) and
/// [`and`](Self::and) compose.
///
/// ```
/// use tower_oauth_client::{BareForbidden, StandardPolicy, RejectionPolicy, TokenVerdict};
///
/// // A gateway that says 403 to a token it does not know any more.
/// let policy = StandardPolicy.or(BareForbidden);
/// let (head, ()) = http::Response::builder().status(403).body(())?.into_parts();
/// assert_eq!(policy.judge(&head), TokenVerdict::Rejected);
/// # Ok::<_, http::Error>(())
/// ```
pub trait RejectionPolicy: Send + Sync + 'static {
    /// Judges the head of an answer.
    fn judge(&self, head: &Parts) -> TokenVerdict;

    /// Rejected where either says so; else the first that is not silent.
    fn or<P: RejectionPolicy>(self, other: P) -> Or<Self, P>
    where
        Self: Sized,
    {
        Or(self, other)
    }

    /// Rejected where both say so; else the first that says something else than rejected.
    fn and<P: RejectionPolicy>(self, other: P) -> And<Self, P>
    where
        Self: Sized,
    {
        And(self, other)
    }
}

impl<F> RejectionPolicy for F
where
    F: Fn(&Parts) -> TokenVerdict + Send + Sync + 'static,
{
    fn judge(&self, head: &Parts) -> TokenVerdict {
        self(head)
    }
}

/// The default: the answer names the token in the words of the standards.
///
/// * 401 with a `Bearer` challenge whose `error` is `invalid_token` (RFC 6750 §3.1) is rejected;
/// * an HTTP 200 (or 401) that is a gRPC answer with `grpc-status: 16` in its *headers* is rejected,
///   unless a challenge beside it names another error;
/// * 2xx (gRPC: without a status in the headers, or with 0) is accepted;
/// * all else is silent: a bare 401, 403, 407, `insufficient_scope`,
///   `insufficient_user_authentication` (RFC 9470), `use_dpop_nonce`.
#[derive(Clone, Copy, Debug, Default)]
pub struct StandardPolicy;

impl RejectionPolicy for StandardPolicy {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        match head.status {
            StatusCode::UNAUTHORIZED if bearer_error(head).as_deref() == Some("invalid_token") => {
                TokenVerdict::Rejected
            }
            StatusCode::OK | StatusCode::UNAUTHORIZED if is_grpc(head) => judge_grpc(head),
            status if status.is_success() => TokenVerdict::Accepted,
            _ => TokenVerdict::Silent,
        }
    }
}

/// Also takes a 401 for a rejection that does not say why: no challenge at all, or a `Bearer`
/// challenge without an error. A 401 that asks for another scheme (`Basic`, `Negotiate`) stays silent:
/// it is a proxy's.
#[derive(Clone, Copy, Debug, Default)]
pub struct BareUnauthorized;

impl RejectionPolicy for BareUnauthorized {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        let bare = head.status == StatusCode::UNAUTHORIZED && {
            let challenges = Challenges::of(&head.headers);
            match challenges.bearer() {
                Some(bearer) => bearer.param("error").is_none(),
                None => !head.headers.contains_key(WWW_AUTHENTICATE),
            }
        };
        if bare { TokenVerdict::Rejected } else { TokenVerdict::Silent }
    }
}

/// Also takes a 403 for a rejection that does not say why: no `Bearer` challenge with an error.
///
/// For gateways that answer 403 to a token they have forgotten. A 403 that is about rights, not
/// about the token, costs an exchange and a replay too, once; then it is seen that a new token does not help, and more of
/// them spend the budget of [`TokenCache`](crate::TokenCache).
#[derive(Clone, Copy, Debug, Default)]
pub struct BareForbidden;

impl RejectionPolicy for BareForbidden {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        let bare = head.status == StatusCode::FORBIDDEN && bearer_error(head).is_none();
        if bare { TokenVerdict::Rejected } else { TokenVerdict::Silent }
    }
}

/// See [`RejectionPolicy::or`].
#[derive(Clone, Copy, Debug)]
pub struct Or<A, B>(A, B);

impl<A: RejectionPolicy, B: RejectionPolicy> RejectionPolicy for Or<A, B> {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        match self.0.judge(head) {
            TokenVerdict::Rejected => TokenVerdict::Rejected,
            TokenVerdict::Silent => self.1.judge(head),
            TokenVerdict::Accepted => match self.1.judge(head) {
                TokenVerdict::Rejected => TokenVerdict::Rejected,
                TokenVerdict::Accepted | TokenVerdict::Silent => TokenVerdict::Accepted,
            },
        }
    }
}

/// See [`RejectionPolicy::and`].
#[derive(Clone, Copy, Debug)]
pub struct And<A, B>(A, B);

impl<A: RejectionPolicy, B: RejectionPolicy> RejectionPolicy for And<A, B> {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        match self.0.judge(head) {
            TokenVerdict::Rejected => self.1.judge(head),
            other => other,
        }
    }
}

fn bearer_error(head: &Parts) -> Option<String> {
    // Looked for first: most answers have no challenge, and an empty parse is not free.
    if !head.headers.contains_key(WWW_AUTHENTICATE) {
        return None;
    }
    Challenges::of(&head.headers).bearer()?.param("error").map(str::to_owned)
}

fn is_grpc(head: &Parts) -> bool {
    head.headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// gRPC puts the status of an answer without messages into its headers ("trailers-only").
fn judge_grpc(head: &Parts) -> TokenVerdict {
    match head.headers.get("grpc-status").map(http::HeaderValue::as_bytes) {
        None | Some(b"0") if head.status.is_success() => TokenVerdict::Accepted,
        Some(b"16") => match bearer_error(head).as_deref() {
            None | Some("invalid_token") => TokenVerdict::Rejected,
            Some(_) => TokenVerdict::Silent,
        },
        _ => TokenVerdict::Silent,
    }
}

#[cfg(test)]
mod tests {
    use TokenVerdict::{Accepted, Rejected, Silent};
    use http::Response;

    use super::*;

    type Fields = &'static [(&'static str, &'static str)];

    fn head(status: u16, headers: &[(&str, &str)]) -> Parts {
        let mut builder = Response::builder().status(status);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_default_policy_reads_the_standards_words() {
        const WWW: &str = "www-authenticate";
        const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");
        let cases: &[(&str, u16, Fields, TokenVerdict)] = &[
            ("challenge", 401, &[(WWW, r#"Bearer error="invalid_token""#)], Rejected),
            ("r07 bare 401", 401, &[], Silent),
            ("r07 proxy's 401", 401, &[(WWW, r#"Basic realm="x""#)], Silent),
            ("r07 negotiate", 401, &[(WWW, "Negotiate")], Silent),
            (
                "r08 in a realm",
                401,
                &[(WWW, r#"Basic realm="Bearer error=invalid_token""#)],
                Silent,
            ),
            ("r09 scope", 403, &[(WWW, r#"Bearer error="insufficient_scope""#)], Silent),
            ("r09 bare 403", 403, &[], Silent),
            (
                "r09 step-up",
                401,
                &[(WWW, r#"Bearer error="insufficient_user_authentication""#)],
                Silent,
            ),
            (
                "r10 proxy",
                407,
                &[("proxy-authenticate", r#"Bearer error="invalid_token""#)],
                Silent,
            ),
            ("r11 nonce", 401, &[(WWW, r#"DPoP error="use_dpop_nonce""#)], Silent),
            ("403 never", 403, &[(WWW, r#"Bearer error="invalid_token""#)], Silent),
            ("grpc 16", 200, &[GRPC, ("grpc-status", "16")], Rejected),
            (
                "grpc 16 for another reason",
                200,
                &[GRPC, ("grpc-status", "16"), (WWW, r#"Bearer error="invalid_request""#)],
                Silent,
            ),
            ("grpc 16 with 401", 401, &[GRPC, ("grpc-status", "16")], Rejected),
            ("a proxy's 401 to grpc", 401, &[GRPC], Silent),
            ("grpc 7", 200, &[GRPC, ("grpc-status", "7")], Silent),
            ("grpc 0", 200, &[GRPC, ("grpc-status", "0")], Accepted),
            ("grpc stream", 200, &[GRPC], Accepted),
            ("16 of something else", 200, &[("grpc-status", "16")], Accepted),
            ("ok", 204, &[], Accepted),
            ("moved", 302, &[], Silent),
            ("not found", 404, &[], Silent),
            ("server error", 500, &[], Silent),
        ];
        for (name, status, headers, expected) in cases {
            assert_eq!(StandardPolicy.judge(&head(*status, headers)), *expected, "{name}");
        }
    }

    #[test]
    fn opt_in_policies_leave_answers_alone_that_say_why() {
        const WWW: &str = "www-authenticate";
        let cases: &[(u16, Fields, TokenVerdict, TokenVerdict)] = &[
            (401, &[], Rejected, Silent),
            (401, &[(WWW, "Bearer")], Rejected, Silent),
            (401, &[(WWW, r#"Bearer realm="x""#)], Rejected, Silent),
            (401, &[(WWW, r#"Bearer error="invalid_request""#)], Silent, Silent),
            (401, &[(WWW, "Negotiate")], Silent, Silent),
            (403, &[], Silent, Rejected),
            (403, &[(WWW, r#"Bearer error="insufficient_scope""#)], Silent, Silent),
            (200, &[], Silent, Silent),
        ];
        for (status, headers, unauthorized, forbidden) in cases {
            let head = head(*status, headers);
            assert_eq!(BareUnauthorized.judge(&head), *unauthorized, "{status} {headers:?}");
            assert_eq!(BareForbidden.judge(&head), *forbidden, "{status} {headers:?}");
        }
    }

    #[test]
    fn policies_compose() {
        let table = [
            (Accepted, Accepted, Accepted, Accepted),
            (Accepted, Rejected, Rejected, Accepted),
            (Accepted, Silent, Accepted, Accepted),
            (Rejected, Accepted, Rejected, Accepted),
            (Rejected, Rejected, Rejected, Rejected),
            (Rejected, Silent, Rejected, Silent),
            (Silent, Accepted, Accepted, Silent),
            (Silent, Rejected, Rejected, Silent),
            (Silent, Silent, Silent, Silent),
        ];
        let any = head(200, &[]);
        for (a, b, or, and) in table {
            let (a, b) = (move |_: &Parts| a, move |_: &Parts| b);
            assert_eq!(a.or(b).judge(&any), or);
            assert_eq!(a.and(b).judge(&any), and);
        }
    }
}
