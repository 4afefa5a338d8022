//! One JSON object, strictly: RFC 8259 and no member twice.

use std::fmt;

use serde_core::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use crate::{Error, ErrorKind};

/// The members of an object, in the order of the document.
pub(crate) struct Object(Vec<(String, Value)>);

impl Object {
    /// Parses a whole answer. A member that stands twice is refused: two readers would disagree on
    /// which one counts.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        // The parser's own error is dropped: its text can repeat what the server sent.
        serde_json::from_slice(body).map_err(|_| ErrorKind::Malformed("not one JSON object").into())
    }

    /// The member, with `null` read as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        if value.is_null() { None } else { Some(value) }
    }

    /// The member as text; of another type it is an error that says `what`.
    pub(crate) fn text(&self, name: &str, what: &'static str) -> Result<Option<&str>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ErrorKind::Malformed(what).into()),
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members: Vec<(String, Value)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if members.iter().any(|(held, _)| *held == key) {
                        return Err(A::Error::custom("duplicate member"));
                    }
                    members.push((key, value));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_and_nothing_else() {
        let cases: &[(&[u8], bool)] = &[
            (br#"{"a":1}"#, true),
            (br#" {} "#, true),
            (br#"{"a":1,"a":2}"#, false),
            (br#"{"a":1,"\u0061":2}"#, false),
            (br#"[{"a":1}]"#, false),
            (br#""a""#, false),
            (br#"{"a":1} x"#, false),
            (b"\xef\xbb\xbf{}", false),
            (b"", false),
            (b"<html>", false),
            (b"{\"a\":\"\xff\"}", false),
        ];
        for (body, good) in cases {
            assert_eq!(Object::parse(body).is_ok(), *good, "{}", String::from_utf8_lossy(body));
        }
    }
}
