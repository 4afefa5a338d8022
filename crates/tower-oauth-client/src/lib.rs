//! The client door: live access tokens on every outgoing request.
