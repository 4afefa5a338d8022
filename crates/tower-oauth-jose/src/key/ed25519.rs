//! Ed25519 points, judged when a key is loaded: what RFC 8032 leaves to the verifier.
//!
//! The backend looks at the point only when it verifies, and would then call each signature bad. A
//! key that can never verify is better known as such when it is loaded, so that its owner is told.

use super::SkipReason;

/// Checks a public key (RFC 8032 section 5.1.3): canonical, on the curve, not of small order, for
/// which one signature would fit every message.
pub(super) fn check(point: &[u8]) -> Result<(), SkipReason> {
    let mut y = <[u8; 32]>::try_from(point).map_err(|_| SkipReason::InvalidMaterial)?;
    // The top bit is the sign of the other coordinate. Only x = 0 has no sign; that is y = 1 and
    // y = -1, which are of small order.
    y[31] &= 0x7f;
    // The bytes are little-endian, so the last of them decides first.
    if y.iter().rev().ge(FIELD_PRIME.iter().rev()) {
        return Err(SkipReason::InvalidMaterial);
    }
    if SMALL_ORDER.contains(&y) {
        return Err(SkipReason::WeakPoint);
    }
    if Field::from_bytes(&y).is_on_curve() { Ok(()) } else { Err(SkipReason::InvalidMaterial) }
}

/// 2^255 - 19, little-endian.
const FIELD_PRIME: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The `y` of the eight points whose order divides 8. With either sign each of them is refused;
/// their encodings by `y + p` are not canonical.
const SMALL_ORDER: [[u8; 32]; 5] = [
    // Order 4: y = 0.
    [0; 32],
    // Order 1, the neutral element: y = 1.
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    // Order 2: y = -1.
    {
        let mut minus_one = FIELD_PRIME;
        minus_one[0] = 0xec;
        minus_one
    },
    // Order 8: two values of y, each other's negative.
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
];

// === impl Field ===

/// A number modulo 2^255 - 19, in five limbs of 51 bits and a little more. It only ever holds public
/// values, so it need not be constant-time.
#[derive(Clone, Copy)]
struct Field([u64; 5]);

const MASK: u64 = (1 << 51) - 1;

impl Field {
    const ONE: Self = Self([1, 0, 0, 0, 0]);
    /// The curve's d = -121665 / 121666.
    const D: Self = Self([
        929_955_233_495_203,
        466_365_720_129_213,
        1_662_059_464_998_953,
        2_033_849_074_728_123,
        1_442_794_654_840_575,
    ]);

