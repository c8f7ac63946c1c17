//! Stories of edgeHub without a clock: what is said to it, and what it then says.

use std::time::Duration;

use serde_json::json;

use super::*;

const S: Duration = Duration::from_secs(1);

struct World {
    hub: EdgeHub,
    now: Now,
    sessions: u64,
}

impl World {
    /// edgeHub with its own line up and its twin read.
    fn start(own_desired: Value) -> Self {
        let now = Now { at: Instant::now(), wall: jiff::Timestamp::UNIX_EPOCH };
        let mut world = Self { hub: EdgeHub::new("edge", Timings::default(), now), now, sessions: 0 };
        let said = world.up("$edgeHub");
        let twin = json!({"desired": own_desired, "reported": {"clients": {"edge/gone": {"status": "Connected"}}}});
        let rid = rid_of(&said, "$iothub/twin/GET");
        world.cloud("$edgeHub", &format!("$iothub/twin/res/200/?$rid={rid}"), &twin.to_string());
        let rid = rid_of(&said, "$iothub/twin/PATCH/properties/reported");
        world.cloud("$edgeHub", &format!("$iothub/twin/res/204/?$rid={rid}&$version=2"), "");
        world
    }

    fn observe(&mut self, input: Input) -> Vec<String> {
        self.hub.observe(self.now, input);
        // What is kept is said to nobody.
        let said = self.hub.take_effects().into_iter().filter(|effect| !matches!(effect, Effect::Keep { .. }));
        said.map(shown).collect()
    }

    fn later(&mut self, time: Duration) -> Vec<String> {
        self.now.at += time;
        self.observe(Input::Tick)
    }

    /// A module logs in and subscribes.
    fn join(&mut self, module: &str, filters: &[Filter]) -> Vec<String> {
        self.sessions += 1;
        let session = Session(self.sessions);
        let mut said = self.observe(Input::Attached { id: id(module), session, clean: true });
        for filter in filters {
            said.extend(self.observe(Input::Subscribed { id: id(module), session, filter: filter.clone() }));
        }
        said
    }

    fn session(&self, module: &str) -> Session {
        self.hub.clients[&id(module)].session.expect("a session")
    }

    fn leave(&mut self, module: &str) -> Vec<String> {
        let session = self.session(module);
        self.observe(Input::Detached { id: id(module), session })
    }

    fn publish(&mut self, module: &str, topic: &str, payload: &str) -> Vec<String> {
        let session = self.session(module);
        let topic = topic.parse().expect("a topic");
        self.observe(Input::Published {
            id: id(module),
            session,
            topic,
            payload: Bytes::copy_from_slice(payload.as_bytes()),
        })
    }

    fn news(&mut self, module: &str, news: News) -> Vec<String> {
        self.observe(Input::Upstream { id: id(module), news })
    }

    fn up(&mut self, module: &str) -> Vec<String> {
        self.news(module, News::Up)
    }

    fn cloud(&mut self, module: &str, topic: &str, payload: &str) -> Vec<String> {
        let topic = topic.parse().expect("a topic");
        self.news(module, News::Heard { topic, payload: payload.as_bytes().to_vec() })
    }

    /// A module with its line up and this twin read.
    fn with_twin(own: Value, module: &str, twin: &Value) -> Self {
        let mut world = Self::start(own);
        world.join(module, &[Filter::TwinAnswers, Filter::DesiredChanges, Filter::MethodCalls]);
        world.up(module);
        let asked = world.publish(module, "$iothub/twin/GET/?$rid=0", "");
        let rid = rid_of(&asked, "$iothub/twin/GET");
        let answer = world.cloud(module, &format!("$iothub/twin/res/200/?$rid={rid}"), &twin.to_string());
        assert_eq!(answer, [format!("to {module}: $iothub/twin/res/200/?$rid=0 {twin}")]);
        world
    }
}

fn id(module: &str) -> Id {
    Id::module("edge", module)
}

fn rid_of(said: &[String], what: &str) -> String {
    let line = said.iter().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what} in {said:#?}"));
    line.split("$rid=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a rid").to_owned()
}

