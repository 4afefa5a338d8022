//! What access tokens look like: as RFC 9068 says, or as issuers really send them.

use crate::header::TokenType;

/// The kind of JWT that is accepted as an access token.
///
/// Each kind is a closed list of what must be there and what must not. [`Rfc9068`](Self::Rfc9068) is
/// the one to ask an issuer for. The ones with an issuer's name take what that issuer sends if nobody
/// has told it otherwise, and tell access tokens from its ID and refresh tokens by what that issuer
/// documents. [`Lenient`](Self::Lenient) is what is left.
///
/// | profile | `typ` of the header | must be there, beside `iss` and `exp` | client | scopes |
/// | --- | --- | --- | --- | --- |
/// | `Rfc9068` | `at+jwt` | `aud`, `sub`, `client_id`, `iat`, `jti` | `client_id` | `scope` |
/// | `Keycloak` | `JWT`, `at+jwt` | `aud`, `iat`, `jti`, `azp` or `client_id`, `typ` = `Bearer` or `DPoP` | `azp` | `scope` |
/// | `EntraId` | `JWT` | `aud`, `sub`, `iat`, `azp` or `appid`, `ver` = `1.0` or `2.0` | `azp`, `appid` | `scp` |
/// | `Auth0` | `JWT`, `at+jwt` | `aud`, `sub`, `iat`, `azp` or `client_id` | `client_id`, `azp` | `scope` |
/// | `Okta` | none, `JWT`, `at+jwt` | `aud`, `sub`, `iat`, `jti`, `cid` | `cid` | `scp` |
/// | `Cognito` | none, `JWT` | `sub`, `iat`, `jti`, `client_id`, `token_use` = `access` | `client_id` | `scope` |
/// | `Wso2` | none, `JWT`, `at+jwt` | `aud`, `sub`, `iat`, `aut`, `client_id` or `azp` | `client_id`, `azp` | `scope` |
/// | `Lenient` | none, `JWT`, `at+jwt` | `aud` | `client_id`, `azp` | `scope`, `scp` |
///
/// In all but `Rfc9068` a list of scopes is as good as one text, and claims that only other kinds of
/// token have are refused: `events`, `nonce` (but for Keycloak), `at_hash`, `c_hash`, `s_hash`,
/// `htm`, `htu`, `token_introspection`, a `token_use` other than `access`, and a `typ` claim of `ID`,
/// `Refresh`, `Offline` or `Logout` (RFC 8725 sections 3.11 and 3.12).
///
/// Roles and permissions are no scopes: read them as claims of your own type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// RFC 9068: `typ` is `at+jwt` (or `application/at+jwt`), and `iss`, `exp`, `aud`, `sub`,
    /// `client_id`, `iat` and `jti` must be there. `scope` is one string.
    #[default]
    Rfc9068,
    /// For issuers that do not follow RFC 9068 and have no profile of their own here.
    ///
    /// `typ` may be missing, `JWT`, or `at+jwt`; only `iss`, `aud` and `exp` must be there; `azp`
    /// stands in for `client_id`; the scopes may be a list, and may be called `scp`.
    ///
    /// Since `typ` does not tell an access token from other kinds, the claims that tell those are
    /// refused. **An ID token without any of these cannot be told from an access token**: give the
    /// API an audience that is no client's id.
    Lenient,
    /// Keycloak.
    ///
    /// The *claim* `typ` tells the kinds of token apart: `Bearer` (`DPoP` if it is bound to a key) in
    /// access tokens, `ID`, `Refresh`, `Offline` and `Logout` in the others. So `nonce` need not, and
    /// before Keycloak 25 could not: access tokens had it, too, and have it still with the mapper
    /// "Nonce backwards compatible". `sub` is missing in lightweight access tokens.
    ///
    /// Keycloak puts an API into `aud` only if it is told to, by an audience mapper or by a role of
    /// that client. The header's `typ` is `at+jwt` if the client's setting for RFC 9068 is on.
    ///
    /// Source: Keycloak, Upgrading Guide, "Migrating to 25.0.0" (nonce) and Server Administration
    /// Guide, "Audience support"; `org.keycloak.util.TokenUtil` (types).
    Keycloak,
    /// Microsoft Entra ID (Azure AD), both versions of its access tokens.
    ///
    /// An API gets tokens of version 1 unless its manifest says `"requestedAccessTokenVersion": 2`,
    /// whatever endpoint the client used. The version is part of the issuer, and each has a tenant in
    /// it: `https://sts.windows.net/{tenant}/` with an App ID URI as the audience, or
    /// `https://login.microsoftonline.com/{tenant}/v2.0` with the API's client id. (The keys of the
    /// former are at `login.microsoftonline.com`, a host to be trusted for them.) Accept one issuer
    /// for each tenant; never `common`.
    ///
    /// ID tokens have neither `azp` nor `appid`. The client is `azp`, in version 1 `appid`; `uti` is
    /// the token's own id; delegated permissions are in `scp`. Those of an application by itself are
    /// in `roles`, which is no scope.
    ///
    /// Source: Microsoft, "Access token claims reference" and "ID token claims reference", Microsoft
    /// identity platform.
    EntraId,
    /// Auth0, with either of its token profiles (the one that it calls RFC 9068 fits
    /// [`Rfc9068`](Self::Rfc9068), too).
    ///
    /// The issuer ends with a slash: `https://{tenant}.auth0.com/`. Permissions of its role-based
    /// access control are in `permissions`, which is no scope.
    ///
    /// Source: Auth0 Docs, "Access Token Profiles".
    Auth0,
    /// Okta, custom authorization servers (`https://{domain}/oauth2/{id}`).
    ///
    /// `cid` tells an access token from an ID token. Tokens of the *org* authorization server
    /// (`typ` = `application/okta-internal-at+jwt`) are refused: they are for Okta's own API, and
    /// their keys are not published.
    ///
    /// Source: Okta Developer, "OAuth 2.0 and OpenID Connect overview", access token payload.
    Okta,
    /// Amazon Cognito user pools.
    ///
    /// Their access tokens name no audience, so that one for any client of the pool would be good
    /// everywhere. In place of `aud` the client is checked: only the ids given with
    /// [`RulesBuilder::clients`](crate::RulesBuilder::clients) are let in, and without any there are
    /// no rules. If a token does name audiences (Cognito puts a bound resource there), one of them must
    /// be ours as ever (RFC 7519 section 4.1.3); then both are checked.
    ///
    /// Source: Amazon Cognito Developer Guide, "Understanding the access token", "Verifying JSON web
    /// tokens", and "Scopes, M2M, and resource servers" (resource binding).
    Cognito,
    /// WSO2 Identity Server, Asgardeo and API Manager.
    ///
    /// `aut` (the type of the authorized user: `APPLICATION`, `APPLICATION_USER`, or what newer
    /// releases add) is in access tokens only. `aud` names the client, unless the application lists
    /// others: list the API there. The issuer is the token endpoint's address.
    ///
    /// Source: WSO2 API Manager documentation, "Secure APIs using JWT (Self Contained) Access
    /// Tokens"; WSO2 Identity Server, `OAuthConstants` (`aut`).
    Wso2,
}

