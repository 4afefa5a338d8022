//! OAuth 2.0 for Tower: live tokens out, valid tokens in.
