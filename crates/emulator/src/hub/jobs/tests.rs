//! Jobs without sockets or waiting.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::{Code, DeviceBody, Dice, Dirty, Effect, Errand, Event, Expect, Happening, Hub, Id, Refusal};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn hub(devices: usize) -> Hub {
    let mut hub = Hub::new(Dice::new([7; 32]), SignedDuration::ZERO);
    for n in 0..devices {
        hub.put_device(&format!("d{n:03}"), &DeviceBody::default(), &Expect::Nothing, at(0)).expect("made");
    }
    hub
}

fn update(condition: &str) -> Value {
    json!({"type": "scheduleUpdateTwin", "queryCondition": condition, "updateTwin": {"etag": "*", "tags": {"a": 1}}})
}

fn method(condition: &str) -> Value {
    let method = json!({"methodName": "reboot", "payload": {"s": 1}, "responseTimeoutInSeconds": 30});
    json!({"type": "scheduleDeviceMethod", "queryCondition": condition, "cloudToDeviceMethod": method,
        "maxExecutionTimeInSeconds": 60})
}

fn create(hub: &mut Hub, id: &str, body: &Value, second: i64) -> Value {
    hub.create_job(id, body, at(second)).expect("made")
}

fn rows(hub: &mut Hub, condition: &str) -> Vec<Value> {
    let text = format!("SELECT * FROM devices.jobs WHERE {condition}");
    let page = hub.query(&text, 100, None, at(0)).expect("a page");
    assert_eq!(page.item_type, "DeviceJob");
    page.rows
}

/// Carries out twin updates until there are none.
fn work(hub: &mut Hub, second: i64) {
    loop {
        let errands = hub.advance_jobs(at(second));
        for errand in &errands {
            hub.update_twin_for(errand, at(second));
        }
        if errands.is_empty() {
            return;
        }
    }
}

/// What was told of jobs since the last call, as `device status`.
fn told(hub: &mut Hub) -> Vec<String> {
    let tell = |event: Event| match event.what {
        Happening::Job { created, row, .. } => {
            let born = if created { "+" } else { "" };
            Some(format!("{born}{} {}", event.id, row["status"].as_str().unwrap_or_default()))
        }
        _ => None,
    };
    hub.take_effects().into_iter().filter_map(Effect::into_event).filter_map(tell).collect()
}

#[test]
fn every_change_of_a_device_is_told_once() {
    let mut hub = hub(2);
    create(&mut hub, "j1", &method("*"), 0);
    let errands = hub.advance_jobs(at(0));
    assert_eq!(told(&mut hub), ["+d000 pending", "+d001 pending", "d000 running", "d001 running"]);
    answer(&mut hub, &errands[0], Ok(json!({"status": 200})), 1);
    hub.advance_jobs(at(100));
    answer(&mut hub, &errands[1], Ok(json!({"status": 200})), 101);
    assert_eq!(told(&mut hub), ["d000 completed", "d001 failed"], "its time has run out");
    let mut hub = self::hub(12);
    create(&mut hub, "j2", &method("*"), 0);
    hub.advance_jobs(at(0));
    told(&mut hub);
    hub.cancel_job("j2", at(1)).expect("cancelled");
    assert_eq!(told(&mut hub), ["d010 canceled", "d011 canceled"], "the others are under way");
}

fn answer(hub: &mut Hub, errand: &Errand, answer: Result<Value, Refusal>, second: i64) {
    hub.settle_errand(errand, answer, at(second));
}

