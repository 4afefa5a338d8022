use std::fmt;
use std::str::FromStr;

/// A signature algorithm that this crate verifies (RFC 7518 section 3.1, RFC 8037, RFC 9864).
///
/// The list is closed: there is no `none`. ES512, ES256K, Ed448 and ML-DSA are not supported; a token
/// that names one is refused. HMAC is for secrets that were configured by hand
/// ([`VerifyingKey::hmac`](crate::VerifyingKey::hmac)); no key of a JWK Set is ever for it.
///
/// ```
/// use tower_oauth_jose::Algorithm;
///
/// assert_eq!("RS256".parse(), Ok(Algorithm::RS256));
/// // RFC 9864 gave the one curve of `EdDSA` that is in use a name of its own.
/// assert_eq!("Ed25519".parse(), Ok(Algorithm::EdDSA));
/// assert!("none".parse::<Algorithm>().is_err());
/// assert!("HS256".parse::<Algorithm>()?.is_hmac());
/// # Ok::<(), tower_oauth_jose::UnknownAlgorithm>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256; the salt is as long as the hash.
    PS256,
    /// RSASSA-PSS with SHA-384; the salt is as long as the hash.
    PS384,
    /// RSASSA-PSS with SHA-512; the salt is as long as the hash.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519, under its old name `EdDSA` or its new one `Ed25519`.
    ///
    /// Verifiers of Ed25519 differ in signatures that only a cheating signer makes. Ours follows RFC
    /// 8032 section 5.1.7 without the cofactor: it computes R and compares bytes, so that an R or an S that is not
    /// canonical is refused, and one that is good only with the cofactor. A key that is of small order,
    /// not canonical or off the curve is refused when it is loaded. A key of mixed order is accepted, and a signature whose R
    /// is of small or mixed order, if it is good as it stands.
    EdDSA,
    /// HMAC with SHA-256. Whoever can verify can sign.
    HS256,
    /// HMAC with SHA-384. Whoever can verify can sign.
    HS384,
    /// HMAC with SHA-512. Whoever can verify can sign.
    HS512,
}

impl Algorithm {
    const ALL: [Self; 12] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
        Self::HS256,
        Self::HS384,
        Self::HS512,
    ];

    /// The name in a JOSE header. `EdDSA` is given for Ed25519.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }

    /// Whether its key is a secret that both sides share.
    #[must_use]
    pub const fn is_hmac(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }

    /// The algorithm with exactly this name; names are case-sensitive (RFC 7515 section 4.1.1).
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDSA);
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::from_name(name).ok_or(UnknownAlgorithm(()))
    }
}

impl TryFrom<jsonwebtoken::Algorithm> for Algorithm {
    type Error = UnknownAlgorithm;

    /// Every algorithm of `jsonwebtoken` 11 has its counterpart.
    fn try_from(algorithm: jsonwebtoken::Algorithm) -> Result<Self, Self::Error> {
        use jsonwebtoken::Algorithm as Theirs;
        Ok(match algorithm {
            Theirs::RS256 => Self::RS256,
            Theirs::RS384 => Self::RS384,
            Theirs::RS512 => Self::RS512,
            Theirs::PS256 => Self::PS256,
            Theirs::PS384 => Self::PS384,
            Theirs::PS512 => Self::PS512,
            Theirs::ES256 => Self::ES256,
            Theirs::ES384 => Self::ES384,
            Theirs::EdDSA => Self::EdDSA,
            Theirs::HS256 => Self::HS256,
            Theirs::HS384 => Self::HS384,
            Theirs::HS512 => Self::HS512,
            _ => return Err(UnknownAlgorithm(())),
        })
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::RS256 => Self::RS256,
            Algorithm::RS384 => Self::RS384,
            Algorithm::RS512 => Self::RS512,
            Algorithm::PS256 => Self::PS256,
            Algorithm::PS384 => Self::PS384,
            Algorithm::PS512 => Self::PS512,
            Algorithm::ES256 => Self::ES256,
            Algorithm::ES384 => Self::ES384,
            Algorithm::EdDSA => Self::EdDSA,
            Algorithm::HS256 => Self::HS256,
            Algorithm::HS384 => Self::HS384,
            Algorithm::HS512 => Self::HS512,
        }
    }
}

