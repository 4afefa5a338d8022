use tower_oauth_core::{Error, ErrorKind, Secret};

use super::TokenCache;

impl TokenCache {
    /// Ends the session: nobody gets a token of it from now on ([`ErrorKind::LoggedOut`]), and the authorization server is told
    /// to end its refresh token and then its access token (RFC 7009).
    ///
    /// The caches of one [`build_keyed`](crate::TokenCacheBuilder::build_keyed) share a session: they all end. Of their access
    /// tokens only the last one is revoked by itself; the others end with the refresh token, at most servers.
    ///
    /// Requests that are under way keep the token that they have. An exchange that is in the air does not bring the session back:
    /// what it brings is revoked as well.
    ///
    /// # Errors
    /// *Transient* ([`Error::is_transient`]; a 503 may say when to come back): the tokens must be taken for alive (RFC 7009
    /// §2.2.1). They are kept for another call of this function, and for nothing else.
    /// *Any other*: the server cannot revoke them, or was not told where ([`ErrorKind::Configuration`]); they are wiped from memory
    /// and from the store all the same, and end when they expire.
    pub async fn log_out(&self) -> Result<(), Error> {
        match self.session() {
            Some(session) => {
                session.end_here();
                self.catch_up();
                session.log_out().await
            }
            None => {
                self.end();
                Err(no_session())
            }
        }
    }

    /// Begins a session with this refresh token, whether or not there was another one, which is forgotten and not
    /// revoked: see [`log_out`](Self::log_out).
    ///
    /// # Errors
    /// [`ErrorKind::Store`]: it could not be stored. [`ErrorKind::Configuration`]: this cache has a token service of
    /// its own, or its client asks for itself alone, without a user.
    pub async fn log_in(&self, refresh_token: impl Into<Secret>) -> Result<(), Error> {
        let Some(session) = self.session() else { return Err(no_session()) };
        session.log_in(refresh_token.into()).await?;
        self.catch_up();
        Ok(())
    }
}

fn no_session() -> Error {
    ErrorKind::Configuration("a token service of your own has sessions of its own").into()
}
