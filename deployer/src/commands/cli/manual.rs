//! Arguments of the commands about the deployer itself: `completions` and `man`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

const COMPLETIONS: &str = "\
Examples:
  deployer completions bash >~/.local/share/bash-completion/completions/deployer
  deployer completions zsh >~/.zfunc/_deployer
  deployer completions fish >~/.config/fish/completions/deployer.fish
  deployer completions powershell >>$PROFILE
  deployer completions elvish >>~/.config/elvish/rc.elv";

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = MAN)]
pub struct Man {
    /// Write a page for every command into this folder, which is created if it does not exist
    pub dir: Option<PathBuf>,
}

const MAN: &str = "\
Examples:
  deployer man | man -l -
  deployer man ~/.local/share/man/man1
  man deployer-up";
