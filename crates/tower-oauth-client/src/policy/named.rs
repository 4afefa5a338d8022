//! The named policies.

use std::sync::Arc;

use http::StatusCode;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::response::Parts;
use tower_oauth_core::Challenges;

use super::{RejectionPolicy, TokenVerdict};

/// The default: the answer names the token in the words of the standards.
///
/// * 401 with a `Bearer` or `DPoP` challenge whose `error` is `invalid_token` (RFC 6750 §3.1, RFC 9449 §7.1)
///   is rejected;
/// * an HTTP 200 (or 401) that is a gRPC answer with `grpc-status: 16` in its *headers* is rejected,
///   unless a challenge beside it names another error;
/// * 2xx (gRPC: without a status in the headers, or with 0) is accepted;
/// * all else is silent: a bare 401, 403, 407, `insufficient_scope`,
///   `insufficient_user_authentication` (RFC 9470), `use_dpop_nonce` (RFC 9449 §9: same token, another proof).
#[derive(Clone, Copy, Debug, Default)]
pub struct StandardPolicy;

impl RejectionPolicy for StandardPolicy {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        match head.status {
            StatusCode::UNAUTHORIZED if challenge(head) == Says::InvalidToken => {
                TokenVerdict::Rejected
            }
            StatusCode::OK | StatusCode::UNAUTHORIZED if is_grpc(head) => judge_grpc(head),
            status if status.is_success() => TokenVerdict::Accepted,
            _ => TokenVerdict::Silent,
        }
    }
}

/// gRPC alone: `UNAUTHENTICATED` (16) in the headers is rejected, a stream or status 0 accepted; what is no
/// gRPC answer is silent. Part of [`StandardPolicy`] already.
///
/// Source: the gRPC status codes, and `grpc-status` in the headers of an answer without messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcUnauthenticated;

impl RejectionPolicy for GrpcUnauthenticated {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        match head.status {
            StatusCode::OK | StatusCode::UNAUTHORIZED if is_grpc(head) => judge_grpc(head),
            _ => TokenVerdict::Silent,
        }
    }
}

/// Also takes a 401 for a rejection that does not say why: no challenge at all, or a `Bearer`
/// challenge without an error. A 401 that asks for another scheme (`Basic`, `Negotiate`) stays silent:
/// it is a proxy's.
///
/// Source: RFC 9110 §11.6.1 wants a challenge beside each 401; many services send none.
#[derive(Clone, Copy, Debug, Default)]
pub struct BareUnauthorized;

impl RejectionPolicy for BareUnauthorized {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        let bare = head.status == StatusCode::UNAUTHORIZED && challenge(head) == Says::Nothing;
        if bare { TokenVerdict::Rejected } else { TokenVerdict::Silent }
    }
}

/// Also takes a 403 for a rejection that does not say why: no `Bearer` challenge with an error.
///
/// For gateways that answer 403 to a token they have forgotten (WSO2 api-manager issue 4557). A 403 may as
/// well be about rights, which no exchange settles: where a resource (method and path) answers 403 to
/// the token that has just been fetched, too, and others accept that token, its 403 is taken at its word
/// for the next five minutes. So such a resource costs one exchange and one replay. Where several turn
/// out so, one after the other, the next one waits for its exchange (1 s, doubling to 30 s); where no call at all
/// is accepted, the budget of the source decides.
/// [`confirm_with_introspection`](crate::RetryInvalidTokenLayer::confirm_with_introspection) asks instead
/// of guessing, and is to be preferred where the server can be asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct BareForbidden;

impl RejectionPolicy for BareForbidden {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        if is_bare_forbidden(head) { TokenVerdict::Rejected } else { TokenVerdict::Silent }
    }
}

/// Takes any answer with one of these statuses for a rejection, unless a `Bearer` or `DPoP` challenge beside it
/// names another error than `invalid_token`. 407 is never one.
///
/// ```
/// use tower_oauth_client::{RejectionPolicy, StandardPolicy, Statuses, TokenVerdict};
///
/// let policy = StandardPolicy.or(Statuses::new([419, 498]));
/// let (head, ()) = http::Response::builder().status(498).body(())?.into_parts();
/// assert_eq!(policy.judge(&head), TokenVerdict::Rejected);
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Statuses(Arc<[u16]>);

impl Statuses {
    /// These statuses.
    #[must_use]
    pub fn new(statuses: impl IntoIterator<Item = u16>) -> Self {
        Self(statuses.into_iter().collect())
    }
}

impl RejectionPolicy for Statuses {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        let listed = head.status != StatusCode::PROXY_AUTHENTICATION_REQUIRED
            && self.0.contains(&head.status.as_u16());
        if listed && matches!(error(head), None | Some(Says::InvalidToken)) {
            TokenVerdict::Rejected
        } else {
            TokenVerdict::Silent
        }
    }
}

