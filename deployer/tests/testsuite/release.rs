//! The output of `.ci/release`, used as on a machine without Rust: the archive, the wheel, the installer.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use deployer::package::Architecture;
use serde_json::Value;
use testkit::programs::{program, root, tool};

use crate::support::RunOutput;

/// The tools of this machine that those without Rust have as well.
const TOOLS: [&str; 2] = ["/usr/bin", "/bin"];

/// A folder with the archive of this build, as `dist/` is.
struct Dist {
    folder: tempfile::TempDir,
    archive: PathBuf,
}

static DIST: LazyLock<Dist> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let built = folder.path().join("built");
    std::fs::create_dir(&built).expect("the folder can be written to");
    for name in ["deployer", "service", "labeler"] {
        // As the profiles of releases do; otherwise the archive would be five times as large.
        run(Command::new("strip").arg("-o").arg(built.join(name)).arg(program(name)));
    }
    let archive = archived(folder.path(), Architecture::HERE.triple());
    Dist { folder, archive }
});

fn archived(dist: &Path, target: &str) -> PathBuf {
    let built = dist.join("built");
    let said = release(dist, &["archive", target, "--level", "1", "--built", &built.display().to_string()]);
    PathBuf::from(said.stdout.trim())
}

/// Runs a step of `.ci/release`, which must succeed.
fn release(dist: &Path, arguments: &[&str]) -> RunOutput {
    run(Command::new(root().join(".ci/release")).arg("--dist").arg(dist).args(arguments))
}

fn run(command: &mut Command) -> RunOutput {
    let said = RunOutput::from(command.output().expect("it can be started"));
    assert_eq!(said.code, 0, "{command:?}: {}", said.all());
    said
}

/// A folder without a Cargo workspace on a machine without Rust, and the deployer that is installed there.
struct Machine {
    deployer: PathBuf,
    home: tempfile::TempDir,
    /// Its `PATH`.
    tools: tempfile::TempDir,
}

impl Machine {
    fn with(deployer: PathBuf) -> Machine {
        let [home, tools] = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder can be made"));
        let is_rust = |name: &OsStr| ["cargo", "rustc", "rustup"].iter().any(|it| name == *it);
        for tool in TOOLS.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten()) {
            let link = tools.path().join(tool.file_name());
            if !is_rust(&tool.file_name()) && !link.is_symlink() {
                std::os::unix::fs::symlink(tool.path(), link).expect("the folder can be written to");
            }
        }
        Machine { deployer, home, tools }
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> RunOutput {
        let mut command = Command::new(&self.deployer);
        command.args(arguments).current_dir(self.home.path()).env_clear().envs(environment.iter().copied());
        command.env("PATH", self.tools.path()).env("HOME", self.home.path()).env("DEPLOYER_LOCAL_PORT", "0");
        RunOutput::from(command.output().expect("the deployer can be started"))
    }

    fn done(&self, arguments: &[&str]) -> RunOutput {
        let said = self.run(arguments, &[]);
        assert_eq!(said.code, 0, "deployer {arguments:?}: {}", said.all());
        said
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.deployer.is_file() {
            let _ = self.run(&["local", "stop"], &[]);
        }
    }
}

