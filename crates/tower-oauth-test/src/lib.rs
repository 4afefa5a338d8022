//! A scripted OAuth issuer and a manual clock for tests.
