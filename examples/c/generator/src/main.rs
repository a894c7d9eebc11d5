//! Writes the C bindings of the contract: `c-bindings WIT FOLDER`. What `wit-bindgen c WIT -w plugin
//! --out-dir FOLDER` does, without the generators of all other languages, which take minutes to
//! compile.

use std::path::Path;

use anyhow::{Context, bail};
use wit_bindgen_core::{Files, wit_parser::Resolve};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [wit, folder] = arguments.as_slice() else {
        bail!("usage: c-bindings WIT FOLDER");
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).with_context(|| wit.clone())?;
    let world = resolve.select_world(&[package], Some("plugin"))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut resolve, world, &mut files)?;
    for (name, content) in files.iter() {
        let path = Path::new(folder).join(name);
        std::fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
