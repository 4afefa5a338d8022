//! The last word over a valid token: what its issuer says of it in a status list.

use tower_oauth_jose::Verified;

use super::Jwt;
use crate::{Principal, Rejection, Verdict};

#[cfg(feature = "status-list")]
impl<C: Send + Sync + 'static> Jwt<C> {
    /// Asks the list, where there is one to ask. Verified or remembered, every token comes through here.
    pub(super) fn with_status(&self, verdict: Verdict<C>) -> Verdict<C> {
        let Some(check) = &self.0.status else { return verdict };
        match verdict {
            Verdict::Now(Ok(caller)) => check.judge(caller),
            Verdict::Now(Err(rejection)) => Verdict::Now(Err(rejection)),
            Verdict::Later(verifying) => {
                let check = check.clone();
                Verdict::Later(Box::pin(async move {
                    match check.judge(verifying.await?) {
                        Verdict::Now(verdict) => verdict,
                        Verdict::Later(asking) => asking.await,
                    }
                }))
            }
        }
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
    pub(super) fn with_status(&self, verdict: Verdict<C>) -> Verdict<C> {
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
