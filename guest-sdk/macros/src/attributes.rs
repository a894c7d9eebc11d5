//! `#[resource(…)]` and `#[field(…)]`, parsed: what was written, with its places.

use std::time::Duration;

use syn::{
    Attribute, Error, LitStr, Result, Token,
    meta::ParseNestedMeta,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

use crate::{
    duration,
    path::{self, Path},
};

/// A path and where it stands.
pub(crate) struct PathLit {
    pub(crate) text: String,
    pub(crate) path: Path,
}

impl Parse for PathLit {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let literal: LitStr = input.parse()?;
        let text = literal.value();
        let path = path::parse(&text)
            .map_err(|why| Error::new(literal.span(), format!("the path {text:?}: {why}")))?;
        Ok(PathLit { text, path })
    }
}

/// What stands on the struct.
#[derive(Default)]
pub(crate) struct ResourceAttributes {
    pub(crate) api_version: Option<LitStr>,
    pub(crate) plural: Option<LitStr>,
    pub(crate) name: Option<LitStr>,
    pub(crate) index_by: Vec<PathLit>,
    pub(crate) indexes: Vec<(LitStr, Vec<PathLit>)>,
    pub(crate) namespaces: Vec<LitStr>,
    pub(crate) own_namespace: bool,
    pub(crate) label_selector: Option<LitStr>,
    pub(crate) field_selector: Option<LitStr>,
    pub(crate) cached: bool,
    pub(crate) cache_ttl: Option<Duration>,
    pub(crate) debounce: Option<Duration>,
    pub(crate) keep: Vec<PathLit>,
    pub(crate) keep_all: bool,
    pub(crate) ignore: Vec<PathLit>,
    pub(crate) optional: bool,
    pub(crate) on_change_during_sync: bool,
}

const KNOWN: &str = "api_version, plural, name, index_by, index, namespaces, own_namespace, label_selector, \
     field_selector, cached, cache_ttl, debounce, keep, keep_all, ignore, optional, on_change_during_sync";

impl ResourceAttributes {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("resource")) {
            attribute.parse_nested_meta(|meta| found.take(&meta))?;
        }
        Ok(found)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let name = meta
            .path
            .get_ident()
            .map(ToString::to_string)
            .unwrap_or_default();
        match name.as_str() {
            "api_version" => once(&mut self.api_version, meta),
            "plural" => once(&mut self.plural, meta),
            "name" => once(&mut self.name, meta),
            "label_selector" => once(&mut self.label_selector, meta),
            "field_selector" => once(&mut self.field_selector, meta),
            "index_by" => list(meta).map(|paths| self.index_by = paths),
            "index" => {
                let content;
                syn::parenthesized!(content in meta.input);
                let name: LitStr = content.parse()?;
                if content.is_empty() {
                    return Err(meta.error(
                        "an index has a name and paths: index(\"by-host\", \"spec.host\")",
                    ));
                }
                content.parse::<Token![,]>()?;
                let paths = Punctuated::<PathLit, Token![,]>::parse_terminated(&content)?;
                self.indexes.push((name, paths.into_iter().collect()));
                Ok(())
            }
            "namespaces" => list(meta).map(|names| self.namespaces = names),
            "keep" => list(meta).map(|paths| self.keep.extend::<Vec<PathLit>>(paths)),
            "ignore" => list(meta).map(|paths| self.ignore.extend::<Vec<PathLit>>(paths)),
            "cache_ttl" => duration(meta).map(|ttl| {
                self.cached = true;
                self.cache_ttl = Some(ttl);
            }),
            "debounce" => duration(meta).map(|interval| self.debounce = Some(interval)),
            "own_namespace" => flag(&mut self.own_namespace),
            "cached" => flag(&mut self.cached),
            "keep_all" => flag(&mut self.keep_all),
            "optional" => flag(&mut self.optional),
            "on_change_during_sync" => flag(&mut self.on_change_during_sync),
            _ => Err(meta.error(format!("there is no such option; there are {KNOWN}"))),
        }
    }
}

fn flag(flag: &mut bool) -> Result<()> {
    *flag = true;
    Ok(())
}

fn once(place: &mut Option<LitStr>, meta: &ParseNestedMeta<'_>) -> Result<()> {
    let text: LitStr = meta.value()?.parse()?;
    if text.value().trim().is_empty() {
        return Err(Error::new(text.span(), "this is empty"));
    }
    match place.replace(text) {
        None => Ok(()),
        Some(_) => Err(meta.error("this was said already")),
    }
}

/// `name("a", "b")`, with at least one.
fn list<T: Parse>(meta: &ParseNestedMeta<'_>) -> Result<Vec<T>> {
    let content;
    syn::parenthesized!(content in meta.input);
    let items = Punctuated::<T, Token![,]>::parse_terminated(&content)?;
    if items.is_empty() {
        return Err(meta.error("nothing in the parentheses"));
    }
    Ok(items.into_iter().collect())
}

fn duration(meta: &ParseNestedMeta<'_>) -> Result<Duration> {
    let text: LitStr = meta.value()?.parse()?;
    duration::parse(&text.value()).map_err(|why| Error::new(text.span(), why))
}

/// What stands on a field.
#[derive(Default)]
pub(crate) struct FieldAttributes {
    pub(crate) path: Option<PathLit>,
    pub(crate) default: bool,
}

impl FieldAttributes {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("field")) {
            attribute.parse_args_with(|input: ParseStream<'_>| {
                if input.peek(LitStr) {
                    if found.path.is_some() {
                        return Err(input.error("this field has a path already"));
                    }
                    found.path = Some(input.parse()?);
                    if input.is_empty() {
                        return Ok(());
                    }
                    input.parse::<Token![,]>()?;
                }
                if input.peek(Token![default]) {
                    input.parse::<Token![default]>()?;
                    found.default = true;
                } else {
                    let word: syn::Ident = input.parse().map_err(|_| input.error(FIELD))?;
                    if word != "default" {
                        return Err(Error::new(word.span(), FIELD));
                    }
                    found.default = true;
                }
                if input.is_empty() {
                    Ok(())
                } else {
                    Err(input.error(FIELD))
                }
            })?;
        }
        Ok(found)
    }
}

const FIELD: &str = "write #[field(\"spec.host\")], or #[field(\"spec.host\", default)] for a value that may be missing";
