//! Who may know whom. Anything that is not in the table is a conversation first.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::run::{self, Package};

/// A crate and the crates of ours that it may depend on, tests included.
const ARROWS: &[(&str, &[&str])] = &[
    ("iotedge-ha-core", &[]),
    ("iotedge-ha-protocol", &["iotedge-ha-core"]),
    ("iotedge-ha-wire", &[]),
    ("iotedge-ha-condition", &[]),
    ("iotedge-ha-jwt", &[]),
    ("iotedge-ha-mqtt", &["iotedge-ha-wire"]),
    ("iotedge-ha-iothub", &["iotedge-ha-wire"]),
    ("iotedge-ha-emulator", &["iotedge-ha-wire", "iotedge-ha-condition", "iotedge-ha-mqtt", "iotedge-ha-jwt"]),
    ("iotedge-ha-edge", &["iotedge-ha-wire", "iotedge-ha-condition", "iotedge-ha-mqtt", "iotedge-ha-iothub"]),
    ("iotedge-ha-agent", &["iotedge-ha-core", "iotedge-ha-protocol", "iotedge-ha-wire"]),
    ("iotedge-ha-deployment", &["iotedge-ha-wire"]),
    (
        "iotedge-ha-controller",
        &[
            "iotedge-ha-core",
            "iotedge-ha-protocol",
            "iotedge-ha-wire",
            "iotedge-ha-iothub",
            "iotedge-ha-deployment",
            "iotedge-ha-jwt",
        ],
    ),
    (
        "iotedge-ha",
        &[
            "iotedge-ha-core",
            "iotedge-ha-protocol",
            "iotedge-ha-wire",
            "iotedge-ha-iothub",
            "iotedge-ha-emulator",
            "iotedge-ha-edge",
            "iotedge-ha-agent",
            "iotedge-ha-deployment",
            "iotedge-ha-controller",
        ],
    ),
    ("iotedge-ha-e2e", &[]),
    ("iotedge-ha-swagger", &[]),
    ("iotedge-ha-conformance", &["iotedge-ha-swagger"]),
    ("xtask", &[]),
];

/// The real hub and real devices stand in for the emulator's tests only through these arrows, which tests alone may use.
const ARROWS_OF_TESTS: &[(&str, &[&str])] = &[
    ("iotedge-ha-emulator", &["iotedge-ha-swagger"]),
    ("iotedge-ha-iothub", &["iotedge-ha-emulator"]),
    ("iotedge-ha-edge", &["iotedge-ha-emulator"]),
    ("iotedge-ha-agent", &["iotedge-ha-emulator"]),
    ("iotedge-ha-controller", &["iotedge-ha-emulator", "iotedge-ha-agent"]),
    // Tokens, to call a hub that runs as a program.
    ("iotedge-ha-e2e", &["iotedge-ha-wire"]),
];

/// What must not be reachable by normal dependencies: a crate of ours, what it refuses, and why.
const REFUSED: &[(&str, &[&str], &str)] = &[
    (
        "iotedge-ha-core",
        &["tokio", "reqwest", "rand", "rustix", "tracing"],
        "core has no clock, dice, network or logs: everything is handed in",
    ),
    ("iotedge-ha-protocol", &["tokio", "reqwest", "rand"], "protocol only encodes and decodes"),
    ("iotedge-ha-wire", &["tokio", "reqwest", "rand"], "wire only encodes and decodes"),
    ("iotedge-ha-deployment", &["tokio", "reqwest", "rand"], "deployment only reads and compares"),
    ("iotedge-ha-jwt", &["tokio", "reqwest", "rand"], "a token is taken apart and held against keys, nothing else"),
    ("iotedge-ha-condition", &["tokio", "reqwest", "rand"], "a condition is compiled and asked, nothing else"),
];

/// Crates that must appear nowhere in the tree.
const BANNED: &[&str] = &["aws-lc-rs", "openssl-sys", "native-tls"];

pub(crate) fn check() -> Result<()> {
    let metadata = run::metadata()?;
    let mut broken: Vec<String> = metadata.packages.iter().flat_map(broken_arrows).collect();
    for (package, refused, why) in REFUSED {
        let tree = tree(package)?;
        for name in refused.iter().filter(|name| tree.contains(**name)) {
            broken.push(format!("{package} reaches {name}: {why}"));
        }
    }
    let whole = whole_tree()?;
    for name in BANNED.iter().filter(|name| whole.contains(**name)) {
        broken.push(format!(
            "{name} is in the tree (see `cargo tree -e normal -i {name}`): one TLS stack, rustls on ring"
        ));
    }
    if !broken.is_empty() {
        bail!("the layers are broken\n  {}", broken.join("\n  "));
    }
    eprintln!("layers: {} crates keep to the table", ARROWS.len());
    Ok(())
}

fn broken_arrows(package: &Package) -> Vec<String> {
    let Some(allowed) = allowed(ARROWS, &package.name) else {
        return vec![format!("{} is not in the table of xtask/src/layers.rs", package.name)];
    };
    let of_tests = allowed_of_tests(&package.name);
    let ours = package.dependencies.iter().filter(|d| d.path.is_some());
    ours.filter(|dependency| {
        let name = dependency.name.as_str();
        let test_only = dependency.kind.as_deref() == Some("dev");
        !(allowed.contains(&name) || test_only && of_tests.contains(&name))
    })
    .map(|dependency| {
        let kind = dependency.kind.as_deref().unwrap_or("normal");
        format!("{} -> {} ({kind})", package.name, dependency.name)
    })
    .collect()
}

fn allowed<'a>(table: &'a [(&str, &'a [&'a str])], package: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(name, _)| *name == package).map(|(_, to)| *to)
}

fn allowed_of_tests(package: &str) -> &'static [&'static str] {
    allowed(ARROWS_OF_TESTS, package).unwrap_or(&[])
}

fn tree(package: &str) -> Result<BTreeSet<String>> {
    names(&["tree", "-e", "normal", "-p", package])
}

fn whole_tree() -> Result<BTreeSet<String>> {
    names(&["tree", "-e", "normal,build,dev", "--workspace"])
}

fn names(args: &[&str]) -> Result<BTreeSet<String>> {
    let text = run::output(run::cargo(args).args(["--locked", "--target=all", "--prefix=none", "--format={p}"]))?;
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::run::Dependency;

    fn broken(package: &str, dependency: &str, kind: Option<&str>) -> usize {
        broken_arrows(&Package {
            name: package.into(),
            dependencies: vec![Dependency {
                name: dependency.into(),
                kind: kind.map(Into::into),
                path: Some(PathBuf::new()),
            }],
        })
        .len()
    }

    #[test]
    fn the_table_is_held() {
        assert_eq!(broken("iotedge-ha-core", "iotedge-ha-wire", None), 1);
        assert_eq!(broken("iotedge-ha-emulator", "iotedge-ha-core", None), 1);
        assert_eq!(broken("iotedge-ha-emulator", "iotedge-ha-protocol", Some("dev")), 1);
        assert_eq!(broken("iotedge-ha-emulator", "iotedge-ha-wire", None), 0);
        assert_eq!(broken("iotedge-ha-iothub", "iotedge-ha-emulator", None), 1);
        assert_eq!(broken("iotedge-ha-iothub", "iotedge-ha-emulator", Some("dev")), 0);
        assert_eq!(broken("newcomer", "iotedge-ha-wire", None), 1);
    }
}
