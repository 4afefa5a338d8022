//! The end of a body that outlives the token it was asked for with.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

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

    /// Why the body has to end now, once it has.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, size: &SizeHint) -> Poll<Rejection> {
        if matches!(self.state, State::New) {
            let short = size.upper().is_some_and(|bytes| bytes <= NO_STREAM);
            self.state = if short { State::Spared } else { State::Waiting };
        }
        match self.state {
            State::Waiting => self.until.poll_reason(cx),
            State::New | State::Spared => Poll::Pending,
        }
    }

    /// What stands in the place of the rest.
    pub(super) fn last_frame(&self, why: Rejection) -> Result<Frame<Bytes>, BoxError> {
        if self.grpc { Ok(Frame::trailers(render::trailers(&why))) } else { Err(why.into()) }
    }
}
