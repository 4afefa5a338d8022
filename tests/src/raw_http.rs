//! HTTP by hand: one call, one connection, no opinions.
//!
//! A test that checks our clients' doings cannot ask one of our clients about them.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one call may take, from the connection to the last byte.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    /// The status code.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The first header of this name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| {
            panic!("{error} in an answer of {}: {}", self.status, self.body)
        })
    }
}

/// `GET url`.
///
/// # Errors
///
/// As [`call`].
pub async fn get(url: &str) -> io::Result<Answer> {
    call("GET", url, &[], "").await
}

/// `POST url` with a form.
///
/// # Errors
///
/// As [`call`].
pub async fn post_form(
    url: &str,
    headers: &[(&str, &str)],
    fields: &[(&str, &str)],
) -> io::Result<Answer> {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend_from_slice(headers);
    call("POST", url, &all, &form).await
}

/// One call to an `http://host:port/path` URL.
///
/// # Errors
///
/// What the socket says; `TimedOut` after 20 s; `UnexpectedEof` if the connection ends before the
/// head of an answer; `InvalidData` if the answer is not HTTP.
///
/// # Panics
///
/// If the URL does not begin with `http://`.
pub async fn call(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let rest = url.strip_prefix("http://").expect("a plain http URL");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };

    // HTTP/1.0 on purpose: the answer is then neither chunked nor followed by another one, and
    // ends with the connection.
    let mut request = format!("{method} {path} HTTP/1.0\r\nhost: {authority}\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));

    let mut answer = Vec::new();
    timeout(DEADLINE, async {
        let mut stream = TcpStream::connect(authority).await?;
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut answer).await
    })
    .await??;
    parse(&answer)
}

fn parse(answer: &[u8]) -> io::Result<Answer> {
    let text = std::str::from_utf8(answer).map_err(|_| io::ErrorKind::InvalidData)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Ok(Answer { status, headers, body: body.to_owned() })
}
