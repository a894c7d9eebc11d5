//! Jinja templates in the settings, rendered from any watch to any files.
