//! Where a token's status stands, and the list in which it stands (draft-ietf-oauth-status-list sections 4 and 6).

use std::fmt;
use std::time::Duration;

use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};

use crate::base64url;
use crate::error::InvalidToken;
use crate::json::{Object, Value};

/// The longest Status List Token that can be asked for ([`Unverified::parse_status_list`](crate::Unverified::parse_status_list)), in
/// bytes: 4 MiB.
pub const LARGEST_STATUS_LIST_BYTES: usize = 4 * 1024 * 1024;
/// The longest address of a list, in bytes.
const MAX_URI_BYTES: usize = 2 * 1024;

/// Where the status of a token stands: `status.status_list` (section 6.2).
///
/// A [`Verified`](crate::Verified) token gives it out. `Debug` shows none of the values: together they name one token.
#[derive(Clone, PartialEq, Eq)]
pub struct StatusReference {
    uri: Box<str>,
    index: u64,
}

/// A list as it stands in a Status List Token that was verified, still compressed.
#[derive(Clone)]
pub struct PackedStatusList {
    bits: u8,
    zlib: Vec<u8>,
    ttl: Option<Duration>,
}

/// The statuses of many tokens (section 4.1): one number of 1, 2, 4 or 8 bits for each index.
///
/// 0 is "valid", 1 is "invalid", 2 is "suspended"; what else there is is told in section 7.1.
#[derive(Clone, PartialEq, Eq)]
pub struct StatusList {
    bits: u8,
    bytes: Box<[u8]>,
}

// === impl StatusReference ===

impl StatusReference {
    /// The address of the list, as the token says it: text of the issuer's, and no more than that.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The index in the list.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Reads it from a claims set. `None` if there is no `status` in it, or none that speaks of a list.
    pub(crate) fn parse(claims: &[u8]) -> Result<Option<Self>, InvalidToken> {
        const INVALID: InvalidToken = InvalidToken::InvalidClaim("status");
        let Some(status) = Object::parse(claims)?.get("status") else { return Ok(None) };
        let status = Object::parse(status.text().as_bytes()).map_err(|_| INVALID)?;
        let Some(list) = status.get("status_list") else { return Ok(None) };
        let list = Object::parse(list.text().as_bytes()).map_err(|_| INVALID)?;
        let index = list.get("idx").and_then(whole).ok_or(INVALID)?;
        let uri = list.get("uri").and_then(Value::string).ok_or(INVALID)?;
        if uri.is_empty() || uri.len() > MAX_URI_BYTES {
            return Err(INVALID);
        }
        Ok(Some(Self { uri: uri.into(), index }))
    }
}

impl fmt::Debug for StatusReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusReference").finish_non_exhaustive()
    }
}

// === impl PackedStatusList ===

impl PackedStatusList {
    /// `ttl`: how long it may be kept before it is to be fetched anew.
    #[must_use]
    pub const fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// Unpacks the list. What goes beyond `max_bytes` is not unpacked: a kilobyte can hold a megabyte.
    ///
    /// This takes time in proportion to `max_bytes`, some milliseconds for a megabyte.
    ///
    /// # Errors
    ///
    /// [`InvalidToken::TooLarge`]; [`InvalidToken::InvalidClaim`] if it is no whole ZLIB stream (RFC 1950).
    pub fn unpack(&self, max_bytes: usize) -> Result<StatusList, InvalidToken> {
        match decompress_to_vec_zlib_with_limit(&self.zlib, max_bytes) {
            Ok(bytes) => Ok(StatusList { bits: self.bits, bytes: bytes.into() }),
            Err(error) if error.status == TINFLStatus::HasMoreOutput => Err(InvalidToken::TooLarge),
            Err(_) => Err(InvalidToken::InvalidClaim("lst")),
        }
    }

    /// Reads it from a claims set, whose `status_list` has the members `bits` and `lst` (section 4.2).
    pub(crate) fn parse(claims: &Object<'_>) -> Result<Self, InvalidToken> {
        const LIST: &str = "status_list";
        let list = claims.get(LIST).ok_or(InvalidToken::MissingClaim(LIST))?;
        let list = Object::parse(list.text().as_bytes());
        let list = list.map_err(|_| InvalidToken::InvalidClaim(LIST))?;
        let bits = list.get("bits").and_then(whole).and_then(|bits| match bits {
            1 => Some(1),
            2 => Some(2),
            4 => Some(4),
            8 => Some(8),
            _ => None,
        });
        let zlib = list.get("lst").and_then(Value::string);
        let zlib = zlib.and_then(|text| base64url::decode(text.as_bytes()));
        Ok(Self {
            bits: bits.ok_or(InvalidToken::InvalidClaim("bits"))?,
            zlib: zlib.ok_or(InvalidToken::InvalidClaim("lst"))?,
            ttl: ttl(claims)?,
        })
    }
}

impl fmt::Debug for PackedStatusList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedStatusList")
            .field("bits", &self.bits)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

// === impl StatusList ===

impl StatusList {
    /// The status at an index; `None` beyond the end of the list, where nothing can be said of a token.
    #[must_use]
    pub fn status(&self, index: u64) -> Option<u8> {
        let per_byte = u64::from(8 / self.bits);
        let byte = self.bytes.get(usize::try_from(index / per_byte).ok()?)?;
        // Counted from the least significant bit (section 4.1, step 3).
        let shift = u32::try_from(index % per_byte).ok()? * u32::from(self.bits);
        let mask = u8::MAX >> (8 - self.bits);
        Some(byte.checked_shr(shift)? & mask)
    }

    /// How many statuses there are, with those that pad the last byte.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX) * u64::from(8 / self.bits)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl fmt::Debug for StatusList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusList")
            .field("bits", &self.bits)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// A whole number that is written as one: 1.5 is no number of bits, and 1e3 no index.
fn whole(value: Value<'_>) -> Option<u64> {
    value.text().parse().ok()
}

/// A positive number (section 5.1).
fn ttl(claims: &Object<'_>) -> Result<Option<Duration>, InvalidToken> {
    let Some(ttl) = claims.get("ttl") else { return Ok(None) };
    let seconds = ttl.text().parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    let seconds = seconds.ok_or(InvalidToken::InvalidClaim("ttl"))?;
    Ok(Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
}
