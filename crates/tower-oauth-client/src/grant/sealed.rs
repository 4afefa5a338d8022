//! Refresh tokens in a file, encrypted: a session that survives a restart of the program.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use tokio::runtime::Handle;
use tower_oauth_core::{BoxFuture, BuildError, Error, ErrorKind};
use zeroize::Zeroizing;

use super::{RefreshTokenStore, SessionId, StoredRefreshToken};

/// The first bytes of the file. One of another version is taken for none.
const FORM: &[u8] = b"tower-oauth-sealed 1\n";
/// The largest file that is read.
const MAX_FILE: u64 = 64 * 1024;

/// A key of 32 bytes that seals a [`SealedFile`]. `Debug` does not show it; it is wiped when it is dropped.
///
/// It has to come from elsewhere than the file lies: an environment variable, a KMS, the platform's key store.
#[derive(Clone)]
pub struct SealingKey(Arc<Zeroizing<[u8; 32]>>);

/// The refresh token of one session, in a file: AES-256-GCM with the session's id as associated data, mode 0600, replaced by renaming.
///
/// A file that this key does not open, or of another session, or changed by anybody, is taken for none, with a warning; the
/// session then begins anew with what it was configured with. What this cannot notice is an older file that was put back.
///
/// Several programs on one machine may share the file: a lock file beside it (`.lock`) lets one at a time replace it.
///
/// ```
/// use tower_oauth_client::{Client, SealedFile, SealingKey, TokenCache};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("tower-oauth-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let (path, key) = (dir.join("alice"), SealingKey::from_bytes([7; 32]));
/// let tokens = TokenCache::builder()
///     .issuer("https://idp.example.com")
///     .client(Client::public("cli"))
///     .refresh_token("from the first log-in")
///     .refresh_token_store(SealedFile::new(path, key)?)
///     .build()?;
/// # drop(tokens); std::fs::remove_dir_all(dir)?; Ok(()) }
/// ```
#[derive(Clone)]
pub struct SealedFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    key: SealingKey,
    /// Held while the file is looked at or replaced, by a thread that may block.
    turn: Mutex<()>,
}

// === impl SealingKey ===

impl SealingKey {
    /// Takes the key. It must be random: a password is none.
    #[must_use]
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Self(Arc::new(Zeroizing::new(key)))
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.0.as_slice()).ok().map(LessSafeKey::new)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

// === impl SealedFile ===

impl SealedFile {
    /// A file at this path, which need not exist; its directory must.
    ///
    /// # Errors
    /// The path names no file, or its directory does not exist.
    pub fn new(path: impl Into<PathBuf>, key: SealingKey) -> Result<Self, BuildError> {
        let path = path.into();
        let refuse =
            |why| Err(BuildError::new("sealed_file", path.to_string_lossy().into_owned(), why));
        if path.file_name().is_none() {
            return refuse("is no path of a file");
        }
        if !directory(&path).is_dir() {
            return refuse("is in a directory that does not exist");
        }
        Ok(Self(Arc::new(Inner { path, key, turn: Mutex::new(()) })))
    }

    /// Never on the thread of a task, which a slow disk must not stop.
    fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<Result<T, Error>> {
        let inner = Arc::clone(&self.0);
        let work = move || {
            let _turn = inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
            work(&inner).map_err(|error| Error::new(ErrorKind::Store).with_source(error))
        };
        match Handle::try_current() {
            Ok(runtime) => {
                let working = runtime.spawn_blocking(work);
                Box::pin(
                    async move { working.await.unwrap_or_else(|_| Err(ErrorKind::Store.into())) },
                )
            }
            Err(_) => Box::pin(std::future::ready(work())),
        }
    }
}

impl RefreshTokenStore for SealedFile {
    fn load(&self, of: &SessionId) -> BoxFuture<Result<Option<StoredRefreshToken>, Error>> {
        let of = of.clone();
        self.work(move |file| file.read(&of))
    }

