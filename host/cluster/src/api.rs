//! From a request to its response: the one function that the TCP side calls.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use serde_json::Value;

use crate::body::{self, Body};
use crate::delete::{Deleted, Preconditions, deletion_status};
use crate::input::{self, Input, Warnings};
use crate::render::{Form, Renderer};
use crate::replica::Reading;
use crate::request::{Address, Query, accepts_gzip, decode, form};
use crate::resources::Resource;
use crate::selector::Selector;
use crate::state::{Object, Store};
use crate::status::ApiError;
use crate::watch::WatchParams;
use crate::write::{How, Part, Tracking, Written};
use crate::{discovery, list, openapi, patch, review, scale, watch};

/// The server behind its front: state, and what a request may take.
#[derive(Debug)]
pub(crate) struct Api {
    store: Mutex<Store>,
    pub bookmark_interval: Duration,
    /// How long a request for a future version waits before it is refused.
    pub fresh_wait: Duration,
    /// Host and port, as discovery shows it.
    pub address: String,
}

type Answer = Result<Response<Body>, ApiError>;

impl Api {
    pub(crate) fn new(
        store: Store,
        bookmark_interval: Duration,
        fresh_wait: Duration,
        address: String,
    ) -> Self {
        Self {
            store: Mutex::new(store),
            bookmark_interval,
            fresh_wait,
            address,
        }
    }

    /// The store, locked. Nothing is awaited while it is held.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_for(&self, version: Option<u64>, reading: &Reading) -> Result<(), ApiError> {
        let Some(version) = version else {
            return Ok(());
        };
        let mut progress = self.store().progress();
        let mut replica = reading.clone();
        let reached = async {
            loop {
                if reading.reached(*progress.borrow_and_update()) >= version {
                    return;
                }
                let changed = pin!(progress.changed());
                let moved = pin!(replica.moved());
                futures_util::future::select(changed, moved).await;
            }
        };
        match tokio::time::timeout(self.fresh_wait, reached).await {
            Ok(()) => Ok(()),
            Err(_) => {
                let current = reading.reached(self.store().version());
                Err(ApiError::version_too_large(version, current))
            }
        }
    }
}

/// Answers a request. Never fails: a refusal is a response too.
pub(crate) async fn respond(
    api: &Arc<Api>,
    request: Request<Bytes>,
    reading: Reading,
) -> Response<Body> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = match route(api, request, reading).await {
        Ok(response) => response,
        Err(error) => refusal(&error),
    };
    tracing::debug!(%method, %uri, code = response.status().as_u16(), "request");
    response
}

/// A `Status` object as a response.
pub(crate) fn refusal(error: &ApiError) -> Response<Body> {
    let mut response = json_response(error.code, &error.to_value());
    if error.code == 504 {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    response
}

pub(crate) fn json_response(code: u16, value: &Value) -> Response<Body> {
    bytes_response(code, "application/json", value.to_string())
}

pub(crate) fn bytes_response(
    code: u16,
    content_type: &'static str,
    bytes: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(body::full(bytes));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    );
    headers.insert(
        header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-cache, private"),
    );
    response
}

async fn route(api: &Arc<Api>, request: Request<Bytes>, reading: Reading) -> Answer {
    let segments: Vec<String> = request
        .uri()
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| decode(segment, false))
        .collect();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    let found = match parts.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => {
            bytes_response(200, "text/plain; charset=utf-8", "ok")
        }
        ["version"] => json_response(200, &discovery::version()),
        ["openapi", rest @ ..] => {
            return openapi::respond(&api.store().registry, rest, request.headers());
        }
        ["api" | "apis"] => groups(api, &request, parts == ["api"]),
        ["apis", group] => json_response(
            200,
            &discovery::one_group(&api.store().registry, group)
                .ok_or_else(ApiError::no_such_resource)?,
        ),
        ["api" | "apis", ..] => {
            let address = Address::parse(&segments).ok_or_else(ApiError::no_such_resource)?;
            return resource(api, &address, request, reading).await;
        }
        _ => {
            return Ok(bytes_response(
                404,
                "text/plain; charset=utf-8",
                "404 page not found\n",
            ));
        }
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed());
    }
    Ok(found)
}

