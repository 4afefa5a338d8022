use http::response::Parts;
use tower_oauth_core::Flush;

use super::{RejectionPolicy, TokenVerdict};

/// See [`RejectionPolicy::or`].
#[derive(Clone, Copy, Debug)]
pub struct Or<A, B>(pub(super) A, pub(super) B);

/// See [`RejectionPolicy::and`].
#[derive(Clone, Copy, Debug)]
pub struct And<A, B>(pub(super) A, pub(super) B);

/// See [`RejectionPolicy::ambiguous`].
#[derive(Clone, Copy, Debug)]
pub struct Ambiguous<P>(pub(super) P);

impl<A: RejectionPolicy, B: RejectionPolicy> RejectionPolicy for Or<A, B> {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        match self.0.judge(head) {
            TokenVerdict::Rejected => TokenVerdict::Rejected,
            first => either(first, self.1.judge(head)),
        }
    }

    fn judge_start(&self, head: &Parts, start: &[u8]) -> TokenVerdict {
        either(self.0.judge_start(head, start), self.1.judge_start(head, start))
    }
}

impl<A: RejectionPolicy, B: RejectionPolicy> RejectionPolicy for And<A, B> {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        both(self.0.judge(head), || self.1.judge(head))
    }

    fn judge_start(&self, head: &Parts, start: &[u8]) -> TokenVerdict {
        both(self.0.judge_start(head, start), || self.1.judge_start(head, start))
    }
}

impl<P: RejectionPolicy> RejectionPolicy for Ambiguous<P> {
    fn judge(&self, head: &Parts) -> TokenVerdict {
        perhaps(self.0.judge(head))
    }

    fn judge_start(&self, head: &Parts, start: &[u8]) -> TokenVerdict {
        perhaps(self.0.judge_start(head, start))
    }
}

fn either(first: TokenVerdict, second: TokenVerdict) -> TokenVerdict {
    if strength(second) > strength(first) { second } else { first }
}

fn both(first: TokenVerdict, second: impl FnOnce() -> TokenVerdict) -> TokenVerdict {
    match first {
        TokenVerdict::Accepted | TokenVerdict::Silent => first,
        _ => {
            let second = second();
            // Between yes, perhaps and "not yet" the less sure one; a no is a no. How far a flush
            // reaches, too, is what both agree on.
            if strength(second) > strength(first) { first } else { second }
        }
    }
}

fn perhaps(verdict: TokenVerdict) -> TokenVerdict {
    if verdict.is_rejection() { TokenVerdict::Ambiguous } else { verdict }
}

fn strength(verdict: TokenVerdict) -> u8 {
    match verdict {
        TokenVerdict::Silent => 0,
        TokenVerdict::Accepted => 1,
        TokenVerdict::Ambiguous => 2,
        TokenVerdict::NeedsBody => 3,
        TokenVerdict::Rejected => 4,
        TokenVerdict::Flush(Flush::Subject) => 6,
        TokenVerdict::Flush(Flush::Issuer) => 7,
        TokenVerdict::Flush(_) => 5,
    }
}

#[cfg(test)]
mod tests {
    use TokenVerdict::{Accepted, Ambiguous, NeedsBody, Rejected, Silent};
    use http::Response;

    use super::*;

    #[test]
    fn policies_compose() {
        const SUBJECT: TokenVerdict = TokenVerdict::Flush(Flush::Subject);
        const ISSUER: TokenVerdict = TokenVerdict::Flush(Flush::Issuer);
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
            (Accepted, NeedsBody, NeedsBody, Accepted),
            (Silent, NeedsBody, NeedsBody, Silent),
            (NeedsBody, Rejected, Rejected, NeedsBody),
            (Rejected, NeedsBody, Rejected, NeedsBody),
            (NeedsBody, Silent, NeedsBody, Silent),
            (NeedsBody, Ambiguous, NeedsBody, Ambiguous),
            (Ambiguous, Silent, Ambiguous, Silent),
            (Ambiguous, Rejected, Rejected, Ambiguous),
            (SUBJECT, Rejected, SUBJECT, Rejected),
            (SUBJECT, ISSUER, ISSUER, SUBJECT),
            (ISSUER, Silent, ISSUER, Silent),
        ];
        let any = Response::builder().body(()).unwrap().into_parts().0;
        for (a, b, or, and) in table {
            let (first, second) = (move |_: &Parts| a, move |_: &Parts| b);
            assert_eq!(first.or(second).judge(&any), or, "{a:?} or {b:?}");
            assert_eq!(first.or(second).judge_start(&any, b"x"), or, "{a:?} or {b:?}");
            assert_eq!(first.and(second).judge(&any), and, "{a:?} and {b:?}");
            assert_eq!(first.and(second).judge_start(&any, b"x"), and, "{a:?} and {b:?}");
            let perhaps = if a.is_rejection() { Ambiguous } else { a };
            assert_eq!(first.ambiguous().judge(&any), perhaps);
        }
    }
}
