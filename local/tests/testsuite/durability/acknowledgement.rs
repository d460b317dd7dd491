//! Acknowledged writes of every kind survive a kill.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;

use super::kinds::{Clients, KINDS, Kind, NAMES, WRITERS, new_value, prepare, shown};
use crate::support::process::Server;

/// The possible values of a name: the last acknowledged one, or that of the write in flight.
#[derive(Debug, Clone, Default)]
struct Known {
    acknowledged: Option<String>,
    under_way: Option<Option<String>>,
}

type Model = BTreeMap<(Kind, String), Known>;

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_write_survives_a_kill_at_any_moment() {
    for seed in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let mut random = Rng::with_seed(seed);
        let mut models = vec![Model::new(); WRITERS];
        let server = Server::start(dir.path());
        let upload = prepare(&server.config().await).await;
        server.kill();
        for round in 0..5 {
            let server = Server::start(dir.path());
            let world = Clients::new(&server.config().await, &upload);
            compare(&world, &mut models, &format!("seed {seed}, round {round}")).await;
            models = write_and_kill(server, &world, models, &mut random).await;
        }
        let server = Server::start(dir.path());
        let world = Clients::new(&server.config().await, &upload);
        compare(&world, &mut models, &format!("seed {seed}, at the end")).await;
        server.stop();
    }
}

/// Checks that every name holds the last acknowledged value, or that of the write in flight.
async fn compare(world: &Clients, models: &mut [Model], when: &str) {
    for ((kind, name), known) in models.iter_mut().flatten() {
        let found = world.read(*kind, name).await.unwrap();
        let possible = [Some(known.acknowledged.clone()), known.under_way.clone()];
        let held = possible.into_iter().flatten().find(|value| shown(*kind, value.as_deref()) == found);
        let Some(held) = held else {
            panic!("{when}: {kind:?} {name} holds {found:.60?} instead of {known:.60?}");
        };
        *known = Known { acknowledged: held, under_way: None };
    }
}

/// Lets all writers write, and kills the server meanwhile.
async fn write_and_kill(server: Server, world: &Clients, models: Vec<Model>, random: &mut Rng) -> Vec<Model> {
    let end = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut writers = Vec::new();
    for (number, model) in models.into_iter().enumerate() {
        let (world, end, acknowledged) = (world.clone(), end.clone(), acknowledged.clone());
        let writer = Writer { world, number, random: random.fork(), end, acknowledged };
        writers.push(tokio::spawn(writer.write_until_the_end(model)));
    }
    // By count rather than by time: on a slow machine it only takes longer.
    let enough = random.usize(20..150);
    while acknowledged.load(Ordering::SeqCst) < enough {
        assert!(!writers.iter().any(|writer| writer.is_finished()), "a writer has ended early");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    end.store(true, Ordering::SeqCst);
    server.kill();
    let mut models = Vec::new();
    for writer in writers {
        models.push(writer.await.unwrap());
    }
    models
}

/// A client that makes random writes.
struct Writer {
    world: Clients,
    number: usize,
    random: Rng,
    /// Whether the server is being killed.
    end: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
}

impl Writer {
    /// Writes until a write is not acknowledged, which only the end of the server may cause.
    async fn write_until_the_end(mut self, mut model: Model) -> Model {
        loop {
            let kind = *self.random.choice(&KINDS).unwrap();
            let name = format!("writer-{}-{}", self.number, self.random.usize(..NAMES));
            let known = model.entry((kind, name.clone())).or_default();
            let value = new_value(kind, known.acknowledged.as_deref(), &mut self.random);
            match self.world.write(kind, &name, value.as_deref()).await {
                Ok(()) => {
                    known.acknowledged = value;
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                Err(fault) => {
                    assert!(self.end.load(Ordering::SeqCst), "{kind:?} {name} was refused: {fault:?}");
                    known.under_way = Some(value);
                    return model;
                }
            }
        }
    }
}

pub(super) fn outcome<T, E: std::fmt::Debug>(answer: Result<T, E>) -> Result<(), String> {
    answer.map(drop).map_err(|fault| format!("{fault:?}"))
}
