use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use tower_layer::Layer;
use tower_oauth_core::{SystemClock, TokenSource};

use super::rights::Rights;
use super::{NoReplay, ReadBodies, Replay, RetryInvalidToken, Shared};
use crate::guarded::guard_settings;
use crate::origin::Guard;
use crate::select::Sources;
use crate::{ConfirmWithIntrospection, RejectionPolicy, SelectSource, StandardPolicy};

/// Stamps the token of a source on each request; where the answer says that the token is dead, gets
/// another one and sends the request once more. The caller sees the second answer only.
///
/// 1. One replay at most, also of two such layers in a row. The first answer goes back untouched where the
///    body cannot be sent again, where no other token is to be had in the time that is left (`grpc-timeout`), or
///    where the source has none but the same.
/// 2. The token is replaced first and the body rewound second: the next call has the new token even
///    where this one cannot be replayed.
/// 3. The caller's own `Authorization` wins, and answers to it are not judged.
/// 4. What counts as dead is a [`RejectionPolicy`]; the default is [`StandardPolicy`].
/// 5. A body is recorded up to 64 KiB ([`with_max_recorded`](Self::with_max_recorded)). An upload that
///    has sent more than that before the resource refused it gets that refusal back.
///
/// 6. The token goes by `https` or to this machine, and with [`with_origins`](Self::with_origins) only to the
///    origins that it is meant for.
/// 7. A token that is bound to a key (`TokenCacheBuilder::dpop`, feature `dpop`) goes with a proof for each attempt. A server that
///    asks for a nonce in it (RFC 9449 §9) gets the request again with the same token: once, beside the replay of rule 1.
/// 8. The verdict stands in the extensions of the answer: [`TokenVerdict`](crate::TokenVerdict),
///    [`Replayed`](crate::Replayed).
///
/// The inner service must see the same body type as the caller, hence [`CaptureBody`](crate::CaptureBody).
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use tower::Layer;
/// use tower_oauth_client::{BareForbidden, StandardPolicy, RejectionPolicy, RetryInvalidTokenLayer, Token};
///
/// let layer = RetryInvalidTokenLayer::new(Token::bearer("fixed")?)
///     .with_policy(StandardPolicy.or(BareForbidden))
///     .with_max_recorded(1024 * 1024);
/// # let inner = tower::service_fn(|_: http::Request<Full<Bytes>>| async {
/// #     Ok::<_, std::io::Error>(http::Response::new(()))
/// # });
/// let service = layer.layer(inner);
/// # drop(service);
/// # Ok::<_, tower_oauth_client::Error>(())
/// ```
pub struct RetryInvalidTokenLayer<M = Replay> {
    shared: Shared,
    mode: PhantomData<fn() -> M>,
}

impl RetryInvalidTokenLayer {
    /// How much of a body is recorded, if not set otherwise: 64 KiB.
    pub const DEFAULT_MAX_RECORDED: usize = 64 * 1024;

    /// A layer over this source.
    #[must_use]
    pub fn new(source: impl TokenSource) -> Self {
        Self::over(Sources::one(source))
    }

    /// A layer that picks the source of each request by its head. A replay takes its token from the
    /// same source.
    #[must_use]
    pub fn select(select: impl SelectSource) -> Self {
        Self::over(Sources::selected(select))
    }

    fn over(sources: Sources) -> Self {
        let shared = Shared {
            sources,
            guard: Guard::default(),
            policy: Arc::new(StandardPolicy),
            confirm: None,
            rights: Rights::default(),
            clock: Arc::new(SystemClock),
            max_recorded: Self::DEFAULT_MAX_RECORDED,
        };
        Self { shared, mode: PhantomData }
    }

    /// Replaces dead tokens without sending any request again: for bodies that cannot be recorded,
    /// and for callers that retry themselves. It takes any body type.
    #[must_use]
    pub fn without_replay(self) -> RetryInvalidTokenLayer<NoReplay> {
        RetryInvalidTokenLayer { shared: self.shared, mode: PhantomData }
    }
}

impl RetryInvalidTokenLayer<Replay> {
    /// Sets how many bytes of a body are recorded.
    #[must_use]
    pub fn with_max_recorded(mut self, bytes: usize) -> Self {
        self.shared.max_recorded = bytes;
        self
    }
}

impl<M> RetryInvalidTokenLayer<M> {
    /// Sets what counts as dead, in place of [`StandardPolicy`]; extend it with
    /// [`RejectionPolicy::or`].
    #[must_use]
    pub fn with_policy(mut self, policy: impl RejectionPolicy) -> Self {
        self.shared.policy = Arc::new(policy);
        // What was learnt was learnt from another policy.
        self.shared.rights = Rights::default();
        self
    }

    /// Reads the first KiB of an answer's body where the policy cannot tell by the head
    /// ([`TokenVerdict::NeedsBody`](crate::TokenVerdict::NeedsBody)): for at most half a second, and not of
    /// streams (gRPC, server-sent events, multipart) nor of what announces more than 64 KiB.
    ///
    /// The caller gets every byte, and the trailers, in a [`PeekedBody`](crate::PeekedBody). Bodies that nobody wants
    /// to look into are passed through.
    #[must_use]
    pub fn reading_bodies(self) -> RetryInvalidTokenLayer<ReadBodies<M>> {
        RetryInvalidTokenLayer { shared: self.shared, mode: PhantomData }
    }

    /// Asks the authorization server where an answer leaves open whether the token is dead: one that the
    /// policy finds [`Ambiguous`](crate::TokenVerdict::Ambiguous), and a 403 without a `Bearer` error that the policy is
    /// silent about. If it is dead, the token is replaced and the request sent again; if not, or if
    /// the server does not say, the answer stands. See [`ConfirmWithIntrospection`] for what it costs.
    #[must_use]
    pub fn confirm_with_introspection(mut self, confirm: ConfirmWithIntrospection) -> Self {
        self.shared.confirm = Some(confirm);
        self
    }

    guard_settings!();
}

impl<S, M> Layer<S> for RetryInvalidTokenLayer<M> {
    type Service = RetryInvalidToken<S, M>;

    fn layer(&self, inner: S) -> RetryInvalidToken<S, M> {
        RetryInvalidToken::shared(inner, Arc::new(self.shared.clone()))
    }
}

// Derived, it would ask for `M: Clone`.
impl<M> Clone for RetryInvalidTokenLayer<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), mode: PhantomData }
    }
}

impl<M> fmt::Debug for RetryInvalidTokenLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryInvalidTokenLayer")
            .field("guard", &self.shared.guard)
            .field("max_recorded", &self.shared.max_recorded)
            .finish_non_exhaustive()
    }
}
