//! A tonic client and its server, one behind each door.

fn main() {}
