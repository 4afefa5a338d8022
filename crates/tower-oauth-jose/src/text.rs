//! The short texts that claims are made of.

use std::borrow::Cow;
use std::ops::Deref;

/// A UUID has 36 bytes, and most names are no longer; with its length and its kind that makes five words.
const INLINE: usize = 38;

/// A text that is its own memory while it is short, as nearly all in a token are: an allocation each
/// would be a third of what a verified token takes.
#[derive(Clone)]
pub(crate) enum ShortText {
    Inline { length: u8, bytes: [u8; INLINE] },
    Boxed(Box<str>),
}

impl Deref for ShortText {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Inline { length, bytes } => {
                // It was a text when it was put in; to look again is cheap, and needs no promise.
                let bytes = bytes.get(..usize::from(*length)).unwrap_or_default();
                std::str::from_utf8(bytes).unwrap_or_default()
            }
            Self::Boxed(text) => text,
        }
    }
}

impl AsRef<str> for ShortText {
    fn as_ref(&self) -> &str {
        self
    }
}

impl From<&str> for ShortText {
    fn from(text: &str) -> Self {
        let mut bytes = [0; INLINE];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                Self::Inline { length, bytes }
            }
            _ => Self::Boxed(text.into()),
        }
    }
}

impl From<String> for ShortText {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Cow<'_, str>> for ShortText {
    fn from(text: Cow<'_, str>) -> Self {
        text.as_ref().into()
    }
}

impl Default for ShortText {
    fn default() -> Self {
        "".into()
    }
}

impl PartialEq for ShortText {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for ShortText {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_whether_it_is_short_or_long() {
        let long = "a\u{e9}\u{1f600}\0 ".repeat(10);
        for length in (0..=long.len()).filter(|length| long.is_char_boundary(*length)) {
            let text = &long[..length];
            let short = ShortText::from(text);
            assert_eq!(&*short, text);
            assert_eq!(matches!(short, ShortText::Inline { .. }), length <= INLINE, "{length}");
            assert!(short == ShortText::from(text.to_owned()) && short.clone() == short);
            assert!(short != ShortText::from(format!("{text}.")));
        }
        assert_eq!(&*ShortText::default(), "");
        assert_eq!(size_of::<Option<ShortText>>(), 40);
    }
}
