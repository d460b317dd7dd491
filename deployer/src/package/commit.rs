//! The git commit that programs are built from, if it is known.

use std::{fmt, path::Path, process::Stdio, str::FromStr, time::Duration};

use tokio::process::Command;

/// A commit of the repository that `stack.yaml` lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its hash, in hexadecimal.
    pub hash: String,
    /// Whether tracked files differ from it.
    pub is_dirty: bool,
}

/// The time limit of a call of git: a commit is never worth waiting for.
const WITHIN: Duration = Duration::from_secs(5);
/// The shortest hash accepted: the one that git shows by default.
const SHORT: usize = 7;
/// The longest: that of a repository with SHA-256.
const LONG: usize = 64;

impl Commit {
    /// Returns the commit of this folder; `None` without git, a repository or a commit.
    pub async fn of(folder: &Path) -> Option<Commit> {
        let (hash, changes) = tokio::join!(
            git(folder, &["rev-parse", "--verify", "HEAD"]),
            // As `git describe --dirty`: untracked files are not part of a commit.
            git(folder, &["status", "--porcelain", "--untracked-files=no"]),
        );
        let commit: Commit = hash?.trim().parse().ok()?;
        Some(Commit { is_dirty: !changes?.trim().is_empty(), ..commit })
    }

    /// The abbreviated hash, with a `+` if the tree was dirty.
    pub fn short(&self) -> String {
        Commit { hash: self.hash.chars().take(SHORT).collect(), ..self.clone() }.to_string()
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.hash, if self.is_dirty { "+" } else { "" })
    }
}

/// A text that is not a commit.
#[derive(Debug, PartialEq, Eq)]
pub struct NoCommit;

impl FromStr for Commit {
    type Err = NoCommit;

    fn from_str(text: &str) -> Result<Commit, NoCommit> {
        let (hash, is_dirty) = text.strip_suffix('+').map_or((text, false), |hash| (hash, true));
        let is_hash = (SHORT..=LONG).contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| Commit { hash: hash.to_owned(), is_dirty }).ok_or(NoCommit)
    }
}

/// Returns git's answer; `None` if it fails or cannot be started.
async fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut git = Command::new("git");
    // Without optional locks, `status` does not write the index.
    git.arg("--no-optional-locks").args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let answer = tokio::time::timeout(WITHIN, git.output()).await.ok()?.ok()?;
    answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(folder: &Path, arguments: &[&str]) {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"];
        let mut git = std::process::Command::new("git");
        git.args(identity).args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(git.status().expect("git can be started").success(), "git {arguments:?}");
    }

    #[tokio::test]
    async fn a_tracked_file_that_differs_makes_a_tree_dirty() {
        let repository = tempfile::tempdir().unwrap();
        let (folder, file) = (repository.path().join("app"), repository.path().join("app/stack.yaml"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&file, "name: app\n").unwrap();
        run(repository.path(), &["init", "--quiet"]);
        assert_eq!(Commit::of(&folder).await, None, "there is no commit yet");
        run(repository.path(), &["add", "."]);
        run(repository.path(), &["commit", "--quiet", "--message", "first"]);
        let first = Commit::of(&folder).await.expect("a commit");
        assert_eq!((first.hash.len(), first.is_dirty), (40, false));
        std::fs::write(folder.join("untracked"), "").unwrap();
        assert_eq!(Commit::of(&folder).await, Some(first.clone()));
        std::fs::write(&file, "name: other\n").unwrap();
        let changed = Commit::of(&folder).await.expect("a commit");
        assert_eq!(changed.to_string(), format!("{}+", first.hash));
        assert_eq!(changed.to_string().parse(), Ok(changed));
    }

    #[tokio::test]
    async fn without_a_repository_there_is_no_commit() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Commit::of(folder.path()).await, None);
        assert_eq!(Commit::of(&folder.path().join("missing")).await, None);
    }

    #[test]
    fn only_a_hash_is_a_commit() {
        assert_eq!("0123456789abcdef+".parse::<Commit>().unwrap().short(), "0123456+");
        for other in ["", "+", "012345", "by hand", &"a".repeat(65)] {
            assert_eq!(other.parse::<Commit>(), Err(NoCommit), "{other}");
        }
    }
}
