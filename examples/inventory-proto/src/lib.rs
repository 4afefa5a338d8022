//! The gRPC service that the examples and tests share: a stock of goods.

// Generated code is documented in the `.proto` file and follows its own style.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::all)]

tonic::include_proto!("inventory");
