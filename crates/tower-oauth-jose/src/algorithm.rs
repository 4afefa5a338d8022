use std::fmt;
use std::str::FromStr;

/// A signature algorithm that this crate verifies (RFC 7518 section 3.1, RFC 8037, RFC 9864).
///
/// The list is closed: no HMAC (a key set is public, its keys are no secrets) and no `none`.
/// ES512, ES256K, Ed448 and ML-DSA are not supported; a token that names one is refused.
///
/// ```
/// use tower_oauth_jose::Algorithm;
///
/// assert_eq!("RS256".parse(), Ok(Algorithm::RS256));
/// // RFC 9864 gave the one curve of `EdDSA` that is in use a name of its own.
/// assert_eq!("Ed25519".parse(), Ok(Algorithm::EdDSA));
/// assert!("none".parse::<Algorithm>().is_err());
/// assert!("HS256".parse::<Algorithm>().is_err());
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
    EdDSA,
}

impl Algorithm {
    const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
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
        }
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

    /// HMAC is refused; every other algorithm of `jsonwebtoken` 11 has its counterpart.
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
/// assert!(AlgorithmSet::ALL.contains(Algorithm::RS256));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlgorithmSet(u16);

impl AlgorithmSet {
    /// Every supported algorithm.
    pub const ALL: Self = Self((1 << Algorithm::ALL.len()) - 1);
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
            assert!(AlgorithmSet::ALL.contains(algorithm));
            assert!(!AlgorithmSet::EMPTY.contains(algorithm));
        }
        assert_eq!(AlgorithmSet::ALL.iter().count(), Algorithm::ALL.len());
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
            "HS256",
            "HS384",
            "HS512",
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
        for theirs in [
            jsonwebtoken::Algorithm::HS256,
            jsonwebtoken::Algorithm::HS384,
            jsonwebtoken::Algorithm::HS512,
        ] {
            assert!(Algorithm::try_from(theirs).is_err());
        }
    }
}
