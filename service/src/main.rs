//! The program: settings, clients, a listener, and then it serves until SIGTERM or Ctrl-C.

use std::process::ExitCode;

use service::{Clients, Settings, app, serve};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// The settings are missing or unusable (`EX_CONFIG` of sysexits): starting again changes nothing.
const EXIT_CONFIG: u8 = 78;

fn main() -> ExitCode {
    log_as_json();
    // Before there are threads: a `.env` becomes part of the environment.
    let settings = match Settings::load() {
        Ok(settings) => settings,
        Err(error) => return refuse(&error, EXIT_CONFIG),
    };
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<service::BadSettings>() => refuse(&*error, EXIT_CONFIG),
        Err(error) => refuse(&*error, 1),
    }
}

#[tokio::main]
async fn run(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind((settings.host.as_str(), settings.port))
        .await
        .map_err(|error| format!("cannot listen on {}:{}: {error}", settings.host, settings.port))?;
    let clients = Clients::connect(&settings).await?;
    let stop = told_to_stop()?;
    serve(listener, app(clients), stop).await?;
    Ok(())
}

fn refuse(error: &dyn std::error::Error, code: u8) -> ExitCode {
    tracing::error!("{error}");
    ExitCode::from(code)
}

fn log_as_json() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,poem=warn"));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
}

fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    })
}
