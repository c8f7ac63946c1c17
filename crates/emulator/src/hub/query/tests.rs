//! The language by example.

use super::*;
use serde_json::json;

fn rows() -> Vec<Value> {
    vec![
        json!({"deviceId": "a", "status": "enabled", "version": 2,
            "tags": {"site": "m1", "floor": 3, "my.key": true},
            "capabilities": {"iotEdge": true},
            "properties": {"desired": {"x": {"y": 1}, "$version": 4}, "reported": {"code": 200}}}),
        json!({"deviceId": "b", "status": "disabled", "version": 3,
            "tags": {"site": "m2", "floor": 1},
            "capabilities": {"iotEdge": false},
            "properties": {"desired": {"$version": 1}, "reported": {"code": 406, "gone": null}}}),
        json!({"deviceId": "it's", "status": "enabled", "version": 9,
            "capabilities": {"iotEdge": false},
            "properties": {"desired": {"$version": 1}, "reported": {}}}),
    ]
}

fn run(text: &str) -> String {
    let query = match Query::parse(text) {
        Ok(query) => query,
        Err(e) => return e.to_string(),
    };
    let admitted: Vec<Value> = rows().into_iter().filter(|r| query.admits(r)).collect();
    let out = if query.is_aggregate() {
        query.fold(&admitted)
    } else if query.is_whole() {
        admitted.iter().map(|r| r["deviceId"].clone()).collect()
    } else {
        admitted.into_iter().map(|r| query.project(r)).collect()
    };
    Value::Array(out).to_string()
}

