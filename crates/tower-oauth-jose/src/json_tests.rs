use super::*;

fn parse(text: &str) -> Result<Object<'_>, JsonError> {
    Object::parse(text.as_bytes())
}

#[test]
fn members_are_found_and_typed() {
    let text = r#"{"a":"x","n":-7,"f":12.9,"e":1e3,"u":"\u00e9\ud83d\ude00\n","l":["p", "q" ],"z":null,"o":{}}"#;
    let object = parse(text).unwrap();
    assert_eq!(object.get("a").unwrap().string().unwrap(), "x");
    assert_eq!(object.get("n").unwrap().whole_number(), Some(-7));
    assert_eq!(object.get("f").unwrap().whole_number(), Some(12));
    assert_eq!(object.get("e").unwrap().whole_number(), Some(1000));
    assert_eq!(object.get("u").unwrap().string().unwrap(), "é😀\n");
    let list: Vec<_> = object.get("l").unwrap().elements().unwrap().collect();
    assert_eq!(list.len(), 2);
    assert_eq!(list[1].string().unwrap(), "q");
    assert!(object.contains("z"));
    assert!(object.get("z").unwrap().string().is_none());
    assert!(object.get("z").unwrap().whole_number().is_none());
    assert!(object.get("a").unwrap().elements().is_none());
    assert_eq!(object.get("o").unwrap().elements().map(|_| ()), None);
    assert!(object.get("missing").is_none());
}