#[test]
fn a_twin_update_reaches_whom_the_condition_holds_for() {
    let mut hub = hub(3);
    let made = create(&mut hub, "j", &update("deviceId != 'd001'"), 1);
    assert_eq!((&made["status"], &made["type"]), (&json!("queued"), &json!("scheduleUpdateTwin")));
    assert_eq!(made["endTime"], "9999-12-31T23:59:59.9999999Z");
    assert!(made.get("deviceJobStatistics").is_none());
    assert_eq!(hub.jobs_rest(at(1)), Some(SignedDuration::ZERO));
    work(&mut hub, 2);
    let done = hub.job("j", at(3));
    assert_eq!(done["status"], "completed");
    assert_eq!(done["endTime"], "2023-11-14T22:13:22Z");
    assert_eq!(
        done["deviceJobStatistics"],
        json!({"deviceCount": 2, "failedCount": 0, "succeededCount": 2, "runningCount": 0, "pendingCount": 0})
    );
    let tagged = |hub: &Hub, id| hub.twin(&Id::device(id)).expect("there")["tags"] == json!({"a": 1});
    assert!(tagged(&hub, "d000") && !tagged(&hub, "d001") && tagged(&hub, "d002"));
    assert_eq!(hub.jobs_rest(at(3)), None);
    let of_one = rows(&mut hub, "devices.jobs.deviceId = 'd002' AND devices.jobs.jobType = 'scheduleUpdateTwin'");
    assert_eq!(
        of_one,
        [json!({"deviceId": "d002", "jobId": "j", "jobType": "scheduleUpdateTwin", "status": "completed",
            "startTimeUtc": "2023-11-14T22:13:22Z", "endTimeUtc": "2023-11-14T22:13:22Z",
            "createdDateTimeUtc": "2023-11-14T22:13:22Z", "lastUpdatedDateTimeUtc": "2023-11-14T22:13:22Z",
            "outcome": {"deviceMethodResponse": null}})]
    );
}

#[test]
fn many_twins_are_written_ten_at_a_time() {
    let mut hub = hub(25);
    create(&mut hub, "j", &update("*"), 0);
    let first = hub.advance_jobs(at(0));
    assert_eq!((first.len(), hub.advance_jobs(at(0)).len()), (10, 0));
    first.iter().for_each(|errand| hub.update_twin_for(errand, at(0)));
    first.iter().for_each(|errand| hub.update_twin_for(errand, at(0)));
    assert_eq!(hub.twin(&Id::device("d000")).expect("there")["etag"], "AAAAAAAAAAI=", "once only");
    work(&mut hub, 0);
    assert_eq!(hub.job("j", at(0))["deviceJobStatistics"]["succeededCount"], 25);
}

#[test]
fn a_method_goes_to_ten_devices_at_a_time() {
    let mut hub = hub(12);
    create(&mut hub, "j", &method("*"), 0);
    let errands = hub.advance_jobs(at(1));
    assert_eq!(errands.len(), 10);
    assert_eq!(
        (errands[0].device.as_str(), errands[0].method.as_ref().map(|m| m.method_name.as_str())),
        ("d000", Some("reboot"))
    );
    assert_eq!((hub.advance_jobs(at(1)), hub.jobs_rest(at(1))), (vec![], Some(SignedDuration::from_secs(60))));
    answer(&mut hub, &errands[0], Ok(json!({"status": 200, "payload": "ok"})), 2);
    answer(&mut hub, &errands[1], Err(Refusal::new(Code::DeviceNotOnline, "not there")), 2);
    let rest = hub.advance_jobs(at(3));
    assert_eq!(rest.iter().map(|e| e.device.as_str()).collect::<Vec<_>>(), ["d010", "d011"]);
    assert_eq!(
        hub.job("j", at(3))["deviceJobStatistics"],
        json!({"deviceCount": 12, "failedCount": 1, "succeededCount": 1, "runningCount": 10, "pendingCount": 0})
    );
    for errand in errands[2..].iter().chain(&rest) {
        answer(&mut hub, errand, Ok(json!({"status": 500, "payload": null})), 4);
    }
    assert_eq!(hub.job("j", at(4))["status"], "completed");
    assert_eq!(
        rows(&mut hub, "status = 'failed'")[0]["error"],
        json!({"code": "DeviceNotOnline", "description": "not there"})
    );
    let answered = rows(&mut hub, "jobId = 'j' AND outcome.deviceMethodResponse.status = 200");
    assert_eq!(answered[0]["outcome"], json!({"deviceMethodResponse": {"status": 200, "payload": "ok"}}));
}

