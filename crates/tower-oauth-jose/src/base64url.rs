//! Base64url as JOSE wants it (RFC 7515 section 2): no padding, no white space, no stray bits.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// How many characters are decoded at once.
const BLOCK: usize = 64;
/// What is no character of the alphabet has this bit.
const NONE: u8 = 0x80;

/// Decodes; one text has one meaning, so that nobody can write a token in two ways (case J20).
pub(crate) fn decode(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    decode_onto(text.as_ref(), &mut bytes).then_some(bytes)
}

/// Decodes to the end of `bytes`. If it says no, what it has left there means nothing.
///
/// Most of a token is base64url, and a token is what a request with a hostile one costs. So this is done
/// in whole blocks, which the compiler makes vectors of; that is some three times as fast as a table. The end of the
/// text, with all that is to be strict about, is for the general decoder.
pub(crate) fn decode_onto(text: &[u8], bytes: &mut Vec<u8>) -> bool {
    let (blocks, end) = text.as_chunks::<BLOCK>();
    bytes.reserve(text.len() / 4 * 3 + 3);
    for block in blocks {
        let mut sextets = [0; BLOCK];
        for (to, character) in sextets.iter_mut().zip(block) {
            *to = sextet(*character);
        }
        if sextets.iter().fold(0, |all, sextet| all | sextet) >= NONE {
            return false;
        }
        let mut decoded = [0; BLOCK / 4 * 3];
        let (places, _) = decoded.as_chunks_mut::<6>();
        for (place, eight) in places.iter_mut().zip(sextets.as_chunks::<8>().0) {
            *place = pack(*eight);
        }
        bytes.extend_from_slice(&decoded);
    }
    URL_SAFE_NO_PAD.decode_vec(end, bytes).is_ok()
}

/// The value of a character, or [`NONE`]. Arithmetic on ranges and no table, or it would be one character at a time.
const fn sextet(character: u8) -> u8 {
    // One more than the value, so that 0 is left for nothing of all that.
    let upper = character.wrapping_sub(b'A');
    let lower = character.wrapping_sub(b'a');
    let digit = character.wrapping_sub(b'0');
    let value = if upper < 26 { upper + 1 } else { 0 }
        | if lower < 26 { lower + 27 } else { 0 }
        | if digit < 10 { digit + 53 } else { 0 }
        | if character == b'-' { 63 } else { 0 }
        | if character == b'_' { 64 } else { 0 };
    value.wrapping_sub(1)
}

/// Eight times six bits: first two by two, then four by four, then all.
const fn pack(eight: [u8; 8]) -> [u8; 6] {
    let sextets = u64::from_be_bytes(eight);
    let twelves = (sextets & 0x003f_003f_003f_003f) | ((sextets & 0x3f00_3f00_3f00_3f00) >> 2);
    let halves = (twelves & 0x0000_0fff_0000_0fff) | ((twelves & 0x0fff_0000_0fff_0000) >> 4);
    let all = (halves & 0x00ff_ffff) | ((halves & 0x00ff_ffff_0000_0000) >> 8);
    let [_, _, bytes @ ..] = all.to_be_bytes();
    bytes
}

/// Decodes into `room` and gives back the part that was written; `None` also when it does not fit.
pub(crate) fn decode_into(text: impl AsRef<[u8]>, room: &mut [u8]) -> Option<&[u8]> {
    let length = URL_SAFE_NO_PAD.decode_slice(text, room).ok()?;
    room.get(..length)
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j20_every_byte_at_every_place_means_what_it_means_to_the_general_decoder() {
        let text: Vec<u8> = b"AZaz09-_".iter().copied().cycle().take(150).collect();
        for length in 0..text.len() {
            let text = &text[..length];
            assert_eq!(decode(text), URL_SAFE_NO_PAD.decode(text).ok(), "{length}");
        }
        for at in 0..text.len() {
            for byte in 0..=u8::MAX {
                let mut text = text.clone();
                text[at] = byte;
                assert_eq!(decode(&text), URL_SAFE_NO_PAD.decode(&text).ok(), "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn what_was_encoded_is_decoded_behind_what_is_there() {
        for length in 0..200_u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(167) ^ length).collect();
            let mut decoded = b"before".to_vec();
            assert!(decode_onto(encode(&bytes).as_bytes(), &mut decoded));
            assert_eq!(decoded.strip_prefix(b"before"), Some(bytes.as_slice()));
        }
    }
}