/// The name is not one of a supported signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm(());

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a supported signature algorithm")
    }
}

impl std::error::Error for UnknownAlgorithm {}

/// A set of [`Algorithm`]s.
///
/// ```
/// use tower_oauth_jose::{Algorithm, AlgorithmSet};
///
/// let set: AlgorithmSet = [Algorithm::ES256, Algorithm::EdDSA].into_iter().collect();
/// assert!(set.contains(Algorithm::ES256));
/// assert!(!set.contains(Algorithm::RS256));
/// assert!(AlgorithmSet::ASYMMETRIC.contains(Algorithm::RS256));
/// assert!(!AlgorithmSet::ASYMMETRIC.contains(Algorithm::HS256));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlgorithmSet(u16);

impl AlgorithmSet {
    /// Every algorithm whose key is public: all but HMAC.
    pub const ASYMMETRIC: Self = Self(((1 << Algorithm::ALL.len()) - 1) & !Self::HMAC.0);
    /// HS256, HS384 and HS512.
    pub const HMAC: Self =
        Self(Algorithm::HS256.bit() | Algorithm::HS384.bit() | Algorithm::HS512.bit());
    /// No algorithm.
    pub const EMPTY: Self = Self(0);

    /// Those that an RSA key can verify.
    pub(crate) const RSA: Self = Self(
        Algorithm::RS256.bit()
            | Algorithm::RS384.bit()
            | Algorithm::RS512.bit()
            | Algorithm::PS256.bit()
            | Algorithm::PS384.bit()
            | Algorithm::PS512.bit(),
    );

    /// The set of one.
    pub(crate) const fn one(algorithm: Algorithm) -> Self {
        Self(algorithm.bit())
    }

    /// Whether `algorithm` is in the set.
    #[must_use]
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & algorithm.bit() != 0
    }

    /// The members that both sets have.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The members of either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the set has no member.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in the order in which [`Algorithm`] lists them.
    pub fn iter(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.into_iter().filter(move |algorithm| self.contains(*algorithm))
    }
}

impl FromIterator<Algorithm> for AlgorithmSet {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Self {
        Self(algorithms.into_iter().fold(0, |bits, algorithm| bits | algorithm.bit()))
    }
}

impl From<Algorithm> for AlgorithmSet {
    fn from(algorithm: Algorithm) -> Self {
        Self::one(algorithm)
    }
}

impl fmt::Debug for AlgorithmSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_is_found_under_its_own_name_and_survives_jsonwebtoken() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
            assert_eq!(
                Algorithm::try_from(jsonwebtoken::Algorithm::from(algorithm)),
                Ok(algorithm)
            );
            assert!(AlgorithmSet::ASYMMETRIC.contains(algorithm) != algorithm.is_hmac());
            assert!(AlgorithmSet::HMAC.contains(algorithm) == algorithm.is_hmac());
            assert!(!AlgorithmSet::EMPTY.contains(algorithm));
        }
        let all = AlgorithmSet::ASYMMETRIC.union(AlgorithmSet::HMAC);
        assert_eq!(all.iter().count(), Algorithm::ALL.len());
        assert!(AlgorithmSet::RSA.intersection(AlgorithmSet::HMAC).is_empty());
        assert_eq!(AlgorithmSet::RSA.iter().count(), 6);
    }

    #[test]
    fn j33_unsupported_and_misspelt_names_are_unknown() {
        for name in [
            "",
            "none",
            "None",
            "NONE",
            "nOnE",
            "hs256",
            "HS1",
            "rs256",
            "RS256 ",
            "ES512",
            "ES256K",
            "Ed448",
            "ed25519",
            "EDDSA",
            "ML-DSA-44",
            "RSA-OAEP",
            "dir",
            "ES256\0",
        ] {
            assert_eq!(Algorithm::from_name(name), None, "{name:?}");
        }
    }
}
