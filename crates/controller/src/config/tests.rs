use expect_test::{Expect, expect};

use super::*;

const POOL: &str = "[[pool]]\nname = \"press_1\"\nmembers = [\"edge-a\", \"edge-b\"]\n";

fn said(text: &str, overrides: &[Override]) -> String {
    match parse(Path::new("pool.toml"), text, overrides) {
        Ok(_) => "taken".to_owned(),
        Err(refused) => refused.to_string(),
    }
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&said(text, &[]));
}

fn taken(text: &str, overrides: &[Override]) -> Config {
    parse(Path::new("pool.toml"), text, overrides).unwrap_or_else(|refused| panic!("{refused}"))
}

#[test]
fn the_least_that_can_be_said_is_enough() {
    let config = taken(POOL, &[]);
    let usual = HubAccess::ConnectionString {
        place: SecretPlace::Environment(CONNECTION_STRING_ENV.to_owned()),
        management: None,
    };
    assert_eq!(config.hub.access, usual);
    assert_eq!(config.controller.control.as_str(), "ha-control");
    let pool = config.pool("press_1").expect("it is there");
    assert_eq!(pool.members, Members::Listed(vec![MemberId::new("edge-a"), MemberId::new("edge-b")]));
    assert_eq!(pool.policy, Policy::default());
}

