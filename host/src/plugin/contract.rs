//! Compares a component's imports and exports with what this host speaks, before
//! anything of it is instantiated (contract P7). wasmtime's own errors name
//! neither version.

use wasmtime::{
    Engine,
    component::{
        Component, Resource,
        types::{self, ComponentFunc, ComponentInstance, ComponentItem},
    },
};

use super::{
    bindings::{exports::haptic::plugin::callbacks::Watch, types as wit},
    guest::StoreHandle,
    imports::{PACKAGE, VERSION},
};

/// Functions that the host offers, by interface of [`PACKAGE`]. A test holds
/// this list against the WIT.
const OFFERED: &[(&str, &[&str])] = &[
    ("types", &[]),
    (
        "stores",
        &[
            "open",
            "all-synced",
            "[method]store.name",
            "[method]store.len",
            "[method]store.revision",
            "[method]store.get",
            "[method]store.get-by",
            "[method]store.get-object",
            "[method]store.list",
            "[method]store.page",
            "[method]store.select",
            "[method]store.changes",
        ],
    ),
    ("output", &["write", "write-bytes"]),
    ("log", &["log"]),
    ("config", &["get"]),
];

/// Functions that a plugin exports, all in the interface `callbacks`.
const CALLBACKS: &[&str] = &[
    "describe",
    "on-sync-complete",
    "on-change",
    "on-resource-change",
];

/// What keeps a component from being a plugin of this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// It speaks another version of the package.
    #[error(
        "it was built for {PACKAGE}@{found}, this host speaks {PACKAGE}@{VERSION}: rebuild it against the host's wit/, or use a host of that version"
    )]
    Version {
        /// The version in the component.
        found: String,
    },
    /// It imports functions of a later 0.1 that this host does not have.
    #[error(
        "it was built for {PACKAGE}@{found} and imports {} that this host ({PACKAGE}@{VERSION}) does not have", quoted(.missing)
    )]
    MissingImports {
        /// The version in the component.
        found: String,
        /// `interface.function` names.
        missing: Vec<String>,
    },
    /// It lacks the callbacks interface, or functions of it.
    #[error("it does not export {} ({PACKAGE}@{VERSION}): every plugin exports all of {PACKAGE}/callbacks", quoted(.missing))]
    MissingExports {
        /// `interface.function` names, or the interface alone.
        missing: Vec<String>,
    },
    /// It imports an interface that is neither ours nor WASI.
    #[error(
        "it imports {}, which this host does not offer: plugins may import {PACKAGE} and wasi:* 0.2 (build JavaScript with disableFeatures: ['http', 'fetch-event'])", quoted(.interfaces)
    )]
    UnknownImports {
        /// Full interface names.
        interfaces: Vec<String>,
    },
    /// Names agree and types do not.
    #[error("its imports or exports have other types than {PACKAGE}@{VERSION}: {detail}")]
    Mistyped {
        /// wasmtime's finding.
        detail: String,
    },
}

/// The names for a sentence. A component chooses how many there are, and how long.
fn quoted(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let short = |name: &str| {
        let end = name.floor_char_boundary(100);
        name.get(..end).unwrap_or_default().to_owned()
    };
    let shown = names.iter().take(SHOWN);
    let text = shown.map(|name| format!("`{}`", short(name)));
    let text = text.collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => text,
        Some(more) => format!("{text} and {more} more"),
    }
}

