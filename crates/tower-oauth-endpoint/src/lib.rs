//! The edge of tower-oauth: one adapter over any HTTP service, and a default transport.
