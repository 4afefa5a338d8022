//! The last word over a valid token: what its issuer says of it in a status list.

#[cfg(feature = "status-list")]
use tower_oauth_core::BoxFuture;
use tower_oauth_jose::Verified;

use super::Jwt;
#[cfg(feature = "status-list")]
use crate::{Caller, revocations::TokenText};
use crate::{Principal, Rejection, Verdict};

#[cfg(feature = "status-list")]
impl<C: Send + Sync + 'static> Jwt<C> {
    /// Asks the list, where there is one to ask. Verified or remembered, every token comes through here.
    pub(super) fn with_status(&self, verdict: Verdict<C>, text: &str) -> Verdict<C> {
        let Some(check) = &self.0.status else { return verdict };
        match verdict {
            Verdict::Now(Ok(caller)) => match check.judge(caller) {
                Verdict::Now(verdict) => Verdict::Now(verdict),
                Verdict::Later(asking) => self.unless_revoked_meanwhile(asking, text),
            },
            Verdict::Now(Err(rejection)) => Verdict::Now(Err(rejection)),
            Verdict::Later(verifying) => {
                let check = check.clone();
                let asking = Box::pin(async move {
                    match check.judge(verifying.await?) {
                        Verdict::Now(verdict) => verdict,
                        Verdict::Later(asking) => asking.await,
                    }
                });
                self.unless_revoked_meanwhile(asking, text)
            }
        }
    }

    /// While the list is fetched, somebody may tell that the token has died.
    fn unless_revoked_meanwhile(
        &self,
        asking: BoxFuture<Result<Caller<C>, Rejection>>,
        text: &str,
    ) -> Verdict<C> {
        if self.0.revocations.is_none() {
            return Verdict::Later(asking);
        }
        let (this, digest) = (self.clone(), TokenText::Text(text).sha256());
        Verdict::Later(Box::pin(async move {
            this.unless_revoked(asking.await?, TokenText::Sha256(digest))
        }))
    }
}

#[cfg(feature = "status-list")]
impl<C> Jwt<C> {
    /// Notes where the status of a token stands, so that it is known at every hit.
    pub(super) fn with_place(
        &self,
        mut principal: Principal,
        verified: &Verified,
    ) -> Result<Principal, Rejection> {
        if let Some(check) = &self.0.status {
            principal.status = check.place(verified).map_err(Rejection::Invalid)?;
        }
        Ok(principal)
    }
}

#[cfg(not(feature = "status-list"))]
impl<C> Jwt<C> {
    pub(super) fn with_status(&self, verdict: Verdict<C>, _: &str) -> Verdict<C> {
        verdict
    }

    pub(super) fn with_place(
        &self,
        principal: Principal,
        _: &Verified,
    ) -> Result<Principal, Rejection> {
        Ok(principal)
    }
}
