//! The `WWW-Authenticate` field (RFC 6750 §3).

use http::HeaderValue;

use super::{Style, description};
use crate::Rejection;

/// The challenge that goes with a rejection. There is none where a token would not help.
pub(super) fn of(rejection: &Rejection, style: Option<&Style>) -> Option<HeaderValue> {
    if matches!(
        rejection,
        Rejection::Forbidden(_) | Rejection::Unavailable { .. } | Rejection::Misconfigured(_)
    ) {
        return None;
    }
    let mut params = Vec::new();
    if let Some(realm) = style.and_then(|style| style.realm.as_deref()) {
        params.push(format!("realm=\"{realm}\""));
    }
    // RFC 6750 §3.1: nothing of an error for a request that brought no credentials.
    if let Some(error) = rejection.error() {
        params.push(format!("error=\"{error}\""));
        params.push(format!("error_description=\"{}\"", description(rejection)));
    }
    if let Rejection::InsufficientScope { required } = rejection
        && is_scope(required)
    {
        params.push(format!("scope=\"{required}\""));
    }
    // RFC 9470 §3.
    if let Rejection::InsufficientAuthentication(requirement) = rejection {
        if let Some(acr_values) = requirement.acr_text() {
            params.push(format!("acr_values=\"{acr_values}\""));
        }
        if let Some(max_age) = requirement.max_age() {
            params.push(format!("max_age=\"{}\"", max_age.as_secs()));
        }
    }
    // RFC 9728 §5.1.
    if let Some(uri) = style.and_then(|style| style.resource_metadata.as_deref()) {
        params.push(format!("resource_metadata=\"{uri}\""));
    }
    let text = if params.is_empty() {
        "Bearer".to_owned()
    } else {
        format!("Bearer {}", params.join(", "))
    };
    Some(HeaderValue::try_from(text).unwrap_or(const { HeaderValue::from_static("Bearer") }))
}

/// `Scopes::parse` takes what it is given, and a handler may have parsed anything.
fn is_scope(scopes: &tower_oauth_core::Scopes) -> bool {
    !scopes.is_empty() && scopes.iter().flat_map(str::chars).all(super::is_plain)
}

#[cfg(test)]
mod tests {
    use tower_oauth_core::Scopes;
    use tower_oauth_jose::InvalidToken;

    use super::*;
    use crate::MalformedRequest;

    fn text(rejection: Rejection, realm: Option<&str>) -> String {
        let style = Style { realm: realm.map(Into::into), ..Style::default() };
        of(&rejection, Some(&style)).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn h05_no_credentials_no_error() {
        assert_eq!(text(Rejection::Missing, None), "Bearer");
        assert_eq!(text(Rejection::Missing, Some("shop")), "Bearer realm=\"shop\"");
    }

    #[test]
    fn a_challenge_names_the_error_and_a_fixed_text() {
        assert_eq!(
            text(InvalidToken::Expired.into(), Some("shop")),
            "Bearer realm=\"shop\", error=\"invalid_token\", \
             error_description=\"the token has expired\""
        );
        assert_eq!(
            text(MalformedRequest::TooLong.into(), None),
            "Bearer error=\"invalid_request\", error_description=\"the token is too long\""
        );
        let required = Scopes::parse("stock.write stock.read");
        assert_eq!(
            text(Rejection::InsufficientScope { required }, None),
            "Bearer error=\"insufficient_scope\", \
             error_description=\"the token has not enough scope\", scope=\"stock.read stock.write\""
        );
    }

    #[test]
    fn h07_a_text_that_is_no_header_text_cannot_break_out() {
        let odd = Rejection::from(InvalidToken::MissingClaim("a\"b\\c\r\nX: ä"));
        assert_eq!(
            text(odd, None),
            "Bearer error=\"invalid_token\", \
             error_description=\"the claim a?b?c??X: ? is missing\""
        );
        for odd in ["a\"b", "a\\b", "a\tb", "a\nb", "ä", ""] {
            let rejection = Rejection::InsufficientScope { required: Scopes::parse(odd) };
            assert!(!text(rejection, None).contains("scope=\""), "{odd:?}");
        }
    }
}
