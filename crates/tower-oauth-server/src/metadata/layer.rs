use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::document::ResourceMetadata;
use crate::DoorBody;
use crate::accessors::inner_accessors;

/// Answers the path of a [`ResourceMetadata`], and lets everything else through. Made by it, as a layer.
#[derive(Clone, Debug)]
pub struct ServeResourceMetadata<S> {
    inner: S,
    metadata: ResourceMetadata,
}

impl<S> Layer<S> for ResourceMetadata {
    type Service = ServeResourceMetadata<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ServeResourceMetadata { inner, metadata: self.clone() }
    }
}

impl<S> ServeResourceMetadata<S> {
    inner_accessors!(S);
}

impl<S, B, RB> Service<Request<B>> for ServeResourceMetadata<S>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
{
    type Response = Response<DoorBody<RB>>;
    type Error = S::Error;
    type Future = MetadataFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let state = if request.uri().path() == self.metadata.path() {
            // The place that `poll_ready` may have reserved is given back.
            self.inner = self.inner.clone();
            State::Answer { answer: Some(self.metadata.answer(request.method())) }
        } else {
            State::Calling { future: self.inner.call(request) }
        };
        MetadataFuture { state }
    }
}

pin_project! {
    /// The answer of a [`ServeResourceMetadata`], of the service behind it (whose future is `F`) or its own.
    pub struct MetadataFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Answer { answer: Option<Response<Bytes>> },
        Calling { #[pin] future: F },
    }
}

impl<F, RB, E> Future for MetadataFuture<F>
where
    F: Future<Output = Result<Response<RB>, E>>,
{
    type Output = Result<Response<DoorBody<RB>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            // Polled after it was ready there is nothing left; an empty answer is better than a panic.
            StateProjection::Answer { answer } => {
                Poll::Ready(Ok(answer.take().unwrap_or_default().map(DoorBody::refusal)))
            }
            StateProjection::Calling { future } => {
                future.poll(cx).map_ok(|response| response.map(DoorBody::inner))
            }
        }
    }
}

impl<F> fmt::Debug for MetadataFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataFuture").finish_non_exhaustive()
    }
}