    fn swap(
        &self,
        of: &SessionId,
        expected: u64,
        next: Option<StoredRefreshToken>,
    ) -> BoxFuture<Result<bool, Error>> {
        let of = of.clone();
        self.work(move |file| {
            let _lock = Lock::take(&file.path)?;
            if file.read(&of)?.map_or(0, |held| held.generation) != expected {
                return Ok(false);
            }
            match next {
                Some(next) => file.write(&of, &next)?,
                None => match fs::remove_file(&file.path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                },
            }
            Ok(true)
        })
    }
}

impl fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealedFile").field(&self.0.path).finish()
    }
}

// === impl Inner ===

impl Inner {
    fn read(&self, of: &SessionId) -> io::Result<Option<StoredRefreshToken>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut sealed = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut sealed)?;
        let record = self.open(of, &sealed);
        if record.is_none() {
            tracing::warn!(path = %self.path.display(), "sealed file cannot be opened; taken for none");
        }
        Ok(record)
    }

    /// `None` also where anybody has changed one bit: which part is wrong is nobody's business.
    fn open(&self, of: &SessionId, sealed: &[u8]) -> Option<StoredRefreshToken> {
        let rest = sealed.strip_prefix(FORM).filter(|_| sealed.len() as u64 <= MAX_FILE)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut text = Zeroizing::new(rest.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.key.cipher()?.open_in_place(nonce, Aad::from(of.as_bytes()), &mut text);
        StoredRefreshToken::decode(opened.ok()?)
    }

    fn seal(&self, of: &SessionId, record: &StoredRefreshToken) -> Option<Vec<u8>> {
        // Random: with some thousand writes in the life of a key two equal ones are not to be feared.
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut text = record.encode();
        let aad = Aad::from(of.as_bytes());
        let tag = self
            .key
            .cipher()?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .ok()?;
        Some([FORM, &nonce, &text, tag.as_ref()].concat())
    }

    /// To a new file that takes the old one's place: a crash leaves the old one or the new one.
    fn write(&self, of: &SessionId, record: &StoredRefreshToken) -> io::Result<()> {
        let sealed = self.seal(of, record).ok_or_else(|| io::Error::other("cannot be sealed"))?;
        let fresh = beside(&self.path, ".new");
        // What an earlier crash has left there.
        let _ = fs::remove_file(&fresh);
        let written = create(&fresh).and_then(|mut file| {
            file.write_all(&sealed)?;
            file.sync_all()
        });
        let moved = written.and_then(|()| fs::rename(&fresh, &self.path));
        if moved.is_err() {
            let _ = fs::remove_file(&fresh);
            return moved;
        }
        // The name is on the disk, too, before anybody relies on it. Not every system can say so.
        let _ = File::open(directory(&self.path)).and_then(|directory| directory.sync_all());
        Ok(())
    }
}

/// A lock file: it exists while one program replaces the file.
struct Lock(PathBuf);

/// A program that died with the lock in hand is not waited for longer than this.
const STALE: Duration = Duration::from_secs(10);
/// How often, and with which pauses, a lock that another program has is asked for: a second in all.
const ASKS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