/// `("stores", "0.1.0")` of `haptic:plugin/stores@0.1.0`.
fn ours(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(PACKAGE)?.strip_prefix('/')?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

/// Before 1.0 a minor version is a contract of its own.
fn compatible(version: &str) -> bool {
    let minor = |v: &str| v.rsplit_once('.').map(|(minor, _)| minor.to_owned());
    minor(version).is_some() && minor(version) == minor(VERSION)
}

pub(super) fn check(engine: &Engine, component: &Component) -> Result<(), ContractError> {
    let ty = component.component_type();
    let mut missing = Vec::new();
    let mut unknown = Vec::new();
    let mut speaks = VERSION.to_owned();
    for (name, item) in ty.imports(engine) {
        let Some((interface, version)) = ours(name) else {
            if !name.starts_with("wasi:") || name.starts_with("wasi:http/") {
                unknown.push(name.to_owned());
            }
            continue;
        };
        if !compatible(version) {
            return Err(ContractError::Version {
                found: version.to_owned(),
            });
        }
        speaks = version.to_owned();
        let offered = OFFERED.iter().find(|(offered, _)| *offered == interface);
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            continue;
        };
        for (function, item) in instance.exports(engine) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_))
                && !offered.is_some_and(|(_, functions)| functions.contains(&function))
            {
                missing.push(format!("{interface}.{function}"));
            }
        }
    }
    let exports: Vec<_> = ty
        .exports(engine)
        .filter_map(|(name, item)| ours(name).map(|ours| (ours, item)))
        .collect();
    if let Some(((_, version), _)) = exports
        .iter()
        .find(|((_, version), _)| !compatible(version))
    {
        return Err(ContractError::Version {
            found: (*version).to_owned(),
        });
    }
    if !missing.is_empty() {
        return Err(ContractError::MissingImports {
            found: speaks,
            missing,
        });
    }
    if !unknown.is_empty() {
        return Err(ContractError::UnknownImports {
            interfaces: unknown,
        });
    }
    let Some(callbacks) = callbacks(engine, &ty) else {
        return Err(ContractError::MissingExports {
            missing: vec!["callbacks".to_owned()],
        });
    };
    let missing: Vec<_> = CALLBACKS
        .iter()
        .filter(|function| callbacks.get_export(engine, function).is_none())
        .map(|function| format!("callbacks.{function}"))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ContractError::MissingExports { missing })
    }
}

fn callbacks(engine: &Engine, ty: &types::Component) -> Option<ComponentInstance> {
    ty.exports(engine)
        .find_map(|(name, item)| match (ours(name), item.ty) {
            (Some(("callbacks", _)), ComponentItem::ComponentInstance(instance)) => Some(instance),
            _ => None,
        })
}

/// Compares the types of the callbacks with the generated ones. `ty` is the component's
/// type with the host's resources in it: only then `store` is the host's store. wasmtime
/// itself compares them too, but when the component's start code has run already.
pub(super) fn check_types(engine: &Engine, ty: &types::Component) -> Result<(), ContractError> {
    type Done = (Result<(), String>,);
    type Store = Resource<StoreHandle>;
    let cx = ty.instance_type();
    let check = |name: &str, func: &ComponentFunc| match name {
        "describe" => func.typecheck::<(&str,), (Result<Vec<Watch>, String>,)>(&cx),
        "on-sync-complete" => func.typecheck::<(Store, u32), Done>(&cx),
        "on-change" => func.typecheck::<(Store, wit::ChangeStats), Done>(&cx),
        "on-resource-change" => func.typecheck::<(&str, &wit::ResourceEvent), Done>(&cx),
        _ => Ok(()),
    };
    let exports = callbacks(engine, ty);
    for (name, item) in exports.iter().flat_map(|instance| instance.exports(engine)) {
        if let ComponentItem::ComponentFunc(func) = item.ty {
            check(name, &func).map_err(|error| ContractError::Mistyped {
                detail: format!("`callbacks.{name}`: {error:#}"),
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_patch_versions_are_compatible_and_minor_versions_are_not() {
        assert!(compatible("0.1.0") && compatible("0.1.7"));
        for other in ["0.2.0", "1.1.0", "", "0.10.0"] {
            assert!(!compatible(other), "{other}");
        }
    }

    #[test]
    fn the_offered_functions_are_those_of_the_wit() {
        let wit = include_str!("../../../wit/plugin.wit");
        assert!(wit.contains(&format!("package {PACKAGE}@{VERSION};")));
        // Functions stand as `name: func(`; a resource's methods are indented deeper.
        let mut found = Vec::new();
        let mut interface = "";
        for line in wit.lines() {
            let text = line.trim_start();
            if let Some(rest) = text.strip_prefix("interface ") {
                interface = rest.split_whitespace().next().unwrap_or_default();
            }
            if let Some((name, _)) = text.split_once(": func(")
                && !text.starts_with("//")
            {
                let name = name.trim_start_matches('%');
                let method = line.starts_with("    ");
                found.push(match (interface, method) {
                    ("callbacks", _) => format!("callbacks.{name}"),
                    (_, true) => format!("{interface}.[method]store.{name}"),
                    (_, false) => format!("{interface}.{name}"),
                });
            }
        }
        let mut expected: Vec<String> = OFFERED
            .iter()
            .flat_map(|(interface, functions)| {
                functions
                    .iter()
                    .map(move |function| format!("{interface}.{function}"))
            })
            .chain(
                CALLBACKS
                    .iter()
                    .map(|function| format!("callbacks.{function}")),
            )
            .collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}
