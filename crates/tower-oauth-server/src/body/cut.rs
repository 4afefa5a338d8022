//! The end of a body that outlives the token it was asked for with.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tower_oauth_jose::InvalidToken;

use super::BoxError;
use crate::{Rejection, UntilExpiry, render};

/// A body that is known to be no longer than this is an answer and not a stream.
const NO_STREAM: u64 = 64 * 1024;

pub(super) struct Cut {
    until: UntilExpiry,
    /// gRPC has a place for a status behind the messages.
    grpc: bool,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// The body was not asked yet how long it is.
    New,
    Waiting,
    /// Too short to be cut.
    Spared,
}

impl Cut {
    pub(super) fn new(until: UntilExpiry, headers: &HeaderMap) -> Self {
        Self { until, grpc: render::is_native_grpc(headers), state: State::New }
    }

    /// Whether the body has to end now.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, size: &SizeHint) -> Poll<()> {
        if matches!(self.state, State::New) {
            let short = size.upper().is_some_and(|bytes| bytes <= NO_STREAM);
            self.state = if short { State::Spared } else { State::Waiting };
        }
        match self.state {
            State::Waiting => Pin::new(&mut self.until).poll(cx),
            State::New | State::Spared => Poll::Pending,
        }
    }

    /// What stands in the place of the rest.
    pub(super) fn last_frame(&self) -> Result<Frame<Bytes>, BoxError> {
        let expired = Rejection::Invalid(InvalidToken::Expired);
        if self.grpc {
            Ok(Frame::trailers(render::trailers(&expired)))
        } else {
            Err(expired.into())
        }
    }
}
