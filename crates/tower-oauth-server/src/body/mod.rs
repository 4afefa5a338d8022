//! The body of an answer that came through a door.

mod cut;

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use self::cut::Cut;
use crate::UntilExpiry;

type BoxError = Box<dyn StdError + Send + Sync>;

pin_project! {
    /// The body of an answer that came through a door: the inner service's, or that of a refusal.
    ///
    /// A frame of the inner body goes through as it is, trailers included. The size hint and the end of the stream are
    /// exact, so that a refused gRPC call is answered by one `HEADERS` frame. The error is a boxed one: a door may end
    /// a body for a reason of its own.
    ///
    /// [`Default`] is an empty body, and asks nothing of `B`.
    pub struct DoorBody<B> {
        #[pin]
        kind: Kind<B>,
        // Boxed, so that the bodies that run to their end do not carry the space.
        cut: Option<Box<Cut>>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Refusal { data: Bytes },
    }
}

impl<B> DoorBody<B> {
    pub(crate) const fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body }, cut: None }
    }

    /// The answer of the inner service, which ends when a token does.
    pub(crate) fn cutting(response: Response<B>, until: UntilExpiry) -> Response<Self> {
        let cut = Some(Box::new(Cut::new(until, response.headers())));
        response.map(|body| Self { kind: Kind::Inner { body }, cut })
    }

    pub(crate) const fn refusal(data: Bytes) -> Self {
        Self { kind: Kind::Refusal { data }, cut: None }
    }
}

impl<B> Default for DoorBody<B> {
    fn default() -> Self {
        Self::refusal(Bytes::new())
    }
}

impl<B> Body for DoorBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        if let (Some(cut), Kind::Inner { body }) = (this.cut.as_mut(), &*this.kind)
            && let Poll::Ready(why) = cut.poll(cx, &body.size_hint())
        {
            let last = cut.last_frame(why);
            // The producer is told by the drop, as when a client goes away.
            this.kind.set(Kind::Refusal { data: Bytes::new() });
            *this.cut = None;
            return Poll::Ready(Some(last));
        }
        match this.kind.project() {
            KindProjection::Inner { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            KindProjection::Refusal { data } if data.is_empty() => Poll::Ready(None),
            KindProjection::Refusal { data } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(data)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Refusal { data } => data.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Refusal { data } => {
                SizeHint::with_exact(u64::try_from(data.len()).unwrap_or(u64::MAX))
            }
        }
    }
}

impl<B> fmt::Debug for DoorBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Inner { .. } => "DoorBody(inner)",
            Kind::Refusal { .. } => "DoorBody(refusal)",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;

    use http::HeaderMap;
    use http_body_util::{BodyExt, Empty, Full};

    use super::*;

    struct NoDefault;

    struct Script(VecDeque<io::Result<Frame<Bytes>>>);

    impl Body for Script {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    #[test]
    fn the_default_is_empty_and_asks_nothing_of_the_inner_body() {
        let empty = DoorBody::<NoDefault>::default();
        assert!(matches!(empty.kind, Kind::Refusal { data } if data.is_empty()));
        let empty = DoorBody::<Full<Bytes>>::default();
        assert!(empty.is_end_stream());
        assert_eq!(empty.size_hint().exact(), Some(0));
    }

    #[tokio::test]
    async fn a_refusal_is_one_frame_of_exact_size() {
        let mut body = DoorBody::<Full<Bytes>>::refusal(Bytes::from_static(b"refused"));
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(7));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "refused");
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn frames_trailers_and_errors_of_the_inner_body_go_through() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let mut body = DoorBody::inner(Script(VecDeque::from([
            Ok(Frame::data(Bytes::from_static(b"a"))),
            Ok(Frame::trailers(trailers.clone())),
            Err(io::Error::other("reset")),
        ])));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(error.downcast_ref::<io::Error>().is_some());
        assert!(body.frame().await.is_none());
    }

    #[test]
    fn the_hints_of_the_inner_body_go_through() {
        let body = DoorBody::inner(Full::new(Bytes::from_static(b"12345")));
        assert_eq!(body.size_hint().exact(), Some(5));
        assert!(!body.is_end_stream());
        assert!(DoorBody::inner(Empty::<Bytes>::new()).is_end_stream());
        assert_eq!(DoorBody::inner(Script(VecDeque::new())).size_hint().exact(), None);
    }
}
