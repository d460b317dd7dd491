//! `dnf install` of a local instance. Nothing is installed: a package counts as installed if this machine has its program.

use std::path::{Path, PathBuf};

use kit::platform::PermissionsExt as _;

/// The packages of Amazon Linux 2023 that are known here, with the program that shows whether this machine has the like.
/// `dnf` finds no others, as on AWS it finds none that do not exist.
#[rustfmt::skip]
const PACKAGES: &[(&str, &str)] = &[
    ("cargo", "cargo"), ("cmake", "cmake"), ("findutils", "find"), ("gcc", "gcc"), ("gcc-c++", "g++"), ("git", "git"),
    ("golang", "go"), ("gzip", "gzip"), ("java-17-amazon-corretto-headless", "java"),
    ("java-21-amazon-corretto-headless", "java"), ("jq", "jq"), ("make", "make"), ("nginx", "nginx"),
    ("nodejs20", "node"), ("nodejs20-npm", "npm"), ("nodejs22", "node"), ("nodejs22-npm", "npm"), ("nodejs24", "node"),
    ("nodejs24-npm", "npm"), ("perl", "perl"), ("php8.3-cli", "php"), ("php8.4-cli", "php"), ("python3", "python3"),
    ("python3-pip", "pip3"), ("python3.11", "python3.11"), ("python3.11-pip", "pip3.11"), ("python3.12", "python3.12"),
    ("python3.12-pip", "pip3.12"), ("python3.13", "python3.13"), ("python3.13-pip", "pip3.13"),
    ("python3.14", "python3.14"), ("python3.14-pip", "pip3.14"), ("ruby3.2", "ruby"), ("rust", "rustc"),
    ("sqlite", "sqlite3"), ("tar", "tar"), ("unzip", "unzip"), ("which", "which"), ("zip", "zip"),
];

/// Options that change nothing here.
const OPTIONS: &[&str] = &["-y", "--assumeyes", "-q", "--quiet"];

/// `dnf install --assumeyes PACKAGE…`. `online` is whether the instance reaches the repositories.
///
/// Errors: dnf's message, and what this machine lacks.
pub fn dnf(arguments: &[&str], online: Result<(), String>) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    install(arguments, online, &|program| folders.iter().any(|folder| is_program(&folder.join(program))))
}

fn install(arguments: &[&str], online: Result<(), String>, has: &dyn Fn(&str) -> bool) -> Result<(), String> {
    let (options, words): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|word| word.starts_with('-'));
    let packages = match words.split_first() {
        Some((&"install", packages)) if !packages.is_empty() && options.iter().all(|it| OPTIONS.contains(it)) => {
            packages
        }
        _ => {
            let line = arguments.join(" ");
            return Err(format!("dnf {line}: only `dnf install --assumeyes PACKAGE…` exists on a local instance"));
        }
    };
    // Without a terminal, dnf cannot prompt, and does nothing.
    if !options.iter().any(|option| matches!(*option, "-y" | "--assumeyes")) {
        return Err("Operation aborted.".to_owned());
    }
    if let Err(why) = online {
        return Err(format!("Error: Failed to download metadata for repo 'amazonlinux': {why}"));
    }
    let program = |package: &str| PACKAGES.iter().find(|(name, _)| *name == package).map(|(_, program)| *program);
    let unknown: Vec<&str> = packages.iter().copied().filter(|package| program(package).is_none()).collect();
    if !unknown.is_empty() {
        let lines: String = unknown.iter().map(|package| format!("No match for argument: {package}\n")).collect();
        let known = PACKAGES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        return Err(format!(
            "local AWS: only these packages are known here: {known}\n{lines}Error: Unable to find a match: {}",
            unknown.join(" ")
        ));
    }
    let missing = packages.iter().find_map(|package| Some((package, program(package).filter(|it| !has(it))?)));
    missing.map_or(Ok(()), |(package, program)| {
        Err(format!(
            "Error: local AWS: {package} is not installed, since this machine has no program {program}: install it here"
        ))
    })
}

fn is_program(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_whose_programs_are_there_are_installed() {
        let check = |line: &str, expected: Result<(), &str>| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let done = install(&words, Ok(()), &|program| program == "python3");
            match (&done, expected) {
                (Ok(()), Ok(())) => (),
                (Err(why), Err(words)) => assert!(why.contains(words), "{line}: {why}"),
                _ => panic!("{line}: {done:?}"),
            }
        };
        check("install --assumeyes --quiet python3", Ok(()));
        check(
            "install -y python3 python3-pip",
            Err("python3-pip is not installed, since this machine has no program pip3"),
        );
        check("install -y python3 pyton3", Err("No match for argument: pyton3\nError: Unable to find a match: pyton3"));
        check("install -y a b", Err("Error: Unable to find a match: a b"));
        check("install python3", Err("Operation aborted."));
        check("install -y", Err("only `dnf install"));
        check("remove -y python3", Err("only `dnf install"));
        check("install -y --allowerasing python3", Err("only `dnf install"));
        let offline = install(&["install", "-y", "python3"], Err("timeout".into()), &|_| true).unwrap_err();
        assert!(offline.contains("Failed to download metadata for repo 'amazonlinux': timeout"), "{offline}");
    }

    #[test]
    fn the_packages_are_in_order() {
        assert!(PACKAGES.is_sorted());
    }
}
