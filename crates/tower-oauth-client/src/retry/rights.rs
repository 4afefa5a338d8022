use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Request;
use tower_oauth_core::TokenId;

/// How long a resource that answers 403 to a fresh token is taken at its word.
const REMEMBERED_FOR: Duration = Duration::from_secs(5 * 60);
/// How many resources are remembered; the oldest goes first.
const REMEMBERED: usize = 256;
/// Between exchanges for resources that turn out to be about rights, from the second one on.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Remembers whose 403 is about rights and not about the token, so that a policy that takes a 403 for
/// the token's death is not taught the same lesson by every call.
///
/// Not by token: were it, two such resources would go on replacing the tokens by which the other one
/// is known.
#[derive(Clone, Default)]
pub(super) struct Rights(Arc<Known>);

#[derive(Default)]
struct Known {
    lessons: Mutex<Lessons>,
    hasher: RandomState,
}

#[derive(Default)]
struct Lessons {
    resources: VecDeque<(Resource, Instant)>,
    /// Lessons in a row that were learnt from different tokens.
    streak: u32,
    last: Option<(TokenId, Instant)>,
    /// No exchange for a 403 of an unknown resource before.
    pause_until: Option<Instant>,
}

/// A method at a URI, without its query, as a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resource(pub(crate) u64);

impl Rights {
    pub(super) fn resource<B>(&self, request: &Request<B>) -> Resource {
        let uri = request.uri();
        let parts = (request.method(), uri.scheme_str(), uri.authority(), uri.path());
        Resource(self.0.hasher.hash_one(parts))
    }

    /// Whether a 403 of this resource is about rights, as far as anybody knows.
    pub(super) fn explain(&self, resource: Resource, now: Instant) -> bool {
        let lessons = self.lessons();
        lessons.pause_until.is_some_and(|until| now < until)
            || lessons.resources.iter().any(|(known, until)| *known == resource && now < *until)
    }

    /// The resource has answered 403 to `fresh`, too, which was fetched in place of a token that it had
    /// answered 403.
    pub(super) fn refused_again(&self, resource: Resource, fresh: TokenId, now: Instant) {
        let mut lessons = self.lessons();
        lessons.resources.retain(|(known, until)| *known != resource && now < *until);
        if lessons.resources.len() >= REMEMBERED {
            lessons.resources.pop_front();
        }
        lessons.resources.push_back((resource, now + REMEMBERED_FOR));
        // What waited for one exchange has learnt from one token: one lesson.
        match lessons.last.replace((fresh, now)) {
            Some((token, _)) if token == fresh => {}
            Some((_, at)) if now.saturating_duration_since(at) < REMEMBERED_FOR => {
                let pause = PAUSE.saturating_mul(2_u32.saturating_pow(lessons.streak.min(8)));
                lessons.pause_until = Some(now + pause.min(LONGEST_PAUSE));
                lessons.streak = lessons.streak.saturating_add(1);
            }
            _ => lessons.streak = 0,
        }
    }

    /// A 403 was the token's after all: a replay was accepted.
    pub(super) fn was_the_token(&self) {
        let mut lessons = self.lessons();
        lessons.streak = 0;
        lessons.pause_until = None;
    }

    fn lessons(&self) -> MutexGuard<'_, Lessons> {
        self.0.lessons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tower_oauth_core::Token;

    use super::*;

    #[allow(clippy::disallowed_methods)]
    fn now() -> Instant {
        Instant::now()
    }

    fn resource(rights: &Rights, method: &str, uri: &str) -> Resource {
        rights.resource(&Request::builder().method(method).uri(uri).body(()).unwrap())
    }

    #[test]
    fn a_resource_is_a_method_at_a_path_of_an_origin() {
        let rights = Rights::default();
        let of = |method, uri| resource(&rights, method, uri);
        assert_eq!(of("GET", "https://a.example/x?y=1"), of("GET", "https://a.example/x?y=2"));
        for (method, uri) in [
            ("PUT", "https://a.example/x"),
            ("GET", "https://a.example/"),
            ("GET", "https://b.example/x"),
            ("GET", "http://a.example/x"),
            ("GET", "/x"),
        ] {
            assert_ne!(of("GET", "https://a.example/x"), of(method, uri), "{method} {uri}");
        }
    }

    #[test]
    fn a_lesson_lasts_five_minutes_and_the_memory_is_bounded() {
        let (rights, start) = (Rights::default(), now());
        let token = Token::bearer("t").unwrap().id();
        let one = resource(&rights, "GET", "/one");
        rights.refused_again(one, token, start);
        assert!(rights.explain(one, start + Duration::from_secs(299)));
        assert!(!rights.explain(one, start + Duration::from_secs(300)));
        for n in 0..REMEMBERED {
            rights.refused_again(resource(&rights, "GET", &format!("/{n}")), token, start);
        }
        assert!(!rights.explain(one, start), "the oldest went first");
        assert_eq!(rights.lessons().resources.len(), REMEMBERED);
    }

    #[test]
    fn lessons_from_different_tokens_cost_pauses_that_double_until_one_is_refuted() {
        let (rights, start) = (Rights::default(), now());
        let tokens: Vec<_> = (0..10).map(|_| Token::bearer("t").unwrap().id()).collect();
        let unknown = resource(&rights, "GET", "/unknown");
        let mut pauses = Vec::new();
        for (n, token) in tokens.iter().enumerate() {
            for twice in 0..2 {
                let path = format!("/{n}/{twice}");
                rights.refused_again(resource(&rights, "GET", &path), *token, start);
            }
            let seconds =
                (0..100).find(|&s| !rights.explain(unknown, start + Duration::from_secs(s)));
            pauses.push(seconds.unwrap());
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 30, 30, 30]);
        rights.was_the_token();
        assert!(!rights.explain(unknown, start));
        assert!(rights.explain(resource(&rights, "GET", "/0/0"), start), "what was learnt stays");
    }
}
