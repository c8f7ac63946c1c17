use std::collections::BTreeMap;

use ha_core::brake::Brake;
use ha_core::grantor::{Free, Standing};
use ha_core::ids::ControlId;
use ha_core::policy::Policy;
use ha_core::pool::Decision;
use ha_core::time::{Now, Time};

use super::*;

const DAY: i64 = 24 * 3_600_000;

fn decided(sentence: &str, at: i64) -> Entry {
    let view = View {
        policy: Policy::default(),
        members: vec![MemberId::new("edge-a")],
        control: ControlId::new("ha-control"),
        epoch: None,
        anchor: None,
        standing: Standing::Free(Free::Lapsed),
        given: None,
        proven: true,
        revoking: None,
        patience: None,
        consultation: None,
        seen: BTreeMap::new(),
        term_seen: Term(3),
        brake: Brake::Off,
        now: Now { mono: Time::from_ms(5), wall: WallTime(at) },
    };
    let plan = ha_core::plan::plan(&view);
    let decision = Decision { view, plan, sentence: sentence.to_owned() };
    Entry::Decision(Box::new(KeptDecision::of("press_1", decision)))
}

fn moved(term: u64, at: i64) -> Entry {
    let reason = Reason::WorkloadFailing { said: "exit code 3".to_owned() };
    let (holder, from) = (MemberId::new("edge-b"), Some(MemberId::new("edge-a")));
    let transition = Transition { term: Term(term), holder, from, at: WallTime(at), reason };
    Entry::Transition { pool: "press_1".to_owned(), transition }
}

#[test]
fn what_is_kept_can_be_read_beside_the_writer_and_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::open(folder.path(), 90, WallTime(DAY)).expect("it opens");
    for entry in [decided("one", DAY), decided("two", DAY + 1), moved(4, DAY), moved(4, DAY), moved(5, DAY)] {
        recorder.keep(entry);
    }
    let _beside = History::open(folder.path()).expect("it opens beside the writer");
    drop(recorder);
    let history = History::open(folder.path()).expect("it opens");
    let decisions = history.decisions("press_1", 10).expect("they can be read");
    assert_eq!(decisions.iter().map(|d| d.sentence.as_str()).collect::<Vec<_>>(), ["two", "one"]);
    assert_eq!(decisions[0].replay(), decisions[0].plan);
    assert_eq!(decisions[0].term, Term(3));
    let terms: Vec<Term> =
        history.transitions("press_1", 10).expect("they can be read").iter().map(|t| t.term).collect();
    assert_eq!(terms, [Term(5), Term(4)]);
    assert!(history.last_deed("press_1").expect("it can be read").is_none());
    assert!(history.decisions("other", 10).expect("it can be read").is_empty());
}

#[test]
fn old_history_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::open(folder.path(), 2, WallTime(DAY)).expect("it opens");
    recorder.keep(decided("old", DAY));
    recorder.keep(decided("young", 3 * DAY));
    drop(recorder);
    drop(Recorder::open(folder.path(), 2, WallTime(4 * DAY)).expect("it opens"));
    let left = History::open(folder.path()).expect("it opens").decisions("press_1", 10).expect("they can be read");
    assert_eq!(left.iter().map(|d| d.sentence.as_str()).collect::<Vec<_>>(), ["young"]);
}

#[test]
fn a_pool_that_flaps_does_not_fill_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::open(folder.path(), 90, WallTime(DAY)).expect("it opens");
    for i in 0..1_100 {
        recorder.keep(decided("again", DAY + i));
    }
    assert_eq!(recorder.lost(), 0);
    drop(recorder);
    let left = History::open(folder.path()).expect("it opens").decisions("press_1", 5_000).expect("they can be read");
    assert_eq!(left.len(), 1_000);
}

#[test]
fn a_damaged_file_is_named_and_left_alone_until_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(FILE);
    std::fs::write(&path, "this is no database, whatever its name says").expect("it can be written");
    let said = Recorder::open(folder.path(), 90, WallTime(DAY)).err().expect("it is refused").to_string();
    assert!(said.contains(FILE) && said.contains("--set-aside-history"), "{said}");
    assert!(matches!(History::open(folder.path()), Err(Error::Damaged { .. })));
    let aside = set_aside(folder.path(), WallTime(7)).expect("it can be moved");
    assert!(aside.exists() && !path.exists());
    Recorder::open(folder.path(), 90, WallTime(DAY)).expect("a new one is begun");
}

#[test]
fn pages_overwritten_in_the_middle_are_found() {
    use std::io::{Seek as _, Write as _};
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::open(folder.path(), 90, WallTime(DAY)).expect("it opens");
    (0..200).for_each(|i| recorder.keep(decided("filler", DAY + i)));
    drop(recorder);
    let mut file = std::fs::OpenOptions::new().write(true).open(folder.path().join(FILE)).expect("it opens");
    let length = file.metadata().expect("it has a length").len();
    file.seek(std::io::SeekFrom::Start(4_096)).expect("it can be sought");
    file.write_all(&vec![0xa5; usize::try_from(length - 8_192).expect("it fits")]).expect("it can be written");
    drop(file);
    let error = Recorder::open(folder.path(), 90, WallTime(DAY)).err().expect("it is refused");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn another_programs_database_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = Connection::open(folder.path().join(FILE)).expect("it opens");
    other.execute_batch("CREATE TABLE theirs (x)").expect("it can be written");
    drop(other);
    assert!(matches!(Recorder::open(folder.path(), 90, WallTime(DAY)), Err(Error::Damaged { .. })));
}

#[test]
fn a_daemon_without_a_store_goes_on() {
    let recorder = Recorder::absent();
    recorder.keep(moved(1, 1));
    assert_eq!(recorder.lost(), 0);
}

#[test]
fn what_followers_did_is_kept_once_and_a_file_without_that_is_still_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let keep = |at: i64| {
        let recorder = Recorder::open(folder.path(), 90, WallTime(DAY)).expect("it opens");
        let followed = Followed { term: Term(4), follower: FollowerId::new("routes"), at: WallTime(at) };
        recorder.keep(Entry::Followed { pool: "press_1".to_owned(), followed });
    };
    let read =
        || History::open(folder.path()).and_then(|history| history.followed("press_1", 10)).expect("it can be read");
    keep(DAY + 1);
    keep(DAY + 2);
    assert_eq!(read().iter().map(|one| one.at).collect::<Vec<_>>(), [WallTime(DAY + 1)]);
    let older = Connection::open(folder.path().join(FILE)).expect("it opens");
    older.execute_batch("DROP TABLE followed").expect("as an older version made it");
    drop(older);
    assert_eq!(read(), []);
    keep(DAY + 3);
    assert_eq!(read().len(), 1);
}
