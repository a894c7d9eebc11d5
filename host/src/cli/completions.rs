//! `haptic-host completions`: a script that makes a shell complete this command.

use std::io::Write as _;

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Args;

const EXAMPLES: &str = "\
Examples:
  haptic-host completions bash > ~/.local/share/bash-completion/completions/haptic-host
      For bash, from the next shell on.
  source <(haptic-host completions bash)
      For this shell alone.
  haptic-host completions zsh > \"${fpath[1]}/_haptic-host\"
  haptic-host completions fish > ~/.config/fish/completions/haptic-host.fish";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn print(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "haptic-host", &mut script);
    let mut script = String::from_utf8(script)?;
    if args.shell == Shell::Bash {
        // clap_complete 4.6 takes the hyphen for the end of the command's name in half of the
        // places, and then finds none of the subcommands' flags.
        script = script.replace("haptic__subcmd__host", "haptic__host");
    }
    std::io::stdout().write_all(script.as_bytes())?;
    Ok(())
}
