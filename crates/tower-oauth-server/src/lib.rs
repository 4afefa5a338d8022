//! The server door: only requests with a valid token come in.
