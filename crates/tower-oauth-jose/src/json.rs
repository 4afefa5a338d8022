//! A strict reader of JSON objects.
//!
//! Differences from a general reader, each the answer to an attack:
//!
//! 1. a member that occurs twice is refused at every level, also when one of the two is written
//!    with escapes (RFC 7515 section 4, RFC 7519 section 4);
//! 2. nesting is limited to [`MAX_DEPTH`], the members of one object to [`MAX_MEMBERS`];
//! 3. the text begins with `{` and ends with its `}`: no mark, no space, nothing after it.
//!
//! One pass checks the whole text and leaves the top level's members as borrowed slices. It is
//! written by hand because serde_json's number and map handling changes with crate features
//! (`arbitrary_precision`) that any other crate of the build may switch on.

mod escapes;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use self::escapes::unescape;
use crate::token::{Name, Places};

/// The deepest nesting of objects and arrays.
pub(crate) const MAX_DEPTH: u8 = 32;
/// The most members of one object. A token of 8 KiB has no room for more that mean anything.
pub(crate) const MAX_MEMBERS: usize = 256;

/// Why a text is not the object that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    Malformed,
    Duplicate,
    TooLarge,
}

/// Room for as many members as a token has; more take another allocation or two.
const USUAL_MEMBERS: usize = 16;

/// A checked object: its members are slices of the text.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    /// In the order of [`by_name`], names unescaped and distinct.
    members: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Object<'a> {
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(text).map_err(|_| JsonError::Malformed)?;
        let mut scanner = Scanner::new(text);
        scanner.members.reserve(USUAL_MEMBERS);
        if scanner.peek() != Some(b'{') {
            return Err(JsonError::Malformed);
        }
        scanner.object()?;
        if scanner.at != text.len() {
            return Err(JsonError::Malformed);
        }
        Ok(Self { members: scanner.members })
    }

    /// Where its members stand in `text`, from which it was read.
    pub(crate) fn places(&self, text: &'a [u8]) -> Result<Places, JsonError> {
        let place = |part: &str| {
            let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize);
            start.map(|start| start..start + part.len()).ok_or(JsonError::Malformed)
        };
        let member = |(name, value): &(Cow<'a, str>, Value<'a>)| {
            let name = match name {
                Cow::Borrowed(name) => Name::At(place(name)?),
                Cow::Owned(name) => Name::Unescaped(name.as_str().into()),
            };
            Ok((name, place(value.text())?))
        };
        self.members.iter().map(member).collect()
    }

    /// The object that was read from `text` before, and had its members at these places.
    pub(crate) fn at(text: &'a [u8], places: &'a Places) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(text).map_err(|_| JsonError::Malformed)?;
        let part = |place: &Range<usize>| text.get(place.clone()).ok_or(JsonError::Malformed);
        let member = |(name, value): &'a (Name, Range<usize>)| {
            let name = match name {
                Name::At(place) => part(place)?,
                Name::Unescaped(name) => name,
            };
            Ok((Cow::Borrowed(name), Value(part(value)?)))
        };
        Ok(Self { members: places.iter().map(member).collect::<Result<_, _>>()? })
    }

    /// The member `name`, `null` included.
    pub(crate) fn get(&self, name: &str) -> Option<Value<'a>> {
        let at = self.members.binary_search_by(|(other, _)| by_name(other, name)).ok()?;
        self.members.get(at).map(|(_, value)| *value)
    }

    /// All members, in no order that means anything.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, Value<'a>)> {
        self.members.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// One value inside a checked text: well-formed, its type not looked at yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// The value as it was written.
    pub(crate) fn text(self) -> &'a str {
        self.0
    }

    /// The text of a string.
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        if self.0.starts_with('"') { unescape(self.0) } else { None }
    }

    pub(crate) fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// A number, rounded down to whole ones; `None` for what is no number or does not fit.
    pub(crate) fn whole_number(self) -> Option<i64> {
        if !self.0.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return None;
        }
        if let Ok(whole) = self.0.parse::<i64>() {
            return Some(whole);
        }
        let number = self.0.parse::<f64>().ok()?.floor();
        // Every whole number up to 2^53 is exact in an f64; beyond lies no date that we accept.
        (number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
    }

    /// The elements of an array.
    pub(crate) fn elements(self) -> Option<Elements<'a>> {
        let mut scanner = Scanner::new(self.0);
        scanner.eat(b'[').then_some(Elements { scanner })
    }
}

/// The elements of an array that was checked before.
#[derive(Debug)]
pub(crate) struct Elements<'a> {
    scanner: Scanner<'a>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.scanner.space();
        if self.scanner.peek()? == b']' {
            return None;
        }
        // The text was checked as a whole, so an error cannot come up here; it would end the array.
        let value = self.scanner.value().ok()?;
        self.scanner.space();
        self.scanner.eat(b',');
        Some(value)
    }
}

// === impl Scanner ===

