//! `docs/wit.md` is what is written in `wit/plugin.wit`, in a form for reading. It is generated:
//! `INSTA_UPDATE=always cargo test --workspace --test documents` writes it anew.

use std::fmt::Write;

use wit_parser::{
    Docs, Function, FunctionKind, Handle, Interface, Resolve, Type, TypeDefKind, TypeId,
};

const DOCUMENT: &str = "docs/wit.md";

#[test]
fn the_wit_reference_is_what_the_wit_says() {
    let generated = reference(&super::read("wit/plugin.wit"));
    if std::env::var("INSTA_UPDATE").as_deref() == Ok("always") {
        std::fs::write(super::file(DOCUMENT), &generated).unwrap();
    }
    let written = super::read(DOCUMENT);
    assert!(
        written == generated,
        "{DOCUMENT} is not what wit/plugin.wit says: \
         INSTA_UPDATE=always cargo test --workspace --test documents"
    );
}

#[test]
fn everything_in_the_wit_is_explained() {
    let mut resolve = Resolve::default();
    resolve
        .push_str("plugin.wit", &super::read("wit/plugin.wit"))
        .unwrap();
    let mut bare = Vec::new();
    let mut check = |what: String, docs: &Docs| {
        if docs
            .contents
            .as_deref()
            .is_none_or(|text| text.trim().is_empty())
        {
            bare.push(what);
        }
    };
    for (_, interface) in resolve.interfaces.iter() {
        let name = interface.name.clone().unwrap_or_default();
        check(name.clone(), &interface.docs);
        for function in interface.functions.values() {
            check(format!("{name}.{}", function.name), &function.docs);
        }
        for (type_name, id) in &interface.types {
            let definition = &resolve.types[*id];
            let place = format!("{name}.{type_name}");
            match &definition.kind {
                // `use`: explained where it is defined.
                TypeDefKind::Type(_) => continue,
                TypeDefKind::Record(record) => {
                    record
                        .fields
                        .iter()
                        .for_each(|f| check(format!("{place}.{}", f.name), &f.docs));
                }
                TypeDefKind::Variant(variant) => {
                    variant
                        .cases
                        .iter()
                        .for_each(|c| check(format!("{place}.{}", c.name), &c.docs));
                }
                TypeDefKind::Enum(of) => {
                    of.cases
                        .iter()
                        .for_each(|c| check(format!("{place}.{}", c.name), &c.docs));
                }
                _ => {}
            }
            check(place, &definition.docs);
        }
    }
    assert!(
        bare.is_empty(),
        "wit/plugin.wit says nothing about {bare:?}"
    );
}

/// The whole document.
fn reference(wit: &str) -> String {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", wit).unwrap();
    let package = &resolve.packages[package];
    let mut out = format!(
        "<!-- Generated from wit/plugin.wit by tests/tests/documents/wit.rs; edit that file. -->\n\n# {}\n\n{}",
        package.name,
        prose(&package.docs)
    );
    for (name, id) in &package.interfaces {
        let interface = &resolve.interfaces[*id];
        write!(out, "\n## {name}\n\n{}", prose(&interface.docs)).unwrap();
        for (name, id) in &interface.types {
            out += &type_section(&resolve, interface, name, *id);
        }
        for function in interface.functions.values() {
            if function.kind == FunctionKind::Freestanding {
                out += &function_section(&resolve, "###", function);
            }
        }
    }
    for (name, id) in &package.worlds {
        let world = &resolve.worlds[*id];
        write!(out, "\n## world {name}\n\n{}\n", prose(&world.docs)).unwrap();
        for (direction, items) in [("imports", &world.imports), ("exports", &world.exports)] {
            for key in items.keys() {
                let name = resolve.name_world_key(key);
                writeln!(out, "- {direction} `{name}`").unwrap();
            }
        }
    }
    out
}

