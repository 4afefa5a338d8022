//! What cargo knows of our own packages.

use std::path::Path;

use serde_json::Value;

use crate::command::{Result, cargo, output, root};

/// A package of this workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// One of the libraries under `crates/`.
    pub(crate) library: bool,
    pub(crate) features: Vec<String>,
    /// The packages of others that it is built on, optional ones included, those of its tests not.
    pub(crate) foreign: Vec<String>,
}

/// All packages of this workspace, by name.
pub(crate) fn packages() -> Result<Vec<Package>> {
    let json = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let json: Value = serde_json::from_str(&json)?;
    let mut packages: Vec<_> = array(&json, "packages")
        .iter()
        .map(package)
        .collect::<Option<_>>()
        .ok_or("cargo metadata has a form that this task does not know")?;
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

/// The libraries under `crates/`, by name.
pub(crate) fn libraries() -> Result<Vec<Package>> {
    Ok(packages()?.into_iter().filter(|package| package.library).collect())
}

fn package(json: &Value) -> Option<Package> {
    let manifest = Path::new(json.get("manifest_path")?.as_str()?);
    let foreign = array(json, "dependencies")
        .iter()
        .filter(|dependency| {
            let kind = dependency.get("kind").and_then(Value::as_str);
            kind.is_none() && dependency.get("path").is_none_or(Value::is_null)
        })
        .filter_map(|dependency| Some(dependency.get("name")?.as_str()?.to_owned()))
        .collect();
    Some(Package {
        name: json.get("name")?.as_str()?.to_owned(),
        library: manifest.starts_with(root().join("crates")),
        features: json.get("features")?.as_object()?.keys().cloned().collect(),
        foreign,
    })
}

fn array<'a>(json: &'a Value, name: &str) -> &'a [Value] {
    json.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