fn shown(effect: Effect) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = |id: &Id| id.module.clone().unwrap_or_else(|| id.device.clone());
    let line = match effect {
        Effect::Client { id, order: ClientOrder::Publish { topic, payload }, .. } => {
            format!("to {}: {topic} {}", name(&id), text(&payload))
        }
        Effect::Client { id, order: ClientOrder::Deliver { topic, payload, message }, .. } => {
            format!("to {}: {topic} {} ({message})", name(&id), text(&payload))
        }
        Effect::Client { id, session, order: ClientOrder::Close } => format!("close {} {}", name(&id), session.0),
        Effect::Upstream { id, order } => match order {
            UpstreamOrder::Publish { topic, payload } => format!("up {}: {topic} {}", name(&id), text(&payload)),
            UpstreamOrder::Send { topic, payload, message } => {
                format!("up {}: {topic} {} ({message})", name(&id), text(&payload))
            }
            UpstreamOrder::Subscribe(filter) => format!("up {}: subscribe {filter}", name(&id)),
            UpstreamOrder::Unsubscribe(filter) => format!("up {}: unsubscribe {filter}", name(&id)),
            order => format!("up {}: {order:?}", name(&id)),
        },
        Effect::Answered { answer, .. } => format!("answer {answer:?}"),
        Effect::RefreshScope(devices) => format!("refresh {devices:?}"),
        Effect::Keep { id, .. } => format!("keep {}", name(&id)),
    };
    line.trim_end().to_owned()
}

fn twin(version: u64) -> Value {
    json!({"desired": {"a": version, "$version": version}, "reported": {"$version": 1}})
}

#[test]
fn a_report_is_kept_before_it_is_acknowledged_and_goes_out_in_the_next_life() {
    let mut world = World::with_twin(json!({"$version": 1}), "m", &twin(4));
    let topic = "$iothub/twin/PATCH/properties/reported/?$rid=1".parse().expect("a topic");
    let (session, payload) = (world.session("m"), Bytes::from_static(b"{\"b\":1}"));
    world.hub.observe(world.now, Input::Published { id: id("m"), session, topic, payload });
    let mut effects = world.hub.take_effects();
    let shown: Vec<String> = effects.iter().cloned().map(shown).collect();
    assert_eq!(shown, ["keep m", "to m: $iothub/twin/res/204/?$rid=1"]);
    let Effect::Keep { twin: kept, .. } = effects.remove(0) else { panic!("not kept") };

    let mut later = World::start(json!({"$version": 1}));
    later.hub.restore(later.now, &id("m"), kept);
    assert_eq!(later.later(S), ["up m: Open"]);
    let said = [later.up("m"), later.later(S * 5)].concat();
    assert!(
        said.iter().any(|line| line.starts_with("up m: $iothub/twin/PATCH") && line.ends_with("{\"b\":1}")),
        "{said:?}"
    );
}

#[test]
fn during_an_outage_the_copy_answers_as_if_it_were_the_twin() {
    let mut world = World::with_twin(json!({"$version": 1}), "m", &twin(4));
    // The line is dead but nobody has noticed: the request goes out, and after its time the copy answers.
    let asked = world.publish("m", "$iothub/twin/GET/?$rid=7", "");
    assert!(asked[0].starts_with("up m: $iothub/twin/GET"), "{asked:?}");
    let to_m = |said: Vec<String>| said.into_iter().filter(|line| line.starts_with("to m")).collect::<Vec<_>>();
    assert_eq!(to_m(world.later(S * 19)), Vec::<String>::new());
    let copy = format!("to m: $iothub/twin/res/200/?$rid=7 {}", twin(4));
    assert_eq!(to_m(world.later(S)), std::slice::from_ref(&copy));
    // Once the line is known to be down, the failed attempt to connect answers.
    world.news("m", News::Down);
    assert_eq!(world.publish("m", "$iothub/twin/GET/?$rid=8", ""), ["up m: Open"]);
    assert_eq!(world.news("m", News::Down), [copy.replace("rid=7", "rid=8")]);
}

#[test]
fn with_nothing_stored_the_twin_is_empty() {
    let mut world = World::start(json!({"$version": 1}));
    world.join("m", &[Filter::TwinAnswers]);
    world.publish("m", "$iothub/twin/GET/?$rid=1", "");
    let answer = world.news("m", News::Down);
    assert_eq!(answer, ["to m: $iothub/twin/res/200/?$rid=1 {\"desired\":{},\"reported\":{}}"]);
}

#[test]
fn a_report_is_acknowledged_at_once_without_a_version_and_goes_up_later() {
    let mut world = World::with_twin(json!({"$version": 1}), "m", &twin(1));
    world.news("m", News::Down);
    let answer = world.publish("m", "$iothub/twin/PATCH/properties/reported/?$rid=1", "{\"x\":{\"y\":1}}");
    assert_eq!(answer, ["to m: $iothub/twin/res/204/?$rid=1"]);
    world.publish("m", "$iothub/twin/PATCH/properties/reported/?$rid=2", "{\"x\":{\"y\":2,\"z\":null}}");
    assert!(world.later(S * 60).iter().all(|line| !line.starts_with("up m")), "there is no way");
    let said = world.up("m");
    assert!(said.iter().any(|line| line.ends_with("{\"x\":{\"y\":2,\"z\":null}}")), "{said:?}");
    let rid = rid_of(&said, "reported");
    world.cloud("m", &format!("$iothub/twin/res/204/?$rid={rid}&$version=9"), "");
    assert!(world.later(S * 60).iter().all(|line| !line.starts_with("up m")), "it has arrived");
    let refused = world.publish("m", "$iothub/twin/PATCH/properties/reported/?$rid=3", "{\"a.b\":1}");
    assert_eq!(refused, ["to m: $iothub/twin/res/400/?$rid=3"]);
}

