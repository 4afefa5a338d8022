/// The settings that both layers have: they reach the guard and the clock of `self.shared`.
macro_rules! guard_settings {
    () => {
        /// Puts the token only on requests to these origins, such as `https://api.example.com` or
        /// `https://api.example.com:8443`: scheme, host and port, compared after their normal form
        /// (RFC 9110 §4.3.1). Checked for each request that comes by, so also for each hop of a
        /// layer outside that follows redirects.
        ///
        /// A request to another origin is sent on **without** the token, so that a redirect to a download
        /// works; [`refuse_other_origins`](Self::refuse_other_origins) makes it an error. A URI that
        /// shows no authority (a tonic `Channel` adds its origin further in) is for the connection below, which
        /// is the pin; a tonic client made with `with_origin` shows one, and is checked.
        ///
        /// # Errors
        /// Names an origin that is none: a path, user info, a wildcard, plain `http` to another machine.
        pub fn with_origins<I>(mut self, origins: I) -> Result<Self, tower_oauth_core::BuildError>
        where
            I: IntoIterator,
            I::Item: AsRef<str>,
        {
            self.shared.guard = std::mem::take(&mut self.shared.guard).with_origins(origins)?;
            Ok(self)
        }

        /// Does not send a request to an origin beside [`with_origins`](Self::with_origins) at all:
        /// [`ClientError::Refused`](crate::ClientError::Refused).
        #[must_use]
        pub fn refuse_other_origins(mut self) -> Self {
            self.shared.guard = std::mem::take(&mut self.shared.guard).refuse_other_origins();
            self
        }

        /// Does not send a request that has an `Authorization` of its own:
        /// [`ClientError::Refused`](crate::ClientError::Refused). By default the caller's own wins.
        #[must_use]
        pub fn refuse_own_authorization(mut self) -> Self {
            self.shared.guard = std::mem::take(&mut self.shared.guard).refuse_own_authorization();
            self
        }

        /// Lets the token travel by plain `http`, where everybody on the way can read and use it
        /// (RFC 6750 §5.3): for private networks. Set it before [`with_origins`](Self::with_origins).
        ///
        /// By default a request to `http` on another machine is
        /// [`ClientError::Refused`](crate::ClientError::Refused); `https` and loopback addresses need no setting.
        #[must_use]
        pub fn insecure_allow_http(mut self) -> Self {
            self.shared.guard = std::mem::take(&mut self.shared.guard).insecure_allow_http();
            self
        }

        /// The origin of requests that show none, such as `https://api.example.com`: a tonic `Channel` adds it further in, and the proof
        /// beside a token that is bound to a key (`TokenCacheBuilder::dpop`, feature `dpop`) has to name it (`htu`, RFC 9449 §4.2). It is the one under which
        /// the server knows itself.
        ///
        /// By default it is the one of [`with_origins`](Self::with_origins), if that names a single one. Without either such a request is
        /// [`ClientError::Refused`](crate::ClientError::Refused). A request whose URI shows an origin has that one in its proof.
        ///
        /// # Errors
        /// The text is no origin: a path, user info, plain `http` to another machine.
        pub fn dpop_origin(
            mut self,
            origin: impl AsRef<str>,
        ) -> Result<Self, tower_oauth_core::BuildError> {
            let guard = std::mem::take(&mut self.shared.guard);
            self.shared.guard = guard.with_proof_origin(origin.as_ref())?;
            Ok(self)
        }

        /// Another clock, for tests: deadlines, and how long a verdict is remembered.
        #[must_use]
        pub fn with_clock(mut self, clock: impl tower_oauth_core::Clock) -> Self {
            self.shared.clock = std::sync::Arc::new(clock);
            self
        }
    };
}

pub(crate) use guard_settings;
