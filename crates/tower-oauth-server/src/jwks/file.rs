//! The snapshot file: the last set that an issuer gave, for a process that starts while the issuer is down.
//!
//! It is as good as the issuer to whoever reads it, so it is believed only if nobody else can have
//! written it: a regular file of our own user, not writable by group or others, in a form that only
//! we write, for this very issuer. It is written after a load, in the background, to a new file that takes the old one's
//! place by renaming; a crash leaves the old one or the new one, never half of either.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tower_oauth_core::BuildError;
use tower_oauth_core::codec::{Codec, JwksCodec};
use tower_oauth_jose::KeySet;

/// The first line. A file of another version is ignored.
const FORM: &str = "tower-oauth-jwks 1";
/// Room for the lines before the set. An issuer's name is no longer than a URI may be.
const MAX_HEAD: usize = 16 * 1024;
const MAX_FILE: usize = JwksCodec::MAX_BODY + MAX_HEAD;

/// Where the last good set is kept between two runs.
#[derive(Clone)]
pub(super) struct SnapshotFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// Whose keys these are: the issuer, or the address of the set.
    source: String,
    order: Mutex<Order>,
    /// The number of the last job that was done. Held while a file is written, by a thread that may
    /// block; a job that was overtaken does nothing.
    done: Mutex<u64>,
}

#[derive(Default)]
struct Order {
    last: u64,
    /// The set in the file, for when it is not modified and only its date changes.
    body: Option<Bytes>,
}

/// What is to be done to the file.
pub(super) struct Job {
    file: SnapshotFile,
    number: u64,
    /// `None`: the file goes away.
    text: Option<Vec<u8>>,
}

/// What the file holds.
#[derive(Debug)]
pub(super) struct Seed {
    pub(super) keys: KeySet,
    /// For how long the set was to be fresh when it was fetched.
    pub(super) fresh_for: Duration,
    /// How long ago that was, on the wall clock.
    pub(super) age: Duration,
}

// === impl SnapshotFile ===

impl SnapshotFile {
    /// Checks that the file has a place.
    pub(super) fn new(path: PathBuf, source: &str) -> Result<Self, BuildError> {
        let refuse =
            |why| Err(BuildError::new("snapshot_file", path.to_string_lossy().into_owned(), why));
        if path.file_name().is_none() {
            return refuse("is no path of a file");
        }
        if !parent(&path).is_dir() {
            return refuse("is in a directory that does not exist");
        }
        let (order, done) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { path, source: source.to_owned(), order, done })))
    }

    /// The set, if there is a file and it can be believed; or why not, in a fixed text.
    pub(super) fn read(&self, now: i64) -> Result<Option<Seed>, &'static str> {
        let path = &self.0.path;
        // A link is not followed: it may lead to where somebody else writes.
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(_) => return Err("unreadable"),
        };
        if !metadata.is_file() {
            return Err("not a regular file");
        }
        let file = File::open(path).map_err(|_| "unreadable")?;
        // Asked of what was opened, in case the name means another file by now.
        believable(&file.metadata().map_err(|_| "unreadable")?)?;
        let mut text = Vec::new();
        let limit = MAX_FILE as u64 + 1;
        file.take(limit).read_to_end(&mut text).map_err(|_| "unreadable")?;
        if text.len() > MAX_FILE {
            return Err("too large");
        }
        parse(&text, &self.0.source, now).map(Some)
    }

    /// To write this set, fetched at `fetched_at` of the wall clock.
    pub(super) fn keep(&self, body: Bytes, fetched_at: i64, fresh_for: Duration) -> Job {
        let text = self.text(&body, fetched_at, fresh_for);
        self.job(Some(body), Some(text))
    }

    /// To write the set of before with a new date; `None` if there is none.
    pub(super) fn keep_on(&self, fetched_at: i64, fresh_for: Duration) -> Option<Job> {
        let order = self.0.order.lock().unwrap_or_else(PoisonError::into_inner);
        let body = order.body.clone()?;
        drop(order);
        Some(self.keep(body, fetched_at, fresh_for))
    }

    /// To delete the file.
    pub(super) fn forget(&self) -> Job {
        self.job(None, None)
    }

    fn job(&self, body: Option<Bytes>, text: Option<Vec<u8>>) -> Job {
        let mut order = self.0.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.body = body;
        order.last += 1;
        Job { file: self.clone(), number: order.last, text }
    }

    fn text(&self, body: &[u8], fetched_at: i64, fresh_for: Duration) -> Vec<u8> {
        let mut head = String::new();
        // Writing to a string does not fail. The source is a URI, in which no line ends.
        let _ = write!(
            head,
            "{FORM}\nsource {}\nfetched_at {fetched_at}\nfresh_for {}\n\n",
            self.0.source,
            fresh_for.as_secs(),
        );
        [head.as_bytes(), body].concat()
    }
}

