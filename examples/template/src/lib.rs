//! A plugin that renders files from Jinja templates in its settings: for whom a template is enough
//! and code too much. `README.md` says what can be in the settings; the way of the data is
//! `settings` and `check` (what is wanted, and whether it can be), `resources` (what templates
//! read), `render` (files).

pub mod check;
pub mod environment;
pub mod filters;
pub mod mistake;
pub mod path;
pub mod render;
pub mod resources;
pub mod settings;
pub mod variable;
pub mod yaml;

use std::cell::RefCell;
use std::rc::Rc;

use haptic_guest::{Config, Error, Plugin, ResourceEvent, Watch, all_synced};

use render::Files;
use resources::Reads;
use settings::TemplateSettings;

/// The plugin.
pub struct Template {
    files: Files,
    reads: Rc<RefCell<Reads>>,
}

impl Plugin for Template {
    fn describe(config: &Config) -> Result<Vec<Watch>, Error> {
        Ok(config.settings::<TemplateSettings>()?.watches())
    }

    fn new(config: &Config) -> Result<Self, Error> {
        let settings: TemplateSettings = config.parse()?;
        Ok(Template {
            files: Files::new(&settings),
            reads: Rc::new(RefCell::new(Reads::new(&settings))),
        })
    }

    fn on_resource_change(&mut self, watch: &str, event: ResourceEvent) -> Result<(), Error> {
        self.reads.borrow_mut().take(watch, event.current()?)?;
        if all_synced() { self.render() } else { Ok(()) }
    }

    fn render(&mut self) -> Result<(), Error> {
        self.reads.borrow_mut().begin()?;
        let result = self.files.render(&self.reads);
        self.reads.borrow_mut().end();
        result
    }
}

haptic_guest::export!(Template);
