//! `secret`: keeps values in AWS, outside `stack.yaml`, for the variables of services and functions.

use std::io::{IsTerminal as _, Read as _};

use anyhow::anyhow;
use aws_sdk_ssm::types::ParameterType;

use super::{Session, Wake, stored_values::value_references, unless_stopped};
use crate::{
    cloud::stored_values::{
        self, WINDOW_DAYS, from_secret_tags, parameter, parameter_tags, tag_parameter, tag_secret, tagged_parameters,
        to_parameter_tags, to_secret_tags,
    },
    commands::cli::{Global, SecretCommand, SecretRm, SecretSet},
    config::Store,
    engine::{Fault, Observed, Owner, RESOURCE_TAG, Resource, STACK_TAG, Tags, look},
    kinds::{
        parameter::Parameter,
        secret::{self, Secret},
    },
    output::{
        exit::{Exit, Failure},
        report,
        utc::timestamp,
    },
    page::user_data::is_noncharacter,
    releases::stored_values::readers,
};

/// The longest value of a tag (docs/aws.md §2.5).
const LONGEST_TAG: usize = 256;
/// The code of a parameter that is created and exists.
const EXISTS: &str = "ParameterAlreadyExists";

pub async fn run(global: &Global, command: &SecretCommand) -> Result<Exit, Failure> {
    match command {
        SecretCommand::Set(args) => set(global, args).await,
        SecretCommand::Ls => list(global).await,
        SecretCommand::Rm(args) => remove(global, args).await,
    }
}

fn store(is_parameter: bool) -> Store {
    if is_parameter { Store::Parameter } else { Store::Secret }
}

fn check_name(store: Store, name: &str) -> Result<(), Failure> {
    store
        .check(name)
        .map_err(|help| Failure::usage(format!("{name:?} is not the name of a {}", store.word())).hint(help))
}

/// Opens a session before there is a stack: a value may be set before the first `up`.
async fn open(global: &Global) -> Result<Session, Failure> {
    let session = unless_stopped(Session::sign_in(global, Wake::Start)).await?;
    let session = session.expect("it starts what is not running");
    session.introduce();
    Ok(session)
}

async fn set(global: &Global, args: &SecretSet) -> Result<Exit, Failure> {
    let store = store(args.parameter);
    check_name(store, &args.name)?;
    let session = open(global).await?;
    // Before asking for the value, so that a refusal does not waste the typing.
    let before = unless_stopped(session.owned(store, &args.name, args.adopt)).await?;
    if store == Store::Parameter {
        unless_stopped(session.key_of(&args.name)).await?;
    }
    let value = unless_stopped(value(store, &args.name)).await?;
    match store {
        Store::Secret => {
            let failed = |fault| session.failed(&format!("set the secret {}", args.name), fault);
            session.set_secret(&args.name, &value, before).await.map_err(failed)?;
        }
        Store::Parameter => session.set_parameter(&args.name, &value, before).await?,
    }
    let done = match before {
        Before::Absent => "created",
        Before::Ours | Before::Adopted => "changed",
        Before::Ending => "restored, and changed",
    };
    report::say(format!("{} {} {done}", store.word(), args.name));
    session.report_users(store, &args.name);
    Ok(Exit::Done)
}

/// The state before a value is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Absent,
    Ours,
    /// It has no owner, and the user takes it over.
    Adopted,
    /// It is ours, and scheduled for deletion.
    Ending,
}

impl Session {
    /// Determines the owner of a secret or parameter.
    ///
    /// Errors: it is not ours.
    async fn owned(&self, store: Store, name: &str, adopts: bool) -> Result<Before, Failure> {
        let read = look(|| self.tags_of(store, name)).await;
        let read = read.map_err(|fault| self.failed(&format!("look for the {} {name}", store.word()), fault))?;
        let Some((tags, is_ending)) = read else { return Ok(Before::Absent) };
        let owner = Owner::Tags(tags);
        match owner.foreign_to(self.config.name.as_str()) {
            None if is_ending => Ok(Before::Ending),
            None => Ok(Before::Ours),
            Some(_) if owner.is_unowned() && adopts && !is_ending => Ok(Before::Adopted),
            Some(other) => {
                let what = store.word();
                let failure =
                    Failure::new(Exit::Failed, anyhow!("the {what} {name} belongs to {other}, so nothing was changed"));
                Err(match owner.is_unowned() && !is_ending {
                    true => failure.hint(format!(
                        "a service can read it as it is; if it is yours, take it over: `{} --adopt`",
                        store.remedy(name)
                    )),
                    false => failure.hint("choose another name"),
                })
            }
        }
    }

