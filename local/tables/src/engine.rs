//! Runs dynoxide on its own thread.
//!
//! SQLite blocks on files, and a scan may take long: neither may block the threads that serve requests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::database::Database;

/// The interval between removals of expired items. DynamoDB may take a few days
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html>).
const SWEEP: Duration = Duration::from_secs(60);

/// The stack size of the thread in bytes. The parsers of expressions and statements recurse as deeply as their input is
/// nested.
const STACK: usize = 64 << 20;

type Job = Box<dyn FnOnce(&mut Database) + Send>;

/// The thread that owns the database.
pub(super) struct Engine {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Opens the database on its thread. Errors: a file is damaged or missing; the error names it.
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

    /// Runs `act` on the database. Returns `None` if it panics, or if the engine is closed.
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

    /// Stops the thread and waits until the files are closed.
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

/// Runs jobs in order until no sender is left.
fn serve(mut database: Database, queue: &mpsc::Receiver<Job>) {
    loop {
        let job: Job = match queue.recv_timeout(SWEEP) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => Box::new(Database::sweep),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let done = catch_unwind(AssertUnwindSafe(|| job(&mut database)));
        // A panic can leave a transaction open.
        if done.is_err()
            && let Err(fault) = database.reopen()
        {
            tracing::error!("the tables cannot be opened again: {fault:#}");
            return;
        }
    }
}
