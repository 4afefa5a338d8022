//! What the settings come to.

use std::sync::Arc;

use tower_oauth_core::codec::{Grant, Metadata, MetadataCodec, TokenRequest};
use tower_oauth_core::{BuildError, EndpointUri, Error, Issuer, Scopes};
use tower_oauth_endpoint::{Discovery, HttpClient, Locator};

use super::builder::Place;
use super::cache::Parts;
use super::edge::ClientEdge;
use super::exchange::TokenService;
use super::source_fn::Foreign;
use super::{AuthMethod, TokenCache, TokenCacheBuilder};
use crate::auth::Client;
#[cfg(feature = "dpop")]
use crate::dpop::KeyProver;
use crate::grant::{Chain, Link, MemoryStore, Session, SessionId};

impl TokenCacheBuilder {
    /// Checks the settings and builds. Nothing is fetched before the first token is asked for.
    ///
    /// # Errors
    /// Names the setting and its value: an address that is not `https` (or loopback), a missing
    /// client id, a scope with a space in it, a resource that is no absolute URI, two assertions, a store for subjects without a name.
    pub fn build(self) -> Result<TokenCache, BuildError> {
        self.parts().map(TokenCache::new)
    }

    pub(super) fn parts(self) -> Result<Parts, BuildError> {
        let request = TokenRequest {
            scopes: Scopes::new(&self.scopes)?,
            resources: checked_resources(&self.resources)?,
            audiences: self.audiences.clone(),
            ..bare_request()
        };
        let clock = Arc::clone(&self.clock);
        let (service, session) = match &self.place {
            None => {
                let why = "is not set: use issuer(..), token_endpoint(..) or token_service(..)";
                return Err(BuildError::new("issuer", "", why));
            }
            Some(Place::Service(service)) => {
                self.refuse_beside_a_service()?;
                (service.clone(), None)
            }
            Some(Place::Foreign(call)) => {
                self.refuse_beside_a_service()?;
                let (call, clock) = (Arc::clone(call), Arc::clone(&clock));
                (TokenService::new(Foreign { call, clock }), None)
            }
            Some(Place::Endpoint(uri)) => {
                let uri =
                    EndpointUri::parse(uri).map_err(|error| error.with_option("token_endpoint"))?;
                self.chain(&uri.to_string(), None, |_| Locator::fixed(uri.clone()))?
            }
            Some(Place::Issuer(issuer)) => {
                let issuer = Issuer::parse(issuer)?;
                let pick = Metadata::token_endpoint;
                let place = |http: &HttpClient| self.discovered(issuer.clone(), http, pick);
                self.chain(issuer.as_str(), Some(&issuer), place)?
            }
        };
        let (deadline, max_age) = (self.deadline, self.max_age);
        Ok(Parts { service, request, clock, deadline, max_age, family: None, session })
    }

    /// What would be set in vain is a mistake that nobody would notice.
    fn refuse_beside_a_service(&self) -> Result<(), BuildError> {
        let own_name = self.own_name.as_ref().map(|(id, _)| id.as_str());
        let set_in_vain = [
            ("client_credentials", own_name),
            ("client", self.client.as_ref().map(Client::id)),
            ("refresh_token", self.refresh_token.as_ref().map(|_| "")),
            ("refresh_token_store", self.store.as_ref().map(|_| "")),
            ("jwt_bearer", self.jwt_bearer.as_ref().map(|_| "")),
            ("token_exchange", self.exchange.as_ref().map(|_| "")),
            ("password", self.password.as_ref().map(|_| "")),
            ("also_at", self.also_at.first().map(String::as_str)),
            ("revocation_endpoint", self.revocation_endpoint.as_deref()),
            ("trust_host", self.trusted_hosts.first().map(String::as_str)),
            ("http_client", self.http.as_ref().map(|_| "")),
            #[cfg(feature = "dpop")]
            ("dpop", self.dpop.as_ref().map(|_| "")),
        ];
        for (option, value) in set_in_vain {
            if let Some(value) = value {
                let why = "is of no use beside token_service(..), which has its own";
                return Err(BuildError::new(option, value, why));
            }
        }
        Ok(())
    }

    fn discovered(
        &self,
        issuer: Issuer,
        http: &HttpClient,
        pick: fn(&Metadata) -> Result<EndpointUri, Error>,
    ) -> Locator {
        let codec = self
            .trusted_hosts
            .iter()
            .fold(MetadataCodec::new(), |codec, host| codec.trust_host(host));
        let discovery = Discovery::new(codec, http.clone()).with_deadline(self.deadline);
        Locator::discovered(issuer, discovery, pick, Arc::clone(&self.clock))
    }

