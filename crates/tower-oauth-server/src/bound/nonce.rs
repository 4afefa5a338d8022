//! Nonces without a memory: a time slot and its authentication code.

use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;

const SLOT_BYTES: usize = 8;
const CODE_BYTES: usize = 16;

/// Issues and checks nonces (RFC 9449 §9).
///
/// All clients get the same one within a slot of time, which the RFC allows; it is good in its own slot and in the next. So a nonce
/// that was just issued lives at least one slot, and a client that takes the new one is never asked for another at once.
#[derive(Clone, Debug)]
pub(super) struct Nonces {
    key: hmac::Key,
    slot: u64,
}

/// How old a nonce is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Of this slot.
    Current,
    /// Of the slot before: good, and the last time that it is.
    Ending,
    /// Too old, or none of ours.
    Stale,
}

impl Nonces {
    pub(super) fn new(key: hmac::Key, life: Duration) -> Self {
        Self { key, slot: life.as_secs().max(1) }
    }

    pub(super) fn issue(&self, now: u64) -> Option<HeaderValue> {
        HeaderValue::try_from(self.text(now / self.slot)).ok()
    }

    pub(super) fn age(&self, nonce: &str, now: u64) -> Age {
        let current = now / self.slot;
        // The slot ahead: another node of the fleet may be there already.
        for (slot, age) in [
            (Some(current), Age::Current),
            (current.checked_sub(1), Age::Ending),
            (current.checked_add(1), Age::Current),
        ] {
            let expected = slot.map(|slot| self.text(slot)).unwrap_or_default();
            if constant_time::verify_slices_are_equal(expected.as_bytes(), nonce.as_bytes()).is_ok()
            {
                return age;
            }
        }
        Age::Stale
    }

    fn text(&self, slot: u64) -> String {
        let slot = slot.to_be_bytes();
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"tower-oauth dpop nonce\0");
        context.update(&slot);
        let code = context.sign();
        let mut bytes = Vec::with_capacity(SLOT_BYTES + CODE_BYTES);
        bytes.extend(slot);
        bytes.extend(code.as_ref().iter().take(CODE_BYTES));
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonces(key: &[u8]) -> Nonces {
        Nonces::new(hmac::Key::new(hmac::HMAC_SHA256, key), Duration::from_secs(300))
    }

    fn issue(nonces: &Nonces, now: u64) -> String {
        nonces.issue(now).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn d04_a_nonce_is_good_for_one_slot_to_two_and_then_stale() {
        let ours = nonces(&[7; 32]);
        let nonce = issue(&ours, 600);
        for (now, age) in [
            (299, Age::Stale),
            (300, Age::Current),
            (600, Age::Current),
            (899, Age::Current),
            (900, Age::Ending),
            (1199, Age::Ending),
            (1200, Age::Stale),
            (u64::MAX, Age::Stale),
        ] {
            assert_eq!(ours.age(&nonce, now), age, "{now}");
        }
        assert_eq!(issue(&ours, 600), issue(&ours, 899));
        assert_ne!(issue(&ours, 600), issue(&ours, 900));
    }

    #[test]
    fn d04_a_nonce_of_somebody_else_is_stale() {
        let ours = nonces(&[7; 32]);
        let mut cut = issue(&ours, 600);
        cut.pop();
        for nonce in [issue(&nonces(&[8; 32]), 600), cut, String::new(), "x".repeat(1 << 16)] {
            assert_eq!(ours.age(&nonce, 600), Age::Stale);
        }
        // With the same key another node's is as good.
        assert_eq!(ours.age(&issue(&nonces(&[7; 32]), 600), 600), Age::Current);
    }
}
