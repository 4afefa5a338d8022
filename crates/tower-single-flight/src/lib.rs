//! A Tower layer that makes one call for many callers.
