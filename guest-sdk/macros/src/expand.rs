//! From a struct to its implementation of `Resource` and `FromRow`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{
    Data, DeriveInput, Error, Field, Fields, GenericParam, Lifetime, LifetimeParam, LitStr, Result,
    Type,
};

use crate::{
    attributes::{FieldAttributes, PathLit, ResourceAttributes},
    path::{self, Path, Step},
};

/// One column of the selection.
struct Column {
    ident: syn::Ident,
    text: String,
    path: Path,
    default: bool,
    is_cow: bool,
}

/// Fields that need no path: everybody knows where these are.
const METADATA: [(&str, &str); 8] = [
    ("namespace", "metadata.namespace"),
    ("name", "metadata.name"),
    ("uid", "metadata.uid"),
    ("resource_version", "metadata.resourceVersion"),
    ("labels", "metadata.labels"),
    ("annotations", "metadata.annotations"),
    ("generation", "metadata.generation"),
    ("creation_timestamp", "metadata.creationTimestamp"),
];

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let attributes = ResourceAttributes::parse(&input.attrs);
    let columns = columns(input);
    let (attributes, columns) = match (attributes, columns) {
        (Ok(attributes), Ok(columns)) => (attributes, columns),
        (Err(mut first), Err(second)) => {
            first.combine(second);
            return Err(first);
        }
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error),
    };
    let missing = |what: &str| {
        let why = format!(
            "`{}` needs {what}: #[resource(api_version = \"networking.k8s.io/v1\", plural = \"ingresses\")]",
            input.ident
        );
        Error::new(input.ident.span(), why)
    };
    let api_version = attributes
        .api_version
        .clone()
        .ok_or_else(|| missing("an api_version"))?;
    let plural = attributes
        .plural
        .clone()
        .ok_or_else(|| missing("a plural"))?;
    let store = attributes.name.clone().unwrap_or_else(|| plural.clone());
    if attributes.own_namespace && !attributes.namespaces.is_empty() {
        return Err(Error::new(
            input.ident.span(),
            "own_namespace and namespaces say two different things",
        ));
    }
    let watch = watch(&attributes, &columns, &store, &api_version, &plural);
    let descriptions = columns.iter().map(describe);
    let values = columns.iter().map(value);
    let idents = columns.iter().map(|column| &column.ident);
    let ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let mut with_row = input.generics.clone();
    let mut row = LifetimeParam::new(Lifetime::new("'__row", Span::call_site()));
    row.bounds
        .extend(input.generics.lifetimes().map(|own| own.lifetime.clone()));
    with_row.params.insert(0, GenericParam::Lifetime(row));
    let (row_generics, _, _) = with_row.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::haptic_guest::Resource for #ident #type_generics #where_clause {
            const STORE: &'static str = #store;
            const COLUMNS: &'static [::haptic_guest::resource::Column] = &[#(#descriptions),*];

            fn watch() -> ::haptic_guest::Watch {
                #watch
            }
        }

        #[automatically_derived]
        impl #row_generics ::haptic_guest::resource::FromRow<'__row> for #ident #type_generics #where_clause {
            fn from_row(
                row: &mut ::haptic_guest::resource::Row<'_, '__row>,
            ) -> ::core::result::Result<Self, ::haptic_guest::resource::RowError> {
                ::core::result::Result::Ok(#ident { #(#idents: #values),* })
            }
        }
    })
}

fn columns(input: &DeriveInput) -> Result<Vec<Column>> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(
            input.ident.span(),
            "only a struct can be a view of a watch",
        ));
    };
    for parameter in &input.generics.params {
        match parameter {
            GenericParam::Lifetime(_) => {}
            GenericParam::Type(parameter) => {
                return Err(Error::new(
                    parameter.ident.span(),
                    "a view of a watch has no type parameters",
                ));
            }
            GenericParam::Const(parameter) => {
                return Err(Error::new(
                    parameter.ident.span(),
                    "a view of a watch has no parameters",
                ));
            }
        }
    }
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new(
            input.ident.span(),
            "a view of a watch has named fields",
        ));
    };
    let mut columns = Vec::new();
    let mut errors: Option<Error> = None;
    for field in &fields.named {
        match column(field) {
            Ok(column) => columns.push(column),
            Err(error) => match &mut errors {
                Some(errors) => errors.combine(error),
                none => *none = Some(error),
            },
        }
    }
    match errors {
        Some(errors) => Err(errors),
        None if columns.is_empty() => Err(Error::new(
            input.ident.span(),
            "a view without fields would read nothing",
        )),
        None => Ok(columns),
    }
}