    /// Of 255 bits, little-endian.
    fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut words = bytes
            .chunks_exact(8)
            .map(|chunk| chunk.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte)));
        let mut word = || words.next().unwrap_or_default();
        let (a, b, c, d) = (word(), word(), word(), word());
        Self([
            a & MASK,
            (a >> 51 | b << 13) & MASK,
            (b >> 38 | c << 26) & MASK,
            (c >> 25 | d << 39) & MASK,
            (d >> 12) & MASK,
        ])
    }

    /// Whether some x goes with this y: -x² + y² = 1 + d x² y², so x² = (y² - 1) / (d y² + 1).
    ///
    /// The divisor is never zero, since -1/d is no square; u / v is a square just if u v is one.
    fn is_on_curve(self) -> bool {
        let y2 = self.times(self);
        let (u, v) = (y2.minus(Self::ONE), y2.times(Self::D).plus(Self::ONE));
        u.times(v).is_square()
    }

    /// Euler's criterion: a^((p - 1) / 2) is 1, or 0 for zero. The exponent is 2^254 - 10, whose bits
    /// are 254 ones but for the fourth and the first from the right.
    fn is_square(self) -> bool {
        let mut power = Self::ONE;
        for bit in (0..254).rev() {
            power = power.times(power);
            if bit != 3 && bit != 0 {
                power = power.times(self);
            }
        }
        matches!(power.canonical(), [0 | 1, 0, 0, 0, 0])
    }

    fn plus(self, other: Self) -> Self {
        let (Self([a, b, c, d, e]), Self([f, g, h, i, j])) = (self, other);
        Self::carried([a + f, b + g, c + h, d + i, e + j].map(u128::from))
    }

    /// Twice the prime is added first, so that nothing gets below zero.
    fn minus(self, other: Self) -> Self {
        const LOW: u64 = 0xf_ffff_ffff_ffda;
        const HIGH: u64 = 0xf_ffff_ffff_fffe;
        let (Self([a, b, c, d, e]), Self([f, g, h, i, j])) = (self, other);
        let limbs = [a + LOW - f, b + HIGH - g, c + HIGH - h, d + HIGH - i, e + HIGH - j];
        Self::carried(limbs.map(u128::from))
    }

    /// Schoolbook; what passes 2^255 comes back times 19.
    fn times(self, other: Self) -> Self {
        let [a, b, c, d, e] = self.0.map(u128::from);
        let [f, g, h, i, j] = other.0.map(u128::from);
        Self::carried([
            a * f + 19 * (b * j + c * i + d * h + e * g),
            a * g + b * f + 19 * (c * j + d * i + e * h),
            a * h + b * g + c * f + 19 * (d * j + e * i),
            a * i + b * h + c * g + d * f + 19 * (e * j),
            a * j + b * i + c * h + d * g + e * f,
        ])
    }

    fn carried([a, b, c, d, e]: [u128; 5]) -> Self {
        const MASK: u128 = (1 << 51) - 1;
        let b = b + (a >> 51);
        let c = c + (b >> 51);
        let d = d + (c >> 51);
        let e = e + (d >> 51);
        let a = (a & MASK) + 19 * (e >> 51);
        let b = (b & MASK) + (a >> 51);
        // Each limb is now below 2^52, so nothing is cut off.
        Self([a & MASK, b, c & MASK, d & MASK, e & MASK].map(|limb| limb as u64))
    }

    /// The one representation below the prime.
    fn canonical(self) -> [u64; 5] {
        let Self([a, b, c, d, e]) = Self::carried(self.0.map(u128::from));
        // The carry out of the top when 19 is added tells whether the number reaches the prime.
        let over = [a, b, c, d, e].iter().fold(19, |carry, limb| (limb + carry) >> 51);
        let a = a + 19 * over;
        let b = b + (a >> 51);
        let c = c + (b >> 51);
        let d = d + (c >> 51);
        let e = e + (d >> 51);
        [a & MASK, b & MASK, c & MASK, d & MASK, e & MASK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(small: u64) -> Field {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&small.to_le_bytes());
        Field::from_bytes(&bytes)
    }

    #[test]
    fn the_field_is_a_field() {
        let minus_one = field(0).minus(Field::ONE);
        assert_eq!(minus_one.times(minus_one).canonical(), Field::ONE.canonical());
        assert_eq!(minus_one.plus(Field::ONE).canonical(), [0; 5]);
        assert_eq!(Field::from_bytes(&FIELD_PRIME).canonical(), [0; 5]);
        assert_eq!(field(7).times(field(9)).canonical(), [63, 0, 0, 0, 0]);
        // d * 121666 = -121665
        let d = Field::D.times(field(121_666)).plus(field(121_665));
        assert_eq!(d.canonical(), [0; 5]);
    }

    #[test]
    fn squares_are_known() {
        // Modulo a prime that is 5 modulo 8: -1 is a square, 2 is none, nor is the curve's d.
        assert!(field(0).minus(Field::ONE).is_square());
        assert!(!field(2).is_square() && !Field::D.is_square());
        for root in 0..200 {
            let square = field(root).times(field(root));
            assert!(square.is_square(), "{root}");
            assert!(root == 0 || !square.times(field(2)).is_square(), "{root}");
        }
    }
}
