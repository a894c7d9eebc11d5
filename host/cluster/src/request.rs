//! What a request says: its address, its query and the form that it accepts.

use http::{HeaderMap, header};

use crate::render::Form;
use crate::status::ApiError;
use crate::table::IncludeObject;

/// The query of an address, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter, or the empty string.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    pub(crate) fn all<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A boolean parameter: present and empty is true, as Go's conversion has it.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        let value = self.all(name).next()?;
        Some(!matches!(value.to_lowercase().as_str(), "0" | "false"))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax"
                ))
            }),
        }
    }

    /// True for `dryRun=All`; any other value is refused.
    pub(crate) fn dry_run(&self) -> Result<bool, ApiError> {
        let mut asked = false;
        for value in self.all("dryRun") {
            if value != "All" {
                return Err(ApiError::bad_request(format!(
                    "dryRun: Unsupported value: {value:?}: supported values: \"All\""
                )));
            }
            asked = true;
        }
        Ok(asked)
    }

    pub(crate) fn include_object(&self) -> Result<IncludeObject, ApiError> {
        match self.get("includeObject") {
            "" | "Metadata" => Ok(IncludeObject::Metadata),
            "None" => Ok(IncludeObject::None),
            "Object" => Ok(IncludeObject::Object),
            other => Err(ApiError::bad_request(format!(
                "unrecognized includeObject value: {other:?}"
            ))),
        }
    }
}

/// Undoes percent-encoding; a broken escape stays as it is.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, more @ ..]) => {
                let digit = |byte: u8| {
                    char::from(byte)
                        .to_digit(16)
                        .and_then(|digit| u8::try_from(digit).ok())
                };
                match (digit(*high), digit(*low)) {
                    (Some(high), Some(low)) => {
                        bytes.push(high << 4 | low);
                        rest = more;
                    }
                    _ => bytes.push(b'%'),
                }
            }
            (b'+', _) if plus_is_space => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An address below `/api/VERSION` or `/apis/GROUP/VERSION`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Address {
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub plural: String,
    pub name: String,
    pub subresource: String,
}

impl Address {
    /// Reads the segments of a path; `None` when they are too few or too many.
    pub(crate) fn parse(segments: &[String]) -> Option<Self> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            _ => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [] => ("", "", ""),
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return None,
        };
        Some(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: namespace.to_owned(),
            plural: plural.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    }
}

/// One media type of an Accept header, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaType {
    pub essence: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_lowercase();
        let parameters = parts
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| {
                (
                    name.trim().to_lowercase(),
                    value.trim().trim_matches('"').to_owned(),
                )
            })
            .collect();
        Self {
            essence,
            parameters,
        }
    }

    pub(crate) fn parameter(&self, name: &str) -> &str {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    pub(crate) fn is_json(&self) -> bool {
        matches!(
            self.essence.as_str(),
            "application/json" | "application/*" | "*/*"
        )
    }
}

/// Whether the client takes a compressed body.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.split(';').next().unwrap_or_default().trim() == "gzip")
}

/// What the client accepts, in its order; everything when it does not say.
pub(crate) fn accepted(headers: &HeaderMap) -> Vec<MediaType> {
    let mut types: Vec<MediaType> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|part| !part.trim().is_empty())
        .map(MediaType::parse)
        .collect();
    if types.is_empty() {
        types.push(MediaType::parse("*/*"));
    }
    types
}

/// The first accepted form that the server has; 406 when there is none.
/// Protobuf is never served: clients that ask for it also accept JSON.
pub(crate) fn form(headers: &HeaderMap) -> Result<Form, ApiError> {
    for media in accepted(headers) {
        if !media.is_json() {
            continue;
        }
        let version = match (media.parameter("g"), media.parameter("v")) {
            (_, "") | ("meta.k8s.io", "v1") => "v1",
            ("meta.k8s.io", "v1beta1") => "v1beta1",
            _ => continue,
        };
        match media.parameter("as") {
            "" => return Ok(Form::Whole),
            "Table" => return Ok(Form::Table(version)),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => {
                return Ok(Form::Metadata(version));
            }
            _ => {}
        }
    }
    Err(ApiError::not_acceptable())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn address(path: &str) -> Option<Address> {
        let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        Address::parse(&segments)
    }

    #[test]
    fn addresses_name_namespace_resource_name_and_subresource() {
        for (path, expected) in [
            ("api/v1", ["", "v1", "", "", "", ""]),
            ("api/v1/pods", ["", "v1", "", "pods", "", ""]),
            ("api/v1/namespaces", ["", "v1", "", "namespaces", "", ""]),
            ("api/v1/namespaces/a", ["", "v1", "", "namespaces", "a", ""]),
            (
                "api/v1/namespaces/a/status",
                ["", "v1", "", "namespaces", "a", "status"],
            ),
            ("api/v1/namespaces/a/pods", ["", "v1", "a", "pods", "", ""]),
            (
                "apis/apps/v1/namespaces/a/deployments/b/scale",
                ["apps", "v1", "a", "deployments", "b", "scale"],
            ),
        ] {
            let found = address(path).unwrap();
            let found = [
                found.group,
                found.version,
                found.namespace,
                found.plural,
                found.name,
                found.subresource,
            ];
            assert_eq!(found, expected, "{path}");
        }
        assert_eq!(address("api/v1/namespaces/a/pods/b/c/d"), None);
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("labelSelector=a%3Db%2Cc+in+%28d%29&watch&limit=5&bad=%zz");
        assert_eq!(query.get("labelSelector"), "a=b,c in (d)");
        assert_eq!(query.flag("watch"), Some(true));
        assert_eq!(query.flag("allowWatchBookmarks"), None);
        assert_eq!(query.number("limit"), Ok(Some(5)));
        assert_eq!(query.get("bad"), "%zz");
        assert_eq!(query.number("bad").unwrap_err().code, 400);
    }

    #[test]
    fn the_first_form_that_is_served_wins() {
        for (accept, expected) in [
            ("", Some(Form::Whole)),
            ("*/*", Some(Form::Whole)),
            (
                "application/vnd.kubernetes.protobuf,application/json",
                Some(Form::Whole),
            ),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                Some(Form::Table("v1")),
            ),
            (
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                Some(Form::Metadata("v1")),
            ),
            (
                "application/json;as=Foo;v=v1;g=meta.k8s.io,application/json",
                Some(Form::Whole),
            ),
            ("text/html", None),
            ("application/vnd.kubernetes.protobuf", None),
        ] {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(form(&headers).ok(), expected, "{accept}");
        }
    }
}
