//! What operators set: how long a token is kept.

use std::time::Duration;

use super::TokenCacheBuilder;

impl TokenCacheBuilder {
    /// Keeps no token for longer than this, whatever the server says of its life. It is renewed ahead of this age as of its end.
    ///
    /// For servers that forget tokens before their time and resources that do not say so. Not set by default: a
    /// token is used until its end, at most 24 hours.
    pub fn max_token_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Keeps no token for later requests: each makes an exchange, or waits for the one that is in the air at this moment and
    /// gets its token.
    ///
    /// The switch for a time of trouble. An exchange for each request is slow, and hard on the server; requests that
    /// come together still share one, and failures are still remembered for their back-off. The last four tokens stay in memory,
    /// to be recognised on requests that carry them, and are not sent again.
    pub fn without_caching(self) -> Self {
        self.max_token_age(Duration::ZERO)
    }
}
