//! The gRPC service that the examples and tests share.
