//! What the life of a stack costs: time, processor time, memory and calls of `up`, a second `up`, `plan`, a change and
//! `down`, on this machine's own AWS. Prints the table that stands in the README.
//!
//! `cargo build --release --workspace --bins && cargo run --release --example life`

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};

/// How often everything is done; the table shows the medians.
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let programs = std::env::current_exe()?.ancestors().nth(2).context("the build folder")?.to_owned();
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..ROUNDS {
        let stack = Postagram::in_a_folder(&programs)?;
        let mut round = vec![
            stack.measure("first `up`, the local AWS started", &["up", "--yes"])?,
            stack.measure("`up` that changes nothing", &["up", "--yes"])?,
            stack.measure("`plan`", &["plan"])?,
        ];
        stack.edit("max: 4", "max: 6")?;
        round.push(stack.measure("`up` after `max: 4` became 6", &["up", "--yes"])?);
        round.push(stack.measure("`down`", &["down", "--yes"])?);
        round.push(stack.measure("`up` again, warm", &["up", "--yes"])?);
        match rows.is_empty() {
            true => rows = round,
            false => rows.iter_mut().zip(round).for_each(|(row, more)| row.take(more)),
        }
    }
    println!("| | time | processor time | peak memory | calls | of them mutating |\n|---|---|---|---|---|---|");
    rows.iter_mut().for_each(|row| println!("{}", row.line()));
    Ok(())
}

/// The shipped stack with finished programs, in a folder of its own. Dropping it ends what runs there.
struct Postagram {
    folder: tempfile::TempDir,
    deployer: PathBuf,
}

impl Postagram {
    fn in_a_folder(programs: &Path) -> Result<Postagram> {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack.yaml");
        let mut text = fs::read_to_string(shipped)?;
        for name in ["service", "labeler"] {
            let program = programs.join(name);
            ensure!(program.is_file(), "{} is not there: cargo build --release --workspace --bins", program.display());
            text = text.replace(&format!("package: {name}"), &format!("binary: {}", program.display()));
        }
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("stack.yaml"), text)?;
        Ok(Postagram { folder, deployer: programs.join("deployer") })
    }

    fn edit(&self, from: &str, to: &str) -> Result<()> {
        let file = self.folder.path().join("stack.yaml");
        Ok(fs::write(&file, fs::read_to_string(&file)?.replace(from, to))?)
    }

    fn start(&self, arguments: &[&str], stderr: impl Into<Stdio>) -> Result<Child> {
        let mut command = Command::new(&self.deployer);
        command.args(arguments).args(["--local", "-v"]).current_dir(self.folder.path());
        command.env("DEPLOYER_LOCAL_PORT", "0").stdout(Stdio::null()).stderr(stderr);
        Ok(command.spawn()?)
    }

    fn measure(&self, what: &'static str, arguments: &[&str]) -> Result<Row> {
        let said = self.folder.path().join("said");
        let (begun, used) = (Instant::now(), used_by_children()?);
        let mut child = self.start(arguments, fs::File::create(&said)?)?;
        let mut peak_kib = 0;
        let status = loop {
            peak_kib = peak_of(child.id()).unwrap_or(peak_kib);
            match child.try_wait()? {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let (took, used) = (begun.elapsed(), used_by_children()? - used);
        let said = fs::read_to_string(said)?;
        if !status.success() {
            bail!("deployer {arguments:?}: {said}");
        }
        let (calls, mutating) = calls(&said).with_context(|| format!("no count of calls in {said:?}"))?;
        Ok(Row { what, calls, mutating, took: vec![took], used: vec![used], peak_kib: vec![peak_kib] })
    }
}

impl Drop for Postagram {
    fn drop(&mut self) {
        let stop = Command::new(&self.deployer).args(["local", "stop"]).current_dir(self.folder.path()).output();
        stop.expect("it was started before");
    }
}

struct Row {
    what: &'static str,
    calls: usize,
    mutating: usize,
    took: Vec<Duration>,
    used: Vec<Duration>,
    peak_kib: Vec<u64>,
}

impl Row {
    fn take(&mut self, more: Row) {
        self.took.extend(more.took);
        self.used.extend(more.used);
        self.peak_kib.extend(more.peak_kib);
    }

    fn line(&mut self) -> String {
        let (took, used) = (median(&mut self.took).as_secs_f64(), median(&mut self.used).as_secs_f64());
        let peak = median(&mut self.peak_kib) / 1024;
        let Row { what, calls, mutating, .. } = self;
        format!("| {what} | {took:.2} s | {used:.2} s | {peak} MiB | {calls} | {mutating} |")
    }
}

fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// `62 calls, 31 of them mutating`, as `-v` says it.
fn calls(said: &str) -> Option<(usize, usize)> {
    let line = said.lines().find(|line| line.ends_with("of them mutating"))?;
    let mut numbers = line.split(' ').filter_map(|word| word.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// Of children that have ended: the local AWS, which goes on, is not among them.
fn used_by_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = [usage.user_time(), usage.system_time()].map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    Ok(Duration::from_micros(micros.iter().sum::<i64>().try_into()?))
}

/// The most memory a process has had so far; `None` where /proc does not tell.
fn peak_of(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
