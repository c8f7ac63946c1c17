use std::time::Duration;

/// How long things take. The defaults are edgeHub's and edgeAgent's own.
#[derive(Clone, Debug)]
pub struct Timings {
    /// How long a twin request waits for the cloud before the copy answers (`CloudOperationTimeoutSecs`).
    pub cloud_operation: Duration,
    /// Reported properties go upstream at most this often (`ReportedPropertiesSyncFrequencySecs`).
    pub reported_sync: Duration,
    /// After a reconnect the twin is read anew only if the last reading is older (`MinTwinSyncPeriodSecs`).
    pub min_twin_sync: Duration,
    /// An upstream connection without traffic ends after this (`CloudConnectionIdleTimeoutSecs`).
    pub idle: Duration,
    /// Expired messages are dropped this often, and not before (`MessageCleanupIntervalSecs`).
    pub message_cleanup: Duration,
    /// How long a message is kept where the twin of `$edgeHub` says nothing.
    pub message_ttl: Duration,
    /// Tokens of open connections are checked this often.
    pub reauthentication: Duration,
    /// A method that waited for its module to subscribe waits this much longer.
    pub method_delay: Duration,
    /// A ping goes upstream after so much silence.
    pub upstream_keep_alive: Duration,
    /// A ping not answered within this ends the upstream connection.
    pub upstream_ping: Duration,
    /// Connecting upstream takes at most this long.
    pub upstream_connect: Duration,
    /// The longest wait between two tries to connect upstream.
    pub upstream_retry_max: Duration,
    /// How long an upstream token is good for.
    pub token: Duration,
    /// An identity that was not found is asked for again after this (`DeviceScopeCacheRefreshDelaySecs`).
    pub scope_refresh_delay: Duration,
    /// edgeAgent compares what runs with what should run this often.
    pub reconcile: Duration,
    /// edgeAgent reads its whole twin this often.
    pub agent_twin_pull: Duration,
    /// The first wait before a module is started again; it doubles each time.
    pub backoff_min: Duration,
    /// The longest wait before a module is started again.
    pub backoff_max: Duration,
    /// After so long a run the count of restarts starts anew (`IntensiveCareTimeInMinutes`).
    pub intensive_care: Duration,
    /// A module that is told to stop is killed after this.
    pub stop_grace: Duration,
    /// How long edgeAgent, when it stops, waits for the hub to take its last report.
    pub last_words: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            cloud_operation: s(20),
            reported_sync: s(5),
            min_twin_sync: s(120),
            idle: s(3_600),
            message_cleanup: s(1_800),
            message_ttl: s(7_200),
            reauthentication: s(300),
            method_delay: s(3),
            upstream_keep_alive: s(60),
            upstream_ping: s(30),
            upstream_connect: s(20),
            upstream_retry_max: s(120),
            token: s(3_600),
            scope_refresh_delay: s(120),
            reconcile: s(5),
            agent_twin_pull: s(3_600),
            backoff_min: s(10),
            backoff_max: s(300),
            intensive_care: s(600),
            stop_grace: s(10),
            last_words: s(2),
        }
    }
}