/// Unpacks the archive. Returns its folder.
fn unpacked(into: &Path) -> PathBuf {
    run(Command::new("tar").arg("-xzf").arg(&DIST.archive).arg("-C").arg(into));
    let name = DIST.archive.file_name().expect("a file").to_string_lossy().into_owned();
    into.join(name.trim_end_matches(".tar.gz"))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rust_the_shipped_app_comes_up_from_an_unpacked_archive() {
    let place = tempfile::tempdir().expect("a temporary folder can be made");
    let prefix = unpacked(place.path());
    for file in [
        "share/bash-completion/completions/deployer",
        "share/zsh/site-functions/_deployer",
        "share/fish/vendor_completions.d/deployer.fish",
        "share/man/man1/deployer-up.1",
        "share/doc/deployer/LICENSE",
    ] {
        assert!(std::fs::metadata(prefix.join(file)).is_ok_and(|file| file.len() > 0), "{file}");
    }
    let machine = Machine::with(prefix.join("bin/deployer"));
    // As the first screen says: `init`, then `up --local`.
    let init = machine.done(&["init"]);
    assert!(init.stderr.contains("\nnext: `deployer up --local` runs it"), "{}", init.all());
    assert!(init.stderr.contains("this is Postagram") && !init.stderr.contains("Cargo.toml"), "{}", init.all());
    let doctor = machine.done(&["doctor", "--local"]);
    assert!(doctor.stdout.contains("✓ build of labeler, service: not needed"), "{}", doctor.all());

    let up = machine.done(&["up", "--local", "--yes"]);
    let page = reqwest::get(up.output("URL")).await.expect("an answer");
    assert_eq!(page.status(), 200);
    assert!(page.text().await.expect("a page").contains("<html"), "the service serves its page");
    machine.done(&["down", "--local", "--yes"]);
}

#[test]
fn a_program_that_the_release_lacks_is_named_with_every_remedy() {
    let place = tempfile::tempdir().expect("a temporary folder can be made");
    let machine = Machine::with(unpacked(place.path()).join("bin/deployer"));
    let init = machine.done(&["init", "--template", "function", "--name", "shop"]);
    assert!(init.stderr.contains("`binary`"), "{}", init.all());
    assert!(init.stderr.contains("\nnext: name the programs; then `deployer up --local`"), "{}", init.all());
    let said = machine.run(&["plan", "--local"], &[]);
    assert_eq!(said.code, 78, "{}", said.all());
    for part in [
        "to build \"shop\" from, and this installation of the deployer has only labeler, service for this machine",
        "stack.yaml:",
        "Cargo.toml of the workspace",
        "`binary`",
    ] {
        assert!(said.stderr.contains(part), "{part}: {}", said.all());
    }
}

#[test]
fn in_a_cargo_workspace_init_describes_a_service_even_with_a_release() {
    let place = tempfile::tempdir().expect("a temporary folder can be made");
    let machine = Machine::with(unpacked(place.path()).join("bin/deployer"));
    std::fs::write(machine.home.path().join("Cargo.toml"), "[workspace]\n").expect("the folder can be written to");
    let init = machine.done(&["init", "--name", "shop"]);
    let text = std::fs::read_to_string(machine.home.path().join("stack.yaml")).expect("it was written");
    assert!(text.contains("    package: shop\n") && !init.stderr.contains("Postagram"), "{text}{}", init.all());
}

#[test]
fn the_wheel_installs_the_deployer_with_its_programs() {
    let place = tempfile::tempdir().expect("a temporary folder can be made");
    let wheel = release(place.path(), &["wheel", "--level", "1", &DIST.archive.display().to_string()]);
    let venv = place.path().join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", wheel.stdout.trim()];
    run(Command::new(venv.join("bin/python")).args(pip));
    let machine = Machine::with(venv.join("bin/deployer"));
    assert_eq!(machine.done(&["--version"]).stdout, format!("deployer {}\n", env!("CARGO_PKG_VERSION")));
    machine.done(&["init", "--template", "postagram", "--name", "postagram"]);
    let doctor = machine.done(&["doctor", "--local"]);
    assert!(doctor.stdout.contains("✓ build of labeler, service: not needed"), "{}", doctor.all());
    // pip removes everything that the wheel has brought.
    let pip = ["-m", "pip", "uninstall", "--quiet", "--yes", "--disable-pip-version-check", "deployer"];
    run(Command::new(venv.join("bin/python")).args(pip));
    let service = venv.join("share/deployer/programs").join(Architecture::HERE.triple()).join("service");
    assert!(!service.exists() && !machine.deployer.exists());
}

#[test]
fn the_installer_takes_only_the_archive_of_its_release() {
    let place = tempfile::tempdir().expect("a temporary folder can be made");
    let dist = place.path().join("dist");
    std::fs::create_dir(&dist).expect("the folder can be written to");
    std::os::unix::fs::symlink(DIST.folder.path().join("built"), dist.join("built")).expect("a link can be made");
    // The static program of a release would be here.
    let archive = archived(&dist, &Architecture::HERE.triple().replace("-gnu", "-musl"));
    std::fs::remove_file(dist.join("built")).expect("it is there");
    release(&dist, &["index", "owner/app"]);
    run(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&dist));
    let sum = run(Command::new("sha256sum").arg(&archive)).stdout;
    let formula = std::fs::read_to_string(dist.join("deployer.rb")).expect("the formula is there");
    assert!(formula.contains(sum.split_whitespace().next().expect("a checksum")), "{formula}");
    assert!(formula.contains("https://github.com/owner/app/releases/download/v"), "{formula}");

    let prefix = place.path().join("prefix");
    let install = || {
        let mut command = Command::new("sh");
        command.arg(dist.join("deployer-installer.sh")).env_clear().env("PATH", "/usr/bin:/bin").env("PREFIX", &prefix);
        let mirror = format!("file://{}", dist.display());
        RunOutput::from(command.env("INSTALL_FROM", mirror).output().expect("the installer can be started"))
    };
    let said = install();
    assert!(said.code == 0 && said.stdout.contains("add it to your PATH"), "{}", said.all());
    let machine = Machine::with(prefix.join("bin/deployer"));
    machine.done(&["--version"]);
    assert!(prefix.join("share/man/man1/deployer.1").is_file());

    let mut bytes = std::fs::read(&archive).expect("the archive is there");
    bytes.push(0);
    std::fs::write(&archive, bytes).expect("the folder can be written to");
    std::fs::remove_dir_all(&prefix).expect("it is there");
    let said = install();
    assert!(said.code == 1 && said.stderr.contains("another checksum"), "{}", said.all());
    assert!(!prefix.exists());
}

#[test]
fn the_bill_of_materials_is_valid_and_lists_what_is_shipped() {
    let place = tempfile::tempdir().expect("a temporary folder can be made");
    let file = release(place.path(), &["sbom"]).stdout.trim().to_owned();
    let check = "import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
sys.exit(str(JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read()) or '') or 0)";
    run(Command::new(tool("lint/bin/python")).args(["-c", check, &file]));
    let bill: Value = serde_json::from_slice(&std::fs::read(&file).expect("it is there")).expect("JSON");
    let components = bill["components"].as_array().expect("a list");
    let of = |name: &str| components.iter().find(|component| component["name"] == name);
    assert_eq!(of("aws-sdk-ec2").expect("it is linked")["hashes"][0]["alg"], "SHA-256");
    assert_eq!(of("service").expect("it is shipped")["type"], "application");
    assert!(of("expect-test").is_none() && of("testkit").is_none(), "tests are not shipped");
    let links = bill["dependencies"].as_array().expect("a list");
    assert_eq!(links.len(), components.len() + 1, "every component, and the release");
}
