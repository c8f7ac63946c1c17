use std::path::Path;

use expect_test::{Expect, expect};

use super::*;

async fn check(text: &str, offline: bool, expected: Expect) {
    let config = crate::config::parse(Path::new("pool.toml"), text, &[]);
    let mut told = 0;
    let report = run(config, offline, |_| told += 1).await;
    assert_eq!(told, report.findings.len());
    let shown: Vec<String> = report
        .findings
        .iter()
        .map(|finding| {
            let outcome = match &finding.outcome {
                Outcome::Ok { .. } => "ok".to_owned(),
                Outcome::Warning { found, .. } => format!("warning: {found}"),
                Outcome::Error { found, .. } => format!("error: {}", found.lines().next().unwrap_or_default()),
                Outcome::Skipped { because } => format!("skipped, because of {because}"),
                Outcome::NotApplicable { because } => format!("not applicable: {because}"),
            };
            format!("{} {}: {outcome}", finding.id, finding.subject.as_deref().unwrap_or("-"))
        })
        .collect();
    expected.assert_eq(&shown.join("\n"));
}

#[tokio::test]
async fn a_refused_configuration_skips_the_rest() {
    check(
        "[[pool]]\nname = \"a\"\n",
        false,
        expect![[r#"
            configuration -: error: pool.toml:2:8: the pool has no members
            credentials -: skipped, because of configuration
            reach -: skipped, because of configuration
            rights -: skipped, because of configuration
            clock -: skipped, because of configuration
            control -: skipped, because of configuration
            deployments -: skipped, because of configuration
            record -: skipped, because of configuration
            member -: skipped, because of configuration
            key -: skipped, because of configuration
            agent -: skipped, because of configuration
            drift -: skipped, because of configuration"#]],
    )
    .await;
}

#[tokio::test]
async fn missing_credentials_skip_what_needs_the_hub() {
    let text = "[hub]\nconnection_string_file = \"/does/not/exist\"\n[[pool]]\nname = \"a\"\nmembers = [\"x\"]\nrto_ms = 1000\n";
    check(
        text,
        false,
        expect![[r#"
            configuration -: ok
            rto a: error: a failover may take 16.4 s, but rto_ms = 1000
            fencing a: ok
            credentials -: error: no connection string in the file /does/not/exist: No such file or directory (os error 2)
            reach -: skipped, because of credentials
            rights -: skipped, because of credentials
            clock -: skipped, because of credentials
            control -: skipped, because of credentials
            deployments -: skipped, because of credentials
            record -: skipped, because of credentials
            member -: skipped, because of credentials
            key -: skipped, because of credentials
            agent -: skipped, because of credentials
            drift -: skipped, because of credentials"#]],
    )
    .await;
}
