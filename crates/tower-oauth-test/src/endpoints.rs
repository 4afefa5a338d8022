use aws_lc_rs::digest;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, WWW_AUTHENTICATE,
};
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::response;
use crate::client_auth::{Form, authenticate};
use crate::key::base64url;
use crate::state::Shared;
use crate::{Endpoint, ReceivedRequest, ScriptedBody};

/// An OAuth error answer (RFC 6749 §5.2).
pub(crate) struct Refused(pub(crate) &'static str);

/// The work of an endpoint that is well.
pub(crate) fn answer(
    shared: &Shared,
    endpoint: Endpoint,
    request: &ReceivedRequest,
) -> Response<ScriptedBody> {
    let (allowed, posted) = match endpoint {
        Endpoint::Jwks | Endpoint::Discovery | Endpoint::StatusList => ("GET, HEAD", false),
        Endpoint::Token | Endpoint::Introspection | Endpoint::Revocation => ("POST", true),
    };
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if if posted { *request.method() != Method::POST } else { !is_read } {
        return response(StatusCode::METHOD_NOT_ALLOWED, &[(ALLOW, allowed)], Bytes::new());
    }
    let answered = match endpoint {
        Endpoint::Jwks => return jwks(shared, request),
        Endpoint::Discovery => return metadata(shared),
        Endpoint::StatusList => return status_list(shared, request),
        Endpoint::Token => token(shared, request),
        Endpoint::Introspection => introspect(shared, request),
        Endpoint::Revocation => revoke(shared, request),
    };
    match answered {
        // RFC 6749 §5.1: what holds a token is not stored.
        Ok(body) => json_response(StatusCode::OK, &[(CACHE_CONTROL, "no-store")], &body),
        Err(Refused("invalid_client")) => json_response(
            StatusCode::UNAUTHORIZED,
            &[(WWW_AUTHENTICATE, "Basic realm=\"scripted issuer\""), (CACHE_CONTROL, "no-store")],
            &json!({ "error": "invalid_client" }),
        ),
        Err(Refused(code)) => json_response(
            StatusCode::BAD_REQUEST,
            &[(CACHE_CONTROL, "no-store")],
            &json!({ "error": code }),
        ),
    }
}

/// RFC 6749 §4.4, with RFC 8707 and the `audience` parameter that some servers take instead.
fn token(shared: &Shared, request: &ReceivedRequest) -> Result<Value, Refused> {
    let form = Form::of(request)?;
    let client = authenticate(shared, request, &form)?;
    match form.one("grant_type")?.as_deref() {
        Some("client_credentials") => {}
        Some(_) => return Err(Refused("unsupported_grant_type")),
        None => return Err(Refused("invalid_request")),
    }
    let mut audiences = form.all("resource");
    audiences.extend(form.all("audience"));
    let audience = match <[String; 1]>::try_from(audiences) {
        Ok([one]) => one.into(),
        Err(none) if none.is_empty() => shared.config.audience.as_str().into(),
        Err(several) => several.into(),
    };
    let asked = form.one("scope")?;
    let scope = shared.config.granted_scope.clone().or(asked);
    let claims = shared.claims(&client, audience, scope.as_deref());
    let (token, life) = shared.grant(claims);
    let mut answer = json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": life,
    });
    if let (Some(members), Some(scope)) = (answer.as_object_mut(), scope) {
        members.insert("scope".into(), scope.into());
    }
    Ok(answer)
}

/// RFC 7662 §2: the claims of a token that is alive, and nothing about any other.
fn introspect(shared: &Shared, request: &ReceivedRequest) -> Result<Value, Refused> {
    let form = Form::of(request)?;
    authenticate(shared, request, &form)?;
    let token = form.one("token")?.ok_or(Refused("invalid_request"))?;
    let Some(mut claims) = shared.active(&token) else {
        return Ok(json!({ "active": false }));
    };
    claims.insert("active".into(), true.into());
    claims.insert("token_type".into(), "Bearer".into());
    Ok(Value::Object(claims))
}

