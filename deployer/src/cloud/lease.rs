//! The lease that lets one run at a time change a stack: an object in its artifact bucket, created only where there is
//! none.
//!
//! It is a lease, not a lock. It expires a minute (`TERM_S`) after its holder's last renewal, or at once if the holder
//! died on this machine, so a dead run never has to be unlocked by hand. S3 decides who was first: every write and
//! delete is conditional on the state it expects.

use parking_lot::{Mutex, MutexGuard};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{Client, primitives::ByteStream};
use serde::{Deserialize, Serialize};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    cloud::aws::{Aws, ServerTime, found, gone},
    engine::Fault,
    machine::process::Process,
};

/// The object. Whoever finds it in a bucket leaves that bucket alone.
pub const KEY: &str = "deployer/lease";
/// How long it holds after the last sign of life, in seconds, unless it is said otherwise.
pub const TERM_S: u32 = 60;
/// How many signs of life a term has: all but one may be lost.
const SIGNS: u32 = 3;
/// How often it is tried to be faster than others who come and go.
const ROUNDS: usize = 5;

/// How many leases this process has asked for.
static RUNS: AtomicU64 = AtomicU64::new(1);

/// Who holds a lease, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Whose run it is.
    pub owner: String,
    /// Where it runs.
    pub host: String,
    /// What it does: `up`, `down`.
    pub command: String,
    /// When it began, in seconds since 1970 by its own clock.
    pub since: u64,
    /// When it ends unless it is renewed.
    pub expires: u64,
    /// Which of the process's runs it is.
    pub run: u64,
    /// Which process it is.
    pub process: Process,
}

/// What came of asking for a lease.
pub enum Answer {
    /// It is ours.
    Taken(Lease),
    /// Somebody else is at work.
    Held(Rival),
    /// There is no bucket to keep it in.
    NoBucket,
}

/// Who is at work, and for how long that is certain.
#[derive(Debug, Clone)]
pub struct Rival {
    /// Who, in words.
    pub who: String,
    /// How long until the lease ends, unless it is renewed. Nothing when one came after another.
    pub lasts: Option<Duration>,
}

/// The right to change a stack, renewed until it is released.
pub struct Lease {
    place: LeaseStore,
    mine: Arc<Mine>,
    renewals: JoinHandle<()>,
}

/// Where leases of a stack are kept, and for how long they hold there.
#[derive(Clone)]
pub struct LeaseStore {
    s3: Client,
    bucket: String,
    account: String,
    term: Duration,
}

/// What this run has written.
struct Mine {
    holder: Holder,
    /// The state of the object that we wrote.
    etag: Mutex<String>,
    lost: CancellationToken,
}

/// What was found at the place.
struct There {
    holder: Option<Holder>,
    etag: String,
    /// How long ago it was written, by S3's own clock alone.
    age: Duration,
}

impl Lease {
    /// Asks once. A lease whose holder is dead, or has not been heard of for a term, is taken over.
    pub async fn take(place: &LeaseStore, command: &str) -> Result<Answer, Fault> {
        let holder = Holder::this_run(command, place.term);
        let begin = |etag| Ok(Answer::Taken(Lease::begin(place.clone(), holder.clone(), etag)));
        // The holder may be gone when we look, and another one there when we write again.
        for _ in 0..ROUNDS {
            let there = match place.put(&holder, If::Nothing).await? {
                Put::Done(etag) => return begin(etag),
                Put::NoBucket => return Ok(Answer::NoBucket),
                Put::Refused => place.look().await?,
            };
            let Some(there) = there else { continue };
            if there.is_of(&holder) {
                // The call was repeated: it had taken effect, and only its answer was lost.
                return begin(there.etag);
            }
            if !there.is_dead(place.term) {
                let lasts = Some(place.term.saturating_sub(there.age));
                return Ok(Answer::Held(Rival { who: there.to_string(), lasts }));
            }
            if let Put::Done(etag) = place.put(&holder, If::Is(&there.etag)).await? {
                return begin(etag);
            }
        }
        Ok(Answer::Held(Rival { who: "one run after another".into(), lasts: None }))
    }

