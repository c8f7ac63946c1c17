use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use expect_test::expect;
use ha_core::anchor::Reason;
use ha_core::ids::{ControlId, MemberId, Term};
use ha_core::time::{Millis, WallTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::{Address, SecretHeader, SecretPlace, WebhookConfig};

fn event(on: HookEvent) -> Event {
    Event {
        on,
        pool: "press_1".parse().expect("a pool name"),
        control: ControlId::new("ha-control"),
        term: Term(8),
        holder: MemberId::new("edge-b"),
        former: Some(MemberId::new("edge-a")),
        reason: Reason::WorkloadFailing { said: "exit code 3".to_owned() },
        at: WallTime(1_700_000_000_123),
    }
}

fn hook(target: HookTarget) -> HookConfig {
    HookConfig {
        name: "site".to_owned(),
        on: HookEvent::BeforeSwitchover,
        target,
        timeout: Millis(60_000),
        retries: 2,
        on_timeout: OnTimeout::Veto,
    }
}

fn shell(script: &str) -> HookConfig {
    hook(HookTarget::Command(["sh", "-c", script].map(str::to_owned).to_vec()))
}

async fn asked(hook: HookConfig) -> String {
    match Hooks::new(&[hook]).ask(&event(HookEvent::BeforeSwitchover)).await {
        Verdict::Go => "go".to_owned(),
        Verdict::Veto { by, why } => format!("{by}: {why}"),
    }
}

/// An HTTP receiver that gives the answers of a list, the last one for ever. An empty one is none at all.
struct Receiver {
    port: u16,
    asked: Arc<AtomicUsize>,
    last: Arc<std::sync::Mutex<String>>,
}

impl Receiver {
    async fn answering(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (asked, last) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let receiver = Self { port, asked: Arc::clone(&asked), last: Arc::clone(&last) };
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                *last.lock().expect("no panic") = read_request(&mut stream).await;
                let answer = answers[asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
                if answer.is_empty() {
                    silent.push(stream);
                    continue;
                }
                let (head, body) = answer.split_once('|').unwrap_or((answer, ""));
                let text =
                    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        receiver
    }

    fn hook(&self) -> HookConfig {
        let address = Address::Here(format!("http://127.0.0.1:{}/may-move", self.port));
        hook(HookTarget::Webhook(WebhookConfig { address, secret: None, ca_file: None }))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut chunk = [0; 4_096];
    loop {
        let read = stream.read(&mut chunk).await.unwrap_or(0);
        text += &String::from_utf8_lossy(&chunk[..read]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if read == 0 || body.len() >= length {
            return text;
        }
    }
}

#[test]
fn an_event_is_a_cloud_event_with_an_id_of_its_own() {
    let told = serde_json::to_string_pretty(&event(HookEvent::AfterHandover).cloud_event("pager")).expect("JSON");
    expect![[r#"
        {
          "specversion": "1.0",
          "id": "press_1/8/pager",
          "source": "/iotedge-ha/ha-control/pools/press_1",
          "type": "io.github.iotedge-ha.after_handover",
          "subject": "edge-b",
          "time": "2023-11-14T22:13:20.123Z",
          "datacontenttype": "application/json",
          "data": {
            "pool": "press_1",
            "hook": "pager",
            "holder": "edge-b",
            "former": "edge-a",
            "term": 8,
            "reason": "workload_failing",
            "said": "the workload fails on the holder: exit code 3"
          }
        }"#]]
    .assert_eq(&told);
    assert_eq!(event(HookEvent::BeforeSwitchover).id("site"), "press_1/8/site/1700000000123");
}

#[tokio::test]
async fn a_receiver_gets_the_event_and_its_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let place: PathBuf = folder.path().join("token");
    std::fs::write(&place, "Bearer c2VjcmV0\n").expect("it can be written");
    let receiver = Receiver::answering(&["204 No Content"]).await;
    let mut hook = receiver.hook();
    let HookTarget::Webhook(webhook) = &mut hook.target else { unreachable!("a webhook") };
    webhook.secret = Some(SecretHeader { name: "X-Api-Key".to_owned(), place: SecretPlace::File(place) });
    assert!(!format!("{hook:?}").contains("c2VjcmV0"));
    assert_eq!(asked(hook).await, "go");
    let got = receiver.last.lock().expect("no panic").clone();
    for part in [
        "POST /may-move HTTP/1.1",
        "content-type: application/cloudevents+json; charset=utf-8",
        "x-api-key: Bearer c2VjcmV0",
        "\"type\":\"io.github.iotedge-ha.before_switchover\"",
    ] {
        assert!(got.contains(part), "{part} is not in {got}");
    }
}

#[tokio::test]
async fn what_a_receiver_answers_decides() {
    let table: [(&'static [&'static str], &str, usize); 7] = [
        (&["202 Accepted"], "go", 1),
        (&["409 Conflict|{\"reason\": \"the line is mid-batch\"}"], "the hook site: the line is mid-batch", 1),
        (&["409 Conflict|wait\u{7} for noon\nplease"], "the hook site: wait for noon", 1),
        (&["503 Service Unavailable", "500 Internal Server Error", "200 OK"], "go", 3),
        (
            &["500 Internal Server Error"],
            "the hook site: it gave no answer: 127.0.0.1 answered 500 Internal Server Error",
            3,
        ),
        (&["403 Forbidden"], "the hook site: it gave no answer: 127.0.0.1 answered 403 Forbidden", 1),
        (
            &["302 Found\r\nlocation: https://evil.example/?token=x"],
            "the hook site: it gave no answer: 127.0.0.1 answered 302 Found, a redirect to evil.example, which is not followed",
            1,
        ),
    ];
    for (answers, said, times) in table {
        let receiver = Receiver::answering(answers).await;
        assert_eq!((asked(receiver.hook()).await.as_str(), receiver.asked()), (said, times));
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_counts_as_the_policy_says() {
    for (on_timeout, said) in
        [(OnTimeout::Veto, "the hook site: it gave no answer: no answer within 300 ms"), (OnTimeout::Go, "go")]
    {
        let receiver = Receiver::answering(&[""]).await;
        let hook = HookConfig { timeout: Millis(300), retries: 1, on_timeout, ..receiver.hook() };
        assert_eq!(asked(hook).await, said);
    }
}

#[tokio::test]
async fn an_address_that_is_a_secret_is_never_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("address");
    std::fs::write(&place, "https://127.0.0.1:1/hooks/T0/c2VjcmV0?sig=c2VjcmV0").expect("it can be written");
    let address = Address::Secret(SecretPlace::File(place.clone()));
    let webhook = HookTarget::Webhook(WebhookConfig { address, secret: None, ca_file: None });
    let said = asked(HookConfig { retries: 0, ..hook(webhook.clone()) }).await;
    assert!(said.contains("127.0.0.1 cannot be reached") && !said.contains("c2VjcmV0"), "{said}");
    std::fs::write(&place, "ftp://c2VjcmV0").expect("it can be written");
    let said = asked(hook(webhook)).await;
    assert_eq!(said, "the hook site: it gave no answer: ftp is no way to send events");
}

#[tokio::test]
async fn a_command_decides_by_its_exit_code() {
    for (script, said) in [
        ("true", "go"),
        ("echo checking; echo the oven is hot >&2; exit 3", "the hook site: the oven is hot"),
        ("echo not before noon; false", "the hook site: not before noon"),
        ("exit 4", "the hook site: exit code 4"),
        ("kill -9 $$", "the hook site: it gave no answer: it was ended by signal 9"),
    ] {
        assert_eq!(asked(shell(script)).await, said, "{script}");
    }
    let absent = hook(HookTarget::Command(vec!["/no/such/program".to_owned()]));
    let said = asked(absent).await;
    assert!(said.starts_with("the hook site: it gave no answer: /no/such/program cannot be started"), "{said}");
}

#[tokio::test]
async fn a_command_knows_the_change_and_nothing_of_our_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("environment");
    assert_eq!(asked(shell(&format!("env > {}", file.display()))).await, "go");
    let text = std::fs::read_to_string(file).expect("it was written");
    let given: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    for (name, value) in [
        ("HA_EVENT", "before_switchover"),
        ("HA_POOL", "press_1"),
        ("HA_HOLDER", "edge-b"),
        ("HA_FORMER", "edge-a"),
        ("HA_TERM", "8"),
        ("HA_REASON", "the workload fails on the holder: exit code 3"),
    ] {
        assert_eq!(given.get(name), Some(&value), "{name}");
    }
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && !given.contains_key("CARGO_MANIFEST_DIR"));
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_that_it_has_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("child");
    // The child holds on to the output, so the command has not ended although its first process has.
    let script = format!("sleep 600 & echo $! > {}; trap '' TERM", file.display());
    let mut timeout = 400;
    let child = loop {
        let hook = HookConfig { timeout: Millis(timeout), retries: 0, ..shell(&script) };
        let killed = format!("the hook site: it gave no answer: sh was killed: it ran longer than {timeout} ms");
        assert_eq!(asked(hook).await, killed);
        match std::fs::read_to_string(&file).unwrap_or_default() {
            // The machine was too busy to start the child in so short a time.
            child if child.is_empty() => timeout *= 2,
            child => break child,
        }
    };
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    let end = Instant::now() + Duration::from_secs(60);
    while !gone() {
        assert!(Instant::now() < end, "process {child} still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_command_that_never_stops_talking_is_heard_to_the_end() {
    assert_eq!(
        asked(shell("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo no; exit 1")).await,
        "the hook site: no"
    );
}

#[tokio::test]
async fn the_first_no_decides_and_hooks_that_are_only_told_are_not_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let writes = |name: &str, on, ends: &str| HookConfig {
        name: name.to_owned(),
        on,
        ..shell(&format!("echo {name} >> {}; {ends}", log.display()))
    };
    let hooks = [
        writes("told", HookEvent::AfterHandover, "true"),
        writes("first", HookEvent::BeforeSwitchover, "true"),
        writes("second", HookEvent::BeforeSwitchover, "echo no; false"),
        writes("third", HookEvent::BeforeSwitchover, "true"),
    ];
    let verdict = Hooks::new(&hooks).ask(&event(HookEvent::BeforeSwitchover)).await;
    assert_eq!(verdict, Verdict::Veto { by: "the hook second".to_owned(), why: "no".to_owned() });
    assert_eq!(std::fs::read_to_string(log).expect("it was written"), "first\nsecond\n");
}

#[tokio::test]
async fn hooks_of_a_pool_are_called_one_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("inside");
    // Making a folder that is there already fails: so would a second call within the first.
    let script = format!("mkdir {0} || exit 9; sleep 0.05; rmdir {0}", inside.display());
    let hooks = Hooks::new(&[shell(&script)]);
    let event = event(HookEvent::BeforeSwitchover);
    let both = tokio::join!(hooks.ask(&event), hooks.ask(&event));
    assert_eq!(both, (Verdict::Go, Verdict::Go));
}

#[test]
fn what_a_call_would_lack_is_seen_beforehand() {
    let command = |program: &str| look(&HookTarget::Command(vec![program.to_owned()]));
    assert_eq!((command("sh"), command("/bin/sh")), (Ok(()), Ok(())));
    for program in ["/no/such/program", "no-such-program", "/etc/passwd", "/"] {
        assert_eq!(command(program), Err(format!("there is no program {program} that may be run")));
    }
    let address = || Address::Here("https://hooks.example.com/ha".to_owned());
    let webhook = |address, secret| look(&HookTarget::Webhook(WebhookConfig { address, secret, ca_file: None }));
    assert_eq!(webhook(address(), None), Ok(()));
    let place = SecretPlace::File("/no/such/file".into());
    let secret = SecretHeader { name: "Authorization".to_owned(), place: place.clone() };
    assert!(webhook(address(), Some(secret)).is_err_and(|why| why.contains("no secret in the file /no/such/file")));
    assert!(webhook(Address::Secret(place), None).is_err_and(|why| why.contains("no address in the file")));
}