/// A profile, spelt out.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The types that the header may name.
    pub(crate) types: &'static [TokenType],
    /// Claims that must be there, beside `iss`, `exp` and `aud`.
    pub(crate) required: &'static [&'static str],
    /// Claims that tell an access token, and the values of which they must have one; any if none.
    pub(crate) marks: &'static [(&'static str, &'static [&'static str])],
    /// Claims that tell another kind of token.
    pub(crate) foreign: &'static [&'static str],
    /// Where the client is named; the first that is there counts.
    pub(crate) client: &'static [&'static str],
    pub(crate) client_is_required: bool,
    /// Where the scopes are; the first that is there counts.
    pub(crate) scope: &'static [&'static str],
    pub(crate) scope_may_be_a_list: bool,
    pub(crate) token_id: &'static str,
    /// Whether the client is checked in place of an audience that is not there.
    pub(crate) audience_may_be_missing: bool,
}

impl Profile {
    pub(crate) const fn shape(self) -> &'static Shape {
        match self {
            Self::Rfc9068 => &RFC_9068,
            Self::Lenient => &LENIENT,
            Self::Keycloak => &KEYCLOAK,
            Self::EntraId => &ENTRA_ID,
            Self::Auth0 => &AUTH0,
            Self::Okta => &OKTA,
            Self::Cognito => &COGNITO,
            Self::Wso2 => &WSO2,
        }
    }
}

/// Events by RFC 8417, `nonce` and hashes of ID tokens, `htm` and `htu` of DPoP proofs, introspection
/// answers by RFC 9701.
const FOREIGN: &[&str] =
    &["events", "nonce", "at_hash", "c_hash", "s_hash", "htm", "htu", "token_introspection"];
const FOREIGN_BUT_NONCE: &[&str] =
    &["events", "at_hash", "c_hash", "s_hash", "htm", "htu", "token_introspection"];

const RFC_9068: Shape = Shape {
    types: &[TokenType::AccessToken],
    required: &["sub", "iat", "jti"],
    marks: &[],
    // The type says it all.
    foreign: &[],
    client: &["client_id"],
    client_is_required: true,
    scope: &["scope"],
    scope_may_be_a_list: false,
    token_id: "jti",
    audience_may_be_missing: false,
};

const LENIENT: Shape = Shape {
    types: &[TokenType::Absent, TokenType::Jwt, TokenType::AccessToken],
    required: &[],
    marks: &[],
    foreign: FOREIGN,
    client: &["client_id", "azp"],
    client_is_required: false,
    scope: &["scope", "scp"],
    scope_may_be_a_list: true,
    token_id: "jti",
    audience_may_be_missing: false,
};

const KEYCLOAK: Shape = Shape {
    types: &[TokenType::Jwt, TokenType::AccessToken],
    required: &["iat", "jti"],
    marks: &[("typ", &["Bearer", "DPoP"])],
    foreign: FOREIGN_BUT_NONCE,
    client: &["azp", "client_id"],
    client_is_required: true,
    scope: &["scope"],
    ..LENIENT
};

const ENTRA_ID: Shape = Shape {
    types: &[TokenType::Jwt],
    required: &["sub", "iat"],
    marks: &[("ver", &["1.0", "2.0"])],
    client: &["azp", "appid"],
    client_is_required: true,
    scope: &["scp"],
    token_id: "uti",
    ..LENIENT
};

const AUTH0: Shape = Shape {
    types: &[TokenType::Jwt, TokenType::AccessToken],
    required: &["sub", "iat"],
    client_is_required: true,
    scope: &["scope"],
    ..LENIENT
};

const OKTA: Shape = Shape {
    required: &["sub", "iat", "jti"],
    client: &["cid"],
    client_is_required: true,
    scope: &["scp"],
    ..LENIENT
};

const COGNITO: Shape = Shape {
    types: &[TokenType::Absent, TokenType::Jwt],
    required: &["sub", "iat", "jti"],
    marks: &[("token_use", &["access"])],
    client: &["client_id"],
    client_is_required: true,
    scope: &["scope"],
    audience_may_be_missing: true,
    ..LENIENT
};

const WSO2: Shape = Shape {
    required: &["sub", "iat"],
    marks: &[("aut", &[])],
    client_is_required: true,
    scope: &["scope"],
    ..LENIENT
};
