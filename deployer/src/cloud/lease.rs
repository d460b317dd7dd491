//! The lease that lets one run at a time change a stack: an object in its artifact bucket, which is created only if
//! there is none.
//!
//! It is a lease, not a lock. It expires a minute (`TERM_S`) after its holder's last renewal, or at once if the holder
//! died on this machine, so a dead run never has to be unlocked by hand. S3 decides which run was first: every write and
//! delete is conditional on the state it expects.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{Client, primitives::ByteStream};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    cloud::aws::{Aws, ServerTime, found, gone},
    engine::Fault,
    machine::{platform, process::Process},
};

/// The code of our fault if another run has taken the lease of a bucket that was about to be removed.
pub const LEASED: &str = "Leased";

/// The key of the object. Runs that find it in a bucket do not empty the bucket.
pub const KEY: &str = "deployer/lease";
/// The default term in seconds: how long the lease lasts after its last renewal.
pub const TERM_S: u32 = 60;
/// Renewals per term: all but one may be lost.
const SIGNS: u32 = 3;
/// How often to retry when other runs take and release the lease in between.
const ROUNDS: usize = 5;

/// The number of leases that this process has requested.
static RUNS: AtomicU64 = AtomicU64::new(1);

/// The holder of a lease, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The user.
    pub owner: String,
    /// The host.
    pub host: String,
    /// The command: `up` or `down`.
    pub command: String,
    /// When it began, in Unix seconds by its own clock.
    pub since: u64,
    /// When it expires unless it is renewed, in Unix seconds.
    pub expires: u64,
    /// The number of the run within the process.
    pub run: u64,
    /// The process.
    pub process: Process,
}

/// The result of requesting a lease.
pub enum LeaseAttempt {
    /// This run holds it.
    Taken(Lease),
    /// Another run holds it.
    Held(Rival),
    /// There is no bucket to hold it.
    NoBucket,
}

/// The current holder.
#[derive(Debug, Clone)]
pub struct Rival {
    /// Its description.
    pub who: String,
    /// The time until the lease expires unless it is renewed. `None` if several runs took it one after another.
    pub lasts: Option<Duration>,
}

/// The right to change a stack, renewed until it is released.
pub struct Lease {
    place: LeaseStore,
    mine: Arc<OwnLease>,
    renewals: JoinHandle<()>,
}

/// Where the leases of a stack are kept, and their term.
#[derive(Clone)]
pub struct LeaseStore {
    s3: Client,
    bucket: String,
    account: String,
    term: Duration,
}

/// The state written by this run.
struct OwnLease {
    holder: Holder,
    /// The ETag of the object that we wrote.
    etag: Mutex<String>,
    lost: CancellationToken,
}

/// The lease that was found.
struct FoundLease {
    holder: Option<Holder>,
    etag: String,
    /// The time since it was written, by S3's clock alone.
    age: Duration,
}

impl Lease {
    /// Requests the lease once. Takes over a lease whose holder is dead or has not renewed it for a term.
    pub async fn take(place: &LeaseStore, command: &str) -> Result<LeaseAttempt, Fault> {
        let holder = Holder::this_run(command, place.term);
        let begin = |etag| Ok(LeaseAttempt::Taken(Lease::begin(place.clone(), holder.clone(), etag)));
        // The holder may have gone when we read, and another one may have come when we write again.
        for _ in 0..ROUNDS {
            let there = match place.put(&holder, If::Nothing).await? {
                Put::Done(etag) => return begin(etag),
                Put::NoBucket => return Ok(LeaseAttempt::NoBucket),
                Put::Refused => place.look().await?,
            };
            let Some(there) = there else { continue };
            if there.is_of(&holder) {
                // The client repeated the call: it had taken effect, and only its answer was lost.
                return begin(there.etag);
            }
            if !there.is_dead(place.term) {
                let lasts = Some(place.term.saturating_sub(there.age));
                return Ok(LeaseAttempt::Held(Rival { who: there.to_string(), lasts }));
            }
            if let Put::Done(etag) = place.put(&holder, If::Is(&there.etag)).await? {
                return begin(etag);
            }
        }
        Ok(LeaseAttempt::Held(Rival { who: "one run after another".into(), lasts: None }))
    }