fn groups(api: &Api, request: &Request<Bytes>, core: bool) -> Response<Body> {
    let store = api.store();
    if let Some(version) = discovery::aggregated_version(request.headers()) {
        let value = discovery::aggregated(&store.registry, core, version);
        let content_type = match version {
            "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        };
        return bytes_response(200, content_type, value.to_string());
    }
    let value = if core {
        discovery::api_versions(&api.address)
    } else {
        discovery::group_list(&store.registry)
    };
    json_response(200, &value)
}

/// One request about one resource.
pub(crate) struct Call {
    pub resource: Arc<Resource>,
    pub namespace: String,
    pub name: String,
    pub subresource: String,
    pub query: Query,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub reading: Reading,
}

impl Call {
    fn renderer(&self, api: &Api) -> Result<Renderer, ApiError> {
        let now = api.store().clock.now();
        Ok(Renderer::new(
            Arc::clone(&self.resource),
            form(&self.headers)?,
            self.query.include_object()?,
            now,
        ))
    }

    /// In whose name the write is done: `fieldManager`, else the program of the User-Agent.
    pub(crate) fn how(&self) -> Result<How, ApiError> {
        let agent = self
            .headers
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok());
        let program = agent
            .and_then(|agent| agent.split('/').next())
            .filter(|program| !program.is_empty());
        let manager = match self.query.get("fieldManager") {
            "" => program.unwrap_or("unknown"),
            named if named.len() > 128 => {
                return Err(ApiError::bad_request(
                    "fieldManager: Too long: may not be more than 128 bytes",
                ));
            }
            named => named,
        };
        Ok(How {
            manager: manager.chars().take(128).collect(),
            dry_run: self.query.dry_run()?,
            part: if self.subresource == "status" {
                Part::Status
            } else {
                Part::Main
            },
        })
    }

    fn answer(&self, api: &Api, code: u16, object: &Object) -> Answer {
        let mut bytes = Vec::new();
        self.renderer(api)?.one(object, true, &mut bytes)?;
        Ok(bytes_response(code, "application/json", bytes))
    }
}

async fn resource(
    api: &Arc<Api>,
    address: &Address,
    request: Request<Bytes>,
    reading: Reading,
) -> Answer {
    let (parts, body) = request.into_parts();
    let method = parts.method;
    if address.plural.is_empty() {
        let listed =
            discovery::resource_list(&api.store().registry, &address.group, &address.version);
        let listed = listed.ok_or_else(ApiError::no_such_resource)?;
        return match method {
            Method::GET | Method::HEAD => Ok(json_response(200, &listed)),
            _ => Err(ApiError::method_not_allowed()),
        };
    }
    let found = api
        .store()
        .registry
        .find(&address.group, &address.version, &address.plural);
    let resource = found.ok_or_else(ApiError::no_such_resource)?;
    if !resource.namespaced && !address.namespace.is_empty() {
        return Err(ApiError::no_such_resource());
    }
    let call = Call {
        resource,
        namespace: address.namespace.clone(),
        name: address.name.clone(),
        subresource: address.subresource.clone(),
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        headers: parts.headers,
        body,
        reading,
    };
    if call.resource.review {
        return match (&method, call.name.as_str()) {
            (&Method::POST, "") => review::answer(&call),
            _ => Err(ApiError::method_not_allowed()),
        };
    }
    if call.name.is_empty() {
        return match method {
            Method::GET | Method::HEAD if call.query.flag("watch") == Some(true) => {
                start_watch(api, call).await
            }
            Method::GET | Method::HEAD => answer_list(api, &call).await,
            Method::POST => create(api, &call),
            Method::DELETE if !call.resource.is("", "namespaces") => delete_collection(api, &call),
            _ => Err(ApiError::method_not_allowed()),
        };
    }
    if call.resource.namespaced && call.namespace.is_empty() {
        return Err(ApiError::no_such_resource());
    }
    match call.subresource.as_str() {
        "" => {}
        "status" if call.resource.status => {}
        "scale" if call.resource.scale => return scale::answer(api, &method, &call),
        "finalize" if call.resource.is("", "namespaces") && method == Method::PUT => {}
        _ => return Err(ApiError::no_such_resource()),
    }
    match method {
        Method::GET | Method::HEAD => get(api, call).await,
        Method::PUT => update(api, &call),
        Method::PATCH => {
            let (written, warnings) = patch::answer(api, &call)?;
            answer_written(api, &call, &written, &warnings)
        }
        Method::DELETE if call.subresource.is_empty() => delete(api, &call),
        _ => Err(ApiError::method_not_allowed()),
    }
}

async fn get(api: &Arc<Api>, call: Call) -> Answer {
    // `watch=1` on one object is a watch with a field selector.
    if call.query.flag("watch") == Some(true) {
        return start_watch(api, call).await;
    }
    let version = list::parse_version(call.query.get("resourceVersion"))?;
    api.wait_for(version, &call.reading).await?;
    let found = api
        .store()
        .read(&call.resource, &call.namespace, &call.name, &call.reading);
    let object = found.ok_or_else(|| ApiError::not_found(&call.resource, &call.name))?;
    call.answer(api, 200, &object)
}