#[derive(Debug)]
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u8,
    /// The members of the objects that are open; a nested object's are dropped at its end.
    members: Vec<(Cow<'a, str>, Value<'a>)>,
    /// How often a byte was looked at.
    #[cfg(test)]
    looks: std::cell::Cell<usize>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            members: Vec::new(),
            #[cfg(test)]
            looks: std::cell::Cell::default(),
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn eat(&mut self, expected: u8) -> bool {
        let found = self.peek() == Some(expected);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, expected: u8) -> Result<(), JsonError> {
        self.eat(expected).then_some(()).ok_or(JsonError::Malformed)
    }

    #[inline]
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn since(&self, start: usize) -> Result<&'a str, JsonError> {
        self.text.get(start..self.at).ok_or(JsonError::Malformed)
    }

    fn value(&mut self) -> Result<Value<'a>, JsonError> {
        let start = self.at;
        self.skip_value()?;
        self.since(start).map(Value)
    }

    fn skip_value(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => {
                let open = self.members.len();
                self.object()?;
                self.members.truncate(open);
                Ok(())
            }
            Some(b'[') => self.array(),
            Some(b'"') => self.string().map(drop),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.number(),
        }
    }

    /// Reads an object and leaves its members at the end of `self.members`, in their order.
    fn object(&mut self) -> Result<(), JsonError> {
        self.enter(b'{')?;
        let open = self.members.len();
        self.space();
        if !self.eat(b'}') {
            loop {
                let name = unescape(self.string()?).ok_or(JsonError::Malformed)?;
                self.space();
                self.expect(b':')?;
                self.space();
                let value = self.value()?;
                self.members.push((name, value));
                if self.members.len() - open > MAX_MEMBERS {
                    return Err(JsonError::TooLarge);
                }
                if !self.goes_on(b'}')? {
                    break;
                }
            }
        }
        self.depth -= 1;

        let members = self.members.get_mut(open..).unwrap_or_default();
        members.sort_unstable_by(|(a, _), (b, _)| by_name(a, b));
        let twice = members.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b));
        if twice { Err(JsonError::Duplicate) } else { Ok(()) }
    }

    fn array(&mut self) -> Result<(), JsonError> {
        self.enter(b'[')?;
        self.space();
        if !self.eat(b']') {
            loop {
                self.skip_value()?;
                if !self.goes_on(b']')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Behind a value: whether there is another one, whose beginning is looked at next, or the end.
    #[inline]
    fn goes_on(&mut self, end: u8) -> Result<bool, JsonError> {
        self.space();
        match self.next() {
            Some(b',') => {
                self.space();
                Ok(true)
            }
            Some(found) if found == end => Ok(false),
            _ => Err(JsonError::Malformed),
        }
    }

    fn enter(&mut self, bracket: u8) -> Result<(), JsonError> {
        self.expect(bracket)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(JsonError::TooLarge) } else { Ok(()) }
    }

    /// Reads a string and gives it back in its quotes, escapes untouched but checked.
    fn string(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            self.plain_text();
            match self.next().ok_or(JsonError::Malformed)? {
                b'"' => return self.since(start),
                b'\\' => self.escape()?,
                0..0x20 => return Err(JsonError::Malformed),
                _ => {}
            }
        }
    }

    /// Goes over what means nothing inside a string, eight bytes at a time: most of a claims set is text.
    #[inline]
    fn plain_text(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        for eight in rest.as_chunks::<8>().0 {
            #[cfg(test)]
            self.looks.set(self.looks.get() + 8);
            let telling = telling(u64::from_le_bytes(*eight));
            if telling != 0 {
                self.at += (telling.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.next() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') => match self.hex4()? {
                // Half a pair is no character (case J23).
                0xd800..0xdc00 => {
                    self.expect(b'\\')?;
                    self.expect(b'u')?;
                    let low = self.hex4()?;
                    (0xdc00..0xe000).contains(&low).then_some(()).ok_or(JsonError::Malformed)
                }
                0xdc00..0xe000 => Err(JsonError::Malformed),
                _ => Ok(()),
            },
            _ => Err(JsonError::Malformed),
        }
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit * 16 + digit.ok_or(JsonError::Malformed)?;
        }
        Ok(unit)
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        word.bytes().try_for_each(|byte| self.expect(byte))
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    fn number(&mut self) -> Result<(), JsonError> {
        let first = match self.next() {
            Some(b'-') => self.next(),
            first => first,
        };
        match first {
            Some(b'0') => {}
            Some(b'1'..=b'9') => self.more_digits(),
            _ => return Err(JsonError::Malformed),
        }
        // Most numbers end here.
        if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Ok(());
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn more_digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.more_digits();
        if self.at > start { Ok(()) } else { Err(JsonError::Malformed) }
    }
}

/// The order of members: shorter names first, so that most comparisons do not look at the text.
fn by_name(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// The top bit of each of eight bytes that is a quote, a backslash or a control character.
///
/// A borrow can set the bit of a byte above such a one, and never below: the lowest bit is right.
const fn telling(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x80 * ONES;
    let quote = eight ^ (ONES * b'"' as u64);
    let backslash = eight ^ (ONES * b'\\' as u64);
    let is_quote = quote.wrapping_sub(ONES) & !quote;
    let is_backslash = backslash.wrapping_sub(ONES) & !backslash;
    let is_control = eight.wrapping_sub(ONES * 0x20) & !eight;
    (is_quote | is_backslash | is_control) & TOPS
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