    /// Removes the lease of a run that died after its last change. Never removes a live one.
    pub async fn sweep(place: &LeaseStore) -> Result<(), Fault> {
        match place.look().await? {
            Some(there) if there.is_dead(place.term) => place.delete(&there.etag).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Cancelled when another run has, or may have, taken the lease over: no further work may begin then.
    pub fn lost(&self) -> &CancellationToken {
        &self.mine.lost
    }

    /// Releases it.
    pub async fn release(mut self) -> Result<(), Fault> {
        self.renewals.abort();
        let _ = (&mut self.renewals).await;
        let etag = self.mine.etag().clone();
        if self.place.delete(&etag).await? == Deleted::Gone {
            return Ok(());
        }
        // A renewal was in flight, whose answer never arrived.
        match self.place.look().await? {
            Some(there) if there.is_of(&self.mine.holder) => self.place.delete(&there.etag).await.map(drop),
            _ => Ok(()),
        }
    }

    fn begin(place: LeaseStore, holder: Holder, etag: String) -> Lease {
        let mine = Arc::new(OwnLease { holder, etag: Mutex::new(etag), lost: CancellationToken::new() });
        let renewals = tokio::spawn(renew(place.clone(), mine.clone()));
        Lease { place, mine, renewals }
    }
}

/// Renews the lease periodically in the background. No error of AWS stops it, except that another run holds the lease.
async fn renew(place: LeaseStore, mine: Arc<OwnLease>) {
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(place.term / SIGNS).await;
        let sent = Instant::now();
        // A term after the last renewal that succeeded, other runs consider the lease expired: waiting longer for an
        // answer is pointless.
        match tokio::time::timeout_at(renewed + place.term, sign_of_life(&place, &mine)).await {
            Ok(Sign::Heard) => renewed = sent,
            Ok(Sign::Unheard) if renewed.elapsed() < place.term => (),
            Ok(Sign::Unheard | Sign::TooLate) | Err(_) => return mine.lost.cancel(),
        }
    }
}

/// The result of a renewal.
enum Sign {
    Heard,
    /// Another run holds the lease.
    TooLate,
    /// Unknown.
    Unheard,
}

async fn sign_of_life(place: &LeaseStore, mine: &OwnLease) -> Sign {
    let etag = mine.etag().clone();
    let there = match place.put(&mine.holder.renewed(place.term), If::Is(&etag)).await {
        Ok(Put::Done(etag)) => {
            *mine.etag() = etag;
            return Sign::Heard;
        }
        Ok(Put::Refused) => place.look().await,
        Ok(Put::NoBucket) | Err(_) => return Sign::Unheard,
    };
    match there {
        // Still ours: an earlier answer was lost.
        Ok(Some(there)) if there.is_of(&mine.holder) => {
            *mine.etag() = there.etag;
            Sign::Heard
        }
        Ok(_) => Sign::TooLate,
        Err(_) => Sign::Unheard,
    }
}

impl OwnLease {
    fn etag(&self) -> MutexGuard<'_, String> {
        self.etag.lock()
    }
}

/// The precondition of a write or deletion.
enum If<'a> {
    Nothing,
    Is(&'a str),
}

/// The result of a write.
enum Put {
    Done(String),
    Refused,
    NoBucket,
}

/// The result of a deletion.
#[derive(PartialEq)]
enum Deleted {
    Gone,
    Refused,
}

impl LeaseStore {
    /// The artifact bucket of a stack, and the term of leases in it.
    pub fn of(aws: &Aws, bucket: &str, account: &str, term: Duration) -> LeaseStore {
        LeaseStore { s3: aws.s3.clone(), bucket: bucket.into(), account: account.into(), term }
    }

    async fn put(&self, holder: &Holder, expected: If<'_>) -> Result<Put, Fault> {
        let body = serde_json::to_vec(holder).expect("a holder is plain data");
        let call = self.s3.put_object().bucket(&self.bucket).expected_bucket_owner(&self.account).key(KEY);
        let call = call.content_type("application/json").body(ByteStream::from(body));
        let call = match expected {
            If::Nothing => call.if_none_match("*"),
            If::Is(etag) => call.if_match(etag),
        };
        match call.send().await.map_err(Fault::from) {
            Ok(answer) => Ok(Put::Done(answer.e_tag.unwrap_or_default())),
            Err(fault) if fault.code == "NoSuchBucket" => Ok(Put::NoBucket),
            Err(fault) if is_other_than_expected(&fault) => Ok(Put::Refused),
            Err(fault) => Err(fault),
        }
    }