#[test]
fn reports_of_a_module_that_went_still_go_up() {
    let mut world = World::start(json!({"$version": 1}));
    world.join("m", &[Filter::TwinAnswers]);
    world.publish("m", "$iothub/twin/PATCH/properties/reported/?$rid=1", "{\"x\":1}");
    world.leave("m");
    world.up("m");
    let said = world.later(S * 5);
    let rid = rid_of(&said, "up m: $iothub/twin/PATCH/properties/reported");
    let said = world.cloud("m", &format!("$iothub/twin/res/204/?$rid={rid}&$version=2"), "");
    assert_eq!(said, ["up m: Close"], "nothing is left to do");
}

#[test]
fn a_change_missed_in_a_short_outage_stays_unseen_until_the_next_one() {
    let mut world = World::with_twin(json!({"$version": 1}), "m", &twin(4));
    world.later(S * 60);
    world.news("m", News::Down);
    world.later(S * 30);
    assert_eq!(world.up("m"), Vec::<String>::new(), "the copy is young: nothing is read");
    let said = world.cloud("m", "$iothub/twin/PATCH/properties/desired/?$version=6", "{\"b\":6,\"$version\":6}");
    let [asked] = &said[..] else { panic!("what was missed is read before anything is told: {said:?}") };
    let rid = rid_of(std::slice::from_ref(asked), "$iothub/twin/GET");
    let read = json!({"desired": {"a": 5, "b": 6, "$version": 6}, "reported": {"$version": 1}});
    let told = world.cloud("m", &format!("$iothub/twin/res/200/?$rid={rid}"), &read.to_string());
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("to m: $iothub/twin/PATCH/properties/desired/?$version=6 "), "{told:?}");
    assert!(told[0].contains("\"a\":5") && told[0].contains("\"b\":6"), "the change and what was missed: {told:?}");
}

#[test]
fn after_a_long_outage_the_difference_is_told() {
    let mut world = World::with_twin(json!({"$version": 1}), "m", &twin(4));
    world.news("m", News::Down);
    world.later(S * 121);
    let rid = rid_of(&world.up("m"), "$iothub/twin/GET");
    let said = world.cloud("m", &format!("$iothub/twin/res/200/?$rid={rid}"), &twin(5).to_string());
    assert_eq!(said, ["to m: $iothub/twin/PATCH/properties/desired/?$version=5 {\"a\":5,\"$version\":5}"]);
}

#[test]
fn methods_are_never_stored() {
    let mut world = World::with_twin(json!({"$version": 1}), "m", &twin(1));
    let said = world.cloud("m", "$iothub/methods/POST/go/?$rid=c1", "{\"n\":1}");
    assert_eq!(said, ["to m: $iothub/methods/POST/go/?$rid=1 {\"n\":1}"]);
    let answer = world.publish("m", "$iothub/methods/res/200/?$rid=1", "{\"ok\":true}");
    assert_eq!(answer, ["up m: $iothub/methods/res/200/?$rid=c1 {\"ok\":true}"]);
    assert_eq!(world.publish("m", "$iothub/methods/res/200/?$rid=1", "{}"), Vec::<String>::new(), "answered already");

    let left = world.leave("m");
    assert!(left.contains(&"up m: unsubscribe $iothub/methods/POST/#".to_owned()), "{left:?}");
    assert!(left.contains(&"up m: Close".to_owned()), "{left:?}");
    let late = world.cloud("m", "$iothub/methods/POST/go/?$rid=c2", "null");
    assert!(late[0].starts_with("up m: $iothub/methods/res/404/?$rid=c2"), "{late:?}");
    assert_eq!(world.join("m", &[Filter::MethodCalls]).iter().filter(|line| line.contains("POST/go")).count(), 0);
}

