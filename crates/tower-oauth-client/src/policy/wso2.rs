use http::StatusCode;
use http::response::Parts;

use super::{RejectionPolicy, StandardPolicy, TokenVerdict};

/// The fault codes by which WSO2 API Manager refuses a token, in a 401 or 403.
///
/// | dead | |
/// | --- | --- |
/// | 900901 | invalid credentials: unknown, revoked, or of before a restart |
/// | 900902 | missing credentials: the gateway made nothing of what was sent |
/// | 900903 | access token expired |
/// | 900904 | access token inactive |
///
/// Not dead, whatever the status: 900900 (the gateway's own trouble), 900905 and 900906 (wrong type of token,
/// no such resource), 900907 and 900909 (API or subscription blocked), 900908 and 900910 (no right, no scope).
///
/// Source: WSO2's documentation, "API handlers error codes". The code stands in the body, as
/// `{"code":"900901",..}`, as `{"fault":{"code":900901,..}}` or as `<am:code>900901</am:code>`, so use it with
/// [`reading_bodies`](crate::RetryInvalidTokenLayer::reading_bodies). Where no code is found the challenge decides, as in
/// [`StandardPolicy`], under the name `OAuth2` too, which these gateways give to `Bearer`.
///
/// ```
/// use tower_oauth_client::{RetryInvalidTokenLayer, Token, Wso2Faults};
///
/// let layer = RetryInvalidTokenLayer::new(Token::bearer("fixed")?)
///     .with_policy(Wso2Faults)
///     .reading_bodies();
/// # drop(layer); Ok::<_, tower_oauth_client::Error>(())
/// ```
///
/// It takes 2xx for accepted, as [`StandardPolicy`] does; to have gRPC beside it, add that one with
/// [`or`](RejectionPolicy::or). A 401 whose challenge says `invalid_token` is then rejected whatever its code.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wso2Faults;

impl RejectionPolicy for Wso2Faults {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        match head.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => TokenVerdict::NeedsBody,
            status if status.is_success() => TokenVerdict::Accepted,
            _ => TokenVerdict::Silent,
        }
    }

    fn judge_start(&self, head: &Parts, start: &[u8]) -> TokenVerdict {
        if !matches!(head.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return self.judge(head);
        }
        match fault_code(start) {
            Some(900_901..=900_904) => TokenVerdict::Rejected,
            Some(_) => TokenVerdict::Silent,
            None if head.status == StatusCode::UNAUTHORIZED && says_oauth2(head) => {
                TokenVerdict::Rejected
            }
            None => StandardPolicy.judge(head),
        }
    }
}

/// `OAuth2 realm="WSO2 API Manager", error="invalid_token"`.
fn says_oauth2(head: &Parts) -> bool {
    tower_oauth_core::Challenges::of(&head.headers)
        .iter()
        .any(|one| one.is("OAuth2") && one.param("error") == Some("invalid_token"))
}

/// The first six-digit code in the start of a JSON or XML fault, which may be cut off anywhere.
fn fault_code(start: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(start);
    text.match_indices("code").find_map(|(at, word)| {
        let (before, rest) = text.split_at_checked(at)?;
        let rest = rest.strip_prefix(word)?;
        json_value(before, rest).or_else(|| xml_value(before, rest)).and_then(six_digits)
    })
}

/// `"code": 900901` and `"code":"900901"`.
fn json_value<'a>(before: &str, rest: &'a str) -> Option<&'a str> {
    before.strip_suffix('"')?;
    let value = rest.strip_prefix('"')?.trim_start().strip_prefix(':')?.trim_start();
    Some(value.strip_prefix('"').unwrap_or(value))
}

/// `<am:code>900901</am:code>`, with whatever prefix.
fn xml_value<'a>(before: &str, rest: &'a str) -> Option<&'a str> {
    let (_, name) = before.rsplit_once('<')?;
    let is_prefix = |name: &str| {
        name.is_empty()
            || name.strip_suffix(':').is_some_and(|prefix| {
                prefix.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
            })
    };
    is_prefix(name).then(|| rest.strip_prefix('>').map(str::trim_start)).flatten()
}

