//! The program: reads the settings, makes the clients, and serves until SIGTERM or Ctrl-C.

use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;

use service::{BadSettings, Clients, Limits, Metrics, Settings, Workers, app, log, metrics, serve};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The settings are missing or invalid (`EX_CONFIG` of sysexits): restarting does not help.
const EXIT_CONFIG: u8 = 78;

fn main() -> ExitCode {
    // Before there are threads, because a `.env` changes the environment.
    let settings = Settings::load();
    let settings = match log::begin().and(settings) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error, EXIT_CONFIG),
    };
    let ended = Workers::runtime().map_err(Into::into).and_then(|runtime| runtime.block_on(run(settings)));
    log::end();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<BadSettings>() => refuse(&*error, EXIT_CONFIG),
        Err(error) => refuse(&*error, 1),
    }
}

async fn run(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let workers = Workers::start(available_parallelism().unwrap_or(NonZeroUsize::MIN))?;
    let listener = listen("HOST", &settings.host, settings.port).await?;
    let of_metrics = match settings.metrics_port {
        Some(port) => Some(listen("METRICS_HOST", &settings.metrics_host, port).await?),
        None => None,
    };
    let limits = Limits { requests: settings.max_requests, ..Limits::default() };
    let counts = Arc::new(Metrics::default());
    let app = app(Clients::connect(&settings).await?, &settings, &limits, counts.clone())?;
    let stop = stop_signal()?;
    let (stopping, stopped) = watch::channel(());
    let of_all = async {
        let served = serve("service", listener, app, &limits, &workers, stop).await;
        drop(stopping);
        served
    };
    let of_metrics = async {
        match of_metrics {
            Some(listener) => {
                serve("metrics", listener, metrics(counts), &limits, &Workers::here(), until(stopped)).await
            }
            None => Ok(()),
        }
    };
    tokio::try_join!(of_all, of_metrics)?;
    Ok(())
}

async fn listen(name: &'static str, host: &str, port: u16) -> Result<TcpListener, Box<dyn std::error::Error>> {
    match TcpListener::bind((host, port)).await {
        Ok(listener) => Ok(listener),
        // The port may become free in a moment.
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            Err(format!("cannot listen on {host}:{port}: {error}").into())
        }
        Err(error) => {
            let why = format!("cannot listen there on port {port}: {error}");
            Err(BadSettings::Host(name, host.to_owned(), why).into())
        }
    }
}

/// Returns when the other end of the channel is closed.
async fn until(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

fn refuse(error: &dyn std::error::Error, code: u8) -> ExitCode {
    tracing::error!("{error}");
    ExitCode::from(code)
}

fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    })
}