// === impl Job ===

impl Job {
    /// Never on the thread of a request, which a slow disk must not stop. Outside of a runtime there
    /// is no such thread.
    pub(super) fn run_in_background(self) {
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || self.run())),
            Err(_) => self.run(),
        }
    }

    fn run(self) {
        let mut done = self.file.0.done.lock().unwrap_or_else(PoisonError::into_inner);
        if *done >= self.number {
            return;
        }
        *done = self.number;
        let path = &self.file.0.path;
        let result = match &self.text {
            Some(text) => replace(path, text),
            None => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        drop(done);
        if let Err(error) = result {
            // The set in memory is good; only a restart during an outage will miss the file.
            let cause = error.kind();
            tracing::warn!(target: "tower_oauth::jwks", outcome = "snapshot_not_written", %cause);
        }
    }
}

/// Writes a new file beside the old one, and gives it the old one's name.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = parent(path).join(format!(".{name}.{:016x}.new", fastrand::u64(..)));
    let written = write_new(&beside, text).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What cannot be removed either is left: the error that is told is the first one.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // `create_new` follows no link and takes no file that somebody has put there.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text)?;
    // Else the name may outlive a power cut, and the content not.
    file.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether nobody but us can have written the file.
#[cfg(unix)]
fn believable(metadata: &fs::Metadata) -> Result<(), &'static str> {
    use std::os::unix::fs::MetadataExt;
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    if !metadata.is_file() {
        return Err("not a regular file");
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err("writable by others");
    }
    // Where the system shows us our own process, its owner is who we are.
    if fs::metadata("/proc/self").is_ok_and(|ours| ours.uid() != metadata.uid()) {
        return Err("of another user");
    }
    Ok(())
}

#[cfg(not(unix))]
fn believable(metadata: &fs::Metadata) -> Result<(), &'static str> {
    if metadata.is_file() { Ok(()) } else { Err("not a regular file") }
}

fn parse(text: &[u8], source: &str, now: i64) -> Result<Seed, &'static str> {
    const CORRUPT: &str = "corrupt";
    let end = text.windows(2).position(|two| two == b"\n\n").ok_or(CORRUPT)?;
    let (head, body) = text.split_at(end);
    let head = std::str::from_utf8(head).map_err(|_| CORRUPT)?;
    let mut lines = head.split('\n');
    if lines.next() != Some(FORM) {
        return Err("of another form");
    }
    let mut field = |name: &str| {
        lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' ')).ok_or(CORRUPT)
    };
    // Byte for byte, like every issuer: the keys of one do not sign for another.
    if field("source")? != source {
        return Err("of another issuer");
    }
    let fetched_at: i64 = field("fetched_at")?.parse().map_err(|_| CORRUPT)?;
    let fresh_for: u64 = field("fresh_for")?.parse().map_err(|_| CORRUPT)?;
    if lines.next().is_some() {
        return Err(CORRUPT);
    }
    // A clock that was set back would make an old set young for as long as it is wrong.
    let age = now.checked_sub(fetched_at).and_then(|age| u64::try_from(age).ok());
    let age = Duration::from_secs(age.ok_or("from the future")?);
    let keys = KeySet::from_jwks(body).map_err(|_| CORRUPT)?;
    if keys.is_empty() {
        return Err("without a usable key");
    }
    Ok(Seed { keys, fresh_for: Duration::from_secs(fresh_for), age })
}
