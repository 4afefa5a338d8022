use std::borrow::Cow;

/// The text of a string that stands in its quotes; its escapes were checked before.
pub(super) fn unescape(quoted: &str) -> Option<Cow<'_, str>> {
    let mut rest = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if !rest.contains('\\') {
        return Some(Cow::Borrowed(rest));
    }
    let mut text = String::with_capacity(rest.len());
    while let Some((before, escape)) = rest.split_once('\\') {
        let (character, after) = escaped(escape)?;
        text.push_str(before);
        text.push(character);
        rest = after;
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

/// The character that the text behind a backslash begins with, and what follows it.
fn escaped(text: &str) -> Option<(char, &str)> {
    let unit = |text: &str| u32::from_str_radix(text.get(..4)?, 16).ok();
    let mut characters = text.chars();
    let character = match characters.next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let (high, after) = (unit(text.get(1..)?)?, text.get(5..)?);
            let Some(pair) = high.checked_sub(0xd800).filter(|high| *high < 0x400) else {
                return Some((char::from_u32(high)?, after));
            };
            let low = unit(after.strip_prefix("\\u")?)?.checked_sub(0xdc00)?;
            return Some((char::from_u32(0x1_0000 + (pair << 10) + low)?, after.get(6..)?));
        }
        itself => itself,
    };
    Some((character, characters.as_str()))
}
