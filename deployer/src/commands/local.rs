//! `local`: the local AWS, in the background or in the foreground.

use std::collections::BTreeMap;

use super::{find, folder_or_here, read};
use crate::{
    commands::cli::{Global, LocalCommand, LocalStart, PORT_VARIABLE},
    machine::laptop::{Domains, Laptop, OTHER_ACCOUNT, Server},
    output::{
        exit::{Exit, Failure},
        report, shell,
    },
};

pub async fn run(global: &Global, command: &LocalCommand) -> Result<Exit, Failure> {
    let laptop = Laptop::beside(&folder_or_here(global)?);
    match command {
        LocalCommand::Start(args) => {
            let running = laptop.running();
            check_account(&laptop, args)?;
            let server = laptop.start(port(args.port)?, &region(global), &conditions(args)?)?;
            if running.is_some() && (!args.chaos.is_empty() || args.speed != local::Speed::default().to_string()) {
                report::say(
                    "it is already running, with the settings it was started with; `deployer local stop` stops it",
                );
            }
            report::say(format!("local AWS at {} (process {})", server.endpoint(), server.pid));
        }
        LocalCommand::Run(args) => laptop.run(port(args.port)?, &region(global), conditions(args)?).await?,
        LocalCommand::Stop => match laptop.stop()? {
            true => report::say("stopped; its data is kept"),
            false => report::say("it is not running"),
        },
        LocalCommand::Status => {
            let Some(server) = laptop.running() else {
                report::say("it is not running");
                return Ok(Exit::Failed);
            };
            report::say(format!("local AWS at {} (process {})", server.endpoint(), server.pid));
            report::answer(&format!("{:#}\n", laptop.status(&server)?));
        }
        LocalCommand::Logs => report::answer(&laptop.log()),
        LocalCommand::Reset { yes } => {
            if *yes || report::confirm("Stop the local AWS and delete everything stored in it?").await? {
                laptop.reset()?;
                report::say("forgotten");
            }
        }
        LocalCommand::Faults => report::answer(&faults(laptop.chaos())),
        LocalCommand::Chaos { kinds, seed } => {
            let chaos = chaos(kinds, *seed)?;
            running(&laptop)?.turn(&chaos)?;
            report::answer(&faults(laptop.chaos()));
        }
        LocalCommand::Env => report::answer(&variables(&running(&laptop)?, &region(global))),
    }
    Ok(Exit::Done)
}

/// Returns the port from the command line, or else from `DEPLOYER_LOCAL_PORT`.
pub fn port(flag: Option<u16>) -> Result<Option<u16>, Failure> {
    let Some(text) = std::env::var_os(PORT_VARIABLE).filter(|_| flag.is_none()) else { return Ok(flag) };
    let port = text.to_str().and_then(|text| text.parse().ok());
    port.map(Some).ok_or_else(|| {
        Failure::usage(format!("{PORT_VARIABLE} is {text:?}, which is not a port"))
            .hint("set it to a number from 0 to 65535, or unset it to get a free port")
    })
}

/// The requested chaos and speed.
fn conditions(args: &LocalStart) -> Result<local::Conditions, Failure> {
    let chaos = chaos(&args.chaos, args.seed)?;
    let account = args.account.as_deref().map(str::parse).transpose().map_err(Failure::usage)?;
    Ok(local::Conditions { chaos, speed: args.speed.parse().map_err(Failure::usage)?, account })
}

/// Rejects an account of another kind than that of the running server.
fn check_account(laptop: &Laptop, args: &LocalStart) -> Result<(), Failure> {
    let wanted = conditions(args)?.account;
    match (wanted, laptop.account()) {
        (Some(wanted), Some(kind)) if wanted != kind => {
            let error = local::OtherAccountKind { kind, wanted };
            Err(Failure::new(Exit::Failed, error).hint(OTHER_ACCOUNT))
        }
        _ => Ok(()),
    }
}