    async fn look(&self) -> Result<Option<FoundLease>, Fault> {
        let now = ServerTime::default();
        let call = self.s3.get_object().bucket(&self.bucket).expected_bucket_owner(&self.account).key(KEY);
        let Some(answer) = found(call.customize().interceptor(now.clone()).send().await)? else { return Ok(None) };
        let written = answer.last_modified.and_then(|written| SystemTime::try_from(written).ok());
        let age = written.and_then(|written| now.get().duration_since(written).ok()).unwrap_or_default();
        let etag = answer.e_tag.unwrap_or_default();
        let body = answer.body.collect().await.map(|body| body.into_bytes()).unwrap_or_default();
        Ok(Some(FoundLease { holder: serde_json::from_slice(&body).ok(), etag, age }))
    }

    async fn delete(&self, etag: &str) -> Result<Deleted, Fault> {
        let call = self.s3.delete_object().bucket(&self.bucket).expected_bucket_owner(&self.account).key(KEY);
        match call.if_match(etag).send().await.map_err(Fault::from) {
            Err(fault) if is_other_than_expected(&fault) => Ok(Deleted::Refused),
            answer => gone(answer).map(|()| Deleted::Gone),
        }
    }
}

/// Failed preconditions: 412; 409 for concurrent writes; or 404, when there is no object to match.
fn is_other_than_expected(fault: &Fault) -> bool {
    ["PreconditionFailed", "ConditionalRequestConflict", "HTTP 412", "NoSuchKey"].contains(&fault.code.as_str())
}

impl FoundLease {
    /// Whether its holder is dead.
    fn is_dead(&self, term: Duration) -> bool {
        self.age > term || self.holder.as_ref().is_some_and(|holder| holder.process.has_ended())
    }

    fn is_of(&self, run: &Holder) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.is(run))
    }
}

impl Holder {
    fn this_run(command: &str, term: Duration) -> Holder {
        let user = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
        let now = seconds(SystemTime::now());
        Holder {
            owner: user.unwrap_or_else(|| "an unknown user".into()),
            host: platform::host().map_or_else(|| "an unknown host".into(), |host| host.trim().to_owned()),
            command: command.into(),
            run: RUNS.fetch_add(1, Ordering::Relaxed),
            since: now,
            expires: now + term.as_secs(),
            process: Process::this(),
        }
    }

    fn renewed(&self, term: Duration) -> Holder {
        Holder { expires: seconds(SystemTime::now()) + term.as_secs(), ..self.clone() }
    }

    /// Whether both are the same run: a renewal changes only the expiry.
    fn is(&self, other: &Holder) -> bool {
        Holder { expires: 0, ..self.clone() } == Holder { expires: 0, ..other.clone() }
    }
}

impl std::fmt::Display for FoundLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.holder {
            Some(holder) => holder.fmt(f),
            None => f.write_str("an unnamed holder"),
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Holder { owner, host, command, process, .. } = self;
        write!(f, "{owner} at {host} (`{command}`, process {})", process.pid)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(60);

    fn there(holder: Holder, age_s: u64) -> FoundLease {
        FoundLease { holder: Some(holder), etag: "1".into(), age: Duration::from_secs(age_s) }
    }

    #[test]
    fn a_lease_expires_when_its_holder_is_dead_or_silent_for_a_minute() {
        let alive = Holder::this_run("up", TERM);
        assert!(!there(alive.clone(), 59).is_dead(TERM));
        assert!(there(alive.clone(), 61).is_dead(TERM), "silent for too long, wherever it runs");
        let dead = Holder { process: Process::ended(), ..alive };
        assert!(there(dead, 0).is_dead(TERM));
    }

    #[test]
    fn a_renewed_lease_is_the_same_and_another_run_of_the_process_is_not() {
        let holder = Holder::this_run("up", TERM);
        assert!(Holder { expires: 1, ..holder.clone() }.is(&holder));
        assert!(!Holder::this_run("up", TERM).is(&holder));
        let read: Holder = serde_json::from_slice(&serde_json::to_vec(&holder).unwrap()).unwrap();
        assert!(read.is(&holder));
    }
}