    /// Removes what a run has left that died after its last change. Nobody's work is touched.
    pub async fn sweep(place: &LeaseStore) -> Result<(), Fault> {
        match place.look().await? {
            Some(there) if there.is_dead(place.term) => place.delete(&there.etag).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Cancelled when another run has, or may have, taken it over: nothing more may be started then.
    pub fn lost(&self) -> &CancellationToken {
        &self.mine.lost
    }

    /// Gives it back.
    pub async fn release(mut self) -> Result<(), Fault> {
        self.renewals.abort();
        let _ = (&mut self.renewals).await;
        let etag = self.mine.etag().clone();
        if self.place.delete(&etag).await? == Deleted::Gone {
            return Ok(());
        }
        // A renewal was under way, whose answer never came.
        match self.place.look().await? {
            Some(there) if there.is_of(&self.mine.holder) => self.place.delete(&there.etag).await.map(drop),
            _ => Ok(()),
        }
    }

    fn begin(place: LeaseStore, holder: Holder, etag: String) -> Lease {
        let mine = Arc::new(Mine { holder, etag: Mutex::new(etag), lost: CancellationToken::new() });
        let renewals = tokio::spawn(renew(place.clone(), mine.clone()));
        Lease { place, mine, renewals }
    }
}

/// Says every now and then that this run is alive. Nobody waits for it, and no answer of AWS makes it give up but that
/// the lease is another's.
async fn renew(place: LeaseStore, mine: Arc<Mine>) {
    let mut heard = Instant::now();
    loop {
        tokio::time::sleep(place.term / SIGNS).await;
        let spoken = Instant::now();
        // A term after the last sign that was heard, others count the lease as ended: no answer is waited for longer.
        match tokio::time::timeout_at(heard + place.term, sign_of_life(&place, &mine)).await {
            Ok(Sign::Heard) => heard = spoken,
            Ok(Sign::Unheard) if heard.elapsed() < place.term => (),
            Ok(Sign::Unheard | Sign::TooLate) | Err(_) => return mine.lost.cancel(),
        }
    }
}

/// What came of a sign of life.
enum Sign {
    Heard,
    /// The lease is another's.
    TooLate,
    /// Nobody knows.
    Unheard,
}

async fn sign_of_life(place: &LeaseStore, mine: &Mine) -> Sign {
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
        // Ours after all: an earlier answer was lost.
        Ok(Some(there)) if there.is_of(&mine.holder) => {
            *mine.etag() = there.etag;
            Sign::Heard
        }
        Ok(_) => Sign::TooLate,
        Err(_) => Sign::Unheard,
    }
}

impl Mine {
    fn etag(&self) -> MutexGuard<'_, String> {
        self.etag.lock()
    }
}

/// What a write or deletion expects to find.
enum If<'a> {
    Nothing,
    Is(&'a str),
}

/// What came of a write.
enum Put {
    Done(String),
    Refused,
    NoBucket,
}

/// What came of a deletion.
#[derive(PartialEq)]
enum Deleted {
    Gone,
    Refused,
}

impl LeaseStore {
    /// The artifact bucket of a stack, and how long a lease in it holds after its holder's last sign of life.
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

    async fn look(&self) -> Result<Option<There>, Fault> {
        let now = ServerTime::default();
        let call = self.s3.get_object().bucket(&self.bucket).expected_bucket_owner(&self.account).key(KEY);
        let Some(answer) = found(call.customize().interceptor(now.clone()).send().await)? else { return Ok(None) };
        let written = answer.last_modified.and_then(|written| SystemTime::try_from(written).ok());
        let age = written.and_then(|written| now.get().duration_since(written).ok()).unwrap_or_default();
        let etag = answer.e_tag.unwrap_or_default();
        let body = answer.body.collect().await.map(|body| body.into_bytes()).unwrap_or_default();
        Ok(Some(There { holder: serde_json::from_slice(&body).ok(), etag, age }))
    }

    async fn delete(&self, etag: &str) -> Result<Deleted, Fault> {
        let call = self.s3.delete_object().bucket(&self.bucket).expected_bucket_owner(&self.account).key(KEY);
        match call.if_match(etag).send().await.map_err(Fault::from) {
            Err(fault) if is_other_than_expected(&fault) => Ok(Deleted::Refused),
            answer => gone(answer).map(|()| Deleted::Gone),
        }
    }
}

/// 412, or 409 when two came at the same moment, or that there is nothing of which it could be the state.
fn is_other_than_expected(fault: &Fault) -> bool {
    ["PreconditionFailed", "ConditionalRequestConflict", "HTTP 412", "NoSuchKey"].contains(&fault.code.as_str())
}

impl There {
    /// Whether its holder is gone.
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
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
        let now = seconds(SystemTime::now());
        Holder {
            owner: user.unwrap_or_else(|| "somebody".into()),
            host: host.map_or_else(|| "an unknown host".into(), |host| host.trim().to_owned()),
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

    /// Whether both are the same run: a renewal changes nothing but the end.
    fn is(&self, other: &Holder) -> bool {
        Holder { expires: 0, ..self.clone() } == Holder { expires: 0, ..other.clone() }
    }
}

impl std::fmt::Display for There {
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

    fn there(holder: Holder, age_s: u64) -> There {
        There { holder: Some(holder), etag: "1".into(), age: Duration::from_secs(age_s) }
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