/// The kinds of chaos of these names; the single name `none` means no chaos.
fn chaos(names: &[String], seed: u64) -> Result<local::Chaos, Failure> {
    let names = if matches!(names, [none] if none == "none") { &[] } else { names };
    let kinds = names.iter().map(|name| name.parse()).collect::<Result<_, local::UnknownChaos>>();
    Ok(local::Chaos { kinds: kinds.map_err(Failure::usage)?, seed })
}

/// Lists every kind of chaos with its description; a star marks those that are on.
fn faults(on: local::Chaos) -> String {
    let line = |(kind, name, does): &(local::ChaosKind, &str, &str)| {
        let mark = if on.kinds.contains(kind) { '*' } else { ' ' };
        format!("{mark} {name:<20} {does}\n")
    };
    local::ChaosKind::ALL.iter().map(line).collect()
}

fn running(laptop: &Laptop) -> Result<Server, Failure> {
    laptop.running().ok_or_else(|| {
        Failure::new(Exit::Failed, anyhow::anyhow!("the local AWS is not running"))
            .hint("start it with `deployer local start`")
    })
}

fn variables(server: &Server, region: &str) -> String {
    let access = server.access();
    format!(
        "export AWS_ENDPOINT_URL={}\nexport AWS_REGION={region}\nexport AWS_DEFAULT_REGION={region}\n\
         export AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\n",
        access.endpoint, access.access_key, access.secret_key
    ) + &of_domains(&server.domains())
        + &past_proxies(std::env::vars())
}

/// The address of the DNS server, and the authority that clients of HTTPS listeners trust: `curl --cacert`.
fn of_domains(Domains { dns, certificate_authority }: &Domains) -> String {
    let dns = dns.map(|address| format!("export LOCAL_AWS_DNS={address}\n"));
    let authority = certificate_authority.as_ref().map(|file| shell::quoted(&file.to_string_lossy()));
    let authority = authority.map(|file| format!("export LOCAL_AWS_CA={file}\n"));
    dns.unwrap_or_default() + &authority.unwrap_or_default()
}

/// Adds the local AWS to the variables that exclude hosts from proxies.
fn past_proxies(environment: impl Iterator<Item = (String, String)>) -> String {
    let variables: BTreeMap<String, String> = environment.collect();
    let is_set = |name: &str| variables.get(name).is_some_and(|value| !value.is_empty());
    if !["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"].into_iter().any(is_set) {
        return String::new();
    }
    let past = |name: &str| {
        let before = variables.get(name).filter(|value| !value.is_empty());
        let hosts = ["127.0.0.1", "localhost"].into_iter().chain(before.map(String::as_str)).collect::<Vec<_>>();
        format!("export {name}={}\n", shell::quoted(&hosts.join(",")))
    };
    past("NO_PROXY") + &past("no_proxy")
}

fn region(global: &Global) -> String {
    let described = || read(&find(global).ok()?).ok().map(|config| config.region.to_string());
    global.region.clone().or_else(described).unwrap_or_else(|| "us-east-1".into())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_environment_names_the_dns_server_and_the_authority() {
        let authority = Some(PathBuf::from("/it's/ca.pem"));
        let domains = Domains { dns: Some(([127, 0, 0, 1], 53).into()), certificate_authority: authority };
        let expected = "export LOCAL_AWS_DNS=127.0.0.1:53\nexport LOCAL_AWS_CA='/it'\\''s/ca.pem'\n";
        assert_eq!(of_domains(&domains), expected);
        assert_eq!(of_domains(&Domains::default()), "");
    }

    #[test]
    fn clients_of_the_local_aws_bypass_every_proxy() {
        let of =
            |pairs: &[(&str, &str)]| past_proxies(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        assert_eq!(of(&[("HTTPS_PROXY", "http://proxy:1"), ("http_proxy", "")]), "");
        assert_eq!(
            of(&[("all_proxy", "http://proxy:1"), ("NO_PROXY", "example.org")]),
            "export NO_PROXY='127.0.0.1,localhost,example.org'\nexport no_proxy='127.0.0.1,localhost'\n"
        );
    }
}