fn six_digits(value: &str) -> Option<u32> {
    let digits = value.find(|c: char| !c.is_ascii_digit()).and_then(|end| value.get(..end))?;
    (digits.len() == 6).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use TokenVerdict::{Accepted, NeedsBody, Rejected, Silent};
    use http::Response;

    use super::*;

    fn head(status: u16, challenge: Option<&str>) -> Parts {
        let mut builder = Response::builder().status(status);
        if let Some(challenge) = challenge {
            builder = builder.header("www-authenticate", challenge);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_code_is_found_in_each_of_the_forms_that_gateways_send() {
        let dead = [
            r#"{"code":"900901","message":"Invalid Credentials","description":"Access failure"}"#,
            r#"{"code": 900902, "message": "Missing Credentials"}"#,
            r#"{"fault":{"code":900901,"message":"Invalid Credentials","description":"x"}}"#,
            "{\r\n  \"fault\" : {\r\n    \"code\" : 900903 ,\r\n    \"message\" : \"x\" } }",
            r#"{"fault":{"code":900904,"mess"#,
            r#"<am:fault xmlns:am="http://wso2.org/apimanager/security"><am:code>900901</am:code>"#,
            r#"<ams:fault xmlns:ams="http://wso2.org/apimanager/security"> <ams:code>900904</ams:code>"#,
            "<fault><code> 900901 </code></fault>",
        ];
        for body in dead {
            for status in [401, 403] {
                let verdict = Wso2Faults.judge_start(&head(status, None), body.as_bytes());
                assert_eq!(verdict, Rejected, "{body}");
            }
        }
        let alive = [
            r#"{"fault":{"code":900908,"message":"Resource forbidden "}}"#,
            r#"{"code":"900910","message":"The access token does not allow you"}"#,
            r#"{"code":"900900","message":"Unclassified Authentication Failure"}"#,
            r#"{"code":"900905"}"#,
            r#"{"code":"900906"}"#,
            r#"{"code":"900907"}"#,
            r#"{"code":"900909"}"#,
            r#"{"code":"900800","description":"not 900901"}"#,
            r#"{"code":"9009011"}"#,
            r#"{"code":"90090"#,
            r#"{"code":-900901}"#,
            r#"{"message":"900901"}"#,
            r#"{"barcode":900901}"#,
            r#"{"codes":[900901]}"#,
            "<am:message>code>900901</am:message>",
            "<a b:code>900901</a>",
            "900901",
            "code",
            "",
            "\u{0}\u{1}",
        ];
        for body in alive {
            for status in [401, 403] {
                let verdict = Wso2Faults.judge_start(&head(status, None), body.as_bytes());
                assert_eq!(verdict, Silent, "{body}");
            }
        }
        assert_eq!(Wso2Faults.judge_start(&head(403, None), b"\xff\"code\":900901}"), Rejected);
    }

    #[test]
    fn where_no_code_is_found_the_challenge_decides() {
        let cases = [
            (
                401,
                r#"OAuth2 realm="WSO2 API Manager", error="invalid_token", error_description="x""#,
                Rejected,
            ),
            (401, r#"Bearer realm="WSO2 API Manager", error="invalid_token""#, Rejected),
            (
                401,
                r#"Internal API Key realm="WSO2 API Manager", Bearer realm="WSO2 API Manager", error="invalid_token""#,
                Rejected,
            ),
            (401, r#"OAuth2 realm="WSO2 API Manager""#, Silent),
            (401, r#"OAuth2 realm="error=\"invalid_token\"""#, Silent),
            (403, r#"OAuth2 realm="WSO2 API Manager", error="invalid_token""#, Silent),
        ];
        for (status, challenge, expected) in cases {
            let head = head(status, Some(challenge));
            assert_eq!(Wso2Faults.judge(&head), NeedsBody);
            assert_eq!(Wso2Faults.judge_start(&head, b""), expected, "{status} {challenge}");
            let forbidden = br#"{"code":"900908"}"#;
            assert_eq!(Wso2Faults.judge_start(&head, forbidden), Silent, "the code counts more");
        }
    }

    #[test]
    fn other_answers_are_not_looked_into() {
        for (status, expected) in [(200, Accepted), (404, Silent), (407, Silent), (500, Silent)] {
            assert_eq!(Wso2Faults.judge(&head(status, None)), expected, "{status}");
            let fault = br#"{"code":"900901"}"#;
            assert_eq!(Wso2Faults.judge_start(&head(status, None), fault), expected, "{status}");
        }
    }
}
