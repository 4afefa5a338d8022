//! JWS, JWK and JWT claims: synchronous, pure, strict.
