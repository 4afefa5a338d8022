use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower_oauth_core::codec::Codec;
use tower_oauth_core::{BoxFuture, EndpointUri, Error, ErrorKind};
use tower_service::Service;

use crate::BoxError;

/// One protocol message over any HTTP service.
///
/// See the [crate docs](crate) for what holds for every call. The errors are those of
/// [`ErrorKind`]: `Transport`, `Timeout`, `TooLarge`, `Redirect` from here, the rest from the codec.
///
/// ```
/// use tower_oauth_core::codec::{JwksCodec, JwksRequest, JwksResponse};
/// use tower_oauth_core::EndpointUri;
/// use tower_oauth_endpoint::Endpoint;
/// use tower::ServiceExt;
/// # use bytes::Bytes; use http::{Request, Response}; use http_body_util::Full;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let http = tower::service_fn(|_: Request<Full<Bytes>>| async {
/// #     Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from_static(b"{\"keys\":[]}"))))
/// # });
/// let request = JwksRequest {
///     uri: EndpointUri::parse("https://idp.example.com/jwks")?,
///     etag: None,
///     bypass_caches: false,
/// };
/// let answer = Endpoint::new(JwksCodec, http).oneshot(request).await?;
/// assert!(matches!(answer, JwksResponse::Set { .. }));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint<C, H> {
    codec: C,
    http: H,
    deadline: Duration,
}

impl<C, H> Endpoint<C, H> {
    /// The total time of a call, if not set otherwise: 5 seconds.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

    /// An endpoint that speaks `codec` over `http`.
    pub const fn new(codec: C, http: H) -> Self {
        Self { codec, http, deadline: Self::DEFAULT_DEADLINE }
    }

    /// Sets the total time of a call: connecting, sending and reading the whole answer.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub(crate) const fn deadline(&self) -> Duration {
        self.deadline
    }
}

impl<C, H, B> Service<C::Request> for Endpoint<C, H>
where
    C: Codec + Clone + Send + Sync + 'static,
    C::Request: Send + Sync + 'static,
    C::Response: Send,
    H: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send,
    B: Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    type Response = C::Response;
    type Error = Error;
    type Future = BoxFuture<Result<C::Response, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.http.poll_ready(cx).map_err(transport)
    }

    fn call(&mut self, request: C::Request) -> Self::Future {
        // The instance that was polled ready is the one to call; the clone takes its place.
        let clone = self.http.clone();
        let http = std::mem::replace(&mut self.http, clone);
        let (codec, deadline) = (self.codec.clone(), self.deadline);
        Box::pin(async move {
            let encoded = codec.encode(&request)?;
            check(encoded.uri())?;
            let response =
                tokio::time::timeout(deadline, exchange(http, encoded, codec.max_body()))
                    .await
                    .map_err(|_| ErrorKind::Timeout)??;
            codec.decode(&request, response)
        })
    }
}

/// Sends and reads the whole answer, up to the cap.
async fn exchange<H, B>(
    mut http: H,
    request: Request<Bytes>,
    max_body: usize,
) -> Result<Response<Bytes>, Error>
where
    H: Service<Request<Full<Bytes>>, Response = Response<B>>,
    H::Error: Into<BoxError>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let response = http.call(request.map(Full::new)).await.map_err(transport)?;
    if response.status().is_redirection() && response.status() != http::StatusCode::NOT_MODIFIED {
        return Err(ErrorKind::Redirect.into());
    }
    let (parts, body) = response.into_parts();
    let mut body = pin!(body);
    // A length that is announced and too large is refused before a byte is read.
    if body.size_hint().lower() > max_body as u64 {
        return Err(ErrorKind::TooLarge.into());
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(transport)?.into_data() {
            if whole.len() + data.len() > max_body {
                return Err(ErrorKind::TooLarge.into());
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(Response::from_parts(parts, whole.freeze()))
}

/// Holds also for a codec that was written elsewhere.
fn check(uri: &Uri) -> Result<(), Error> {
    EndpointUri::parse(&uri.to_string()).map(drop).map_err(|error| {
        Error::new(ErrorKind::Configuration("the endpoint is not secure")).with_source(error)
    })
}

fn transport(error: impl Into<BoxError>) -> Error {
    Error::new(ErrorKind::Transport).with_source(error)
}
