//! An axum server behind the server door.

fn main() {}
