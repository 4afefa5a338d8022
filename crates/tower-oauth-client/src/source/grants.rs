//! Who the client is, what it asks for tokens with, and where a session is kept.

use std::sync::Arc;

use tower_oauth_core::Secret;

use super::{AuthMethod, TokenCacheBuilder};
use crate::auth::{Client, SecretSource};
#[cfg(doc)]
use crate::grant::MemoryStore;
use crate::grant::{LostRefresh, RefreshTokenStore, SubjectToken};

impl TokenCacheBuilder {
    /// The client's id and secret, and the grant `client_credentials` (RFC 6749 §4.4): alone, or as the last to fall back on.
    ///
    /// A client that has other grants and shall never ask for itself is given by [`client`](Self::client).
    pub fn client_credentials(
        mut self,
        client_id: impl Into<String>,
        secret: impl Into<SecretSource>,
    ) -> Self {
        self.own_name = Some((client_id.into(), secret.into()));
        self
    }

    /// The client, however it authenticates. Without any other grant it asks for itself (RFC 6749 §4.4).
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// The refresh token to begin with (RFC 6749 §6). It is put into the [store](Self::refresh_token_store) if that is
    /// empty; one that is stored there already is newer, and is used.
    pub fn refresh_token(mut self, token: impl Into<Secret>) -> Self {
        self.refresh_token = Some(token.into());
        self
    }

    /// An assertion in JWT form, asked for at each exchange (RFC 7523 §2.1): a file that a platform renews, a closure, or one that is
    /// signed here (`SecretSource::signed`).
    pub fn jwt_bearer(mut self, assertion: impl Into<SecretSource>) -> Self {
        self.jwt_bearer = Some(assertion.into());
        self
    }

    /// Exchanges a token for another one (RFC 8693): on behalf of the caller.
    pub fn token_exchange(mut self, subject: SubjectToken) -> Self {
        self.exchange = Some(subject);
        self
    }

    /// Name and password of a user (RFC 6749 §4.3).
    ///
    /// RFC 9700 §2.4 forbids this grant, with reason: the program sees the password, a second factor has no place, and a user who is
    /// taught to type it into programs will type it into others. It is here for accounts of machines at servers that know
    /// nothing else. Where there is a choice, use [`client_credentials`](Self::client_credentials), [`jwt_bearer`](Self::jwt_bearer) or a
    /// [refresh token](Self::refresh_token) of a log-in in the browser. The password stays in memory and is sent only when there
    /// is no refresh token, or the server has refused it.
    pub fn password(
        mut self,
        username: impl Into<String>,
        password: impl Into<SecretSource>,
    ) -> Self {
        self.password = Some((username.into(), password.into()));
        self
    }

    /// Names the session in the store, where that holds several of the same client at the same server. Without it, the user name of
    /// [`password`](Self::password) is the name. A [`token_exchange`](Self::token_exchange) beside a store must have one.
    pub fn session(mut self, name: impl Into<String>) -> Self {
        self.session = name.into();
        self
    }

    /// Where refresh tokens are kept; [`MemoryStore`] by default: in memory until log-out, never on disk.
    pub fn refresh_token_store(mut self, store: impl RefreshTokenStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// What becomes of a refresh token when the answer to it is lost; by default it is presented again within 10 seconds.
    pub fn lost_refresh(mut self, lost: LostRefresh) -> Self {
        self.lost = lost;
        self
    }

    /// How id and secret of [`client_credentials`](Self::client_credentials) travel;
    /// [`AuthMethod::ClientSecretBasic`] by default.
    pub fn token_endpoint_auth_method(mut self, method: AuthMethod) -> Self {
        self.auth_method = method;
        self
    }
}