#[test]
fn time_runs_out_and_late_answers_count_for_nothing() {
    let mut hub = hub(11);
    create(&mut hub, "j", &method("*"), 0);
    let errands = hub.advance_jobs(at(1));
    answer(&mut hub, &errands[0], Ok(json!({})), 2);
    assert_eq!(hub.jobs_rest(at(31)), Some(SignedDuration::ZERO), "one device waits, one place is free");
    hub.advance_jobs(at(31));
    assert_eq!(hub.jobs_rest(at(31)), Some(SignedDuration::from_secs(30)));
    hub.advance_jobs(at(61));
    let ended = hub.job("j", at(61));
    assert_eq!((&ended["status"], &ended["deviceJobStatistics"]["failedCount"]), (&json!("completed"), &json!(10)));
    answer(&mut hub, &errands[1], Ok(json!({})), 62);
    assert_eq!(hub.job("j", at(62)), ended);
}

#[test]
fn one_job_at_a_time_and_a_scheduled_one_counts() {
    let mut hub = hub(1);
    let mut later = update("*");
    later["startTime"] = json!("2023-11-14T22:14:20Z");
    assert_eq!(create(&mut hub, "later", &later, 0)["status"], "scheduled");
    let refusal = hub.create_job("other", &update("*"), at(1)).expect_err("one at a time");
    assert_eq!(refusal.code, Code::ThrottlingMaxActiveJobCountExceeded);
    assert_eq!(hub.jobs_rest(at(0)), Some(SignedDuration::from_secs(60)));
    hub.advance_jobs(at(59));
    assert_eq!(hub.job("later", at(59))["status"], "scheduled");
    assert_eq!(hub.job("later", at(60))["status"], "queued");
    work(&mut hub, 60);
    assert_eq!(hub.job("later", at(60))["status"], "completed");
    let refusal = hub.create_job("later", &update("*"), at(61)).expect_err("the id is taken");
    assert_eq!(refusal.code, Code::JobAlreadyExists);
    create(&mut hub, "other", &update("*"), 61);
}

#[test]
fn a_cancelled_job_begins_nothing_and_keeps_what_was_done() {
    let mut hub = hub(12);
    create(&mut hub, "j", &method("*"), 0);
    let errands = hub.advance_jobs(at(1));
    assert_eq!(hub.cancel_job("j", at(2)).expect("cancelled")["status"], "cancelled");
    assert_eq!((hub.advance_jobs(at(3)), hub.jobs_rest(at(3))), (vec![], None));
    answer(&mut hub, &errands[0], Ok(json!({"status": 200})), 4);
    assert_eq!(rows(&mut hub, "status = 'canceled'").len(), 2);
    assert_eq!(rows(&mut hub, "status = 'completed'").len(), 1);
    assert_eq!(hub.cancel_job("j", at(5)).expect("again")["endTime"], "2023-11-14T22:13:22Z");
    assert_eq!(hub.cancel_job("nobody", at(5)).expect_err("unknown").code, Code::JobNotFound);
    assert_eq!(hub.job("nobody", at(5)), json!({"jobId": "nobody", "type": "unknown", "status": "unknown"}));
}

#[test]
fn what_makes_no_job_is_refused() {
    let mut hub = hub(1);
    let with = |name: &str, value: Value| {
        let mut body = update("*");
        body[name] = value;
        body
    };
    let mut bad_method = method("*");
    bad_method["cloudToDeviceMethod"]["methodName"] = json!("a b");
    for body in [
        json!([]),
        json!({}),
        with("type", json!("export")),
        with("type", json!("scheduleDeviceMethod")),
        with("queryCondition", Value::Null),
        with("queryCondition", json!("tags.a =")),
        with("queryCondition", json!("SELECT * FROM devices")),
        with("updateTwin", json!("x")),
        with("jobId", json!("another")),
        with("startTime", json!("soon")),
        with("startTime", json!("2023-11-22T22:13:20Z")),
        with("maxExecutionTimeInSeconds", json!(0)),
        with("maxExecutionTimeInSeconds", json!(i64::MAX)),
        bad_method,
    ] {
        let refusal = hub.create_job("j", &body, at(0)).expect_err("refused");
        assert_eq!(refusal.code, Code::ArgumentInvalid, "{body}");
    }
    assert_eq!(hub.create_job("a/b", &update("*"), at(0)).expect_err("an id").code, Code::ArgumentInvalid);
    create(&mut hub, "j", &with("startTime", json!("2016-01-01T00:00:00")), 0);
}