#[test]
fn every_value_knows_where_it_came_from() {
    let text = format!("[hub]\nunits = 2\n[defaults.timings]\nttl_ms = 20_000\n{POOL}");
    let vars = [("IOTEDGE_HA_HUB_SKU", "S2"), ("IOTEDGE_HA_NONSENSE", "1"), ("HOME", "/")];
    let mut overrides = environment(vars.map(|(k, v)| (k.to_owned(), v.to_owned())));
    overrides.push(Override::flag("controller.name", "north", "--name"));
    let config = taken(&text, &overrides);
    let keys = ["hub.sku", "hub.units", "controller.name", "controller.control", "pool.press_1.timings.ttl_ms"];
    let shown: Vec<String> = config
        .settings
        .iter()
        .filter(|s| keys.contains(&s.key.as_str()))
        .map(|s| format!("{} = {} ({})", s.key, s.value, s.origin))
        .collect();
    expect![[r#"
        [
            "hub.sku = \"S2\" (environment IOTEDGE_HA_HUB_SKU)",
            "hub.units = 2 (pool.toml:2)",
            "controller.name = \"north\" (flag --name)",
            "controller.control = \"ha-control\" (default)",
            "pool.press_1.timings.ttl_ms = 20000 (pool.toml:4)",
        ]
    "#]]
    .assert_debug_eq(&shown);
}

#[test]
fn an_unknown_key_is_shown_in_its_line() {
    check(
        "[controller]\ncontrol_ttl_sec = 10\n",
        expect![[r#"
            pool.toml:2:1: unknown field `control_ttl_sec`, expected one of `name`, `state_dir`, `control`, `control_ttl_ms`, `control_renew_ms`, `decisions_off`, `history_days`, `listen`, `brake`
              |
            2 | control_ttl_sec = 10
              | ^^^^^^^^^^^^^^^
            hint: look for a misspelt key, or one that belongs to another section"#]],
    );
}

#[test]
fn a_number_in_quotes_is_shown_in_its_line() {
    check(
        &POOL.replace("[[pool]]", "[[pool]]\ntimings.ttl_ms = \"15000\""),
        expect![[r#"
        pool.toml:2:18: invalid type: string "15000", expected u64
          |
        2 | timings.ttl_ms = "15000"
          |                  ^^^^^^^
        hint: numbers stand without quotes, text in "quotes", lists in [brackets]"#]],
    );
}

#[test]
fn unsafe_timings_are_refused() {
    check(
        &format!("{POOL}[pool.timings]\nrenew_ms = 4000\nttl_ms = 9000\n"),
        expect![[r#"
        pool.toml:6:10: ttl_ms = 9000 is below renew_ms + 2 × call_timeout_ms + stop_ms = 13000: a healthy holder would lose its lease
          |
        6 | ttl_ms = 9000
          |          ^^^^
        hint: raise ttl_ms or lower the others; `estimate` shows what a choice costs"#]],
    );
}

#[test]
fn unsafe_timings_of_the_control_lease_are_refused() {
    check(&format!("[controller]\ncontrol_ttl_ms = 4000\n{POOL}"), expect!["taken"]);
}

#[test]
fn a_flag_has_defaults_and_a_place() {
    let config = taken(&format!("{POOL}gate = \"flag\"\n"), &[]);
    let flag = config.pools[0].flag.as_ref().expect("it has one");
    assert_eq!((&flag.module, &flag.path[..], &flag.confirm), (&None, &["active".to_owned()][..], &None));
    assert_eq!((flag.fence_delay, flag.down_after), (Millis(30_000), Millis(60_000)));
    let text = format!(
        "{POOL}gate = \"flag\"\nflag = {{ module = \"press\", path = \"ha.active\", agents = [\"edge-b\"] }}\n"
    );
    let flag = taken(&text, &[]).pools.remove(0).flag.expect("it has one");
    assert_eq!(flag.path, ["ha", "active"]);
    assert!(flag.tells(&MemberId::new("edge-a")) && !flag.tells(&MemberId::new("edge-b")));
}

#[test]
fn nonsense_about_flags_is_refused() {
    let flag = "flag = { module = \"$edgeHub\", path = \"a..b\", confirm = \"$version\", fence_delay_ms = 700_000, agents = [\"edge-x\"] }";
    check(
        &format!("{POOL}gate = \"flag\"\n{flag}\n"),
        expect![[r#"
        pool.toml:5:19: "$edgeHub" is no module id
          |
        5 | flag = { module = "$edgeHub", path = "a..b", confirm = "$version", fence_delay_ms = 700_000, agents = ["edge-x"] }
          |                   ^^^^^^^^^^
        hint: 1 to 128 of ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ ; $ '

        pool.toml:5:38: "a..b" is no path of a twin
          |
        5 | flag = { module = "$edgeHub", path = "a..b", confirm = "$version", fence_delay_ms = 700_000, agents = ["edge-x"] }
          |                                      ^^^^^^
        hint: keys with dots between them, at most nine, without '$', '#' and spaces: such as ha.active

        pool.toml:5:56: "$version" is no path of a twin
          |
        5 | flag = { module = "$edgeHub", path = "a..b", confirm = "$version", fence_delay_ms = 700_000, agents = ["edge-x"] }
          |                                                        ^^^^^^^^^^
        hint: keys with dots between them, at most nine, without '$', '#' and spaces: such as ha.active

        pool.toml:5:85: fence_delay_ms = 700000 is outside 0..=600000
          |
        5 | flag = { module = "$edgeHub", path = "a..b", confirm = "$version", fence_delay_ms = 700_000, agents = ["edge-x"] }
          |                                                                                     ^^^^^^^
        hint: the default is 30000

        pool.toml:5:104: "edge-x" is no member of the pool
          |
        5 | flag = { module = "$edgeHub", path = "a..b", confirm = "$version", fence_delay_ms = 700_000, agents = ["edge-x"] }
          |                                                                                                        ^^^^^^^^
        hint: list members of this pool that have an agent"#]],
    );
}

#[test]
fn a_flag_needs_a_gate_and_a_place_of_its_own() {
    check(
        &format!("{POOL}flag.path = \"a\"\n"),
        expect![[r#"
        pool.toml:4:13: the pool has no flag
          |
        4 | flag.path = "a"
          |             ^^^
        hint: add gate = "flag" to the pool, or remove this"#]],
    );
    check(
        &format!("{POOL}gate = \"lever\"\n"),
        expect![[r#"
            pool.toml:4:8: gate = "lever" is none of "agent", "flag"
              |
            4 | gate = "lever"
              |        ^^^^^^^
            hint: choose one of them"#]],
    );
    let two = POOL.replace("press_1", "press_2");
    check(
        &format!("{POOL}gate = \"flag\"\n{two}gate = \"flag\"\n"),
        expect![[r#"
        pool.toml:6:8: edge-a is in another pool already, with the same flag
          |
        6 | name = "press_2"
          |        ^^^^^^^^^
        hint: give press_2 a flag of its own

        pool.toml:6:8: edge-b is in another pool already, with the same flag
          |
        6 | name = "press_2"
          |        ^^^^^^^^^
        hint: give press_2 a flag of its own"#]],
    );
    check(&format!("{POOL}gate = \"flag\"\n{two}gate = \"flag\"\nflag.path = \"other\"\n"), expect!["taken"]);
}

#[test]
fn everything_wrong_is_said_at_once() {
    check(
        "[hub]\nsku = \"S9\"\nunits = 0\n[[pool]]\nname = \"press-1\"\nmembers = [\"a\"]\n\
         [[pool]]\nname = \"b\"\nmembers = [\"a\", \"ä\", \"a\"]\npolicy.failback = \"often\"\n\
         [[pool]]\nname = \"b\"\n",
        expect![[r#"
            pool.toml:2:7: sku = "S9" is no edition of IoT Hub
              |
            2 | sku = "S9"
              |       ^^^^
            hint: one of F1, B1, B2, B3, S1, S2, S3

            pool.toml:3:9: units = 0 is outside 1..=200
              |
            3 | units = 0
              |         ^
            hint: the default is 1

            pool.toml:5:8: "press-1" is no pool name: a lower-case letter, then lower-case letters, digits or '_', at most 64 in all
              |
            5 | name = "press-1"
              |        ^^^^^^^^^
            hint: a dash would be a minus in route queries: use '_'

            pool.toml:9:17: "ä" is no device id
              |
            9 | members = ["a", "ä", "a"]
              |                 ^^^
            hint: 1 to 128 of ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ ; $ '

            pool.toml:9:22: a is there already
              |
            9 | members = ["a", "ä", "a"]
              |                      ^^^
            hint: each member once

            pool.toml:10:19: failback = "often" is none of "manual", "automatic"
               |
            10 | policy.failback = "often"
               |                   ^^^^^^^
            hint: choose one of them

            pool.toml:12:8: pool b is there already, at pool.toml:8
               |
            12 | name = "b"
               |        ^^^
            hint: pool names are unique

            pool.toml:12:8: the pool has no members
               |
            12 | name = "b"
               |        ^^^
            hint: members = ["edge-a", "edge-b"], or select = "tags.site = 'm1'""#]],
    );
}

#[test]
fn a_connection_string_in_the_file_is_refused_and_not_repeated() {
    for key in ["connection_string", "connection_string_env", "connection_string_file", "units", "sku", "units.x"] {
        let text = format!("[hub]\n{key} = \"HostName=h;SharedAccessKeyName=s;SharedAccessKey=c2VjcmV0\"\n{POOL}");
        let said = said(&text, &[]);
        assert!(said.contains("hint:") && !said.contains("c2VjcmV0"), "{said}");
    }
}

#[test]
fn a_connection_string_in_the_wrong_variable_is_not_repeated() {
    let value = "HostName=h;SharedAccessKeyName=s;SharedAccessKey=c2VjcmV0";
    let text = format!("[hub]\nconnection_string_env = \"X\"\n{POOL}");
    let said = said(&text, &[Override::flag("hub.connection_string_file", value, "--connection-string-file")]);
    assert!(said.contains("hint:") && !said.contains("c2VjcmV0"), "{said}");
}

#[test]
fn one_agent_serves_one_pool() {
    let second = POOL.replace("press_1", "press_2");
    check(
        &format!("{POOL}{second}"),
        expect![[r#"
        pool.toml:5:8: edge-a is in another pool already, with the same agent module ha-agent
          |
        5 | name = "press_2"
          |        ^^^^^^^^^
        hint: give press_2 an agent_module of its own

        pool.toml:5:8: edge-b is in another pool already, with the same agent module ha-agent
          |
        5 | name = "press_2"
          |        ^^^^^^^^^
        hint: give press_2 an agent_module of its own"#]],
    );
    check(&format!("{POOL}{second}agent_module = \"ha-agent-2\"\n"), expect!["taken"]);
}

#[test]
fn a_bad_override_is_refused_by_its_own_name() {
    let bad = environment([("IOTEDGE_HA_HUB_UNITS".to_owned(), "many".to_owned())]);
    expect![[r#"
        environment IOTEDGE_HA_HUB_UNITS: not a value for hub.units: invalid digit found in string
        hint: numbers, true or false, or plain text; `config show` lists the keys"#]]
    .assert_eq(&said(POOL, &bad));
}

#[test]
fn nonsense_is_refused_without_a_panic() {
    for text in [
        "",
        "pool",
        "pool = 1",
        "[[pool]]",
        "\u{0}",
        "[pool]\nname = 1",
        "ä = \"",
        "[[pool]]\nname = \"a\"\nmembers = [1]",
    ] {
        let said = said(text, &[]);
        assert!(said.contains("hint:"), "{text:?}: {said}");
    }
}

#[test]
fn the_schema_names_every_section() {
    let schema = config_schema();
    let properties = schema["properties"].as_object().expect("an object");
    assert_eq!(properties.keys().collect::<Vec<_>>(), ["hub", "controller", "defaults", "pool", "hook"]);
    assert_eq!(schema["additionalProperties"], false);
}

const HOST: &str = "host = \"my-hub.azure-devices.net\"\n";

#[test]
fn identities_by_table() {
    for (identity, source) in [
        ("source = \"managed\"", IdentitySource::Managed { client_id: None }),
        ("source = \"managed\"\nclient_id = \"c\"", IdentitySource::Managed { client_id: Some("c".to_owned()) }),
        (
            "source = \"workload\"\ntoken_file = \"token\"",
            IdentitySource::Workload { tenant: None, client_id: None, token_file: Some("token".into()) },
        ),
        (
            "source = \"client_secret\"\ntenant = \"t\"\nclient_id = \"c\"\nclient_secret_file = \"/s\"",
            IdentitySource::ClientSecret {
                tenant: "t".to_owned(),
                client_id: "c".to_owned(),
                secret: SecretPlace::File("/s".into()),
            },
        ),
        ("source = \"azure_cli\"", IdentitySource::AzureCli { tenant: None }),
    ] {
        let config = taken(&format!("[hub]\n{HOST}[hub.identity]\n{identity}\n{POOL}"), &[]);
        let HubAccess::Identity { host, identity } = &config.hub.access else { panic!("{:?}", config.hub.access) };
        assert_eq!((host.as_str(), &identity.source), ("my-hub.azure-devices.net", &source));
    }
}

#[test]
fn an_identity_may_be_for_the_management_side_alone() {
    let config = taken(&format!("[hub]\nconnection_string_env = \"X\"\nidentity.source = \"azure_cli\"\n{POOL}"), &[]);
    assert!(matches!(config.hub.access, HubAccess::ConnectionString { .. }));
    assert_eq!(config.hub.identity().map(|found| &found.source), Some(&IdentitySource::AzureCli { tenant: None }));
}

#[test]
fn identities_that_make_no_sense_are_refused() {
    let reasons = |text: &str| -> Vec<String> {
        let refused = parse(Path::new("p"), &format!("{text}\n{POOL}"), &[]).expect_err("it makes no sense");
        refused.problems.into_iter().map(|problem| problem.reason).collect()
    };
    for (text, reason) in [
        ("[hub]\nhost = \"h\"", "a host alone proves nothing to the hub"),
        ("[hub]\nhost = \"https://h/\"\nidentity.source = \"managed\"", "\"https://h/\" is no host name"),
        ("[hub]\nhost = \"h\"\nconnection_string_env = \"X\"\nidentity.source = \"managed\"", "host is given as well"),
        ("[hub.identity]\nsource = \"managed\"", "an identity is given, but not the hub's host"),
        ("[hub]\nhost = \"h\"\nidentity.source = \"magic\"", "source = \"magic\" is unknown"),
        ("[hub]\nidentity.tenant = \"t\"", "tenant is given, but no source"),
        (
            "[hub]\nhost = \"h\"\nidentity.source = \"client_secret\"\nidentity.tenant = \"t\"",
            "a client secret needs tenant and client_id",
        ),
        (
            "[hub]\nhost = \"h\"\nidentity.source = \"managed\"\nidentity.client_secret_env = \"S\"",
            "client_secret_env means nothing with source = \"managed\"",
        ),
    ] {
        assert_eq!(reasons(text), [reason], "{text}");
    }
}

#[test]
fn hooks_for_all_pools_come_before_a_pools_own() {
    let hook = |section: &str, name: &str, what: &str| {
        format!("[[{section}]]\nname = \"{name}\"\non = \"after_handover\"\n{what}\n")
    };
    let text = format!(
        "{POOL}{}{}",
        hook("pool.hook", "own", "command = [\"/bin/true\"]\nretries = 0"),
        hook("hook", "pager", "webhook = \"https://hooks.example.com/ha\"\nsecret_env = \"PAGER\""),
    );
    let config = taken(&text, &[]);
    let pool = config.pool("press_1").expect("it is there");
    assert_eq!(pool.hooks.iter().map(|hook| hook.name.as_str()).collect::<Vec<_>>(), ["pager", "own"]);
    assert_eq!((pool.hooks[0].timeout, pool.hooks[0].retries, pool.hooks[1].retries), (Millis(5_000), 2, 0));
    assert!(!pool.policy.consults);
    let asked = taken(&text.replace("after_handover", "before_switchover"), &[]);
    assert!(asked.pool("press_1").expect("it is there").policy.consults);
}

#[test]
fn a_hook_that_cannot_work_is_refused() {
    check(
        &format!(
            "{POOL}[[pool.hook]]\nname = \"Pager\"\non = \"after_handover\"\n\
             [[pool.hook]]\nname = \"a\"\non = \"sometimes\"\ncommand = []\n\
             [[pool.hook]]\nname = \"b\"\non = \"after_handover\"\nwebhook = \"http://hooks.example.com\"\n\
             [[pool.hook]]\nname = \"c\"\non = \"after_handover\"\nwebhook = \"https://x.example\"\ncommand = [\"y\"]\n\
             [[pool.hook]]\nname = \"d\"\non = \"after_handover\"\ncommand = [\"y\"]\non_timeout = \"go\"\n\
             [[hook]]\nname = \"d\"\non = \"after_handover\"\ncommand = [\"y\"]\ntimeout_ms = 1\n"
        ),
        expect![[r#"
            pool.toml:29:14: timeout_ms = 1 is outside 100..=120000
               |
            29 | timeout_ms = 1
               |              ^
            hint: the default is 5000

            pool.toml:5:8: "Pager" is no name of a hook
              |
            5 | name = "Pager"
              |        ^^^^^^^
            hint: a lower-case letter, then lower-case letters, digits, '-' or '_', at most 32 in all

            pool.toml:9:6: on = "sometimes" is none of "after_handover", "before_switchover"
              |
            9 | on = "sometimes"
              |      ^^^^^^^^^^^
            hint: choose one of them

            pool.toml:10:11: this is no program to run
               |
            10 | command = []
               |           ^^
            hint: command = ["/usr/local/bin/may-move", "--line", "1"]

            pool.toml:14:11: events would be sent unencrypted
               |
            14 | webhook = "http://hooks.example.com"
               |           ^^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: such as https://hooks.example.com/ha; http is for receivers on this machine

            pool.toml:16:8: the hook c calls not one thing
               |
            16 | name = "c"
               |        ^^^
            hint: webhook = "https://…", webhook_env, webhook_file, or command = ["/path/to/program"]

            pool.toml:24:14: on_timeout is for hooks that are asked before a change
               |
            24 | on_timeout = "go"
               |              ^^^^
            hint: leave it out: what cannot be delivered is tried again

            pool.toml:21:8: the hook d is there already
               |
            21 | name = "d"
               |        ^^^
            hint: a name stands for one hook in a pool"#]],
    );
}

#[test]
fn an_address_with_a_secret_is_refused_and_not_repeated() {
    for address in ["https://u:c2VjcmV0@h.example/", "https://h.example/?sig=c2VjcmV0"] {
        let hook = format!("[[hook]]\nname = \"a\"\non = \"after_handover\"\nwebhook = \"{address}\"\n");
        let said = said(&format!("{POOL}{hook}"), &[]);
        assert!(said.contains("webhook_env") && !said.contains("c2VjcmV0"), "{said}");
    }
}

#[test]
fn deliveries_are_known_by_a_secret_or_by_a_token() {
    let listen = |text: &str| format!("[controller.listen]\n{text}\n{POOL}");
    let taken = |text: &str| taken(&listen(text), &[]).controller.listen.expect("an address");
    let address = "address = \"127.0.0.1:8484\"\n";
    let secret = SecretPlace::Environment("IOTEDGE_HA_EVENT_SECRET".to_owned());
    assert_eq!((taken(address).event_secret, taken(address).event_token), (Some(secret), None));
    let audience = format!("{address}event_audience = \"api://ha\"\n");
    let both = format!("{audience}event_tenant = \"t\"\nevent_authority = \"https://login.example/\"\n");
    let found = taken(&both);
    let token = TokenConfig {
        audience: "api://ha".to_owned(),
        tenant: "t".to_owned(),
        client: "4962773b-9cdb-44cf-a8bf-237846a00ab7".to_owned(),
        authority: "https://login.example".to_owned(),
    };
    assert_eq!((found.event_secret, found.event_token), (None, Some(token)));
    for (text, reason) in [
        (audience.as_str(), "event_tenant is missing"),
        ("event_audience = \"api://ha\"", "no address is given"),
        (&format!("{address}event_tenant = \"t\""), "not whom they are for"),
        (&both.replace("https:", "http:"), "is no address of an authority"),
    ] {
        let said = said(&listen(text), &[]);
        assert!(said.contains(reason) && said.contains("hint:"), "{text}: {said}");
    }
}

#[test]
fn children_are_listed_or_discovered() {
    let parents = |text: &str| taken(&format!("{POOL}[pool.parents]\n{text}\n"), &[]).pools[0].parents.clone();
    let listed = Some(ParentsConfig::Listed(vec!["leaf-1".to_owned(), "leaf-2".to_owned()]));
    assert_eq!(parents("children = [\"leaf-1\", \"leaf-2\"]"), listed);
    assert_eq!(parents("mode = \"discovered\""), Some(ParentsConfig::Discovered));
    assert_eq!(taken(POOL, &[]).pools[0].parents, None);
    let many: Vec<String> = (0..101).map(|n| format!("\"leaf-{n}\"")).collect();
    for (text, reason) in [
        ("mode = \"listed\"".to_owned(), "parents lists no children"),
        ("mode = \"guessed\"".to_owned(), "is neither \"listed\" nor \"discovered\""),
        ("mode = \"discovered\"\nchildren = []".to_owned(), "children are listed and discovered"),
        ("children = [\"edge-a\"]".to_owned(), "edge-a is a member of the pool and cannot be its child"),
        ("children = [\"l\", \"l\"]".to_owned(), "l is there already"),
        ("children = [\"l 1\"]".to_owned(), "\"l 1\" is no device id"),
        (format!("children = [{}]", many.join(", ")), "101 children are listed; IoT Hub lets a gateway have 100"),
    ] {
        let said = said(&format!("{POOL}[pool.parents]\n{text}\n"), &[]);
        assert!(said.contains(reason) && said.contains("hint:"), "{text}: {said}");
    }
}

#[test]
fn members_are_meant_to_differ_where_it_is_said() {
    let drift = "ignore = [\"press env.PORT\"]\nignore_of = { edge-a = [\"press createOptions.HostConfig\"] }";
    let ignore = taken(&format!("{POOL}[pool.drift]\n{drift}\n"), &[]).pools[0].ignore.clone();
    assert_eq!(ignore.of_all[0].to_string(), "press env.PORT");
    assert_eq!(ignore.of_member["edge-a"][0].to_string(), "press createOptions.HostConfig");
    assert!(taken(POOL, &[]).pools[0].ignore.is_empty());
    for (text, reason) in [
        ("ignore = [\"press\"]", "\"press\" is no setting"),
        ("ignore_of = { edge-x = [] }", "edge-x is no member of the pool"),
    ] {
        let said = said(&format!("{POOL}[pool.drift]\n{text}\n"), &[]);
        assert!(said.contains(reason) && said.contains("hint:"), "{text}: {said}");
    }
}

const RESOURCE: &str = "[hub]\nconnection_string_env = \"X\"\nidentity.source = \"azure_cli\"\n\
    resource = { subscription = \"s\", group = \"g\", name = \"h\" }\n";

fn routed(routing: &str) -> String {
    format!("{RESOURCE}{POOL}[pool.routing]\n{routing}\n")
}

#[test]
fn routes_have_names_and_sources_of_their_own() {
    let text = routed(
        "mode = \"rules\"\nroute = [{ endpoint = \"events\" }, { endpoint = \"alarms\", name = \"a\", condition = \" x = 'y' \" }]",
    );
    let config = taken(&text, &[]);
    let resource = config.hub.resource.as_ref().expect("it is given");
    assert_eq!((resource.name.as_str(), resource.endpoint.as_str()), ("h", "https://management.azure.com"));
    let routing = config.pools[0].routing.as_ref().expect("it is given");
    assert_eq!(routing.mode, crate::routing::Mode::Rules);
    let shown: Vec<String> =
        routing.routes.iter().map(|r| format!("{} {} {:?}", r.name, r.source, r.condition)).collect();
    assert_eq!(shown, ["ha-press_1-events DeviceMessages None", "a DeviceMessages Some(\"x = 'y'\")"]);
    assert_eq!(taken(POOL, &[]).pools[0].routing, None);
}

#[test]
fn routing_that_cannot_work_is_refused() {
    for (routing, reason) in [
        ("route = []".to_owned(), "there is no route"),
        ("mode = \"magic\"\nroute = [{ endpoint = \"events\" }]".to_owned(), "is none of \"standing\", \"rules\""),
        ("route = [{ endpoint = \"a b\" }]".to_owned(), "\"a b\" is no endpoint's name"),
        ("route = [{ endpoint = \"events\", name = \"ä\" }]".to_owned(), "\"ä\" is no route's name"),
        ("route = [{ endpoint = \"events\", source = \"Everything\" }]".to_owned(), "is nothing that routes take from"),
        ("route = [{ endpoint = \"events\", condition = \" \" }]".to_owned(), "this is no condition"),
        (
            format!("route = [{{ endpoint = \"events\", condition = \"{}\" }}]", "x".repeat(8_193)),
            "this is no condition",
        ),
        (
            "route = [{ endpoint = \"events\" }, { endpoint = \"EVENTS\" }]".to_owned(),
            "is there already, at pool.toml:",
        ),
        (
            "mode = \"rules\"\nroute = [{ endpoint = \"events\", source = \"TwinChangeEvents\" }]".to_owned(),
            "a route takes from DeviceMessages, not from TwinChangeEvents",
        ),
    ] {
        let said = said(&routed(&routing), &[]);
        assert!(said.contains(reason) && said.contains("hint:"), "{routing}: {said}");
    }
    let rules = "[pool.routing]\nmode = \"rules\"\nroute = [{ endpoint = \"events\" }]\n";
    assert!(said(&format!("{POOL}{rules}"), &[]).contains("cannot rewrite routes of a hub that it cannot find"));
    let quoted = format!("{RESOURCE}{}{rules}", POOL.replace("edge-b", "edge'b"));
    assert!(said(&quoted, &[]).contains("edge'b cannot stand in the condition of a route"));
    assert_eq!(said(&quoted.replace("\"rules\"", "\"standing\""), &[]), "taken");
}

#[test]
fn a_resource_is_named_whole() {
    for (hub, reason) in [
        ("identity.source = \"azure_cli\"\nresource.group = \"g\"", "hub.resource has no subscription"),
        (
            "identity.source = \"azure_cli\"\nresource = { subscription = \"s/t\", group = \"g\", name = \"h\" }",
            "\"s/t\" is no subscription",
        ),
        (
            "resource = { subscription = \"s\", group = \"g\", name = \"h\" }",
            "Azure Resource Manager takes no connection string",
        ),
    ] {
        let said = said(&format!("[hub]\nconnection_string_env = \"X\"\n{hub}\n{POOL}"), &[]);
        assert!(said.contains(reason) && said.contains("hint:"), "{hub}: {said}");
    }
}

#[test]
fn a_cloud_says_where_tokens_and_the_resource_manager_are() {
    let hub = |more: &str| {
        format!("[hub]\nresource = {{ subscription = \"s\", group = \"g\", name = \"h\" }}\n{more}\n{POOL}")
    };
    let secret = "identity = { source = \"client_secret\", tenant = \"t\", client_id = \"c\" }";
    let found = |more: &str| {
        let hub = taken(&hub(more), &[]).hub;
        let authority = hub.identity().and_then(|identity| identity.authority.clone());
        (hub.cloud.hub_scope(), authority, hub.resource.expect("it is given").endpoint)
    };
    let government = "host = \"h.azure-devices.us\"\ncloud = \"us_government\"";
    let (authority, manager) = ("https://login.microsoftonline.us", "https://management.usgovcloudapi.net");
    let scope = "https://iothubs.azure.us/.default";
    let expected = (scope, Some(authority.to_owned()), manager.to_owned());
    assert_eq!(found(&format!("{government}\n{secret}")), expected);
    // The metadata service of a machine is everywhere the same.
    let managed = "identity.source = \"managed\"";
    assert_eq!(found(&format!("{government}\n{managed}")), (scope, None, manager.to_owned()));
    let china = format!("host = \"h.azure-devices.cn\"\ncloud = \"china\"\n{secret}");
    let expected = (
        "https://iothubs.azure.net/.default",
        Some("https://login.chinacloudapi.cn".to_owned()),
        "https://management.chinacloudapi.cn".to_owned(),
    );
    assert_eq!(found(&china), expected);

    for (more, reason, hint) in [
        ("host = \"h.azure-devices.cn\"", "h.azure-devices.cn is not in the cloud \"public\"", "cloud = \"china\""),
        (
            "host = \"h.azure-devices.net\"\ncloud = \"us_government\"",
            "is not in the cloud \"us_government\"",
            "cloud = \"public\"",
        ),
        (
            "host = \"h.azure-devices.us\"\ncloud = \"moon\"",
            "cloud = \"moon\" is none of \"public\", \"china\", \"us_government\"",
            "hint: ",
        ),
    ] {
        let said = said(&hub(&format!("{more}\n{managed}")), &[]);
        assert!(said.contains(reason) && said.contains(hint), "{more}: {said}");
    }
}
