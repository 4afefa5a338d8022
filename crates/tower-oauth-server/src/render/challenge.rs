//! The `WWW-Authenticate` field (RFC 6750 §3, RFC 9449 §7).

use http::HeaderValue;

use super::{Style, description};
use crate::bound::Offer;
use crate::{Rejection, Scheme};

/// The challenges that go with a rejection, one a field. There is none where a token would not help.
///
/// The error stands in the challenge of the scheme that the client has used; the other one only says that it is taken (RFC 9449 §7.2).
pub(super) fn all(
    rejection: &Rejection,
    style: Option<&Style>,
    offer: Option<&Offer>,
) -> Vec<HeaderValue> {
    if matches!(
        rejection,
        Rejection::Forbidden(_) | Rejection::Unavailable { .. } | Rejection::Misconfigured(_)
    ) {
        return Vec::new();
    }
    let Some(offer) = offer else {
        return vec![challenge("Bearer", of(rejection, style))];
    };
    let with_algs = |mut params: Vec<String>| {
        params.push(format!("algs=\"{}\"", offer.algs));
        challenge("DPoP", params)
    };
    if *rejection == Rejection::Missing && offer.bearer {
        let params = of(rejection, style);
        vec![challenge("Bearer", params.clone()), with_algs(params)]
    } else if offer.used == Scheme::Dpop || !offer.bearer {
        vec![with_algs(of(rejection, style))]
    } else {
        let other = of(&Rejection::Missing, style);
        vec![challenge("Bearer", of(rejection, style)), with_algs(other)]
    }
}

fn challenge(scheme: &'static str, params: Vec<String>) -> HeaderValue {
    if params.is_empty() {
        return HeaderValue::from_static(scheme);
    }
    let text = format!("{scheme} {}", params.join(", "));
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(scheme))
}

/// The parameters that both schemes share.
fn of(rejection: &Rejection, style: Option<&Style>) -> Vec<String> {
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
    params
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
        all(&rejection, Some(&style), None)[0].to_str().unwrap().to_owned()
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
    fn the_error_stands_with_the_scheme_that_was_used_and_the_other_is_offered() {
        let texts = |rejection: Rejection, bearer, used| -> Vec<String> {
            let offer = Offer { algs: "ES256 EdDSA".into(), bearer, used };
            let style = Style { realm: Some("shop".into()), ..Style::default() };
            let all = all(&rejection, Some(&style), Some(&offer));
            all.iter().map(|value| value.to_str().unwrap().to_owned()).collect()
        };
        let offered = "DPoP realm=\"shop\", algs=\"ES256 EdDSA\"";
        let bearer = "Bearer realm=\"shop\"";
        let error = "error=\"invalid_token\", error_description=\"the token has expired\"";
        let expired = || Rejection::from(InvalidToken::Expired);
        assert_eq!(texts(Rejection::Missing, true, Scheme::Bearer), [bearer, offered]);
        assert_eq!(texts(Rejection::Missing, false, Scheme::Bearer), [offered]);
        assert_eq!(
            texts(expired(), true, Scheme::Bearer),
            [format!("{bearer}, {error}"), offered.to_owned()]
        );
        let by_dpop = format!("DPoP realm=\"shop\", {error}, algs=\"ES256 EdDSA\"");
        assert_eq!(texts(expired(), true, Scheme::Dpop), [by_dpop.as_str()]);
        assert_eq!(texts(expired(), false, Scheme::Bearer), [by_dpop.as_str()]);
        assert!(texts(Rejection::Misconfigured("x"), true, Scheme::Dpop).is_empty());
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