#[test]
fn j21_a_member_that_occurs_twice_is_refused_at_every_level() {
    for text in [
        r#"{"alg":1,"alg":1}"#,
        r#"{"alg":1,"\u0061lg":1}"#,
        r#"{"\u0061lg":1,"\u0061l\u0067":2}"#,
        r#"{"a":{"b":1,"b":2}}"#,
        r#"{"a":[{"x":0},{"b":1,"c":3,"b":2}]}"#,
        r#"{"a":{"b":{"c":{"":1,"":1}}},"z":1}"#,
    ] {
        assert_eq!(parse(text).unwrap_err(), JsonError::Duplicate, "{text}");
    }
    // The same name in different objects is no duplicate.
    parse(r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#).unwrap();
}

#[test]
fn j22_depth_and_members_are_bounded() {
    let nested =
        |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    parse(&nested(usize::from(MAX_DEPTH))).unwrap();
    for depth in [33, 127, 129, 1_000, 100_000] {
        assert_eq!(parse(&nested(depth)).unwrap_err(), JsonError::TooLarge, "{depth}");
    }
    assert_eq!(parse(&"{\"a\":".repeat(40)).unwrap_err(), JsonError::TooLarge);

    let wide = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!("\"{n}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    parse(&wide(MAX_MEMBERS)).unwrap();
    assert_eq!(parse(&wide(MAX_MEMBERS + 1)).unwrap_err(), JsonError::TooLarge);
}

#[test]
fn j22_no_text_makes_the_reader_look_at_a_byte_more_than_a_few_times() {
    let nested = |open: &str, close: &str| format!("{{\"a\":{}{}", open.repeat(31), close);
    let fill = |piece: &str| format!("{{\"a\":[{}0]}}", piece.repeat(60_000 / piece.len()));
    for text in [
        nested("[", &"]".repeat(31)),
        nested("{\"a\":", "0"),
        "[".repeat(60_000),
        "{\"a\":".repeat(10_000),
        fill("0,"),
        fill("[],"),
        fill("[[[[[[[[[[]]]]]]]]]],"),
        fill("{},"),
        fill("{\"a\":{\"b\":{\"c\":{}}}},"),
        fill("\"\\u0000\\ud83d\\ude00\","),
        fill("-1.5e-10,"),
        fill("        0,"),
        format!("{{\"{}\":0}}", "a".repeat(60_000)),
        format!("{{\"{}\":0}}", "\\u0061".repeat(10_000)),
        format!("{{\"a\":\"{}", "\\\\".repeat(30_000)),
        format!("{{\"a\":{}}}", "9".repeat(60_000)),
        format!("{{{}\"a\":0}}", " ".repeat(60_000)),
    ] {
        let mut scanner = Scanner::new(&text);
        let _ = scanner.object();
        let looks = scanner.looks.get();
        let shown = text.get(..40).unwrap_or(&text);
        assert!(looks <= 12 * text.len() + 12, "{looks} for {} of {shown}", text.len());
    }
}

#[test]
fn j23_what_is_not_exactly_one_object_is_refused() {
    for text in [
        "",
        " ",
        "null",
        "1",
        "\"{}\"",
        "[]",
        "[{}]",
        "{",
        "}",
        "{}}",
        "{} ",
        " {}",
        "\n{}",
        "\u{feff}{}",
        "{}{}",
        "{}\0",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"a\":-}",
        "{\"a\":0x1}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":tru}",
        "{\"a\":nulll}",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\":[}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u+123\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\0\"}",
        "{\"a\":\"}",
        "{\"a\":1}//",
        "{/**/}",
        "{\"\\ud800\":1}",
        "{1:1}",
    ] {
        assert_eq!(parse(text).unwrap_err(), JsonError::Malformed, "{text:?}");
    }
    for bytes in [&b"{\"a\":\"\xff\"}"[..], b"{\"a\":\"\xed\xa0\x80\"}", b"\xef\xbb\xbf{}"] {
        assert_eq!(Object::parse(bytes).unwrap_err(), JsonError::Malformed);
    }
}

#[test]
fn j23_what_ends_a_string_or_must_not_be_in_it_is_seen_at_every_place() {
    for at in 0..40 {
        for byte in 0..0x80_u8 {
            let before = "\u{e9}a\u{7f} !#[]~"
                .chars()
                .cycle()
                .scan(0, |length, c| {
                    *length += c.len_utf8();
                    (*length <= at).then_some(c)
                })
                .collect::<String>();
            let text = format!("{{\"a\":\"{before}{}tail of some length\"}}", char::from(byte));
            let expected = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            assert_eq!(parse(&text).is_ok(), expected, "{text:?}");
        }
    }
}

#[test]
fn numbers_are_rounded_down_and_never_wrap() {
    for (text, expected) in [
        ("0", Some(0)),
        ("-0", Some(0)),
        ("-0.5", Some(-1)),
        ("1.999", Some(1)),
        ("1e2", Some(100)),
        ("9223372036854775807", Some(i64::MAX)),
        ("18446744073709551615", None),
        ("1e18", None),
        ("1e308", None),
        ("1e400", None),
        ("-1e400", None),
        ("\"1\"", None),
        ("null", None),
        ("true", None),
        ("[1]", None),
        ("{}", None),
    ] {
        let text = format!("{{\"n\":{text}}}");
        assert_eq!(parse(&text).unwrap().get("n").unwrap().whole_number(), expected, "{text}");
    }
}

#[test]
fn escapes_are_read_as_serde_json_reads_them() {
    let units = |c: char| {
        let mut room = [0; 2];
        c.encode_utf16(&mut room).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>()
    };
    let bmp = (0..=0xffff).filter_map(char::from_u32);
    let above = (0x1_0000..=0x10_ffff).step_by(997).filter_map(char::from_u32);
    let mut texts: Vec<_> =
        bmp.chain(above).chain(['\u{10ffff}']).map(|c| format!("a{}\u{e9}", units(c))).collect();
    texts.extend([
        r#"\"\\\/\b\f\n\r\t"#.to_owned(),
        r"\\u0041\u0041\\".to_owned(),
        r"\ud83d\ude00\uD83D\uDE00\u00E9".to_owned(),
        "\u{1f600}\\n\u{1f600}".to_owned(),
    ]);
    for text in texts {
        let quoted = format!("\"{text}\"");
        let object = format!("{{{quoted}:{quoted}}}");
        let expected: String = serde_json::from_str(&quoted).unwrap();
        let object = parse(&object).unwrap();
        assert_eq!(object.get(&expected).unwrap().string().unwrap(), expected, "{text}");
    }
}