    /// The tags, and whether it is scheduled for deletion; `None` if it does not exist.
    async fn tags_of(&self, store: Store, name: &str) -> Result<Option<(Tags, bool)>, Fault> {
        if store == Store::Parameter {
            return Ok(parameter_tags(&self.aws, name).await?.map(|tags| (tags, false)));
        }
        let secret = stored_values::secret(&self.aws, name).await?;
        Ok(secret.map(|it| (from_secret_tags(it.tags()), it.deleted_date().is_some())))
    }

    /// The tags for a new secret or parameter.
    fn tags_for(&self, store: Store, name: &str) -> Tags {
        let mut tags: Tags = self.config.tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        tags.insert(STACK_TAG.into(), self.config.name.to_string());
        let address = format!("{}.{name}", store.word());
        if address.len() <= LONGEST_TAG {
            tags.insert(RESOURCE_TAG.into(), address);
        }
        tags
    }

    /// A call whose answer is lost is repeated with the same token: it adds one version.
    async fn set_secret(&self, name: &str, value: &str, before: Before) -> Result<(), Fault> {
        let (secrets, tags) = (&self.aws.secrets, self.tags_for(Store::Secret, name));
        match before {
            Before::Absent => {
                let call = secrets.create_secret().name(name).secret_string(value);
                call.set_tags(Some(to_secret_tags(&tags))).send().await?;
                return Ok(());
            }
            Before::Adopted => tag_secret(&self.aws, name, &tags).await?,
            Before::Ending => drop(secrets.restore_secret().secret_id(name).send().await?),
            Before::Ours => (),
        }
        secrets.put_secret_value().secret_id(name).secret_string(value).send().await?;
        Ok(())
    }

    /// The key that encrypts a parameter; `None` if it does not exist.
    ///
    /// Errors: it is of another type, which AWS does not change (docs/aws.md §23.2).
    async fn key_of(&self, name: &str) -> Result<Option<String>, Failure> {
        let read = look(|| parameter(&self.aws, name)).await;
        let there = read.map_err(|fault| self.failed(&format!("look for the parameter {name}"), fault))?;
        match there.as_ref().and_then(|it| it.r#type()) {
            None | Some(ParameterType::SecureString) => Ok(there.and_then(|it| it.key_id)),
            Some(other) => {
                let error = anyhow!(
                    "the parameter {name} is a {}, and AWS cannot turn it into a SecureString, so nothing was changed",
                    other.as_str()
                );
                Err(Failure::new(Exit::Failed, error).hint("delete it, or choose another name"))
            }
        }
    }