#[test]
fn one_module_calls_another_without_the_cloud() {
    let mut world = World::start(json!({"$version": 1}));
    world.news("$edgeHub", News::Down);
    let call = |world: &mut World, connect_s| {
        let (call, to, method, payload) = (LocalCall(1), id("m"), "go".to_owned(), json!(7));
        world.observe(Input::Called { call, to, method, payload, connect_s, response_s: 10 })
    };
    assert_eq!(call(&mut world, 0), ["answer NotConnected"]);
    assert_eq!(call(&mut world, 5), Vec::<String>::new(), "it waits for the module");
    world.join("m", &[Filter::MethodCalls]);
    assert_eq!(world.later(S * 2), Vec::<String>::new(), "a module that has just come is given a moment");
    assert_eq!(world.later(S), ["to m: $iothub/methods/POST/go/?$rid=2 7"]);
    let answered = world.publish("m", "$iothub/methods/res/201/?$rid=2", "8");
    assert_eq!(answered, [format!("answer {:?}", Answer::Given { status: 201, payload: b"8".to_vec() })]);
    assert_eq!(call(&mut world, 0), ["to m: $iothub/methods/POST/go/?$rid=3 7"]);
    assert_eq!(world.later(S * 10), ["answer TimedOut"]);
}

#[test]
fn messages_follow_the_routes_and_survive_an_outage() {
    let routes = json!({"$version": 2, "schemaVersion": "1.1", "routes": {
        "up": {"route": "FROM /messages/modules/m/* INTO $upstream", "timeToLiveSecs": 60},
        "local": "FROM /messages/modules/m/outputs/hot INTO BrokeredEndpoint(\"/modules/n/inputs/in\")",
    }});
    let mut world = World::start(routes);
    world.join("m", &[]);
    let topic = "devices/edge/modules/m/messages/events/%24.on=hot&a=1";
    assert_eq!(world.publish("m", topic, "first"), ["up m: Open"]);
    let joined = world.join("n", &[Filter::Inputs { device: "edge".into(), module: "n".into() }]);
    let input = "devices/edge/modules/n/inputs/in/%24.on=hot&a=1&%24.cdid=edge&%24.cmid=m";
    assert_eq!(joined.last(), Some(&format!("to n: {input} first (2)")));
    world.observe(Input::Delivered { id: id("n"), message: 2 });

    assert_eq!(world.up("m"), [format!("up m: {topic} first (1)")]);
    world.news("m", News::Down);
    assert_eq!(world.up("m"), [format!("up m: {topic} first (1)")], "it may have been lost");
    world.news("m", News::Sent { message: 1 });
    world.news("m", News::Down);

    world.publish("m", topic, "old");
    world.later(S * 61);
    assert!(!world.hub.clients[&id("m")].upstream_queue.is_empty(), "expired, but not cleaned up yet");
    world.later(S * 1_800);
    assert!(world.hub.clients[&id("m")].upstream_queue.is_empty());
}

#[test]
fn a_bad_configuration_is_reported_and_changes_nothing() {
    let mut world = World::start(json!({"$version": 2, "routes": {"r": "FROM /nowhere INTO $upstream"}}));
    let report = world.later(S * 5);
    let report = report.iter().find(|line| line.contains("lastDesiredStatus")).expect("a report");
    assert!(report.contains("\"code\":400") && report.contains("/nowhere"), "{report}");
    assert!(report.contains("\"edge/gone\":null"), "clients of an earlier life are forgotten: {report}");
    world.join("m", &[]);
    assert_eq!(world.publish("m", "devices/edge/modules/m/messages/events/", "x"), ["up m: Open"], "the default stays");
}

#[test]
fn clients_are_reported_as_they_come_and_go() {
    let mut world = World::start(json!({"$version": 1}));
    world.later(S * 5);
    world.news("$edgeHub", News::Down);
    world.up("$edgeHub");
    world.join("m.1", &[]);
    let said = world.later(S * 10);
    assert!(said.iter().any(|line| line.contains("\"edge/m%2E1\":{\"status\":\"Connected\"")), "{said:?}");
}

#[test]
fn a_second_connection_ends_the_first() {
    let mut world = World::start(json!({"$version": 1}));
    world.join("m", &[Filter::MethodCalls]);
    let said = world.join("m", &[]);
    assert_eq!(said[0], "close m 1");
    let late = world.observe(Input::Detached { id: id("m"), session: Session(1) });
    assert!(late.is_empty() && world.session("m") == Session(2), "the old one's end is no news: {late:?}");
}

#[test]
fn edge_hub_has_one_method() {
    let mut world = World::start(json!({"$version": 1}));
    let refresh = "$iothub/methods/POST/RefreshDeviceScopeIdentityCache/?$rid=1";
    let said = world.cloud("$edgeHub", refresh, "{\"deviceIds\":[\"leaf1\"]}");
    assert_eq!(said, ["refresh [\"leaf1\"]", "up $edgeHub: $iothub/methods/res/200/?$rid=1 null"]);
    let said = world.cloud("$edgeHub", "$iothub/methods/POST/ping/?$rid=2", "null");
    assert!(said[0].starts_with("up $edgeHub: $iothub/methods/res/404/?$rid=2"), "{said:?}");
}
