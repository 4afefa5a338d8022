//! The main job: a fleet that survives restarts, rotations and floods.

fn main() {}
