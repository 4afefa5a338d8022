//! RSA public keys, judged when a key is loaded.

use super::SkipReason;

/// The RSA key sizes that we take, in bits (RFC 7518 section 3.3 sets the lower bound).
const BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Small exponents have a history of forgeries; beyond 33 bits each verification costs too much.
const EXPONENTS: std::ops::RangeInclusive<u64> = 65_537..=(1 << 33) - 1;

/// Both numbers are unsigned, big-endian, in as few bytes as possible (RFC 7518 section 6.3.1).
pub(super) fn check(n: &[u8], e: &[u8]) -> Result<(), SkipReason> {
    let bits = match n.first() {
        None | Some(0) => return Err(SkipReason::InvalidMaterial),
        Some(first) => n.len() * 8 - first.leading_zeros() as usize,
    };
    if !BITS.contains(&bits) {
        return Err(SkipReason::KeySize);
    }
    if n.last().is_none_or(|last| last % 2 == 0) {
        return Err(SkipReason::InvalidMaterial);
    }

    if e.len() > 8 || matches!(e.first(), None | Some(0)) {
        return Err(SkipReason::WeakExponent);
    }
    let exponent = e.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    if !EXPONENTS.contains(&exponent) || exponent % 2 == 0 {
        return Err(SkipReason::WeakExponent);
    }
    if is_roca(n) { Err(SkipReason::WeakModulus) } else { Ok(()) }
}

/// Whether the modulus bears the fingerprint of the broken generator of CVE-2017-15361 ("ROCA", Nemec
/// and others, 2017, section 2): its primes are powers of 65537 modulo each small prime, and so is
/// their product. A sound modulus looks like that in one of 2^27 cases.
fn is_roca(n: &[u8]) -> bool {
    SMALL_PRIMES.iter().all(|prime| {
        let rest = n.iter().fold(0, |rest, byte| (rest << 8 | u64::from(*byte)) % prime);
        // The powers repeat after at most `prime - 1` steps.
        let mut power = 1;
        (1..*prime).any(|_| {
            power = power * 65_537 % prime;
            power == rest
        })
    })
}

/// Those up to 167: the paper's primes but the even one, for which every key of this form counts.
const SMALL_PRIMES: [u64; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];