/// A 403 that does not say why.
pub(crate) fn is_bare_forbidden(head: &Parts) -> bool {
    head.status == StatusCode::FORBIDDEN && error(head).is_none()
}

/// What the challenges of an answer say of the token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    /// No challenge, or one that asks for a token and gives no reason.
    Nothing,
    InvalidToken,
    /// Another error of the token's.
    AnotherError,
    /// It asks for another scheme.
    AnotherScheme,
}

fn challenge(head: &Parts) -> Says {
    // Looked for first: most answers have no challenge, and an empty parse is not free.
    if !head.headers.contains_key(WWW_AUTHENTICATE) {
        return Says::Nothing;
    }
    let challenges = Challenges::of(&head.headers);
    let of_dpop = || challenges.iter().filter(|challenge| challenge.is("DPoP"));
    let dpop = of_dpop().find(|challenge| challenge.param("error").is_some());
    let bearer = challenges.bearer();
    let errors = [bearer, dpop].into_iter().flatten().filter_map(|c| c.param("error"));
    let mut says = if bearer.is_some() { Says::Nothing } else { Says::AnotherScheme };
    for error in errors {
        match error {
            "invalid_token" => return Says::InvalidToken,
            _ => says = Says::AnotherError,
        }
    }
    says
}

fn error(head: &Parts) -> Option<Says> {
    match challenge(head) {
        says @ (Says::InvalidToken | Says::AnotherError) => Some(says),
        Says::Nothing | Says::AnotherScheme => None,
    }
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
        Some(b"16") => match error(head) {
            None | Some(Says::InvalidToken) => TokenVerdict::Rejected,
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
            ("dpop", 401, &[(WWW, r#"DPoP error="invalid_token", algs="ES256""#)], Rejected),
            (
                "r11 nonce beside a bearer that says nothing",
                401,
                &[(WWW, "Bearer"), (WWW, r#"DPoP error="use_dpop_nonce""#)],
                Silent,
            ),
            (
                "r11 nonce over grpc",
                200,
                &[GRPC, ("grpc-status", "16"), (WWW, r#"DPoP error="use_dpop_nonce""#)],
                Silent,
            ),
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
            (401, &[(WWW, r#"DPoP error="use_dpop_nonce""#)], Silent, Silent),
            (401, &[(WWW, r#"Bearer, DPoP error="use_dpop_nonce""#)], Silent, Silent),
            (401, &[(WWW, "DPoP")], Silent, Silent),
            (403, &[], Silent, Rejected),
            (403, &[(WWW, r#"Basic realm="x""#)], Silent, Rejected),
            (403, &[(WWW, r#"DPoP error="insufficient_scope""#)], Silent, Silent),
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
    fn r15_of_grpc_only_unauthenticated_without_messages_is_dead() {
        const WWW: &str = "www-authenticate";
        const GRPC: (&str, &str) = ("content-type", "application/grpc");
        let cases: &[(u16, Fields, TokenVerdict)] = &[
            (200, &[GRPC, ("grpc-status", "16")], Rejected),
            (401, &[GRPC, ("grpc-status", "16")], Rejected),
            (200, &[GRPC, ("grpc-status", "7")], Silent),
            (200, &[GRPC, ("grpc-status", "4")], Silent),
            (200, &[GRPC, ("grpc-status", "0")], Accepted),
            (200, &[GRPC], Accepted),
            (200, &[], Silent),
            (401, &[(WWW, r#"Bearer error="invalid_token""#)], Silent),
        ];
        for (status, headers, expected) in cases {
            let head = head(*status, headers);
            assert_eq!(GrpcUnauthenticated.judge(&head), *expected, "{status} {headers:?}");
        }
    }

    #[test]
    fn r09_r10_a_list_of_statuses_does_not_overrule_what_an_answer_says() {
        const WWW: &str = "www-authenticate";
        let policy = Statuses::new([401, 403, 407, 419]);
        let cases: &[(u16, Fields, TokenVerdict)] = &[
            (401, &[], Rejected),
            (403, &[], Rejected),
            (419, &[], Rejected),
            (401, &[(WWW, "Negotiate")], Rejected),
            (403, &[(WWW, r#"Bearer error="insufficient_scope""#)], Silent),
            (401, &[(WWW, r#"Bearer error="insufficient_user_authentication""#)], Silent),
            (401, &[(WWW, r#"DPoP error="use_dpop_nonce""#)], Silent),
            (407, &[], Silent),
            (200, &[], Silent),
            (404, &[], Silent),
        ];
        for (status, headers, expected) in cases {
            assert_eq!(policy.judge(&head(*status, headers)), *expected, "{status} {headers:?}");
        }
    }
}
