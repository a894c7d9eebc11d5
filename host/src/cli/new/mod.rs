//! `haptic-host new`: a plugin's project (contract K4). Here: where it goes, and that it is made
//! whole or not at all.

mod name;
mod origin;
mod template;

use std::{
    fs::{self, Permissions},
    io::{ErrorKind, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use self::{
    name::PluginName,
    origin::{Origin, OriginArg},
};
use super::Wrong;

const EXAMPLES: &str = "\
Examples:
  haptic-host new my-plugin
      Make the folder my-plugin, with a plugin that works. Then, in it:
  make run
      Build the component, run it on an embedded cluster fed from manifests/, and show what it
      renders; edits to the manifests are changes.
  make test
      Run its tests, natively and as the component.
  haptic-host new plugins/routes --name acme-routes
      A package of another name than its folder.
  haptic-host new my-plugin --haptic ../haptic-host
      With the SDK of a checkout; `--haptic 0.1` for the published one.

Nothing that exists is touched, and what fails leaves nothing behind.

Exit codes: 0 made, 1 it could not be written, 2 wrong input.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct NewArgs {
    /// The folder to make. It does not exist yet, or is empty and not the current one.
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// The name of the package, hence of the plugin: small letters, digits, `-` and `_`.
    /// Default: the folder's.
    #[arg(long, value_name = "NAME")]
    name: Option<PluginName>,

    /// Where the SDK and the test harness come from: a version of the published crates, or a
    /// checkout of haptic-host. Default: the checkout that this command was built in, if it is
    /// still there; else the published crates of this command's version.
    #[arg(long, value_name = "VERSION|PATH")]
    haptic: Option<OriginArg>,
}

pub(super) fn make(args: &NewArgs) -> anyhow::Result<()> {
    let place = Place::new(&args.path)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => place.folder.parse().map_err(|why| {
            Wrong(format!(
                "the plugin cannot be called after its folder: {why}; give it a name of its own with --name"
            ))
        })?,
    };
    let origin = Origin::find(args.haptic.as_ref())?;
    origin.check_name(&name)?;
    let files = template::files(&name, &origin, &host_command());
    write(&place, &files).with_context(|| format!("{} cannot be made", args.path.display()))?;
    let told = format!(
        "made {name}, a plugin that renders a hosts file from Services, with {origin}\n\n  \
         cd {}\n  \
         make run     # build it, run it on an embedded cluster, show what it renders\n  \
         make test    # test it, natively and as the component\n\n\
         README.md says what is where.\n",
        args.path.display(),
    );
    std::io::stdout().write_all(told.as_bytes())?;
    Ok(())
}

/// A folder that may be made, and the one that it is to be in.
struct Place {
    path: PathBuf,
    parent: PathBuf,
    folder: String,
}

impl Place {
    fn new(typed: &Path) -> Result<Self, Wrong> {
        let shown = typed.display();
        let wrong = |why: &str| Wrong(format!("{shown} {why}"));
        let path = std::path::absolute(typed)
            .map_err(|error| wrong(&format!("is no path of a folder: {error}")))?;
        let (Some(parent), Some(folder)) = (path.parent(), path.file_name()) else {
            return Err(wrong(
                "does not end in a name: write that of the folder to make, such as my-plugin",
            ));
        };
        if !parent.is_dir() {
            return Err(Wrong(format!(
                "there is no folder {}: make it first",
                parent.display()
            )));
        }
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(wrong(&format!("cannot be looked at: {error}"))),
            Ok(found) if !found.is_dir() => {
                return Err(wrong(
                    "exists and is no folder: name one that does not exist",
                ));
            }
            Ok(_) if is_current(&path) => {
                return Err(wrong(
                    "is the folder that you are in: name the one to make, such as my-plugin",
                ));
            }
            Ok(_) => {
                let mut entries = fs::read_dir(&path)
                    .map_err(|error| wrong(&format!("cannot be looked at: {error}")))?;
                if entries.next().is_some() {
                    return Err(wrong(
                        "exists and is not empty: name a folder that does not exist",
                    ));
                }
            }
        }
        Ok(Self {
            parent: parent.to_owned(),
            folder: folder.to_string_lossy().into_owned(),
            path,
        })
    }
}

fn is_current(path: &Path) -> bool {
    let here = std::env::current_dir().and_then(fs::canonicalize);
    matches!((here, fs::canonicalize(path)), (Ok(here), Ok(path)) if here == path)
}

/// Writes everything beside its place, and moves it there in one step. That step fails when
/// something has come there meanwhile, but for an empty folder.
fn write(place: &Place, files: &[(&str, String)]) -> std::io::Result<()> {
    let staged = tempfile::Builder::new()
        .prefix(".haptic-new-")
        // A folder as any other; the umask takes away what it should not have.
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(&place.parent)?;
    for (file, text) in files {
        let path = staged.path().join(file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)?;
    }
    fs::rename(staged.path(), &place.path)?;
    // It is not there any more, so nobody has to remove it.
    let _ = staged.keep();
    Ok(())
}

/// How this command is called: by its name if a shell finds it by that, else by its path.
fn host_command() -> String {
    const NAME: &str = "haptic-host";
    let Ok(this) = std::env::current_exe().and_then(fs::canonicalize) else {
        return NAME.to_owned();
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_found = std::env::split_paths(&path)
        .map(|folder| folder.join(NAME))
        .find(|file| file.is_file())
        .and_then(|file| fs::canonicalize(file).ok())
        .is_some_and(|found| found == this);
    match this.to_str().filter(|path| origin::is_plain(path)) {
        Some(path) if !is_found => path.to_owned(),
        _ => NAME.to_owned(),
    }
}
