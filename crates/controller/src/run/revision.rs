//! Takes up changes to the lists of members in the configuration file while the controller runs.
//!
//! Everything else in the file is taken up at the next start, and the log says so. A file that is refused changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ha_core::ids::{MemberId, PoolName};
use ha_core::time::Millis;
use serde_json::Value;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::{self, Config, Members};
use crate::hub::chain;

/// How often the file is looked at: an operator who changed it waits for no longer.
const LOOK: Millis = Millis(2_000);

/// Longer than a tick of any file system's clock.
const YOUNG: Duration = Duration::from_secs(2);

/// The members of the pools that list them.
pub(super) type Lists = Arc<BTreeMap<PoolName, Vec<MemberId>>>;

pub(super) fn lists(config: &Config) -> Lists {
    let listed = config.pools.iter().filter_map(|pool| match &pool.members {
        Members::Listed(members) => Some((pool.name.clone(), members.clone())),
        Members::Selected(_) => None,
    });
    Arc::new(listed.collect())
}

/// Goes on looking at the file; every change of a list is published.
pub(super) async fn watch(config: Config, clock: Clock, published: watch::Sender<Lists>) {
    let mut looked_at = mark(&config);
    let begun_with = settings(&config);
    loop {
        clock.sleep_until(Some(clock.mono() + LOOK)).await;
        let found = mark(&config);
        if found.is_none() || found == looked_at {
            continue;
        }
        // What is written twice within a tick of the file system's clock looks the same: a young file is read once more.
        looked_at = found.filter(|(at, _)| !at.elapsed().is_ok_and(|age| age < YOUNG));
        let (path, overrides) = (config.path.clone(), config.overrides.clone());
        let read = tokio::task::spawn_blocking(move || config::load(&path, &overrides)).await;
        match read {
            Ok(Ok(read)) => take_up(&read, &begun_with, &published),
            Ok(Err(refused)) => {
                let error = chain(&refused);
                tracing::warn!(
                    error,
                    "the configuration has been changed and is refused: the members stay as they are"
                );
            }
            Err(_) => tracing::warn!("the changed configuration could not be read"),
        }
    }
}

fn take_up(read: &Config, begun_with: &BTreeMap<String, Value>, published: &watch::Sender<Lists>) {
    let lists = lists(read);
    published.send_if_modified(|known| {
        let news = *known != lists;
        *known = lists;
        news
    });
    if settings(read) != *begun_with {
        tracing::warn!(
            "the configuration has more changes than those to lists of members: they count from the next start"
        );
    }
}

/// When the file was written, and its length; `None`: it is not there.
fn mark(config: &Config) -> Option<(SystemTime, u64)> {
    let found = std::fs::metadata(&config.path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

/// Everything but the lists.
fn settings(config: &Config) -> BTreeMap<String, Value> {
    let lasting = config.settings.iter().filter(|setting| !setting.key.ends_with(".members"));
    lasting.map(|setting| (setting.key.clone(), setting.value.clone())).collect()
}
