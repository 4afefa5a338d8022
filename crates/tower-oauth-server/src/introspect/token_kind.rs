//! An issuer of JWTs and of opaque tokens.

use tower_oauth_jose::is_jws_shaped;

use crate::{Authenticate, Presented, Verdict};

/// Takes JWTs one way and all other tokens another, for issuers that hand out both.
///
/// The shape alone decides: three parts of base64url characters with a JSON object in the first go to the JWT side, everything else to the
/// opaque side. Neither side gets what the other has refused, and nothing that the token says of itself (an `iss`, say) has a
/// part in it: which issuers there are is what the two were configured with (RFC 8725 §3.8).
///
/// Both give the same claims type. Without `claims::<C>()` on either it is
/// [`StandardClaims`](crate::StandardClaims); a type of your own is read from the JWT's payload on one side and from
/// the introspection answer on the other, so what only one of the two carries has to be an `Option`.
///
/// ```
/// use tower_oauth_server::{Introspection, Jwt, JwtOrOpaque, RequireTokenLayer};
///
/// # fn build(http: tower_oauth_endpoint::HttpClient, secret: &str) -> Result<(), tower_oauth_core::BuildError> {
/// let issuer = "https://idp.example.com/realms/shop";
/// let jwt = Jwt::issuer(issuer).audience("inventory");
/// let opaque = Introspection::issuer(issuer)
///     .client_credentials("inventory-api", secret)
///     .audience("inventory");
/// # let (jwt, opaque) = (jwt.http_client(http.clone()), opaque.http_client(http));
/// let door = RequireTokenLayer::new(JwtOrOpaque::new(jwt.build()?, opaque.build()?));
/// # drop(door); Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct JwtOrOpaque<J, O> {
    jwt: J,
    opaque: O,
}

impl<J, O> JwtOrOpaque<J, O> {
    /// Asks `jwt` about tokens that look like one, and `opaque` about the others.
    pub const fn new(jwt: J, opaque: O) -> Self {
        Self { jwt, opaque }
    }
}

impl<J, O> Authenticate for JwtOrOpaque<J, O>
where
    J: Authenticate,
    O: Authenticate<Claims = J::Claims>,
{
    type Claims = J::Claims;

    fn max_token_bytes(&self) -> usize {
        self.jwt.max_token_bytes().max(self.opaque.max_token_bytes())
    }

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<J::Claims> {
        if is_jws_shaped(presented.token) {
            self.jwt.authenticate(presented)
        } else {
            self.opaque.authenticate(presented)
        }
    }
}
