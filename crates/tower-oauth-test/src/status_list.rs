//! The statuses of tokens, as lists: draft-ietf-oauth-status-list.

use std::collections::HashMap;
use std::time::Duration;

use miniz_oxide::deflate::compress_to_vec_zlib;
use serde_json::{Map, Value, json};

use crate::key::base64url;
use crate::{Endpoint, ScriptedIssuer};

/// The best compression, as §4.1 recommends.
const LEVEL: u8 = 10;

/// The lists of an issuer. Every name has one; it is all "valid" until it is told otherwise.
#[derive(Debug)]
pub(crate) struct StatusLists {
    by_uri: HashMap<String, Vec<u8>>,
    /// How many statuses a list has at least.
    size: usize,
    ttl: Option<Duration>,
}

impl Default for StatusLists {
    fn default() -> Self {
        Self { by_uri: HashMap::new(), size: 1024, ttl: Some(Duration::from_secs(60)) }
    }
}

impl StatusLists {
    /// What the list says of itself, without its dates.
    pub(crate) fn claims(&self, uri: &str) -> Map<String, Value> {
        let mut statuses = self.by_uri.get(uri).cloned().unwrap_or_default();
        statuses.resize(statuses.len().max(self.size), 0);
        let bits = match statuses.iter().max() {
            None | Some(0..=1) => 1,
            Some(2..=3) => 2,
            Some(4..=15) => 4,
            Some(_) => 8,
        };
        let bytes: Vec<u8> = statuses
            .chunks(8 / bits)
            .map(|chunk| {
                let packed = chunk.iter().enumerate();
                packed.fold(0, |byte, (at, status)| byte | (status << (at * bits)))
            })
            .collect();
        let lst = base64url(&compress_to_vec_zlib(&bytes, LEVEL));
        let mut claims = Map::new();
        claims.insert("sub".into(), uri.into());
        claims.insert("status_list".into(), json!({ "bits": bits, "lst": lst }));
        if let Some(ttl) = self.ttl {
            claims.insert("ttl".into(), ttl.as_secs().into());
        }
        claims
    }

    fn set(&mut self, uri: String, index: usize, status: u8) {
        let statuses = self.by_uri.entry(uri).or_default();
        if statuses.len() <= index {
            statuses.resize(index + 1, 0);
        }
        if let Some(slot) = statuses.get_mut(index) {
            *slot = status;
        }
    }
}

impl ScriptedIssuer {
    /// What the claim `status` of a token says that stands at this index of the issuer's first list.
    ///
    /// ```
    /// # use tower_oauth_test::{ScriptedIssuer, TokenSpec};
    /// # let issuer = ScriptedIssuer::builder().build()?;
    /// let token = issuer.mint(TokenSpec::new().claim("status", issuer.status_claim(7)));
    /// // Later, in the list at `issuer.url(Endpoint::StatusList)`, it is revoked:
    /// issuer.set_status(7, 1);
    /// # drop(token);
    /// # Ok::<_, tower_oauth_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn status_claim(&self, index: u64) -> Value {
        self.status_claim_of(&self.url(Endpoint::StatusList), index)
    }

    /// As [`status_claim`](Self::status_claim), for another list: the [URL](Self::url) with another name in the place of the `1` at its end.
    #[must_use]
    pub fn status_claim_of(&self, uri: &str, index: u64) -> Value {
        json!({ "status_list": { "idx": index, "uri": uri } })
    }

    /// From now on the first list says this of an index: 0 valid, 1 revoked, 2 suspended, 3 to 255 whatever you like.
    /// The list grows as it must, also in the number of bits.
    pub fn set_status(&self, index: usize, status: u8) {
        self.set_status_of(&self.url(Endpoint::StatusList), index, status);
    }

    /// As [`set_status`](Self::set_status), in another list.
    pub fn set_status_of(&self, uri: &str, index: usize, status: u8) {
        self.shared().with(|state| state.status_lists.set(uri.to_owned(), index, status));
    }

    /// How many statuses a list has at least: 1,024 if not set.
    pub fn set_status_list_size(&self, size: usize) {
        self.shared().with(|state| state.status_lists.size = size);
    }

    /// The `ttl` of the lists, in whole seconds: 60 s if not set; `None` leaves it out. Their `exp` is in a day.
    pub fn set_status_list_ttl(&self, ttl: impl Into<Option<Duration>>) {
        self.shared().with(|state| state.status_lists.ttl = ttl.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_as_many_bits_as_its_statuses_need() {
        let mut lists = StatusLists { size: 16, ..StatusLists::default() };
        // The vectors of §4.2, up to the level of compression.
        for at in [0, 3, 4, 5, 7, 8, 9, 13, 15] {
            lists.set("a".into(), at, 1);
        }
        let unpack = |claims: Map<String, Value>| {
            let text = claims["status_list"]["lst"].as_str().unwrap();
            let zlib =
                base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
            let bytes = miniz_oxide::inflate::decompress_to_vec_zlib(&zlib.unwrap()).unwrap();
            (claims["status_list"]["bits"].as_u64().unwrap(), bytes)
        };
        assert_eq!(unpack(lists.claims("a")), (1, vec![0xb9, 0xa3]));
        lists.size = 12;
        for (at, status) in [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3].into_iter().enumerate() {
            lists.set("b".into(), at, status);
        }
        assert_eq!(unpack(lists.claims("b")), (2, vec![0xc9, 0x44, 0xf9]));
        lists.size = 0;
        lists.set("c".into(), 1, 9);
        assert_eq!(unpack(lists.claims("c")), (4, vec![0x90]));
        lists.set("c".into(), 1, 16);
        assert_eq!(unpack(lists.claims("c")), (8, vec![0, 16]));
        assert_eq!(unpack(lists.claims("d")), (1, vec![]));
    }
}
