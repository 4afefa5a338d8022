use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use crate::ScriptedBody;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A server on a socket of this machine, HTTP/1.1 and HTTP/2 (prior knowledge). It ends, and its
/// connections with it, when this is dropped.
#[derive(Debug)]
#[must_use = "the server ends when this is dropped"]
pub struct Serving {
    socket: Arc<Socket>,
    uri: String,
    task: Option<JoinHandle<()>>,
}

/// The listening side, which can be closed and opened again at the same port.
pub(crate) struct Socket {
    addr: SocketAddr,
    runtime: Handle,
    door: Mutex<Door>,
    /// Counts the closings, so that one that was opened again at once still cuts its connections.
    closings: AtomicU64,
    changed: Notify,
}

enum Door {
    Open(TcpListener),
    /// Bound but not listening: connections are refused, and nobody else is given the port,
    /// least of all as the source port of a client that connects to it.
    Closed(TcpSocket),
    /// The port could not be kept; another process may have it.
    Lost,
    /// The server has ended and opens no more.
    Ended,
}

impl Serving {
    /// Binds this port of 127.0.0.1 (0: a free one) and answers by `answer` from now on. A failed
    /// answer cuts its connection.
    pub(crate) fn start<F, Fut>(port: u16, answer: F) -> io::Result<(Self, Arc<Socket>)>
    where
        F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = io::Result<Response<ScriptedBody>>> + Send + 'static,
    {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        let socket = Arc::new(Socket {
            addr,
            runtime: Handle::current(),
            door: Mutex::new(Door::Open(listener)),
            closings: AtomicU64::new(0),
            changed: Notify::new(),
        });
        let task = tokio::spawn(accept_all(Arc::clone(&socket), answer));
        let uri = format!("http://{addr}");
        Ok((Self { socket: Arc::clone(&socket), uri, task: Some(task) }, socket))
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The address and the port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.socket.addr
    }

    /// Ends the server and waits until its connections are closed; the port is free then.
    pub async fn stop(mut self) {
        self.socket.end();
        if let Some(task) = self.task.take() {
            task.abort();
            // Cancelled is what was asked for; and a panic in a connection stays in its own task.
            let _ = task.await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.socket.end();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Socket {
    /// Refuses connections from now on, and cuts those that there are.
    pub(crate) fn close(&self) {
        self.with_door(|door| {
            if let Door::Open(_) = door {
                // The listener must be gone before its port can be bound once more.
                *door = Door::Lost;
                *door = bind(self.addr).map_or(Door::Lost, Door::Closed);
            }
        });
        self.closings.fetch_add(1, Ordering::Release);
        self.changed.notify_one();
    }

    /// Listens again. When this returns, a connection succeeds.
    pub(crate) fn open(&self) -> io::Result<()> {
        let _runtime = self.runtime.enter();
        self.with_door(|door| -> io::Result<()> {
            // Where this fails, the door stays lost, and the next call tries again.
            *door = match std::mem::replace(door, Door::Lost) {
                Door::Open(listener) => Door::Open(listener),
                Door::Closed(socket) => Door::Open(socket.listen(BACKLOG)?),
                Door::Lost => Door::Open(bind(self.addr)?.listen(BACKLOG)?),
                Door::Ended => Door::Ended,
            };
            Ok(())
        })?;
        self.changed.notify_one();
        Ok(())
    }

    fn end(&self) {
        self.with_door(|door| *door = Door::Ended);
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.with_door(|door| match door {
            Door::Open(listener) => listener.poll_accept(cx),
            // `changed` wakes the loop when there is something to accept from.
            Door::Closed(_) | Door::Lost | Door::Ended => Poll::Pending,
        })
    }

    fn with_door<T>(&self, act: impl FnOnce(&mut Door) -> T) -> T {
        act(&mut self.door.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("addr", &self.addr).finish_non_exhaustive()
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // The connections of the server before, in their last wait, do not keep the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

async fn accept_all<F, Fut>(socket: Arc<Socket>, answer: F)
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = io::Result<Response<ScriptedBody>>> + Send + 'static,
{
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    let mut closings = 0;
    loop {
        tokio::select! {
            accepted = poll_fn(|cx| socket.poll_accept(cx)) => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, answer.clone()));
                }
                // No file descriptor left, or the peer has gone: the others go on.
                Err(_) => tokio::task::yield_now().await,
            },
            () = socket.changed.notified() => {
                let now = socket.closings.load(Ordering::Acquire);
                if std::mem::replace(&mut closings, now) != now {
                    connections.abort_all();
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection. hyper would only end the stream of a failed answer; here the connection breaks.
async fn converse<F, Fut>(stream: TcpStream, answer: F)
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = io::Result<Response<ScriptedBody>>> + Send + 'static,
{
    // Answers are small; without this a test waits for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let cut = Arc::new(Notify::new());
    let cut_here = Arc::clone(&cut);
    let service = service_fn(move |request| {
        let (answering, cut) = (answer(request), Arc::clone(&cut_here));
        async move {
            let answer = answering.await;
            if answer.is_err() {
                cut.notify_one();
            }
            answer
        }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let conversation = server.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // However it ends, the script has played; the client's side is what a test looks at.
        _ = conversation => {}
        () = cut.notified() => {}
    }
}
