//! What a component imports and exports, for people: `haptic-host inspect`.

use wasmtime::component::types::ComponentItem;

use super::{
    imports::{PACKAGE, VERSION},
    runtime::Plugin,
};

/// A component's imports and exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surface {
    /// What the host speaks, such as `haptic:plugin@0.1.0`.
    pub host: String,
    /// What the plugin was built for.
    pub contract: String,
    /// What it asks of the host.
    pub imports: Vec<Interface>,
    /// What it offers to the host.
    pub exports: Vec<Interface>,
}

/// An interface and what of it is used or offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Such as `haptic:plugin/stores@0.1.0`.
    pub name: String,
    /// In order.
    pub functions: Vec<String>,
}

impl Interface {
    /// Whether it is one of WASI.
    #[must_use]
    pub fn is_wasi(&self) -> bool {
        self.name.starts_with("wasi:")
    }
}

impl Plugin {
    /// Its imports and exports, each in order of their names.
    #[must_use]
    pub fn surface(&self) -> Surface {
        let component = self.pre.instance_pre().component();
        let ty = component.component_type();
        let list = |items: &mut dyn Iterator<Item = (&str, ComponentItem)>| {
            let mut interfaces: Vec<Interface> = items
                .map(|(name, item)| Interface {
                    name: name.to_owned(),
                    functions: self.functions(&item),
                })
                .collect();
            interfaces.sort_by(|a, b| a.name.cmp(&b.name));
            interfaces
        };
        let imports = list(&mut ty.imports(&self.engine).map(|(name, item)| (name, item.ty)));
        let exports = list(&mut ty.exports(&self.engine).map(|(name, item)| (name, item.ty)));
        let versions = exports.iter().chain(&imports);
        let contract = versions
            .filter_map(|interface| {
                let rest = interface.name.strip_prefix(PACKAGE)?.strip_prefix('/')?;
                rest.split_once('@')
            })
            .map(|(_, version)| format!("{PACKAGE}@{version}"))
            .next();
        Surface {
            host: format!("{PACKAGE}@{VERSION}"),
            contract: contract.unwrap_or_else(|| PACKAGE.to_owned()),
            imports,
            exports,
        }
    }

    fn functions(&self, item: &ComponentItem) -> Vec<String> {
        let ComponentItem::ComponentInstance(instance) = item else {
            return Vec::new();
        };
        let mut functions: Vec<String> = instance
            .exports(&self.engine)
            .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
            .map(|(name, _)| name.to_owned())
            .collect();
        functions.sort();
        functions
    }
}
