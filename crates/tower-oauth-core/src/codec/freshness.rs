//! How long an answer may be used: RFC 9111 §4.2.1, §5.1, §5.2.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderName};

/// The freshness lifetime that is left; `None` where the server does not say.
///
/// Where directives contradict each other the shortest wins; what cannot be read counts as zero
/// (RFC 9111 §4.2.1 calls such an answer stale). The caller clamps both ends.
pub(super) fn freshness(headers: &HeaderMap) -> Option<Duration> {
    let mut max_age: Option<u64> = None;
    let mut at_most = |seconds: u64| max_age = Some(max_age.map_or(seconds, |m| m.min(seconds)));
    for field in headers.get_all(CACHE_CONTROL) {
        for directive in field.to_str().unwrap_or_default().split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => at_most(0),
                "max-age" => at_most(delta_seconds(value)),
                _ => {}
            }
        }
    }
    let age = headers.get(AGE).map_or(0, |age| delta_seconds(age.to_str().unwrap_or_default()));
    if let Some(max_age) = max_age {
        return Some(Duration::from_secs(max_age.saturating_sub(age)));
    }
    let date = |name: HeaderName| -> Option<Option<SystemTime>> {
        let text = headers.get(name)?.to_str().unwrap_or_default();
        Some(httpdate::parse_http_date(text).ok())
    };
    let expires = date(EXPIRES)?;
    let sent = date(DATE).flatten();
    Some(match (expires, sent) {
        (Some(expires), Some(sent)) => expires.duration_since(sent).unwrap_or(Duration::ZERO),
        _ => Duration::ZERO,
    })
}

/// RFC 9111 §1.2.2: too many digits mean "very long"; anything else that is no number means stale.
fn delta_seconds(text: &str) -> u64 {
    let digits = text.trim().trim_matches('"');
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    digits.parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn k12_headers_are_read_as_rfc_9111_says() {
        type Fields = &'static [(&'static str, &'static str)];
        let cases: &[(Fields, Option<u64>)] = &[
            (&[], None),
            (&[("cache-control", "public")], None),
            (&[("cache-control", "public, max-age=300")], Some(300)),
            (&[("cache-control", "Max-Age=\"300\"")], Some(300)),
            (&[("cache-control", "max-age=300"), ("age", "100")], Some(200)),
            (&[("cache-control", "max-age=300"), ("age", "900")], Some(0)),
            (&[("cache-control", "max-age=0")], Some(0)),
            (&[("cache-control", "max-age=-1")], Some(0)),
            (&[("cache-control", "max-age=abc")], Some(0)),
            (&[("cache-control", "max-age=315360000")], Some(315_360_000)),
            (&[("cache-control", "max-age=18446744073709551616")], Some(u64::MAX)),
            (&[("cache-control", "max-age=60, max-age=300")], Some(60)),
            (&[("cache-control", "max-age=60"), ("cache-control", "max-age=30")], Some(30)),
            (&[("cache-control", "max-age=60, no-store")], Some(0)),
            (&[("cache-control", "no-cache")], Some(0)),
            (&[("cache-control", "s-maxage=60")], None),
            (
                &[
                    ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                    ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
                ],
                Some(60),
            ),
            (
                &[
                    ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                    ("expires", "Sun, 06 Nov 1994 08:00:00 GMT"),
                ],
                Some(0),
            ),
            (&[("expires", "0")], Some(0)),
        ];
        for (fields, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in *fields {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(freshness(&headers), expected.map(Duration::from_secs), "{fields:?}");
        }
    }
}