    fn chain(
        &self,
        server: &str,
        issuer: Option<&Issuer>,
        place: impl FnOnce(&HttpClient) -> Locator,
    ) -> Result<(TokenService, Option<Arc<Session>>), BuildError> {
        let http = self.http_or_default()?;
        let client = self.checked_client(issuer.is_some())?;
        let links = self.links()?;
        let is_of_a_user = self.refresh_token.is_some()
            || self.store.is_some()
            || !matches!(*links, [Link::ClientCredentials]);
        let others = parsed(&self.also_at, "also_at")?;
        let revocation = match (&self.revocation_endpoint, issuer) {
            (Some(uri), _) => Some(Locator::fixed(
                EndpointUri::parse(uri)
                    .map_err(|error| error.with_option("revocation_endpoint"))?,
            )),
            (None, Some(issuer)) => {
                Some(self.discovered(issuer.clone(), &http, Metadata::revocation_endpoint))
            }
            (None, None) => None,
        };
        let id = SessionId::new(server, client.id(), self.session_name()?);
        let edge = ClientEdge {
            tokens: place(&http).also_at(others, Arc::clone(&self.clock), self.deadline),
            revocation,
            client,
            issuer: issuer.map(|issuer| issuer.as_str().to_owned()),
            http,
            deadline: self.deadline,
            clock: Arc::clone(&self.clock),
            #[cfg(feature = "dpop")]
            dpop: self.dpop.clone().map(|key| KeyProver::new(key, Arc::clone(&self.clock)).into()),
        };
        let store = self.store.clone().unwrap_or_else(|| Arc::new(MemoryStore::new()));
        let seed = self.refresh_token.clone();
        let session = Arc::new(Session::new(id, store, edge, self.lost, is_of_a_user, seed));
        Ok((TokenService::new(Chain::new(Arc::clone(&session), links)), Some(session)))
    }

    fn session_name(&self) -> Result<&str, BuildError> {
        match &self.password {
            Some((username, _)) if self.session.is_empty() => Ok(username),
            None if self.session.is_empty() && self.exchange.is_some() && self.store.is_some() => {
                let why = "is not set: in a store that others may share, the refresh token of one subject would be \
                           another's";
                Err(BuildError::new("session", "", why))
            }
            _ => Ok(&self.session),
        }
    }

    fn checked_client(&self, has_issuer: bool) -> Result<Client, BuildError> {
        let client = match (&self.own_name, &self.client) {
            (Some((id, _)), Some(_)) => {
                let why = "names a client beside client(..)";
                return Err(BuildError::new("client_credentials", id, why));
            }
            (None, None) => return Err(BuildError::new("client_credentials", "", "are not set")),
            (None, Some(client)) => client.clone(),
            (Some((id, secret)), None) => match self.auth_method {
                AuthMethod::ClientSecretBasic => Client::basic(id, secret.clone()),
                AuthMethod::ClientSecretPost => Client::post(id, secret.clone()),
            },
        };
        client.check(has_issuer).map_err(|error| match &self.own_name {
            Some(_) => error.with_option("client_credentials"),
            None => error,
        })?;
        Ok(client)
    }

    /// What there is below the refresh token.
    fn links(&self) -> Result<Vec<Link>, BuildError> {
        if self.jwt_bearer.is_some() && self.exchange.is_some() {
            let why = "stands beside jwt_bearer(..): one assertion is enough";
            return Err(BuildError::new("token_exchange", "", why));
        }
        let mut links = Vec::new();
        links.extend(self.jwt_bearer.clone().map(Link::JwtBearer));
        links.extend(self.exchange.clone().map(Box::new).map(Link::Exchange));
        if let Some((username, password)) = self.password.clone() {
            links.push(Link::Password { username, password });
        }
        let has_none = links.is_empty() && self.refresh_token.is_none() && self.store.is_none();
        if self.own_name.is_some() || has_none {
            links.push(Link::ClientCredentials);
        }
        Ok(links)
    }

    #[cfg(feature = "transport")]
    fn http_or_default(&self) -> Result<HttpClient, BuildError> {
        self.http.clone().map_or_else(HttpClient::transport, Ok)
    }

    #[cfg(not(feature = "transport"))]
    fn http_or_default(&self) -> Result<HttpClient, BuildError> {
        let why = "is not set, and the feature `transport` with the default one is off";
        self.http.clone().ok_or_else(|| BuildError::new("http_client", "", why))
    }
}

fn parsed(uris: &[String], option: &'static str) -> Result<Vec<EndpointUri>, BuildError> {
    let parse = |uri: &String| EndpointUri::parse(uri).map_err(|error| error.with_option(option));
    uris.iter().map(parse).collect()
}

/// A request that asks for nothing in particular.
pub(super) fn bare_request() -> TokenRequest {
    TokenRequest {
        grant: Grant::ClientCredentials,
        scopes: Scopes::default(),
        resources: Vec::new(),
        audiences: Vec::new(),
        unlike: None,
    }
}

/// RFC 8707 §2: an absolute URI, without a fragment.
fn checked_resources(resources: &[String]) -> Result<Vec<String>, BuildError> {
    for resource in resources {
        let absolute = resource.split_once(':').is_some_and(|(scheme, rest)| {
            !rest.is_empty()
                && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        });
        if !absolute || resource.contains(['#', ' ']) {
            let why = "is not an absolute URI without a fragment (RFC 8707 §2)";
            return Err(BuildError::new("resource", resource, why));
        }
    }
    Ok(resources.to_vec())
}