/// RFC 7009 §2.1: a client ends its own tokens; §2.2: a token that is not known needs no ending.
fn revoke(shared: &Shared, request: &ReceivedRequest) -> Result<Value, Refused> {
    let form = Form::of(request)?;
    let client = authenticate(shared, request, &form)?;
    let token = form.one("token")?.ok_or(Refused("invalid_request"))?;
    let owner = shared
        .with(|state| state.alive.get(&token).and_then(|claims| claims.get("client_id").cloned()));
    if owner.is_some_and(|owner| owner != client.as_str()) {
        return Err(Refused("unauthorized_client"));
    }
    shared.with(|state| state.alive.remove(&token));
    Ok(json!({}))
}

fn jwks(shared: &Shared, request: &ReceivedRequest) -> Response<ScriptedBody> {
    let body = shared.with(|state| state.keys.jwks()).to_string();
    let hash = digest::digest(&digest::SHA256, body.as_bytes());
    let etag = format!("\"{}\"", base64url(hash.as_ref()));
    let mut headers = vec![(ETAG, etag.as_str())];
    if let Some(value) = &shared.config.jwks_cache_control {
        headers.push((CACHE_CONTROL, value));
    }
    // RFC 9110 §13.1.2: a list, compared weakly, or a star.
    let fields = request.headers().get_all(IF_NONE_MATCH);
    let known = fields.iter().filter_map(|field| field.to_str().ok()).any(|field| {
        let mut tags = field.split(',').map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    });
    if known {
        return response(StatusCode::NOT_MODIFIED, &headers, Bytes::new());
    }
    headers.push((CONTENT_TYPE, "application/jwk-set+json"));
    response(StatusCode::OK, &headers, body)
}

/// Draft-ietf-oauth-status-list §8.2: signed anew at each call, so that it is always of now.
fn status_list(shared: &Shared, request: &ReceivedRequest) -> Response<ScriptedBody> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let token = shared.status_list_token(target);
    response(StatusCode::OK, &[(CONTENT_TYPE, "application/statuslist+jwt")], token)
}

/// RFC 8414 §2 and OpenID Connect Discovery §3: one document under all names.
fn metadata(shared: &Shared) -> Response<ScriptedBody> {
    let (issuer, base, algorithm) = shared
        .with(|state| (state.issuer.clone(), state.base.clone(), state.keys.signing().algorithm()));
    let at = |endpoint: Endpoint| format!("{base}{}", endpoint.path());
    let auth_methods = json!(["client_secret_basic", "client_secret_post"]);
    let mut members = Map::new();
    for (name, value) in [
        ("issuer", issuer.into()),
        ("token_endpoint", at(Endpoint::Token).into()),
        ("jwks_uri", at(Endpoint::Jwks).into()),
        ("introspection_endpoint", at(Endpoint::Introspection).into()),
        ("revocation_endpoint", at(Endpoint::Revocation).into()),
        ("token_endpoint_auth_methods_supported", auth_methods.clone()),
        ("introspection_endpoint_auth_methods_supported", auth_methods.clone()),
        ("revocation_endpoint_auth_methods_supported", auth_methods),
        ("grant_types_supported", json!(["client_credentials"])),
        // Both specifications demand it; there is no authorization endpoint to use it.
        ("response_types_supported", json!([])),
        ("subject_types_supported", json!(["public"])),
        ("id_token_signing_alg_values_supported", json!([algorithm.name()])),
    ] {
        members.insert(name.into(), value);
    }
    for (name, value) in &shared.config.metadata {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    json_response(StatusCode::OK, &[], &Value::Object(members))
}

fn json_response(
    status: StatusCode,
    headers: &[(HeaderName, &str)],
    body: &Value,
) -> Response<ScriptedBody> {
    let mut headers = headers.to_vec();
    headers.push((CONTENT_TYPE, "application/json"));
    response(status, &headers, body.to_string())
}