    async fn set_parameter(&self, name: &str, value: &str, before: Before) -> Result<(), Failure> {
        let (ssm, tags) = (&self.aws.ssm, self.tags_for(Store::Parameter, name));
        let failed = |fault| self.failed(&format!("set the parameter {name}"), fault);
        let put = ssm.put_parameter().name(name).value(value).r#type(ParameterType::SecureString);
        if before == Before::Absent {
            let created = put.clone().set_tags(Some(to_parameter_tags(&tags))).send().await.map_err(Fault::from);
            match created {
                Ok(_) => return Ok(()),
                // The answer to the same call may have been lost.
                Err(fault) if fault.code == EXISTS => match self.owned(Store::Parameter, name, false).await? {
                    Before::Ours => (),
                    _ => return Err(failed(fault)),
                },
                Err(fault) => return Err(failed(fault)),
            }
        }
        // Without its key, AWS would encrypt it with the usual one from now on.
        let put = put.set_key_id(self.key_of(name).await?).overwrite(true);
        put.send().await.map_err(|error| failed(error.into()))?;
        if before == Before::Adopted {
            // After the value: a secret that cannot be changed is not adopted. AWS does not accept both in one call.
            tag_parameter(&self.aws, name, &tags).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Reports the readers of a value, and when they see the new one.
    fn report_users(&self, store: Store, name: &str) {
        let references = value_references(&self.config, |_| true);
        let Some(paths) = references.get(&(store, name.to_owned())) else {
            let word = store.word();
            report::hint(&format!("a variable of stack.yaml reads it: `NAME: {{ {word}: {name} }}`"));
            return;
        };
        let entries: std::collections::BTreeSet<&str> =
            paths.iter().filter_map(|path| path.split('.').nth(1)).collect();
        report::say(read_later(&entries.into_iter().collect::<Vec<_>>()));
        report::hint("`deployer up` rolls the new value out");
    }
}

/// Says when services and functions read a new value.
fn read_later(entries: &[&str]) -> String {
    match entries {
        [one] => format!("{one} reads the new value when it next starts; running programs keep the old one"),
        several => {
            let list = join(several);
            format!("{list} read the new value when they next start; running programs keep the old one")
        }
    }
}

/// `web`, `web and api`, `web, api and jobs`.
fn join(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Reads the value: without echo and twice on a terminal, or else all of stdin, without the line break at its end.
async fn value(store: Store, name: &str) -> Result<String, Failure> {
    let is_asked = std::io::stdin().is_terminal();
    if is_asked && !std::io::stderr().is_terminal() {
        return Err(Failure::usage("the value can be neither prompted for nor read")
            .hint("write it to stdin: `deployer secret set NAME <file`"));
    }
    let value = match is_asked {
        true => typed(&format!("Value of {} {name}", store.word())).await?,
        false => {
            // In a thread of its own, which ends with the process: a blocking read cannot be cancelled.
            let (answer, answered) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || answer.send(piped(store)));
            answered.await.unwrap_or_else(|_| Err(Failure::usage("the value could not be read")))?
        }
    };
    let most = store.largest();
    match value.len() {
        0 => Err(Failure::usage("the value is empty").hint("AWS keeps values of at least one character")),
        bytes if bytes > most => {
            let (most, store) = (most >> 10, store.word());
            Err(Failure::usage(format!("the value is larger than {most} KiB, the most that a {store} can have")))
        }
        _ if store == Store::Parameter && value.contains("{{") && value.contains("}}") => {
            Err(Failure::usage("the value has {{ and }}, which AWS takes for a reference to another parameter")
                .hint("leave out `--parameter`: a secret may have them"))
        }
        _ if value.contains('\0') => Err(Failure::usage("the value has a NUL character, which no variable can have")),
        _ => match value.chars().find(|c| is_noncharacter(*c)) {
            Some(c) => {
                let code = u32::from(c);
                Err(Failure::usage(format!("the value has U+{code:04X}, a character that no variable can have")))
            }
            None => Ok(value),
        },
    }
}

async fn typed(words: &str) -> Result<String, Failure> {
    let first = report::ask_hidden(&format!("{words}: ")).await?;
    match first == report::ask_hidden(&format!("{words}, once more: ")).await? {
        true => Ok(first),
        false => Err(Failure::usage("the two values differ, so nothing was changed")),
    }
}

fn piped(store: Store) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    // A line break may follow the largest value.
    std::io::stdin().lock().take(store.largest() as u64 + 3).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::usage("the value is not UTF-8 text"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

async fn list(global: &Global) -> Result<Exit, Failure> {
    let session = Session::open_without_network(global).await?;
    let stack = session.config.name.as_str();
    let failed = |fault| session.failed("list secrets and parameters", fault);
    let secrets = unless_stopped(async { look(|| secret::of_stack(&session.aws, stack)).await.map_err(failed) });
    let secrets = secrets.await?;
    let parameters = unless_stopped(async {
        look(|| tagged_parameters(&session.aws, STACK_TAG, Some(stack))).await.map_err(failed)
    });
    let parameters = parameters.await?;
    let of_secret = |it: aws_sdk_secretsmanager::types::SecretListEntry| {
        (Store::Secret, it.name.unwrap_or_default(), it.last_changed_date.and_then(|at| timestamp(at.secs())))
    };
    let of_parameter = |it: aws_sdk_ssm::types::ParameterMetadata| {
        (Store::Parameter, it.name.unwrap_or_default(), it.last_modified_date.and_then(|at| timestamp(at.secs())))
    };
    let all: Vec<(Store, String, Option<String>)> =
        secrets.into_iter().map(of_secret).chain(parameters.into_iter().map(of_parameter)).collect();
    let references = value_references(&session.config, |_| true);
    if all.is_empty() {
        report::say(format!("{stack} has no secrets and no parameters"));
    }
    let width = all.iter().map(|(_, name, _)| name.len()).max().unwrap_or_default();
    for (store, name, changed) in all {
        let readers = references.get(&(store, name.clone())).map(|paths| {
            let variables = paths.iter().map(|path| path.replacen(".environment.", " ", 1));
            variables.map(|it| it.split_once('.').map_or(it.clone(), |(_, rest)| rest.to_owned())).collect::<Vec<_>>()
        });
        let readers = readers.map_or("not in stack.yaml".to_owned(), |readers| readers.join(", "));
        let changed = changed.unwrap_or_default();
        let line = format!("{:9}  {name:width$}  {changed}  {readers}", store.word());
        report::answer(&format!("{}\n", line.trim_end()));
    }
    Ok(Exit::Done)
}

async fn remove(global: &Global, args: &SecretRm) -> Result<Exit, Failure> {
    let (store, name) = (store(args.parameter), &args.name);
    check_name(store, name)?;
    let session = Session::open_without_network(global).await?;
    match unless_stopped(session.owned(store, name, false)).await? {
        Before::Absent => {
            report::say(format!("nothing to do: there is no {} {name}", store.word()));
            return Ok(Exit::Done);
        }
        Before::Ending => {
            report::say(format!("nothing to do: the {} {name} is already scheduled for deletion", store.word()));
            report::hint(&format!("to restore it: `{}`", store.remedy(name)));
            return Ok(Exit::Done);
        }
        Before::Ours | Before::Adopted => (),
    }
    if let Some(path) =
        value_references(&session.config, |_| true).get(&(store, name.clone())).and_then(|it| it.first())
    {
        let error = anyhow!("{path} reads the {} {name}, so nothing was changed", store.word());
        return Err(Failure::new(Exit::Failed, error)
            .at(session.place(path))
            .hint("take it out of stack.yaml and run `up` first: a service could not start without it"));
    }
    // A deployed service or function may still read a value that the description no longer names.
    let stack = session.config.name.as_str();
    let looked = unless_stopped(async { Ok(look(|| readers(&session.aws, stack, store, name)).await) }).await?;
    let readers = looked.map_err(|fault| session.failed("look for what reads it", fault))?;
    if !readers.is_empty() {
        let readers: Vec<&str> = readers.iter().map(String::as_str).collect();
        let still = if readers.len() == 1 { "still reads" } else { "still read" };
        let error = anyhow!("{} {still} the {} {name}, so nothing was changed", join(&readers), store.word());
        return Err(Failure::new(Exit::Failed, error).hint("run `deployer up` first"));
    }
    let question = match store {
        Store::Secret => format!("Delete secret {name}? It can be restored for {WINDOW_DAYS} days."),
        Store::Parameter => format!("Delete parameter {name} for good?"),
    };
    if !args.yes && !unless_stopped(report::confirm(&question)).await? {
        report::say("nothing was changed");
        return Ok(Exit::Done);
    }
    let failed = |fault| session.failed(&format!("delete the {} {name}", store.word()), fault);
    match store {
        Store::Secret => {
            delete(&session, &Secret { name: name.clone() }).await.map_err(failed)?;
            report::say(format!("secret {name}: AWS deletes it in {WINDOW_DAYS} days, and charges nothing until then"));
            report::hint(&format!("to restore it: `{}`", store.remedy(name)));
        }
        Store::Parameter => {
            delete(&session, &Parameter { name: name.clone() }).await.map_err(failed)?;
            report::say(format!("parameter {name} deleted"));
        }
    }
    Ok(Exit::Done)
}

/// Deletes it if it is still ours: checks the owner once more.
async fn delete<R: Resource<Cloud = crate::cloud::aws::Aws>>(session: &Session, resource: &R) -> Result<(), Fault> {
    match look(|| resource.read(&session.aws)).await? {
        Observed::Present(live) if live.owner.foreign_to(session.config.name.as_str()).is_none() => {
            resource.delete(&session.aws, &live).await
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_named_in_one_sentence() {
        let end = "; running programs keep the old one";
        assert_eq!(read_later(&["web"]), format!("web reads the new value when it next starts{end}"));
        assert_eq!(
            read_later(&["labeler", "web"]),
            format!("labeler and web read the new value when they next start{end}")
        );
        assert_eq!(join(&["a", "b", "c"]), "a, b and c");
    }
}
