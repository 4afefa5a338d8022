//! End-to-end tests of tower-oauth on real sockets and a real authorization server.