#[test]
fn conditions_by_table() {
    for (condition, ids) in [
        ("deviceId = 'a'", r#"["a"]"#),
        ("DEVICEID = 'a'", r#"["a"]"#),
        ("devices.deviceId = \"a\"", r#"["a"]"#),
        (r"deviceId = 'it\'s'", r#"["it's"]"#),
        ("deviceId IN ['a','b']", r#"["a","b"]"#),
        ("deviceId NIN ['a','b']", r#"["it's"]"#),
        ("tags.site = 'm1'", r#"["a"]"#),
        ("tags.site != 'm1'", r#"["b"]"#),
        ("tags.site <> 'm1'", r#"["b"]"#),
        ("NOT tags.site = 'm1'", r#"["b"]"#),
        ("NOT (tags.site = 'm1' OR version > 3)", r#"["b"]"#),
        ("is_defined(tags.site)", r#"["a","b"]"#),
        ("NOT IS_DEFINED(tags.site)", r#"["it's"]"#),
        ("tags.floor >= 1 and tags.floor < 3", r#"["b"]"#),
        ("tags.floor + 1 = 4", r#"["a"]"#),
        ("tags.floor * 2 - 1 = 5", r#"["a"]"#),
        ("version > -1", r#"["a","b","it's"]"#),
        ("version = 0x9", r#"["it's"]"#),
        ("tags.[[my.key]] = true", r#"["a"]"#),
        ("capabilities.iotEdge = true", r#"["a"]"#),
        ("properties.reported.gone = null", r#"["b"]"#),
        ("properties.desired.x.y = 1", r#"["a"]"#),
        ("properties.desired.x = 1", "[]"),
        ("properties.desired.$version = 4", r#"["a"]"#),
        (r#"deviceId = "it's""#, r#"["it's"]"#),
        (r"deviceId = 'it\u0027s'", r#"["it's"]"#),
        ("deviceId = 'it''s'", r#"["it's"]"#),
        ("tags.floor IN [1, 2.0, 0x3, 'm1', null, undefined, -1]", r#"["a","b"]"#),
        ("tags.floor IN []", "[]"),
        ("tags.floor NIN [3]", r#"["b"]"#),
        ("properties.reported.gone IN [null]", r#"["b"]"#),
        ("properties.reported.gone != 1", r#"["b"]"#),
        ("tags.floor = undefined OR deviceId = 'a'", r#"["a"]"#),
        ("tags = ['a', 1]", "[]"),
        ("version % 2 = 1 AND version / 3 = 3", r#"["it's"]"#),
        ("version / 0 > 1 OR version - 2 - 1 = 0", r#"["b"]"#),
        ("2 + 3 * 2 = 8 AND version = 2", r#"["a"]"#),
        ("(2 + 3) * 2 = 10 AND 1e2 = 100 AND 2.5E-1 = 0.25 AND version = 2", r#"["a"]"#),
        ("- - version = 9", r#"["it's"]"#),
        ("(version = 2) = true", r#"["a"]"#),
        ("tags AND tags", "[]"),
        ("NOT (tags AND version = 2) AND NOT (tags OR version = 2)", "[]"),
        ("NOT (tags AND version = 2)", r#"["b","it's"]"#),
        ("tags OR version = 2", r#"["a"]"#),
        ("is_defined(tags.[[my.key]]) and not capabilities.iotEdge = false", r#"["a"]"#),
        ("CAPABILITIES.iotEdge = TRUE", r#"["a"]"#),
        ("capabilities.IOTEDGE = true", "[]"),
        ("tags.Site = 'm1'", "[]"),
        ("tags.site = 1", "[]"),
        ("properties.reported.code = 200 OR status = 'disabled' AND tags.floor = 9", r#"["a"]"#),
    ] {
        let text = format!("select * from devices where {condition}");
        assert_eq!(run(&text), ids, "{condition}");
    }
}

#[test]
fn projections_and_folds_by_table() {
    for (text, out) in [
        (
            "SELECT DeviceId, tags.site AS s FROM devices",
            r#"[{"deviceId":"a","s":"m1"},{"deviceId":"b","s":"m2"},{"deviceId":"it's"}]"#,
        ),
        ("SELECT tags.floor FROM devices WHERE deviceId = 'a'", r#"[{"floor":3}]"#),
        ("SELECT COUNT() AS n FROM devices", r#"[{"n":3}]"#),
        ("SELECT COUNT() FROM devices WHERE version > 99", r#"[{"$1":0}]"#),
        (
            "SELECT status, COUNT() AS n FROM devices GROUP BY status",
            r#"[{"status":"enabled","n":2},{"status":"disabled","n":1}]"#,
        ),
        (
            "SELECT SUM(tags.floor) AS s, MIN(tags.floor) AS lo, MAX(version) AS hi, AVG(tags.floor) AS avg FROM devices",
            r#"[{"s":4,"lo":1,"hi":9,"avg":2}]"#,
        ),
    ] {
        assert_eq!(run(text), out, "{text}");
    }
}

#[test]
fn nonsense_is_refused_with_its_place() {
    for text in [
        "",
        "SELECT",
        "SELECT * FROM",
        "SELECT * FROM nowhere",
        "SELECT * FROM devices WHERE",
        "SELECT * FROM devices WHERE a = 'x",
        "SELECT * FROM devices WHERE a == 1",
        "SELECT * FROM devices WHERE STARTSWITH(a, 'b')",
        "SELECT * FROM devices extra",
        "SELECT COUNT(a) FROM devices",
        "SELECT TOP x * FROM devices",
        "SELECT * FROM devices WHERE a IN 'b'",
        "SELECT * FROM devices WHERE [[a = 1",
        "SELECT * FROM devices WHERE ~",
        "SELECT * FROM devices WHERE a = 0x",
        "SELECT * FROM devices WHERE a = 0x11112222333344445",
        "SELECT * FROM devices WHERE a = 1x",
        "SELECT * FROM devices WHERE a = 1e999",
        "SELECT * FROM devices WHERE a = '\\u12'",
        "SELECT * FROM devices WHERE a = '\\ud800x'",
        "SELECT * FROM devices WHERE a IN [b]",
        "SELECT * FROM devices WHERE a = b = c",
        "SELECT * FROM devices WHERE COUNT() = 1",
        "SELECT * FROM devices GROUP BY status",
        "SELECT status, COUNT() FROM devices",
        "SELECT version, COUNT() FROM devices GROUP BY status",
        "SELECT COUNT() FROM devices.modules",
        "SELECT moduleId FROM devices.modules GROUP BY moduleId",
        "SELECT deviceId FROM devices.jobs",
        "SELECT * FROM devices.twins",
        "SELECT a, FROM devices",
        "SELECT TOP -1 * FROM devices",
    ] {
        assert!(Query::parse(text).is_err(), "{text}");
    }
}

#[test]
fn hostile_texts_are_refused_or_cheap() {
    let long = |head: &str, piece: &str| format!("{head}{}", piece.repeat((8192 - head.len()) / piece.len()));
    let refused = ["(", "NOT ", "- ", "((1)=", "-(NOT ", "1+", "a AND ", "'\\", "[[", "[", "tags.a,", "a IN ["];
    for piece in refused {
        let text = long("SELECT * FROM devices WHERE ", piece);
        assert!(Query::parse(&text).is_err(), "{piece}");
    }
    assert!(Query::parse(&long("SELECT * FROM devices WHERE a IN [1", ",1")).is_err(), "not closed");
    let list = format!("{}]", &long("SELECT * FROM devices WHERE a IN [1", ",1")[..8189]);
    assert!(Query::parse(&list).is_ok());
    let operands = |n: usize| format!("SELECT * FROM devices WHERE 0{}", "+1".repeat(n - 1));
    assert!(Query::parse(&operands(1024)).is_ok());
    assert!(Query::parse(&operands(1025)).is_err());
    let nested = |n: usize| format!("SELECT * FROM devices WHERE {}1=1{}", "(".repeat(n), ")".repeat(n));
    assert!(Query::parse(&nested(64)).is_ok());
    assert!(Query::parse(&nested(65)).is_err());
    let exact = format!("{:8192}", "SELECT * FROM devices");
    assert!(Query::parse(&exact).is_ok());
    assert!(Query::parse(&format!("{exact} ")).is_err());
}

#[test]
fn a_list_is_looked_through() {
    let row = json!({"deviceId": "leaf", "parentScopes": ["ms-azure-iot-edge://gw-1", 7], "tags": {}});
    for (condition, found) in [
        ("array_contains(parentScopes, 'ms-azure-iot-edge://gw-1')", true),
        ("ARRAY_CONTAINS(parentscopes, 7) AND deviceId = 'leaf'", true),
        ("array_contains(parentScopes, 'ms-azure-iot-edge://gw-2')", false),
        ("NOT array_contains(parentScopes, 'ms-azure-iot-edge://gw-2')", true),
        ("array_contains(tags.none, 'x')", false),
        ("NOT array_contains(tags.none, 'x')", false),
        ("array_contains(deviceId, 'leaf')", false),
    ] {
        let query = Query::parse(&format!("SELECT * FROM devices WHERE {condition}")).expect("a query");
        assert_eq!(query.admits(&row), found, "{condition}");
    }
}

#[test]
fn errors_name_the_place() {
    for (text, error) in [
        ("SELECT * FROM devices WHERE a = ", "a name is expected at character 32"),
        ("SELECT * FROM things", "FROM takes devices, devices.modules or devices.jobs at character 14"),
        (
            "SELECT * FROM devices WHERE STARTSWITH(a, 'b')",
            "the functions are IS_DEFINED and ARRAY_CONTAINS; others belong to message routes at character 28",
        ),
        (
            "SELECT status, COUNT() FROM devices",
            "beside aggregates only the path after GROUP BY can be a column at character 7",
        ),
    ] {
        assert_eq!(run(text), error, "{text}");
    }
}

#[test]
fn paths_are_read_for_their_collection() {
    let row = json!({"deviceId": "d", "moduleId": "m", "jobId": "j", "status": "completed", "tags": {"jobs": 1}});
    for text in [
        "SELECT * FROM devices WHERE devices.DeviceId = 'd' AND tags.jobs = 1 AND devices.tags.jobs = 1",
        "SELECT * FROM devices.modules WHERE devices.modules.ModuleId = 'm' AND devices.moduleId = 'm' AND moduleid = 'm'",
        "SELECT * FROM devices.jobs WHERE devices.jobs.JobId = 'j' AND devices.jobs.status = 'completed' AND jobid = 'j'",
    ] {
        assert!(Query::parse(text).expect(text).admits(&row), "{text}");
    }
}

#[test]
fn top_and_source_are_read() {
    let query = Query::parse("SELECT TOP 2 * FROM devices.modules").expect("valid");
    assert_eq!((query.top, query.source), (Some(2), Source::Modules));
    assert!(query.is_whole() && !query.is_aggregate());
}

#[test]
fn target_conditions() {
    assert!(Condition::parse("*").is_ok());
    assert!(Condition::parse("tags.site='m1' AND deviceId != 'x'").is_ok());
    assert!(Condition::parse("tags.site=").is_err());
}
