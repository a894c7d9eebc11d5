//! The smallest useful plugin: it lists the ConfigMaps that it sees.

use haptic_guest::{Config, Error, Plugin, Store, Watch, output};

/// The plugin.
pub struct Hello;

impl Plugin for Hello {
    fn describe(_config: &Config) -> Result<Vec<Watch>, Error> {
        // Only names are asked for, so no ConfigMap's data is kept, and a change to it is no change.
        Ok(vec![
            Watch::new("configmaps", "v1", "configmaps").keep_fields(["metadata.name"]),
        ])
    }

    fn new(_config: &Config) -> Result<Self, Error> {
        Ok(Hello)
    }

    fn render(&mut self) -> Result<(), Error> {
        let configmaps = Store::open("configmaps")?;
        let rows =
            configmaps.select::<(String, String)>(&["metadata.namespace", "metadata.name"], &[])?;
        let mut text = format!("{} ConfigMaps\n", rows.len());
        for (namespace, name) in rows {
            text += &format!("{namespace}/{name}\n");
        }
        output::write("configmaps.txt", &text)?;
        Ok(())
    }
}

haptic_guest::export!(Hello);