fn column(field: &Field) -> Result<Column> {
    let attributes = FieldAttributes::parse(&field.attrs)?;
    let Some(ident) = field.ident.clone() else {
        return Err(Error::new(
            Span::call_site(),
            "a view of a watch has named fields",
        ));
    };
    let is_cow = is_cow(&field.ty);
    if let Some(PathLit { text, path }) = attributes.path {
        return Ok(Column {
            ident,
            text,
            path,
            default: attributes.default,
            is_cow,
        });
    }
    let name = ident.to_string();
    let known = METADATA.iter().find(|(field, _)| *field == name);
    let Some((_, text)) = known else {
        let why = format!(
            "where in the object is `{name}`? Say it: #[field(\"spec.{name}\")] (without a path go {})",
            METADATA.map(|(field, _)| field).join(", ")
        );
        return Err(Error::new(ident.span(), why));
    };
    let path = path::parse(text).map_err(|why| Error::new(ident.span(), why))?;
    // Objects without them are ordinary.
    let default =
        attributes.default || matches!(name.as_str(), "namespace" | "labels" | "annotations");
    Ok(Column {
        ident,
        text: (*text).to_owned(),
        path,
        default,
        is_cow,
    })
}

/// Whether the type is spelled `Cow<'_, str>`, which serde alone would never let borrow.
fn is_cow(ty: &Type) -> bool {
    let Type::Path(ty) = ty else { return false };
    ty.path.segments.last().is_some_and(|last| {
        last.ident == "Cow"
            && quote!(#last)
                .to_string()
                .replace(' ', "")
                .ends_with(",str>")
    })
}

fn describe(column: &Column) -> TokenStream {
    let Column { text, path, .. } = column;
    let steps = path.steps.iter().map(|step| match step {
        Step::Name(name) => quote!(::haptic_guest::resource::Step::Name(#name)),
        Step::Index(index) => quote!(::haptic_guest::resource::Step::Index(#index)),
        Step::Wildcard => quote!(::haptic_guest::resource::Step::Wildcard),
    });
    let steps = match path.is_plain {
        true => quote!(::core::option::Option::Some(&[#(#steps),*])),
        false => quote!(::core::option::Option::None),
    };
    quote!(::haptic_guest::resource::Column { path: #text, steps: #steps })
}

fn value(column: &Column) -> TokenStream {
    match (column.is_cow, column.default) {
        (true, false) => quote!(row.text()?),
        (true, true) => quote!(row.text_or_default()?),
        (false, false) => quote!(row.value()?),
        (false, true) => quote!(row.value_or_default()?),
    }
}

fn watch(
    attributes: &ResourceAttributes,
    columns: &[Column],
    store: &LitStr,
    api_version: &LitStr,
    plural: &LitStr,
) -> TokenStream {
    let mut watch = quote!(::haptic_guest::Watch::new(#store, #api_version, #plural));
    let texts =
        |paths: &[PathLit]| -> Vec<String> { paths.iter().map(|path| path.text.clone()).collect() };
    if !attributes.index_by.is_empty() {
        let paths = texts(&attributes.index_by);
        watch.extend(quote!(.index_by([#(#paths),*])));
    }
    for (name, paths) in &attributes.indexes {
        let paths = texts(paths);
        watch.extend(quote!(.index(#name, [#(#paths),*])));
    }
    if !attributes.namespaces.is_empty() {
        let namespaces = &attributes.namespaces;
        watch.extend(quote!(.namespaces([#(#namespaces),*])));
    }
    if attributes.own_namespace {
        watch.extend(quote!(.own_namespace()));
    }
    if let Some(selector) = &attributes.label_selector {
        watch.extend(quote!(.label_selector(#selector)));
    }
    if let Some(selector) = &attributes.field_selector {
        watch.extend(quote!(.field_selector(#selector)));
    }
    if let Some(keep) = keep(attributes, columns) {
        watch.extend(quote!(.keep_fields([#(#keep),*])));
    }
    if !attributes.ignore.is_empty() {
        let ignore = texts(&attributes.ignore);
        watch.extend(quote!(.ignore_fields([#(#ignore),*])));
    }
    if attributes.cached {
        watch.extend(quote!(.cached()));
    }
    let nanos = |duration: std::time::Duration| {
        let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
        quote!(::core::time::Duration::new(#seconds, #nanos))
    };
    if let Some(ttl) = attributes.cache_ttl {
        let ttl = nanos(ttl);
        watch.extend(quote!(.cached_for(#ttl)));
    }
    if let Some(interval) = attributes.debounce {
        let interval = nanos(interval);
        watch.extend(quote!(.debounce(#interval)));
    }
    if attributes.optional {
        watch.extend(quote!(.optional()));
    }
    if attributes.on_change_during_sync {
        watch.extend(quote!(.on_change_during_sync()));
    }
    watch
}

/// What is to be stored: what the columns and `keep` name, each once; `None`: everything.
fn keep(attributes: &ResourceAttributes, columns: &[Column]) -> Option<Vec<String>> {
    if attributes.keep_all {
        return None;
    }
    let mut keep: Vec<String> = Vec::new();
    for column in columns {
        let path = column.path.to_keep()?;
        if !keep.contains(&path) {
            keep.push(path);
        }
    }
    for PathLit { text, .. } in &attributes.keep {
        if !keep.contains(text) {
            keep.push(text.clone());
        }
    }
    Some(keep)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let input: DeriveInput = syn::parse_str(text).unwrap();
        match expand(&input) {
            Ok(_) => Vec::new(),
            Err(error) => error.into_iter().map(|error| error.to_string()).collect(),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let errors = errors(text);
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
        for (error, part) in errors.iter().zip(expected) {
            assert!(error.contains(part), "{error:?} has no {part:?}");
        }
    }

    const RESOURCE: &str = r#"#[resource(api_version = "v1", plural = "pods")]"#;

    #[test]
    fn what_a_view_lacks_is_said_with_how_to_write_it() {
        check(
            "struct A { name: String }",
            &["`A` needs an api_version: #[resource(api_version"],
        );
        check(
            r#"#[resource(api_version = "v1")] struct A { name: String }"#,
            &["a plural"],
        );
        check(
            &format!("{RESOURCE} struct A {{ host: String }}"),
            &["where in the object is `host`? Say it: #[field(\"spec.host\")]"],
        );
        check(
            &format!("{RESOURCE} struct A {{}}"),
            &["would read nothing"],
        );
        check(&format!("{RESOURCE} struct A(String);"), &["named fields"]);
        check(&format!("{RESOURCE} enum A {{ B }}"), &["only a struct"]);
        check(
            &format!("{RESOURCE} struct A<T> {{ name: T }}"),
            &["no type parameters"],
        );
    }

    #[test]
    fn i2_all_wrong_fields_are_said_at_once() {
        check(
            &format!(
                r#"{RESOURCE} struct A {{
                    #[field("spec.")] a: String,
                    name: String,
                    #[field(often)] b: String,
                    c: String,
                }}"#
            ),
            &[
                "\"spec.\": a dot without a name",
                "write #[field",
                "where in the object is `c`",
            ],
        );
    }

    #[test]
    fn wrong_options_are_said_with_those_that_there_are() {
        for (option, part) in [
            ("plurals = \"x\"", "there are api_version, plural"),
            ("debounce = \"fast\"", "is no duration"),
            ("index(\"by-host\")", "has a name and paths"),
            ("index_by(\"spec[\")", "not closed"),
            ("keep()", "nothing in the parentheses"),
            ("name = \" \"", "empty"),
            ("plural = \"pods\"", "said already"),
            ("own_namespace, namespaces(\"a\")", "two different things"),
        ] {
            check(
                &format!("{RESOURCE} #[resource({option})] struct A {{ name: String }}"),
                &[part],
            );
        }
    }

    #[test]
    fn borrowed_and_owned_views_expand() {
        for text in [
            "struct A { name: String, #[field(\"spec.x[*]\", default)] x: Vec<String>, }",
            "struct A<'a> { name: std::borrow::Cow<'a, str>, uid: &'a str }",
            "struct A { labels: std::collections::BTreeMap<String, String>, #[field(default)] uid: String }",
        ] {
            assert_eq!(
                errors(&format!("{RESOURCE} {text}")),
                Vec::<String>::new(),
                "{text}"
            );
        }
    }
}