impl Lock {
    /// Waits for it, on a thread that may block.
    fn take(path: &Path) -> io::Result<Self> {
        let lock = beside(path, ".lock");
        for _ in 0..ASKS {
            match create(&lock) {
                Ok(_) => return Ok(Self(lock)),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
        if is_stale(&lock, path) {
            // The next one who asks gets it.
            let _ = fs::remove_file(&lock);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether the lock is older than a replacement can take. "Now" is what the file system gives a new file.
fn is_stale(lock: &Path, path: &Path) -> bool {
    let probe = beside(path, ".now");
    let _ = fs::remove_file(&probe);
    let age = || {
        let now = create(&probe)?.metadata()?.modified()?;
        let taken = fs::metadata(lock)?.modified()?;
        now.duration_since(taken).map_err(io::Error::other)
    };
    let age = age();
    let _ = fs::remove_file(&probe);
    age.is_ok_and(|age| age > STALE)
}

/// A new file that only its owner reads.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let name = format!("tower-oauth-sealed-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, key: u8) -> SealedFile {
            SealedFile::new(self.0.join("s"), SealingKey::from_bytes([key; 32])).unwrap()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn id(session: &str) -> SessionId {
        SessionId::new("https://idp.example", "orders", session)
    }

    async fn token(file: &SealedFile, session: &str) -> Option<String> {
        let record = file.load(&id(session)).await.unwrap();
        record.map(|record| record.token.expose().to_owned())
    }

    #[tokio::test]
    async fn s02_what_the_key_does_not_open_is_none() {
        let dir = Dir::new("opens");
        let first = StoredRefreshToken::first("CANARY-refresh".into());
        assert!(dir.file(1).swap(&id("a"), 0, Some(first)).await.unwrap());
        assert_eq!(token(&dir.file(1), "a").await.as_deref(), Some("CANARY-refresh"));
        assert_eq!(token(&dir.file(2), "a").await, None, "another key");
        assert_eq!(token(&dir.file(1), "b").await, None, "another session");
        let path = dir.0.join("s");
        let sealed = fs::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("CANARY"));
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            fs::write(&path, changed).unwrap();
            assert_eq!(token(&dir.file(1), "a").await, None, "byte {index}");
        }
        for length in [0, 5, FORM.len(), FORM.len() + NONCE_LEN, sealed.len() - 1] {
            fs::write(&path, &sealed[..length]).unwrap();
            assert_eq!(token(&dir.file(1), "a").await, None, "{length} bytes");
        }
        // What is none can be replaced.
        let again = StoredRefreshToken::first("r2".into());
        assert!(dir.file(1).swap(&id("a"), 0, Some(again)).await.unwrap());
        assert_eq!(token(&dir.file(1), "a").await.as_deref(), Some("r2"));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn only_the_owner_reads_it_and_nothing_is_left_beside_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = Dir::new("mode");
        let file = dir.file(1);
        fs::write(dir.0.join("s.new"), "left by a crash").unwrap();
        let first = StoredRefreshToken::first("r1".into());
        assert!(file.swap(&id("a"), 0, Some(first.clone())).await.unwrap());
        assert!(file.swap(&id("a"), first.generation, Some(first.next())).await.unwrap());
        let mode = fs::metadata(dir.0.join("s")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names: Vec<_> =
            fs::read_dir(&dir.0).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names, ["s"]);
        assert!(file.swap(&id("a"), first.generation + 1, None).await.unwrap());
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn t10_of_many_who_swap_at_once_one_succeeds() {
        let dir = Dir::new("race");
        let first = StoredRefreshToken::first("r1".into());
        assert!(dir.file(1).swap(&id("a"), 0, Some(first.clone())).await.unwrap());
        // Each with a lock of its own, as processes have.
        let swaps: Vec<_> = (0..16)
            .map(|_| {
                let (file, first) = (dir.file(1), first.clone());
                tokio::spawn(async move {
                    file.swap(&id("a"), first.generation, Some(first.next())).await.unwrap()
                })
            })
            .collect();
        let mut won = 0;
        for swap in swaps {
            won += usize::from(swap.await.unwrap());
        }
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn s04_a_lock_that_somebody_holds_is_an_error_and_never_a_loss() {
        let dir = Dir::new("lock");
        let first = StoredRefreshToken::first("r1".into());
        fs::write(dir.0.join("s.lock"), "").unwrap();
        let error = dir.file(1).swap(&id("a"), 0, Some(first.clone())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(error.is_transient());
        assert!(dir.0.join("s.lock").exists(), "it is not stale yet");
        fs::remove_file(dir.0.join("s.lock")).unwrap();
        assert!(dir.file(1).swap(&id("a"), 0, Some(first)).await.unwrap());
    }

    #[test]
    fn a_path_that_cannot_work_is_named() {
        for path in ["/", "/surely/not/there/s"] {
            let error = SealedFile::new(path, SealingKey::from_bytes([1; 32])).unwrap_err();
            assert!(error.to_string().contains(path), "{error}");
        }
    }
}