fn selector(call: &Call) -> Result<Selector, ApiError> {
    let mut fields = call.query.get("fieldSelector").to_owned();
    if !call.name.is_empty() {
        let separator = if fields.is_empty() { "" } else { "," };
        fields = format!("metadata.name={}{separator}{fields}", call.name);
    }
    Selector::parse(
        &call.resource,
        &call.namespace,
        call.query.get("labelSelector"),
        &fields,
    )
}

async fn answer_list(api: &Api, call: &Call) -> Answer {
    let renderer = call.renderer(api)?;
    let selector = selector(call)?;
    let params = list::ListParams {
        limit: call.query.number("limit")?.unwrap_or(0),
        token: call.query.get("continue").to_owned(),
        version: call.query.get("resourceVersion").to_owned(),
        version_match: call.query.get("resourceVersionMatch").to_owned(),
    };
    params.check()?;
    if call.query.flag("sendInitialEvents").is_some() {
        let why = "sendInitialEvents is forbidden for list";
        return Err(list::invalid_options(vec![
            crate::status::Cause::forbidden("sendInitialEvents", why),
        ]));
    }
    api.wait_for(params.needed_version()?, &call.reading)
        .await?;
    let snapshot = params.snapshot(&api.store(), &call.resource, &call.reading)?;
    let gzip = accepts_gzip(&call.headers);
    let (body, compressed) = body::list(renderer, snapshot.page(&selector), gzip)?;
    let mut response = bytes_response(200, "application/json", Bytes::new());
    *response.body_mut() = body;
    if compressed {
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_ENCODING,
            http::HeaderValue::from_static("gzip"),
        );
        headers.insert(
            header::VARY,
            http::HeaderValue::from_static("Accept-Encoding"),
        );
    }
    Ok(response)
}

async fn start_watch(api: &Arc<Api>, call: Call) -> Answer {
    let renderer = call.renderer(api)?;
    let content_type = match renderer.form {
        Form::Whole => "application/json",
        Form::Metadata(_) => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        Form::Table(_) => "application/json;as=Table;g=meta.k8s.io;v=v1",
    };
    let selector = selector(&call)?;
    let params = WatchParams::parse(&call.query)?;
    api.wait_for(params.version, &call.reading).await?;
    let reading = call.reading;
    let chunks = watch::start(api, &api.store(), renderer, selector, params, reading)?;
    let mut response = bytes_response(200, content_type, Bytes::new());
    *response.body_mut() = body::streamed(chunks);
    Ok(response)
}

fn create(api: &Api, call: &Call) -> Answer {
    let how = call.how()?;
    let Input { value, warnings } = input::object(call)?;
    let written = api.store().create(
        &call.resource,
        &call.namespace,
        value,
        &how,
        Tracking::Write,
    )?;
    answer_written(api, call, &written, &warnings)
}

fn update(api: &Api, call: &Call) -> Answer {
    let how = call.how()?;
    let Input { value, warnings } = input::object(call)?;
    let written = api
        .store()
        .update(&call.resource, &call.namespace, &call.name, value, &how)?;
    answer_written(api, call, &written, &warnings)
}

fn answer_written(api: &Api, call: &Call, written: &Written, warnings: &Warnings) -> Answer {
    let code = if matches!(written, Written::Created(_)) {
        201
    } else {
        200
    };
    let mut response = call.answer(api, code, written.object())?;
    warnings.add_to(&mut response);
    Ok(response)
}

fn delete(api: &Api, call: &Call) -> Answer {
    let options = input::delete_options(call)?;
    let deleted = api.store().delete(
        &call.resource,
        &call.namespace,
        &call.name,
        &options.preconditions,
        options.dry_run,
    )?;
    match deleted {
        Deleted::Gone(object) if !call.resource.is("", "namespaces") => Ok(json_response(
            200,
            &deletion_status(&call.resource, &object),
        )),
        Deleted::Gone(object) | Deleted::Waiting(object) => call.answer(api, 200, &object),
    }
}

fn delete_collection(api: &Api, call: &Call) -> Answer {
    let options = input::delete_options(call)?;
    let selector = selector(call)?;
    let renderer = call.renderer(api)?;
    let mut store = api.store();
    let collection = store
        .collection(&call.resource)
        .ok_or_else(ApiError::no_such_resource)?;
    let chosen: Vec<Arc<Object>> =
        list::in_namespace(&collection.objects, selector.namespace(), None)
            .filter(|object| selector.matches(object))
            .cloned()
            .collect();
    for object in &chosen {
        let (namespace, name) = object.place();
        store.delete(
            &call.resource,
            namespace,
            name,
            &Preconditions::default(),
            options.dry_run,
        )?;
    }
    let page = list::Page {
        version: store.version(),
        items: chosen,
        token: None,
        remaining: None,
    };
    drop(store);
    let (body, _) = body::list(renderer, page, false)?;
    let mut response = bytes_response(200, "application/json", Bytes::new());
    *response.body_mut() = body;
    Ok(response)
}