fn type_section(resolve: &Resolve, interface: &Interface, name: &str, id: TypeId) -> String {
    let definition = &resolve.types[id];
    let mut rows: Vec<(String, &Docs)> = Vec::new();
    match &definition.kind {
        TypeDefKind::Type(_) => return String::new(),
        TypeDefKind::Record(record) => rows.extend(record.fields.iter().map(|f| {
            (
                format!("{}: {}", f.name, type_text(resolve, &f.ty)),
                &f.docs,
            )
        })),
        TypeDefKind::Variant(variant) => rows.extend(variant.cases.iter().map(|case| {
            let payload = case.ty.map(|ty| format!("({})", type_text(resolve, &ty)));
            (
                format!("{}{}", case.name, payload.unwrap_or_default()),
                &case.docs,
            )
        })),
        TypeDefKind::Enum(of) => rows.extend(of.cases.iter().map(|c| (c.name.clone(), &c.docs))),
        _ => {}
    }
    let kind = definition.kind.as_str();
    let mut out = format!("\n### {kind} {name}\n\n{}", prose(&definition.docs));
    if !rows.is_empty() {
        out += "\n| | |\n|---|---|\n";
    }
    for (what, docs) in rows {
        writeln!(out, "| `{what}` | {} |", one_line(docs)).unwrap();
    }
    if definition.kind == TypeDefKind::Resource {
        let methods = interface
            .functions
            .values()
            .filter(|f| f.kind == FunctionKind::Method(id));
        methods.for_each(|method| out += &function_section(resolve, "####", method));
    }
    out
}

fn function_section(resolve: &Resolve, heading: &str, function: &Function) -> String {
    let method = matches!(function.kind, FunctionKind::Method(_));
    let name = function.item_name();
    // A method's first parameter is the handle that it is called on.
    let params = function.params.iter().skip(usize::from(method));
    let params: Vec<_> = params
        .map(|param| format!("{}: {}", param.name, type_text(resolve, &param.ty)))
        .collect();
    let result = function
        .result
        .map(|ty| format!(" -> {}", type_text(resolve, &ty)));
    format!(
        "\n{heading} {name}\n\n```wit\n{name}: func({}){};\n```\n\n{}",
        params.join(", "),
        result.unwrap_or_default(),
        prose(&function.docs)
    )
}

fn type_text(resolve: &Resolve, ty: &Type) -> String {
    let id = match ty {
        Type::Id(id) => *id,
        Type::Bool => return "bool".to_owned(),
        Type::U8 => return "u8".to_owned(),
        Type::U32 => return "u32".to_owned(),
        Type::U64 => return "u64".to_owned(),
        Type::String => return "string".to_owned(),
        other => panic!("the reference has no text for {other:?} yet"),
    };
    let definition = &resolve.types[id];
    if let Some(name) = &definition.name {
        return name.clone();
    }
    let text = |ty: &Type| type_text(resolve, ty);
    match &definition.kind {
        TypeDefKind::List(ty) => format!("list<{}>", text(ty)),
        TypeDefKind::Option(ty) => format!("option<{}>", text(ty)),
        TypeDefKind::Tuple(tuple) => {
            format!(
                "tuple<{}>",
                tuple.types.iter().map(text).collect::<Vec<_>>().join(", ")
            )
        }
        TypeDefKind::Result(result) => {
            let ok = result.ok.as_ref().map_or("_".to_owned(), text);
            match &result.err {
                Some(err) => format!("result<{ok}, {}>", text(err)),
                None => format!("result<{ok}>"),
            }
        }
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", text(&Type::Id(*id))),
        TypeDefKind::Handle(Handle::Own(id)) => text(&Type::Id(*id)),
        other => panic!("the reference has no text for a {} yet", other.as_str()),
    }
}

/// A comment as paragraphs.
fn prose(docs: &Docs) -> String {
    docs.contents
        .as_deref()
        .map(|text| format!("{}\n", text.trim()))
        .unwrap_or_default()
}

/// A comment as a table's cell.
fn one_line(docs: &Docs) -> String {
    let text = docs.contents.as_deref().unwrap_or_default();
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
