//! Runs dynoxide on a thread of its own.
//!
//! SQLite blocks on files, and a scan may take a while: neither may block the threads that answer requests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::database::Database;

/// How often items are looked for whose time is over. DynamoDB takes up to some days
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html>).
const SWEEP: Duration = Duration::from_secs(60);

/// Parsers of expressions and statements call themselves as deep as those are nested.
const STACK: usize = 64 << 20;

type Job = Box<dyn FnOnce(&mut Database) + Send>;

/// The thread that has the database.
pub(super) struct Engine {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Errors: a file is damaged or missing, which is named.
    pub(super) async fn open(dir: PathBuf) -> anyhow::Result<Engine> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (say, opened) = oneshot::channel();
        let work = move || match Database::open(&dir) {
            Err(fault) => drop(say.send(Err(fault))),
            Ok(database) => {
                drop(say.send(Ok(())));
                serve(database, &queue);
            }
        };
        let thread = std::thread::Builder::new().name("tables".to_owned()).stack_size(STACK).spawn(work)?;
        opened.await??;
        Ok(Engine { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// What `act` makes of the database; nothing if it panics, or after the end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Database) -> T + Send + 'static,
    ) -> Option<T> {
        let (say, done) = oneshot::channel();
        let jobs = self.jobs.lock().clone()?;
        jobs.send(Box::new(move |database| drop(say.send(act(database))))).ok()?;
        drop(jobs);
        done.await.ok()
    }

    /// Returns when the files are closed.
    pub(super) fn close(&self) {
        self.jobs.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

/// Does one job after another until no sender is left.
fn serve(mut database: Database, queue: &mpsc::Receiver<Job>) {
    loop {
        let job: Job = match queue.recv_timeout(SWEEP) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => Box::new(Database::sweep),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let done = catch_unwind(AssertUnwindSafe(|| job(&mut database)));
        // A panic leaves an open transaction behind.
        if done.is_err()
            && let Err(fault) = database.reopen()
        {
            tracing::error!("the tables cannot be opened again: {fault:#}");
            return;
        }
    }
}