#[test]
fn jobs_are_listed_by_kind_and_status_in_pages() {
    let mut hub = hub(1);
    for (id, body) in [("a", update("*")), ("b", method("deviceId = 'x'")), ("c", update("*")), ("d", update("*"))] {
        create(&mut hub, id, &body, 0);
        work(&mut hub, 0);
    }
    let list = |kind, status, page, token: Option<&str>| {
        let page = hub.list_jobs(kind, status, page, token, at(1)).expect("a page");
        assert_eq!(page.item_type, "JobResponse");
        let ids: String = page.rows.iter().filter_map(|row| row["jobId"].as_str()).collect();
        (ids, page.continuation)
    };
    assert_eq!(list(None, None, 100, None).0, "abcd");
    assert_eq!(list(Some("ScheduleUpdateTwin"), Some("Completed"), 100, None).0, "acd");
    assert_eq!(list(None, Some("running"), 100, None).0, "");
    let (first, token) = list(Some("scheduleUpdateTwin"), None, 2, None);
    assert_eq!(
        (first.as_str(), list(Some("scheduleUpdateTwin"), None, 2, token.as_deref())),
        ("ac", ("d".into(), None))
    );
    assert!(hub.list_jobs(None, None, 2, token.as_deref(), at(1)).is_err(), "a token of another list");
}

#[test]
fn a_device_that_went_away_and_a_patch_that_does_not_fit_fail_alone() {
    let mut hub = hub(11);
    let mut body = update("*");
    body["updateTwin"]["etag"] = json!("AAAAAAAAAAE=");
    hub.patch_twin(&Id::device("d000"), &json!({"tags": {"b": 1}}), &Expect::Nothing, at(0)).expect("patched");
    create(&mut hub, "j", &body, 0);
    let first = hub.advance_jobs(at(0));
    first.iter().for_each(|errand| hub.update_twin_for(errand, at(0)));
    hub.delete_device("d010", &Expect::Any, at(0)).expect("deleted");
    work(&mut hub, 0);
    let failed = rows(&mut hub, "status = 'failed'");
    let codes: Vec<_> = failed.iter().map(|row| (&row["deviceId"], &row["error"]["code"])).collect();
    assert_eq!(json!(codes), json!([["d000", "PreconditionFailed"], ["d010", "DeviceNotFound"]]));
}

#[test]
fn jobs_outlive_the_process() {
    let mut first = hub(12);
    create(&mut first, "j", &method("*"), 0);
    first.advance_jobs(at(1));
    let text = serde_json::to_string(&first.save()).expect("JSON");
    let mut second = Hub::new(Dice::new([1; 32]), SignedDuration::ZERO);
    second.load(serde_json::from_str(&text).expect("read"), at(2)).expect("loaded");
    assert_eq!(second.job("j", at(2))["deviceJobStatistics"]["pendingCount"], 12);
    assert_eq!(second.advance_jobs(at(3)).len(), 10);
    assert_eq!(second.jobs_rest(at(3)), Some(SignedDuration::from_secs(58)));
}

#[test]
fn a_job_is_written_down_when_it_begins_and_ends_not_for_each_device() {
    let mut hub = hub(30);
    let rest = |hub: &mut Hub| matches!(hub.take_dirty(), Dirty::Rest(_));
    hub.take_dirty();
    create(&mut hub, "j", &method("*"), 0);
    assert!(rest(&mut hub), "made");
    let mut errands = hub.advance_jobs(at(1));
    assert!(rest(&mut hub), "begun");
    let mut written = 0;
    while let Some(errand) = errands.pop() {
        answer(&mut hub, &errand, Ok(json!({})), 2);
        errands.extend(hub.advance_jobs(at(2)));
        written += usize::from(rest(&mut hub));
    }
    assert_eq!((written, &hub.job("j", at(2))["status"]), (1, &json!("completed")));
}
